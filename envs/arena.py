"""The moving world: disc agents in many lanes at once, with collision checks between the samples.

Within a tick every agent moves in a straight line at constant speed, so the closest approach of two
agents has a closed form and nothing can slip through between two sample times. Lanes never
interact, and each lane's numbers are the same whatever runs beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.geometry import segment_clearance
from envs.story import Story
from envs.world import World

Float = NDArray[np.float32]

_PAIRS = 1 << 15  # pairs per pass: their temporaries stay in the cache, and memory stays bounded
_TINY = np.float32(1e-30)
_TOUCH = 1e-3  # an overlap with an obstacle below this share of the radius is touching, not a crash


class Step(NamedTuple):
    """What happened in one tick.

    Attributes:
        closest: float32 [lane], least centre distance of any pair over continuous time, metres
            (``inf`` with one agent).
        pair: int64 [lane, 2], which pair that was (-1 with one agent).
        hit: bool [lane, agent], the agent came closer to another than ``world.separation``.
        clearance: float32 [lane], least distance between an agent's rim and an obstacle, metres.
            Never above the true least over continuous time, and below it by at most half the way
            travelled in the tick. Without a crash it is never under -0.1 % of the radius.
        crashed: bool [lane, agent], the agent overlapped an obstacle (by over 0.1 % of its radius).
        at_goal: bool [lane, agent], within ``world.goal_tolerance`` of the goal at the end of the tick; what that
            is in a world of sites is said at `envs.story.Story.at_goal`.
    """

    closest: Float
    pair: NDArray[np.int64]
    hit: NDArray[np.bool_]
    clearance: Float
    crashed: NDArray[np.bool_]
    at_goal: NDArray[np.bool_]


class Arena:
    """All lanes of a world, advancing together.

    | fact | value |
    |---|---|
    | dynamics ``single`` | a command is a velocity, m/s; the limits apply to speed and its change |
    | dynamics ``double`` | a command is an acceleration, m/s², which acts at the start of the tick |
    | motion in a tick | straight, at the new velocity |
    | before its time | an agent rests, whatever is commanded (``world.start_delay_s``) |
    | contact | recorded, never resolved: agents pass through each other and through obstacles |
    | not joined yet | rests at its start, whatever its command |
    | late boxes | count as obstacles from the tick on in which they turn solid, never on top of an agent |

    Args:
        world: the map, limits, starts and goals.

    Attributes:
        position: float32 [lane, agent, 2], metres.
        velocity: float32 [lane, agent, 2], m/s, zero at the start.
        tick: ticks done so far.
        story: current goals, who is alive, which late boxes stand: all that tasks and events change.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.position: Float = np.array(world.starts, dtype=np.float32)
        self.velocity: Float = np.zeros_like(self.position)
        self.tick = 0
        self.story = Story(world)
        self._all_released = int(world.release.max(initial=0))
        self._first, self._second = np.triu_indices(world.agents, 1)
        self._walled = len(world.obstacles.boxes) > 0 or world.obstacles.bounds is not None
        self._distance = self._signed_distance(self.position)

    @property
    def goals(self) -> Float:
        """float32 [lane, agent, 2], metres, current ones; the same object until one changes."""
        return self.story.goals

    @property
    def tasks_done(self) -> NDArray[np.int64]:
        """int64 [lane, agent], goals served, in a world where they follow each other."""
        return self.story.tasks_done

    @property
    def running(self) -> NDArray[np.bool_]:
        """Bool [lane, agent]: whose process runs."""
        return self.story.running

    @property
    def alive(self) -> NDArray[np.bool_]:
        """bool [lane, agent], joined and not failed; the same object until it changes."""
        return self.story.alive

    def known_boxes(self) -> NDArray[np.bool_]:
        """bool [lane, agent, box]: late boxes that each agent has come near enough to see; walls do not hide them.

        ``Arena.story.maps.of(lane, mask)`` is the geometry with those boxes.
        """
        return self.story.known

    def step(self, command: NDArray[np.floating]) -> Step:
        """Advance every lane by one tick.

        Args:
            command: float [lane, agent, 2]: desired velocities (``single``) or accelerations
                (``double``). Vectors beyond a limit keep their direction and are shortened to it.

        Returns:
            What happened, see `Step`. The position, velocity and tick are updated; earlier arrays
            of them are left as they were.

        Raises:
            ValueError: a command is not finite or has the wrong shape.
        """
        world = self.world
        command = np.array(command, dtype=np.float32)  # a copy: it may become the velocity
        if command.shape != self.position.shape or not np.isfinite(command.sum()):
            raise ValueError(
                f"command must be finite with shape {self.position.shape}, got shape {command.shape}"
            )
        if world.dynamics == "double":
            velocity = self.velocity + _limit(command, world.a_max) * np.float32(world.dt)
            velocity = _limit(velocity, world.v_max)
        else:
            velocity = _limit(command, world.v_max)
            if world.a_max < np.inf:
                velocity = self.velocity + _limit(velocity - self.velocity, world.a_max * world.dt)
        if self.tick < self._all_released:
            velocity = np.where((world.release > self.tick)[:, None], np.float32(0), velocity)
        before, travel = self.position, velocity * np.float32(world.dt)
        if not self.story.joined.all():
            velocity = np.where(self.story.joined[..., None], velocity, np.float32(0))
            travel = velocity * np.float32(world.dt)
        self.position, self.velocity = before + travel, velocity
        self.tick += 1
        closest, pair, hit = self._pairs(before, travel)
        clearance, crashed = self._obstacles(before, travel)
        at_goal = self.story.at_goal(self.position)
        if self.story.advance(self.tick, self.position, velocity, at_goal):
            self._distance = self._signed_distance(self.position)
        return Step(closest, pair, hit, clearance, crashed, at_goal)

    def _pairs(self, before: Float, travel: Float) -> tuple[Float, NDArray[np.int64], NDArray[np.bool_]]:
        """Closest approach in continuous time: [lane], [lane, 2], [lane, agent]."""
        lanes, agents = before.shape[:2]
        hit = np.zeros((lanes, agents), bool)
        first, second = self._first, self._second
        if agents < 2:
            return np.full(lanes, np.inf, np.float32), np.full((lanes, 2), -1), hit
        least = np.empty(lanes, np.float32)
        which = np.empty(lanes, np.int64)
        # Lanes last: gathering agents then copies whole rows, and every operation is contiguous.
        state = np.empty((2, 2, agents, lanes), np.float32)
        state[0], state[1] = before.transpose(2, 1, 0), travel.transpose(2, 1, 0)
        limit = np.float32(self.world.separation) ** 2
        block = max(1, _PAIRS // len(first))
        for start in range(0, lanes, block):
            part = slice(start, min(start + block, lanes))
            some = state[..., part]
            gap, change = some.take(first, axis=2) - some.take(second, axis=2)
            along = gap[0] * change[0]
            along += gap[1] * change[1]
            speed = change[0] * change[0]
            speed += change[1] * change[1]
            np.maximum(speed, _TINY, out=speed)
            along /= speed
            np.negative(along, out=along)
            np.maximum(along, np.float32(0), out=along)
            np.minimum(along, np.float32(1), out=along)
            change *= along
            gap += change
            gap *= gap
            square = gap[0]
            square += gap[1]
            lane = np.arange(square.shape[1])
            which[part] = nearest = square.argmin(axis=0)
            least[part] = square[nearest, lane]
            if (least[part] < limit).any():
                pair, lane = np.nonzero(square < limit)
                hit[start + lane, first[pair]] = True
                hit[start + lane, second[pair]] = True
        return np.sqrt(least), np.stack([first[which], second[which]], axis=1), hit

    def _obstacles(self, before: Float, travel: Float) -> tuple[Float, NDArray[np.bool_]]:
        """Least clearance [lane] and crashes [lane, agent]."""
        world = self.world
        crashed = np.zeros(before.shape[:2], bool)
        if not (self._walled or self.story.obstructed):
            return np.full(len(before), world.obstacles.cutoff - world.radius, np.float32), crashed
        earlier, self._distance = self._distance, self._signed_distance(self.position)
        # The distance changes by at most the way travelled, so this bounds it from below in between.
        bound = earlier + self._distance
        bound -= np.sqrt(travel[..., 0] ** 2 + travel[..., 1] ** 2)
        bound *= np.float32(0.5)
        limit = world.radius * (1 - _TOUCH)
        if bound.min(initial=np.inf) < limit:
            # Overlap at either end is certain; in between, only what remains open is looked at closely.
            near = (bound < limit) & (np.minimum(earlier, self._distance) >= limit)
            fine = world.radius * _TOUCH / 2
            bound[near] = segment_clearance(world.obstacles, before[near], self.position[near], limit, fine)
            for lane, obstacles in self.story.obstructed.items():
                row = near[lane]
                ends = before[lane, row], self.position[lane, row]
                bound[lane, row] = segment_clearance(obstacles, *ends, limit, fine)
            crashed = bound < limit
        return bound.min(axis=1) - np.float32(world.radius), crashed

    def _signed_distance(self, points: Float) -> Float:
        """Distances [lane, agent] of points [lane, agent, 2] to what stands in their lane now, metres."""
        found = self.world.obstacles.signed_distance(points)
        for lane, obstacles in self.story.obstructed.items():
            found[lane] = obstacles.signed_distance(points[lane])
        return found


def _limit(vectors: Float, most: float) -> Float:
    """Vectors [..., 2] shortened to length ``most`` where they are longer."""
    if most == np.inf:
        return vectors
    length = vectors[..., 0] ** 2
    length += vectors[..., 1] ** 2
    if length.max(initial=0) <= most * most:
        return vectors
    np.sqrt(length, out=length)
    np.maximum(length, np.float32(most), out=length)
    return np.asarray(vectors * (np.float32(most) / length)[..., None], dtype=np.float32)
