"""The unit world of the MMD scenes: its constants, its spaced draws and the shared base class.

World [-1, 1]², discs of radius 0.05, 64 way-points over 5 s, starts and goals at least 0.15 apart.
Speeds are ours: 0.05 per step.

Reference: Shaoul et al., "Multi-robot motion planning with diffusion models" (MMD), ICLR 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.errors import ConfigError
from envs.geometry import Obstacles
from envs.keyed import stream_id, uniform
from envs.scenarios import Motion, Scenario
from envs.world import Stops, World

Float = NDArray[np.float32]

BOUNDS = (-1.0, -1.0, 1.0, 1.0)
RADIUS = 0.05
DT = 5 / 64
V_MAX = 0.64
TOLERANCE = 0.05
SEPARATION = 0.10
SPACING = 0.15  # between starts, and between goals
CLEARANCE = 0.16  # of a drawn start or goal, centre to obstacle
REACH = 0.95  # drawn coordinates stay within ±REACH
CANDIDATES = 1 << 16  # tried for one draw before the agents are said not to fit


def box(x: float, y: float, width: float, height: float, corner: float = 0.0) -> tuple[float, ...]:
    """A rounded-box row (cx, cy, half width, half height, corner radius) from centre and full size."""
    return (x, y, width / 2, height / 2, corner)


@lru_cache(maxsize=32)
def arena(boxes: tuple[tuple[float, ...], ...]) -> Obstacles:
    """The walled unit world with these boxes; immutable, so every episode shares one."""
    return Obstacles(boxes, BOUNDS, cutoff=1.0)


def spacing(points: Float) -> float:
    """Least distance between two of the points [A, 2]; inf for one."""
    gap = np.linalg.norm(points[:, None] - points, axis=-1)
    return float(np.min(gap + np.diag(np.full(len(points), np.inf)), initial=np.inf))


def straightness(positions: Float) -> Float:
    """Share of points within a tenth of the start-to-end distance of the straight line between them.

    Args:
        positions: float32 [T+1, agent, 2].

    Returns:
        float32 [agent].
    """
    start, span = positions[0], positions[-1] - positions[0]
    length = np.linalg.norm(span, axis=-1)
    unit = span / np.maximum(length, 1e-9)[:, None]
    offset = positions - start
    aside = np.abs(offset[..., 0] * unit[:, 1] - offset[..., 1] * unit[:, 0])
    return (aside <= 0.1 * length).mean(axis=0).astype(np.float32)


class UnitScenario(Scenario):
    """Base of the scenarios in the unit world."""

    boxes: ClassVar[tuple[tuple[float, ...], ...]] = ()
    flow: ClassVar[Callable[[Float], Float] | None] = None
    adherence: ClassVar[Callable[[Float], Float]] = straightness
    stops: ClassVar[Stops | None] = None

    max_ticks: int = Field(256, ge=1, description="time limit in ticks of 5/64 s")

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`."""
        pairs = [self.points(seed, int(episode)) for episode in episodes]
        starts = np.array([start for start, _ in pairs], np.float32).reshape(-1, self.agents, 2)
        goals = np.array([goal for _, goal in pairs], np.float32).reshape(-1, self.agents, 2)
        obstacles = self.walls()
        motion = self.motion(obstacles)
        return World(
            name=self.name,
            obstacles=obstacles,
            radius=RADIUS,
            v_max=V_MAX,
            a_max=self.acceleration_limit(V_MAX),
            dt=DT,
            dynamics=self.dynamics,
            goal_tolerance=TOLERANCE,
            separation=SEPARATION,
            max_ticks=self.time_limit,
            cell=2 * RADIUS,
            starts=starts,
            goals=goals,
            episodes=np.asarray(episodes, np.int64),
            flow=motion.flow,
            via=self.itineraries(starts, goals),
            adherence=motion.adherence,
            stops=motion.stops,
            notes=f"unit world of the MMD scenes, {self.name}, seed {seed}",
        )

    def walls(self) -> Obstacles:
        """The map."""
        return arena(self.boxes)

    @property
    def time_limit(self) -> int:
        """Ticks that an episode may take."""
        return self.max_ticks

    @property
    def reach(self) -> float:
        """Drawn coordinates stay within so many metres of the middle."""
        return REACH

    def motion(self, obstacles: Obstacles) -> Motion:
        """See `Scenario.motion`."""
        # The class attributes are plain functions; reading them off the class keeps them unbound.
        family = type(self)
        return Motion(family.flow, family.adherence, family.stops)

    def points(self, seed: int, episode: int) -> tuple[Float, Float]:
        """Starts and goals of one episode, float32 [agent, 2] each: drawn, unless a scene says otherwise."""
        return self.draw(seed, episode, "start"), self.draw(seed, episode, "goal")

    @classmethod
    def itineraries(cls, starts: Float, goals: Float) -> Float | None:
        """Points to pass before the goal, float32 [lane, agent, K, 2], or None."""
        return None if cls.stops is None else cls.stops.points(starts, goals)

    def draw(self, seed: int, episode: int, what: str, count: int | None = None, beside: Float | None = None) -> Float:
        """Uniform points clear of the obstacles and of each other, float32 [count, 2].

        A candidate is kept when it is more than `CLEARANCE` from every obstacle and more than
        `SPACING` from all kept before it, which is MMD's own rule; the wall does not count.

        Args:
            what: names the draw, in its key and in an error.
            count: how many; None for one per agent. beside: points [n, 2] to keep the same distance from.
        """
        count, field = (self.agents, "agents") if count is None else (count, f"{what}s")
        clear = Obstacles(self.boxes, cutoff=0.5) if self.boxes else None
        key = (seed, stream_id(f"scenario.{self.name}.{what}"), episode)
        kept = np.zeros((0, 2), np.float32) if beside is None else beside
        taken = len(kept)
        batch = 256
        for first in range(0, CANDIDATES, batch):
            draws = uniform(*key, np.arange(first, first + batch)[:, None], np.arange(2))
            spots = (self.reach * (2 * draws - 1)).astype(np.float32)
            if clear is not None:
                spots = spots[clear.signed_distance(spots) > CLEARANCE]
            spots = spots[(np.linalg.norm(spots[:, None] - kept, axis=-1) > SPACING).all(axis=1)]
            while len(spots) and len(kept) < taken + count:
                kept = np.concatenate([kept, spots[:1]])
                spots = spots[np.linalg.norm(spots - spots[0], axis=-1) > SPACING]
            if len(kept) == taken + count:
                return kept[taken:]
        found = len(kept) - taken
        raise ConfigError(
            f"scenario.{self.name}.{field} must fit with {SPACING} m between {what}s, got {count} "
            f"({found} found room: ask for at most about {int(0.9 * found)})"
        )


class RingScenario(UnitScenario):
    """Base of the scenarios whose agents start at equal angles around the centre."""

    phase: float | None = Field(
        0.0, allow_inf_nan=False, description="angle of the first agent, rad; null draws one per episode"
    )
    jitter: float = Field(0.0, ge=0, le=0.1, description="largest random change of an agent's angle, rad")

    def place(self, angles: NDArray[np.float64]) -> tuple[Float, Float]:
        """Starts and goals of agents at these angles [agent], float32 [agent, 2] each."""
        raise NotImplementedError

    def points(self, seed: int, episode: int) -> tuple[Float, Float]:
        """Starts and goals; drawn phases that leave agents nearer than `SPACING` are drawn again."""
        roomiest = int(8 / SPACING)  # the whole wall's length
        if self.agents > roomiest:
            raise ConfigError(
                f"scenario.{self.name}.agents must be at most {roomiest} "
                f"({SPACING} m apart all along the wall), got {self.agents}"
            )
        index = np.arange(self.agents)
        stream = stream_id(f"scenario.{self.name}")
        drawn = self.phase is None or self.jitter > 0
        closest = 0.0
        for attempt in range(256 if drawn else 1):
            key = (seed, stream, episode, attempt)
            phase = 2 * np.pi * float(uniform(*key, -1)) if self.phase is None else self.phase
            noise = self.jitter * (2 * uniform(*key, index) - 1)
            starts, goals = self.place(phase + 2 * np.pi * index / self.agents + noise)
            closest = max(closest, min(spacing(starts), spacing(goals)))
            if closest >= SPACING:
                return starts, goals
        raise ConfigError(
            f"scenario.{self.name}.agents must fit with {SPACING} m between starts and between goals, "
            f"got {self.agents} (they come within {closest:.3f} m: ask for fewer)"
        )
