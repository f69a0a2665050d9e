"""Shared base of the scenarios on grid maps: one cell is one metre."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.errors import ConfigError
from envs.geometry import Obstacles
from envs.keyed import hash_words, stream_id
from envs.maps import Blocked, cell_centre, read_map
from envs.scenarios import Motion, Scenario
from envs.world import World

Float = NDArray[np.float32]
Cells = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GridMap:
    """A map file with what every episode on it shares.

    Attributes:
        path: where it was read from.
        blocked: bool [H, W].
    """

    path: str
    blocked: Blocked

    @cached_property
    def obstacles(self) -> Obstacles:
        """The geometry, metres."""
        return Obstacles.from_grid(self.blocked)

    @cached_property
    def regions(self) -> NDArray[np.int32]:
        """Connected free areas, int [H, W] numbered from 1; 0 is blocked.

        Four neighbours suffice: a diagonal step needs both cells beside it free.
        """
        from scipy.ndimage import label

        return np.asarray(label(~self.blocked)[0], np.int32)

    @cached_property
    def largest(self) -> Cells:
        """Cells (column, row) of the largest connected free area, int64 [N, 2]."""
        sizes = np.bincount(self.regions.ravel(), minlength=2)
        sizes[0] = 0
        row, column = np.nonzero(self.regions == sizes.argmax())
        return np.stack([column, row], axis=-1) if sizes.any() else np.zeros((0, 2), np.int64)


@lru_cache(maxsize=32)
def longest(grid: GridMap, radius: float) -> float:
    """Length of about the longest shortest path of a map's largest area for discs of this radius, metres.

    Two sweeps: the way from the node farthest from some node to the one farthest from that. It is
    at least half of the true diameter, and belongs to the map, so that no lane depends on another.
    """
    from envs.navigation import NavigationGrid  # loads scipy, which a listing need not wait for

    if not len(grid.largest):
        return 0.0
    ways = NavigationGrid(grid.obstacles, clearance=radius, cell=1.0)
    spot, length = cell_centre(grid.largest[:1]), 0.0
    for _ in range(2):
        field = ways.fields(spot)[0]
        field = np.where(np.isfinite(field), field, -1)
        row, column = np.unravel_index(int(field.argmax()), field.shape)
        spot, length = cell_centre([[column, row]]), float(field.max())
    return max(length, 0.0)


Stamp = tuple[int, int]


def stamp(path: str | Path) -> Stamp | None:
    """What tells a file from its later versions; None when there is no file to ask."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _load(path: str, version: Stamp | None) -> GridMap:
    return GridMap(path, read_map(path))


def load(path: str | Path) -> GridMap:
    """The map in this file; a file is read again only when it has changed.

    Raises:
        ConfigError: as `envs.maps.read_map`.
    """
    return _load(str(path), stamp(path))


@dataclass(frozen=True)
class KeepRight:
    """Right-hand traffic: along the nearest wall with that wall to the right.

    Where the passage is about one cell wide there are no two sides to keep, and the flow is zero.
    """

    obstacles: Obstacles

    def __call__(self, points: Float) -> Float:
        """Directions [..., 2], unit or zero, at points [..., 2]."""
        away = self.obstacles.distance_and_gradient(points)[1]
        roomy = self.obstacles.signed_distance(np.asarray(points, np.float32) + away) > 0
        along = np.stack([away[..., 1], -away[..., 0]], axis=-1)
        return np.where(roomy[..., None], along, 0).astype(np.float32)


class GridScenario(Scenario):
    """Base of the scenarios on a grid map."""

    agents: int = Field(16, ge=1, description="number of agents")
    radius: float = Field(0.3, gt=0, lt=0.5, description="radius of an agent, m; a cell is 1 m wide")
    v_max: float = Field(1.0, gt=0, le=20, description="top speed, m/s")
    dt: float = Field(0.25, gt=0, le=2, description="length of a tick, s")
    goal_tolerance: float = Field(0.2, gt=0, lt=0.5, description="an agent this near to its goal is there, m")
    max_ticks: int | None = Field(
        None, ge=1, description="time limit in ticks; null: four times the map's longest trip, and a minute"
    )
    keep_right: bool = Field(False, description="give the map right-hand traffic as its motion pattern")

    def grid(self) -> GridMap:
        """The map to use."""
        raise NotImplementedError

    def ground(self, grid: GridMap) -> Cells:
        """Cells (column, row) that agents may start in or go to, int64 [N, 2]."""
        return grid.largest

    def cells(self, grid: GridMap, seed: int, episode: int) -> tuple[Cells, Cells]:
        """Start and goal cells (column, row) of one episode, int64 [agent, 2] each.

        Drawn from `ground`; no two starts and no two goals share a cell, and no
        agent's goal is its own start where that can be avoided.
        """
        room = self.ground(grid)
        if len(room) < self.agents:
            raise ConfigError(
                f"scenario.{self.name}.agents must be at most {len(room)} (free cells of the largest "
                f"connected area of {grid.path}), got {self.agents}"
            )
        number = np.arange(len(room))
        keys = (
            hash_words(seed, stream_id(f"scenario.grid.{what}"), episode, number)
            for what in ("start", "goal")
        )
        start, goal = (room[np.argsort(key, kind="stable")] for key in keys)
        start = start[: self.agents]
        for shift in range(len(room)):
            chosen = np.roll(goal, -shift, axis=0)[: self.agents]
            if (chosen != start).any(axis=1).all():
                break
        return start, chosen

    def spots(self, grid: GridMap, seed: int, episode: int) -> tuple[Float, Float]:
        """Starts and goals of one episode, float32 [agent, 2] each, metres: the centres of `cells`."""
        start, goal = self.cells(grid, seed, episode)
        return cell_centre(start), cell_centre(goal)

    def motion(self, obstacles: Obstacles) -> Motion:
        """See `Scenario.motion`."""
        return Motion(flow=KeepRight(obstacles) if self.keep_right else None)

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`."""
        grid = self.grid()
        pairs = [self.spots(grid, seed, int(episode)) for episode in episodes]
        spots = np.array(pairs, np.float32).reshape(-1, 2, self.agents, 2)
        height, width = grid.blocked.shape
        limit = self.max_ticks
        if limit is None:
            limit = math.ceil((4 * longest(grid, self.radius) / self.v_max + 60) / self.dt)
        return World(
            name=self.name,
            obstacles=grid.obstacles,
            radius=self.radius,
            v_max=self.v_max,
            a_max=self.acceleration_limit(self.v_max),
            dt=self.dt,
            dynamics=self.dynamics,
            goal_tolerance=self.goal_tolerance,
            separation=2 * self.radius,
            max_ticks=limit,
            cell=1.0,
            starts=np.ascontiguousarray(spots[:, 0]),
            goals=np.ascontiguousarray(spots[:, 1]),
            episodes=np.asarray(episodes, np.int64),
            flow=self.motion(grid.obstacles).flow,
            notes=f"{Path(grid.path).name}, {width}×{height} cells, seed {seed}",
        )
