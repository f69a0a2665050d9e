"""What a scenario builds: everything about a batch of episodes that does not change while they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from envs.errors import ConfigError
from envs.events import DIE, GOAL, START, Events
from envs.geometry import Obstacles
from envs.tasks import GoalQueue, Resources, Shape, Sites
from envs.unknown import Unknown

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Stops:
    """Places that trips on a map pass, as its motion pattern has it; known to everybody, like the map.

    Attributes:
        points: starts and goals [..., agent, 2] to the points [..., agent, K, 2] to pass in order, metres.
        within_m: a point is passed within this distance. ticks: that an agent stays there before it goes on.
    """

    points: Callable[[Float, Float], Float]
    within_m: float
    ticks: int = 0


@dataclass(frozen=True)
class World:
    """One map shared by all lanes, and each lane's starts and goals.

    Attributes:
        name: the scenario's name.
        obstacles: the static geometry with its one signed-distance function.
        radius: an agent's radius, metres.
        v_max: speed limit, m/s.
        a_max: acceleration limit, m/s² (``inf`` for none).
        dt: one tick, seconds.
        dynamics: what a command means: a velocity (``single``) or an acceleration (``double``).
        goal_tolerance: an agent is at its goal within this distance, metres.
        separation: centre distance under which a pair has collided, metres (twice the radius).
        max_ticks: the time limit.
        cell: planning-cell size, metres (1 on grid maps, about ``2 * radius`` elsewhere).
        starts, goals: float32 [lane, agent, 2], metres.
        episodes: int64 [lane], the number that keys a lane's randomness; never the lane index.
        flow: the map's motion pattern: points [..., 2] to preferred directions [..., 2], unit or zero.
        via: float32 [lane, agent, K, 2], points to pass in order before the goal; NaN rows are none.
        adherence: share of a lane's motion that follows the pattern: positions [T+1, agent, 2] to
            float [agent] in [0, 1].
        stops: where trips pass as the map's motion pattern has it; None if it has no such places.
        start_delay_s: float32 [agent], seconds that each agent rests at its start before it may move, in every lane;
            None for nobody. Until then it listens and speaks like the others; who joins late (``events``) does neither.
        notes: provenance, one line.
        queue: goals that follow each other; ``goals`` are then the first ones. sites: places to cover.
        shape: a formation to keep. events: what happens on the way. resources: places of limited capacity.
        unknown: obstacles that no agent knows at the start; ``obstacles`` are then those that all know. None for
            none of it.

    Raises:
        ValueError: starts and goals of other shapes. ConfigError: tasks or events that do not fit the world.
    """

    name: str
    obstacles: Obstacles
    radius: float
    v_max: float
    a_max: float
    dt: float
    dynamics: Literal["single", "double"]
    goal_tolerance: float
    separation: float
    max_ticks: int
    cell: float
    starts: Float
    goals: Float
    episodes: NDArray[np.int64]
    flow: Callable[[Float], Float] | None = None
    via: Float | None = None
    adherence: Callable[[Float], Float] | None = None
    stops: Stops | None = None
    start_delay_s: Float | None = None
    notes: str = ""
    queue: GoalQueue | None = None
    sites: Sites | None = None
    shape: Shape | None = None
    events: Events | None = None
    resources: Resources | None = None
    unknown: Unknown | None = None

    def __post_init__(self) -> None:
        lanes = len(self.episodes)
        if self.starts.shape != self.goals.shape or self.starts.shape[::2] != (lanes, 2):
            raise ValueError(
                f"starts {self.starts.shape} and goals {self.goals.shape} must both be [{lanes}, agents, 2]"
            )
        delay = np.zeros(self.agents) if self.start_delay_s is None else self.start_delay_s
        if delay.shape != (self.agents,) or not ((delay >= 0) & np.isfinite(delay)).all():
            raise ConfigError(f"world.start_delay_s must be {self.agents} finite seconds, none negative, got {delay}")
        for part in (self.queue, self.sites, self.shape, self.events, self.unknown):
            if part is not None:
                part.check(*self.starts.shape[:2])
        if self.queue is not None and not np.array_equal(self.queue.goals[:, :, 0], self.goals):
            raise ConfigError("world.goals must be the first ones of world.queue, got others")
        if self.events is not None:
            self._check_events(self.events)
        if self.unknown is not None:
            self._check_unknown(self.unknown)

    def _check_unknown(self, unknown: Unknown) -> None:
        """Cells are those that plans are made on, nobody starts or ends in an obstacle, and no boxes come late."""
        if unknown.cell != self.cell or self.bounds != unknown.bounds or self.radius >= self.cell / 2:
            raise ConfigError(
                f"world.unknown must cover the arena with planning cells that agents fit in, got bounds "
                f"{unknown.bounds} of {unknown.cell:g} m in {self.bounds} of {self.cell:g} m, radius {self.radius:g} m"
            )
        if self.queue is not None or self.sites is not None or self.events is not None:
            raise ConfigError("world.unknown must come without a queue, sites and events, got some beside it")
        for lane in range(self.lanes):
            spots = np.concatenate([self.starts[lane], self.goals[lane]])
            least = float(self.truth(lane).signed_distance(spots).min(initial=np.inf))
            if least < self.radius:
                raise ConfigError(
                    f"world.unknown.occupied must keep {self.radius:g} m from starts and goals, got {least:.3f} m"
                )

    def truth(self, lane: int) -> Obstacles:
        """What stands in a lane from the start on, whether anybody knows or not."""
        return self.obstacles if self.unknown is None else self.unknown.obstacles(lane, self.obstacles)

    def _check_events(self, events: Events) -> None:
        """Goals change for one reason only, and no late box stands where an agent starts or has to go."""
        if self.moves_goals and (self.queue is not None or self.sites is not None):
            raise ConfigError("world.events must leave goals alone in a world with a queue or sites, got goal events")
        if events.boxes.shape[1]:
            goals = [self.goals] if self.queue is None else np.moveaxis(self.queue.goals, 2, 0)
            spots = [self.starts, *goals]
            least = min(float(events.distance(each).min(initial=np.inf)) for each in spots)
            if least < self.radius:
                raise ConfigError(
                    f"world.events.boxes must keep {self.radius:g} m from starts and goals, got {least:.3f} m"
                )

    @property
    def moves_goals(self) -> bool:
        """Whether some event gives an agent another goal."""
        return self.events is not None and bool((self.events.kind == GOAL).any())

    @property
    def processes_die(self) -> bool:
        """Whether processes die, start again or come late."""
        return self.events is not None and bool(np.isin(self.events.kind, (DIE, START)).any())

    @property
    def changes(self) -> bool:
        """Whether anything changes on the way that a plan made at the start cannot know."""
        return self.queue is not None or (self.events is not None and len(self.events.tick) > 0)

    @property
    def lanes(self) -> int:
        """Number of episodes that advance together."""
        return int(self.starts.shape[0])

    @property
    def agents(self) -> int:
        """Number of agents in each lane."""
        return int(self.starts.shape[1])

    @cached_property
    def release(self) -> NDArray[np.int64]:
        """int64 [agent]: the first tick in which each agent may move."""
        if self.start_delay_s is None:
            return np.zeros(self.agents, np.int64)
        # A whole number of ticks must not be rounded up for its last floating-point digit.
        return np.ceil(self.start_delay_s.astype(np.float64) / self.dt - 1e-4).astype(np.int64)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax) of the arena, metres: the wall, or what the contents span."""
        wall = self.obstacles.bounds
        if wall is not None:
            return wall
        spots = np.concatenate([self.starts.reshape(-1, 2), self.goals.reshape(-1, 2)])
        low, high = self.obstacles.extent(spots, margin=4 * self.radius)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def select(self, lanes: Sequence[int] | slice) -> World:
        """The same world with only those lanes, in that order."""
        pick = lanes if isinstance(lanes, slice) else np.asarray(lanes, dtype=np.int64)
        return replace(
            self,
            starts=self.starts[pick],
            goals=self.goals[pick],
            episodes=self.episodes[pick],
            via=None if self.via is None else self.via[pick],
            **{
                name: part.select(pick)
                for name in ("queue", "sites", "shape", "events", "unknown")
                if (part := getattr(self, name)) is not None
            },
        )
