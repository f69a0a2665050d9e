"""Expert demonstrations: search with random costs, then smoothing, then a speed profile.

Every map is procedural and seeded. An expert looks for a way through randomly priced cells (so
it does not always take the shortest one), follows the map's motion pattern where it has one,
pulls the way taut, smooths it clear of obstacles and drives it with a speed profile of its own.
What is learnt is the residual between the expert's plan and the nominal plan along the
geodesic, given the local context only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from envs import keyed, maps
from envs.geometry import Obstacles, segment_clearance
from envs.navigation import NavigationGrid
from policies.trajectory.context import Context, Vehicle, build
from policies.trajectory.route import CLEARANCE, Guide
from policies.trajectory.spline import basis, fit

Floats = NDArray[np.float32]

FAMILIES = ("empty", "boxes", "discs", "random-cells", "maze", "rooms", "warehouse", "circulation")
PER_MAP = 192
"""Problems posed per map; a few are dropped because no plan of the expert fits them."""
_DENSE = 48


@dataclass(frozen=True)
class Demonstrations:
    """Aligned rows of context and expert plan.

    Attributes:
        features: float32 [n, feature]. residual: float32 [n, state].
        family: int [n], index into FAMILIES.
    """

    features: Floats
    residual: Floats
    family: NDArray[np.int64]

    @classmethod
    def join(cls, parts: list[Demonstrations]) -> Demonstrations:
        """All rows of ``parts``."""
        return cls(
            *(np.concatenate([getattr(p, f) for p in parts]) for f in ("features", "residual", "family"))
        )


@dataclass(frozen=True)
class Problem:
    """Planning problems on one map with the expert's answers (`control`), for training and evaluation.

    Attributes:
        context: float32 rows. control: float32 [n, P, 2], metres, the expert's plans.
        goal: float32 [n, 2], metres. yielding: bool [n], the expert gives way.
        obstacles, vehicle: the map and the limits they respect.
    """

    context: Context
    control: Floats
    goal: Floats
    yielding: NDArray[np.bool_]
    obstacles: Obstacles
    vehicle: Vehicle

    def first(self, count: int) -> Problem:
        """The same map with its first ``count`` problems."""
        rows = np.arange(min(count, len(self.context)))
        return Problem(
            self.context.take(rows), self.control[rows], self.goal[rows], self.yielding[rows], self.obstacles,
            self.vehicle,
        )  # fmt: skip


def generate(
    seed: int, count: int, vehicle_points: int = 12, horizon_ticks: int = 32
) -> Iterator[Demonstrations]:
    """Demonstrations of ``count`` procedural maps, map by map."""
    for index in range(count):
        family = index % len(FAMILIES)
        problem = pose(seed, index, FAMILIES[family], vehicle_points, horizon_ticks)
        residual = problem.context.encode(problem.control)
        yield Demonstrations(
            problem.context.features, residual.astype(np.float32), np.full(len(residual), family, np.int64)
        )


def pose(seed: int, index: int, family: str, control_points: int = 12, horizon_ticks: int = 32) -> Problem:
    """One map's problems with the expert's plans.

    Args:
        seed, index: key of the map; every random choice follows from them.
        family: one of FAMILIES.
    """
    rng = np.random.default_rng(
        [int(keyed.hash_words(seed, keyed.stream_id(f"demonstrations/{family}"), index))]
    )
    obstacles, vehicle, cell, flow = _world(family, rng, control_points)
    grid = NavigationGrid(obstacles, vehicle.radius, cell, flow=flow)
    free = np.flatnonzero(grid.largest_component().ravel())
    nodes = Guide(grid, obstacles, vehicle.radius * CLEARANCE, vehicle.reach)
    width = grid.shape[1]

    goals = rng.choice(free, 6)
    starts = rng.choice(free, PER_MAP)
    which = rng.integers(0, len(goals), PER_MAP)
    goal_points = grid.point(goals // width, goals % width)
    # One problem in five starts close to its goal, where plans must learn to park.
    near = np.flatnonzero(rng.random(PER_MAP) < 0.2)
    options = rng.choice(free, (len(near), 12))
    apart = grid.point(options // width, options % width) - goal_points[which[near], None]
    starts[near] = options[np.arange(len(near)), np.linalg.norm(apart, axis=-1).argmin(1)]
    start_points = grid.point(starts // width, starts % width)
    shifted = start_points + rng.uniform(-0.5, 0.5, start_points.shape).astype(np.float32) * cell
    fits = obstacles.signed_distance(shifted) > vehicle.radius * 1.02
    start_points = np.where(fits[:, None], shifted, start_points).astype(np.float32)

    exploring = rng.random(PER_MAP) < 0.4
    index_shortest = nodes.goal_index(goal_points)
    rough = 1.0 + rng.exponential(1.2, grid.free.shape) * (rng.random(grid.free.shape) < 0.5)
    priced = len(nodes.goals) + np.arange(len(goals))
    nodes.add_fields(goal_points, grid.fields(goal_points, cost=rough.astype(np.float32)))
    routes = nodes.routes(start_points, index_shortest[which])
    expert_routes = nodes.routes(start_points, np.where(exploring, priced[which], index_shortest[which]))

    arc = np.linspace(0.0, 1.0, _DENSE, dtype=np.float32) * np.minimum(
        expert_routes.arc[:, -1:], 1.1 * vehicle.reach
    )
    line = smooth(expert_routes.at(arc), obstacles, vehicle.radius * rng.uniform(1.05, 1.5, (PER_MAP, 1)))
    yielding = rng.random(PER_MAP) < 0.25
    travelled, launch = _speed_profile(line, yielding, vehicle, horizon_ticks, rng)
    path = _resample(line, travelled)
    control = fit(path, control_points)

    heading = _unit(line[:, 2] - line[:, 0])
    turned = rng.normal(0.0, 0.5, PER_MAP) * (rng.random(PER_MAP) < 0.3)
    heading = np.stack(
        [
            heading[:, 0] * np.cos(turned) - heading[:, 1] * np.sin(turned),
            heading[:, 1] * np.cos(turned) + heading[:, 0] * np.sin(turned),
        ],
        axis=-1,
    )
    velocity = (heading * launch[:, None]).astype(np.float32)
    margin = rng.uniform(0.0, 0.5 * vehicle.radius, PER_MAP).astype(np.float32)
    points = (basis(control_points, horizon_ticks + 1) @ control).astype(np.float32)
    clear = segment_clearance(obstacles, points[:, :-1], points[:, 1:]).min(-1) >= vehicle.radius
    speed = np.linalg.norm(np.diff(points, axis=1), axis=-1).max(-1) * horizon_ticks / vehicle.horizon_s
    good = np.flatnonzero(clear & (speed <= vehicle.v_max * 1.02) & np.isfinite(routes.remaining))
    context = build(
        obstacles, vehicle, velocity, routes, margin, yielding.astype(np.int64), exploring.astype(np.int64)
    )
    return Problem(
        context.take(good), control[good], goal_points[which[good]], yielding[good], obstacles, vehicle
    )


def smooth(line: Floats, obstacles: Obstacles, clearance: NDArray[np.floating], steps: int = 40) -> Floats:
    """Shorten and round a batch of polylines [n, k, 2] while keeping ``clearance`` [n, 1] metres.

    A covariant gradient descent on squared second differences plus an obstacle hinge, end points
    fixed. Reference: Zucker et al., "CHOMP: covariant Hamiltonian optimization", 2013, section 3.
    """
    line = line.astype(np.float64)
    spacing = np.linalg.norm(np.diff(line, axis=1), axis=-1).mean(1)[:, None, None]
    for _ in range(steps):
        bend = line[:, :-2] - 2.0 * line[:, 1:-1] + line[:, 2:]
        distance, gradient = obstacles.distance_and_gradient(line[:, 1:-1].astype(np.float32))
        push = np.maximum(clearance - distance, 0.0)[..., None] * gradient
        move = 0.4 * bend + np.clip(0.5 * push, -spacing, spacing)
        line[:, 1:-1] += move
    return line.astype(np.float32)


def _speed_profile(
    line: Floats, yielding: NDArray[np.bool_], vehicle: Vehicle, ticks: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Metres travelled at every tick [n, ticks + 1] and the speed at launch [n].

    Movers cruise; those giving way wait, creep, or both. All come to rest by the end.
    """
    count = len(line)
    length = np.linalg.norm(np.diff(line, axis=1), axis=-1).sum(1)
    dt = vehicle.horizon_s / ticks
    cruise = np.where(yielding, rng.uniform(0.15, 0.7, count), rng.uniform(0.75, 0.97, count)) * vehicle.v_max
    wait = np.where(yielding & (rng.random(count) < 0.6), rng.integers(0, ticks // 2, count), 0)
    launch = np.where(rng.random(count) < 0.3, 0.0, rng.uniform(0.0, 1.0, count)) * vehicle.v_max
    launch = np.where(wait > 0, 0.0, launch)
    ramp = vehicle.v_max / (vehicle.horizon_s * rng.uniform(0.04, 0.15, count))
    travelled = np.zeros((count, ticks + 1))
    speed = launch.copy()
    for tick in range(ticks):
        left = np.maximum(length - travelled[:, tick], 0.0)
        rest = (ticks - tick - 1) * dt
        target = np.where(tick < wait, 0.0, cruise)
        target = np.minimum(target, np.minimum(np.sqrt(2.0 * ramp * left), ramp * rest))
        speed = np.clip(target, speed - ramp * dt, speed + ramp * dt)
        speed = np.maximum(np.minimum(speed, left / dt), 0.0)
        travelled[:, tick + 1] = travelled[:, tick] + speed * dt
    return travelled.astype(np.float32), launch.astype(np.float32)


def _resample(line: Floats, travelled: Floats) -> Floats:
    """Points [n, ticks + 1, 2] at arc lengths ``travelled`` along polylines [n, k, 2]."""
    arc = np.concatenate(
        [np.zeros((len(line), 1)), np.cumsum(np.linalg.norm(np.diff(line, axis=1), axis=-1), axis=1)], axis=1
    )
    leg = np.clip((travelled[:, :, None] >= arc[:, None, :]).sum(-1) - 1, 0, line.shape[1] - 2)
    rows = np.arange(len(line))[:, None]
    share = (travelled - arc[rows, leg]) / np.maximum(arc[rows, leg + 1] - arc[rows, leg], 1e-9)
    share = np.clip(share, 0.0, 1.0)[..., None]
    return (line[rows, leg] * (1.0 - share) + line[rows, leg + 1] * share).astype(np.float32)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _world(
    family: str, rng: np.random.Generator, points: int
) -> tuple[Obstacles, Vehicle, float, Callable[[Floats], Floats] | None]:
    """A random map of the family with a vehicle to match."""
    map_seed = int(rng.integers(1 << 31))
    if family in ("random-cells", "maze", "rooms", "warehouse"):
        size = int(rng.integers(18, 34))
        if family == "random-cells":
            blocked = maps.random_cells(size, size, density=float(rng.uniform(0.05, 0.25)), seed=map_seed)
        elif family == "maze":
            corridor = int(rng.integers(1, 4))
            across = max(3, size // (corridor + 1))
            blocked = maps.maze(across, across, corridor, loops=float(rng.uniform(0.0, 0.3)), seed=map_seed)
        elif family == "rooms":
            door = int(rng.integers(1, 3))
            blocked = maps.rooms(
                4, 4, int(rng.integers(4, 8)), door, loops=float(rng.uniform(0.2, 0.8)), seed=map_seed
            )
        else:
            aisle, depth = int(rng.integers(1, 4)), int(rng.integers(1, 3))
            blocked = maps.warehouse(5, 2, int(rng.integers(4, 11)), depth, aisle, missing=0.1, seed=map_seed)
        radius = float(rng.uniform(0.22, 0.36))
        vehicle = Vehicle(radius, 1.0, float(rng.uniform(6.0, 10.0)), points)
        return Obstacles.from_grid(blocked), vehicle, 1.0, None
    radius = 0.05 * float(rng.uniform(0.6, 1.2))
    vehicle = Vehicle(radius, 0.64, 32 * 5.0 / 64.0 * float(rng.uniform(0.8, 1.2)), points)
    bounds = (-1.0, -1.0, 1.0, 1.0)
    count = 0 if family == "empty" else int(rng.integers(3, 12))
    centre = rng.uniform(-0.9, 0.9, (count, 2))
    if family == "discs":
        half = np.repeat(rng.uniform(0.05, 0.25, (count, 1)), 2, axis=1)
        corner = half[:, :1]
    else:
        half = rng.uniform(0.04, 0.3, (count, 2))
        corner = rng.uniform(0.0, 1.0, (count, 1)) * half.min(1, keepdims=True)
    flow = None
    if family == "circulation":
        # Traffic turns one way around a block in the middle, as on a roundabout.
        centre[0], half[0], corner[0] = 0.0, rng.uniform(0.15, 0.4, 2), 0.05
        turn = float(rng.choice([-1.0, 1.0]))
        flow = partial(_circulation, turn)
    obstacles = Obstacles(np.concatenate([centre, half, corner], axis=1).astype(np.float32), bounds)
    return obstacles, vehicle, 0.1, flow


def _circulation(turn: float, points: Floats) -> Floats:
    """Unit directions around the origin: counter-clockwise for ``turn`` = 1."""
    return turn * _unit(np.stack([-points[..., 1], points[..., 0]], axis=-1))
