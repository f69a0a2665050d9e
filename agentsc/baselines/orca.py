"""Optimal reciprocal collision avoidance over the air: states are messages, velocities are chosen.

Every tick each agent broadcasts its position and velocity, dead-reckons its peers from the last
state it has of each, and takes the velocity nearest to the preferred one that lies in the
half-planes of all peers: each pair shares the change of velocity that keeps it apart for a while.
Nobody plans ahead, so nothing resolves a symmetric deadlock, and a lost packet is a wrong state.

Reference: J. van den Berg, S. J. Guy, M. Lin and D. Manocha, "Reciprocal n-body collision
avoidance", Robotics Research (ISRR 2009), Springer 2011. Static obstacles are half-planes at
nearby surface points, found with the one signed distance of the project.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.baselines._unasked import nothing
from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import STATE
from agentsc.protocol import PROTOCOLS, Block, Deliveries, Packets, SampleReply, Setup, Variant
from policies.trajectory.route import Guide

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

HORIZON_RADII = 25.6
"""Radii travelled at full speed within the default time horizon: 2 s in the unit world."""
TIGHT, LOOSE = 1.1, 1.15
"""Default inflation of radii with and without obstacles."""
SIGHT = 0.9
"""Radii that lines of sight along the way keep from obstacles."""
VELOCITY_TOP = 2047
"""Largest code of a velocity on the air, standing for v_max."""
_TINY = 1e-9


@PROTOCOLS.register("orca")
class Orca(Variant):
    """Reciprocal velocity obstacles from states on the air: the classical reactive peer."""

    time_horizon_s: float | None = Field(
        None, gt=0.0, description="seconds that pairs keep apart; null: as 25.6 radii take at full speed"
    )
    obstacle_horizon_s: float | None = Field(
        None, gt=0.0, description="seconds that obstacles are kept away; null: as 6.4 radii take"
    )
    inflation: float | None = Field(
        None, ge=1.0, description="factor on radii between peers; null: 1.15, or 1.1 with obstacles"
    )
    neighbours: int = Field(20, ge=1, description="peers that are looked at, nearest first")

    def block(self, setup: Setup, ids: Sequence[int]) -> OrcaBlock:
        return OrcaBlock(self, setup, ids)

    @property
    def needs_network(self) -> bool:
        """Nothing is sampled."""
        return False


class OrcaBlock(Block):
    """States in, velocities out; arrays are [lane, agent of the block] and [lane, agent, peer]."""

    def __init__(self, variant: Orca, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(setup, ids)
        world = setup.world
        self.variant = variant
        natural = HORIZON_RADII * world.radius / world.v_max
        self.time_horizon_s = variant.time_horizon_s or natural
        self.obstacle_horizon_s = max(variant.obstacle_horizon_s or natural / 4.0, world.dt)
        boxes = len(world.obstacles.boxes) > 0
        self.radius = world.radius * (variant.inflation or (TIGHT if boxes else LOOSE))
        self.goal = world.goals[:, self.ids]
        # In the open the way is the straight line; elsewhere it is the taut route of the geodesic field.
        # A wall that an agent grazes must not hide what is ahead: half-planes keep it out, not the route.
        self.guide = None
        if boxes or world.flow is not None:
            self.guide = Guide(setup.guide().grid, world.obstacles, SIGHT * world.radius, setup.vehicle.reach)
        self.goal_row = None if self.guide is None else self.guide.goal_index(self.goal.reshape(-1, 2))
        # Own state at the start of the tick, by odometry: the velocity commanded is the one driven.
        self.here = world.starts[:, self.ids].astype(np.float32)
        self.moving = np.zeros_like(self.here)
        shape = (world.lanes, len(self.ids), world.agents)
        self.peer_position = np.broadcast_to(world.starts[:, None], (*shape, 2)).astype(np.float32)
        self.peer_velocity = np.zeros((*shape, 2), np.float32)
        self.peer_tick = np.zeros(shape, np.int64)

    # -- states over the air --------------------------------------------------------------------

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """Keep the newest state of each peer."""
        if not len(inbox):
            return
        spec = self.setup.spec
        message, packet, lane, agent, peer, sent = self.receive(inbox, clock, 0, lambda m: m.kind == STATE)
        tick = sent // self.setup.rounds
        # Delays may bring several packets of one sender at once, and old ones after newer ones.
        order = np.lexsort((tick, peer, agent, lane))
        lane, agent, peer, tick, packet = lane[order], agent[order], peer[order], tick[order], packet[order]
        pair = (lane * len(self.ids) + agent) * self.setup.world.agents + peer
        newest = np.append(pair[1:] != pair[:-1], True) & (tick >= self.peer_tick[lane, agent, peer])
        at = lane[newest], agent[newest], peer[newest]
        packet = packet[newest]
        self.peer_position[at] = spec.point(message.position[packet])
        self.peer_velocity[at] = message.velocity[packet] * np.float32(self.setup.world.v_max / VELOCITY_TOP)
        self.peer_tick[at] = tick[newest]

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Once per tick, the own state."""
        lane, agent = np.nonzero(np.broadcast_to(self.active[:, None], self.here.shape[:2]))
        if clock % self.setup.rounds or not len(lane):
            return nothing()
        spec = self.setup.spec
        message = Message.blank(len(lane), spec)
        message.kind[:] = STATE
        message.id[:] = self.ids[agent]
        message.clock[:] = clock & 0xFFFF
        message.position[:] = spec.lattice(self.here[lane, agent])
        code = np.rint(self.moving[lane, agent] * (VELOCITY_TOP / self.setup.world.v_max))
        message.velocity[:] = np.clip(code, -VELOCITY_TOP, VELOCITY_TOP)
        data, bits = encode(message, spec)
        return Packets(lane.astype(np.int32), self.ids[agent].astype(np.int32), data, bits)

    def retarget(self, goal: Floats, tick: int) -> None:
        """See `Block.retarget`."""
        self.goal = goal
        if self.guide is not None:
            self.goal_row = self.guide.goal_index(goal.reshape(-1, 2))

    # -- velocities -----------------------------------------------------------------------------

    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: int) -> Floats:
        """The permitted velocity nearest to the preferred one."""
        world = self.setup.world
        lane, agent = np.nonzero(np.broadcast_to(self.active[:, None], position.shape[:2]))
        here = position[lane, agent].astype(np.float64)
        now = velocity[lane, agent].astype(np.float64)
        walls, walls_offset = self._walls(position[lane, agent])
        peers, peers_offset = self._peers(lane, agent, here, now, tick)
        chosen = velocities(
            np.concatenate([walls, peers], axis=1),
            np.concatenate([walls_offset, peers_offset], axis=1),
            walls.shape[1],
            world.v_max,
            self._preferred(lane, agent, position),
        )
        chosen[~self.alive[lane, agent]] = 0.0
        change = _shortened(chosen - now, world.a_max * world.dt)
        self.here, self.moving = position.copy(), np.zeros_like(velocity)
        self.moving[lane, agent] = (now + change) * (world.release[self.ids[agent]] <= tick)[:, None]
        self.here += self.moving * np.float32(world.dt)
        if world.dynamics == "double":
            return np.asarray((self.moving - velocity) / np.float32(world.dt), np.float32)
        return self.moving

    def _preferred(self, lane: Ints, agent: Ints, position: Floats) -> Doubles:
        """Velocities [n, 2] along the way to the goal, slow enough to stop there."""
        world = self.setup.world
        here, goal = position[lane, agent], self.goal[lane, agent]
        if self.guide is None:
            ahead, to_go = goal, _norm(goal - here)
        else:
            assert self.goal_row is not None
            routes = self.guide.routes(here, self.goal_row[lane * len(self.ids) + agent])
            ahead = routes.at(np.full((len(here), 1), world.radius, np.float32))[:, 0]
            to_go = np.where(routes.complete, routes.arc[:, -1], routes.remaining)
            to_go = np.where(np.isfinite(to_go), to_go, 0.0)
        speed = np.minimum(to_go / world.dt, world.v_max)
        if np.isfinite(world.a_max):
            speed = np.minimum(speed, np.sqrt(2.0 * world.a_max * to_go))
        way = (ahead - here).astype(np.float64)
        return way * (speed / np.maximum(_norm(way), _TINY))[:, None]

    def _peers(
        self, lane: Ints, agent: Ints, here: Doubles, now: Doubles, tick: int
    ) -> tuple[Doubles, Doubles]:
        """Half-planes of the nearest peers: normals [n, k, 2] and offsets [n, k]."""
        world = self.setup.world
        age = (tick - self.peer_tick[lane, agent]) * world.dt
        speed = self.peer_velocity[lane, agent].astype(np.float64)
        offset = self.peer_position[lane, agent] + speed * age[..., None] - here[:, None]
        gap = _norm(offset)
        gap[np.arange(len(lane)), self.ids[agent]] = np.inf
        near = np.argsort(gap, axis=1, kind="stable")[:, : min(self.variant.neighbours, world.agents - 1)]
        at = np.arange(len(lane))[:, None], near
        distance = 2.0 * self.radius
        return reciprocal(offset[at], now[:, None], speed[at], distance, self.time_horizon_s, world.dt)

    def _walls(self, here: Floats) -> tuple[Doubles, Doubles]:
        """Half-planes of nearby surface points: normals [n, k, 2] and offsets [n, k], never above zero.

        Surface points are those nearest to the agent and to eight points around it. A point behind
        the plane of a nearer one adds nothing, and is dropped: it belongs to the same wall.
        """
        world = self.setup.world
        obstacles, horizon = world.obstacles, self.obstacle_horizon_s
        if not len(obstacles.boxes) and obstacles.bounds is None:
            return np.zeros((len(here), 0, 2)), np.zeros((len(here), 0))
        angle = np.arange(8) * (np.pi / 4.0)
        ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        around = np.concatenate([np.zeros((1, 2)), ring * (world.radius + world.v_max * world.dt)])
        probe = here[:, None] + around.astype(np.float32)
        distance, gradient = obstacles.distance_and_gradient(probe)
        surface = (probe - distance[..., None] * gradient).astype(np.float64)
        away = here[:, None] - surface
        gap = _norm(away)
        inside = distance[:, 0] < 0.0
        gap[inside, 0] *= -1.0
        normal = away / np.where(np.abs(gap) < _TINY, 1.0, gap)[..., None]
        offset = np.minimum((world.radius - gap) / horizon, 0.0)
        offset[distance >= 0.999 * obstacles.cutoff] = -np.inf
        order = np.argsort(gap, axis=1, kind="stable")
        at = np.arange(len(here))[:, None], order
        normal, offset, surface = normal[at], offset[at], surface[at]
        for k in range(1, offset.shape[1]):
            beyond = ((surface[:, k, None] - surface[:, :k]) * normal[:, :k]).sum(-1)
            behind = (beyond < 0.02 * world.radius) & np.isfinite(offset[:, :k])
            offset[behind.any(1), k] = -np.inf
        return normal, offset


def _norm(vectors: NDArray) -> NDArray:
    """Lengths of vectors [..., 2]; written out, so that a row's result depends on that row alone."""
    return np.sqrt(vectors[..., 0] ** 2 + vectors[..., 1] ** 2)


def _dot(a: Doubles, b: Doubles) -> Doubles:
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1]


def _shortened(vectors: Doubles, most: float) -> Doubles:
    """Vectors [n, 2], no longer than ``most``."""
    return np.asarray(vectors * np.minimum(1.0, most / np.maximum(_norm(vectors), _TINY))[:, None])


def reciprocal(
    offset: Doubles, own: Doubles, other: Doubles, distance: float, horizon_s: float, dt: float
) -> tuple[Doubles, Doubles]:
    """Half-planes of velocities with which an agent does its half of keeping clear of peers.

    Args:
        offset: [..., 2], from the agent to the peer, metres. own, other: [..., 2], velocities, m/s.
        distance: centre distance to keep, metres. horizon_s: for how long. dt: seconds in which
            those that are too near already shall be apart.

    Returns:
        Normals [..., 2] and offsets [...]: velocities v with normal · v ≥ offset are permitted.

    Reference: van den Berg et al. 2011, equations 4 to 6: u is the least change of the relative
    velocity that leaves the velocity obstacle, a cone truncated by a disc; half of it is ours.
    """
    own, other = np.broadcast_arrays(own, other)
    relative = own - other
    square = np.maximum(_dot(offset, offset), _TINY)
    touching = square < distance * distance
    span = np.where(touching, dt, horizon_s)[..., None]
    # The truncating disc, of radius distance / span around offset / span.
    from_disc = relative - offset / span
    length = np.maximum(_norm(from_disc), _TINY)
    disc_normal = from_disc / length[..., None]
    disc_gap = distance / span[..., 0] - length
    # The legs: tangents from the origin to the disc; the nearer one is on the relative velocity's side.
    leg = np.sqrt(np.maximum(square - distance * distance, 0.0))
    x, y = offset[..., 0], offset[..., 1]
    side = np.where(x * from_disc[..., 1] - y * from_disc[..., 0] > 0.0, 1.0, -1.0)
    along = np.stack([x * leg - side * y * distance, side * x * distance + y * leg], axis=-1)
    along /= square[..., None]
    leg_normal = side[..., None] * np.stack([-along[..., 1], along[..., 0]], axis=-1)
    leg_gap = -_dot(relative, leg_normal)
    back = _dot(from_disc, offset)
    on_disc = touching | ((back < 0.0) & (back * back > distance * distance * length * length))
    normal = np.where(on_disc[..., None], disc_normal, leg_normal)
    gap = np.where(on_disc, disc_gap, leg_gap)
    return normal, _dot(own, normal) + 0.5 * gap


def velocities(normal: Doubles, offset: Doubles, hard: int, v_max: float, wanted: Doubles) -> Doubles:
    """The permitted velocity nearest to the wanted one, or else the one that is the least forbidden.

    Args:
        normal: [n, k, 2], unit vectors. offset: [n, k]; v is permitted iff normal · v ≥ offset.
        hard: the first so many half-planes are never given up; zero velocity satisfies them all.
        v_max: m/s. wanted: [n, 2].

    Returns:
        float64 [n, 2]. Where no velocity is permitted: one that minimises the greatest violation of
        the other half-planes (the three-dimensional programme of the paper's section 5.3).
    """
    result, failed = _nearest_permitted(normal, offset, v_max, wanted, False)
    bad = np.flatnonzero(failed < offset.shape[1])
    if len(bad):
        result[bad] = _least_forbidden(normal[bad], offset[bad], hard, v_max, result[bad], failed[bad])
    return result


def _nearest_permitted(
    normal: Doubles, offset: Doubles, v_max: float, wanted: Doubles, furthest: bool
) -> tuple[Doubles, Ints]:
    """The two-dimensional programme of all rows, one half-plane after the other.

    Args:
        furthest: go as far as possible in the direction ``wanted`` (unit) instead of near to it.

    Returns:
        float64 [n, 2], and int64 [n], the half-plane at which a row became infeasible (k: none did);
        its velocity satisfies those before.
    """
    count, planes = offset.shape
    result = wanted * v_max if furthest else _shortened(wanted, v_max)
    failed = np.full(count, planes)
    for k in range(planes):
        wrong = (_dot(normal[:, k], result) < offset[:, k] - _TINY) & (failed == planes)
        rows = np.flatnonzero(wrong)
        if not len(rows):
            continue
        # The optimum lies on this line: at how far along it do the disc and the others permit?
        n, b = normal[rows, k], offset[rows, k]
        along = np.stack([n[:, 1], -n[:, 0]], axis=-1)
        chord = np.sqrt(np.maximum(v_max * v_max - b * b, 0.0))
        slope = _dot(normal[rows, :k], along[:, None])
        rest = offset[rows, :k] - b[:, None] * _dot(normal[rows, :k], n[:, None])
        parallel = np.abs(slope) < _TINY
        bound = rest / np.where(parallel, 1.0, slope)
        low = np.maximum(-chord, np.where(~parallel & (slope > 0.0), bound, -np.inf).max(1, initial=-np.inf))
        high = np.minimum(chord, np.where(~parallel & (slope < 0.0), bound, np.inf).min(1, initial=np.inf))
        stuck = (np.abs(b) > v_max) | (low > high) | (parallel & (rest > _TINY)).any(1)
        aim = _dot(wanted[rows], along)
        spot = np.where(aim > 0.0, high, low) if furthest else np.minimum(np.maximum(aim, low), high)
        good = ~stuck
        failed[rows[stuck]] = k
        result[rows[good]] = (b[:, None] * n + spot[:, None] * along)[good]
    return result, failed


def _least_forbidden(
    normal: Doubles, offset: Doubles, hard: int, v_max: float, result: Doubles, failed: Ints
) -> Doubles:
    """Minimise the greatest violation of the soft half-planes within the hard ones."""
    result = result.copy()
    worst = np.zeros(len(result))
    for k in range(hard, offset.shape[1]):
        violation = offset[:, k] - _dot(normal[:, k], result)
        rows = np.flatnonzero((k >= failed) & (violation > worst))
        if not len(rows):
            continue
        # Those before may be violated as much as this one, which is again a half-plane for each.
        change = normal[rows, hard:k] - normal[rows, k, None]
        length = _norm(change)
        same = length < _TINY
        scale = np.where(same, 1.0, length)
        limit = np.where(same, -np.inf, (offset[rows, hard:k] - offset[rows, k, None]) / scale)
        planes = np.concatenate([normal[rows, :hard], change / scale[..., None]], axis=1)
        limits = np.concatenate([offset[rows, :hard], limit], axis=1)
        found, stuck = _nearest_permitted(planes, limits, v_max, normal[rows, k], True)
        good = stuck == limits.shape[1]
        result[rows[good]] = found[good]
        worst[rows] = offset[rows, k] - _dot(normal[rows, k], result[rows])
    return result
