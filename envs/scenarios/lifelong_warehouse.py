"""Work that never ends: from shelf to station and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from envs.errors import ConfigError
from envs.keyed import hash_words, stream_id
from envs.maps import WAREHOUSE, cell_centre
from envs.scenarios import SCENARIOS
from envs.scenarios._grid import Cells, GridMap, GridScenario, load
from envs.tasks import GoalQueue, Resources
from envs.world import World

TASKS = 64
"""Goals drawn per agent and episode; afterwards they come again in the same order."""


def beside_shelves(grid: GridMap) -> Cells:
    """Free cells (column, row) next to a blocked one, int64 [N, 2]."""
    blocked = np.pad(grid.blocked, 1)
    near = blocked[:-2, 1:-1] | blocked[2:, 1:-1] | blocked[1:-1, :-2] | blocked[1:-1, 2:]
    row, column = np.nonzero(near & ~grid.blocked)
    return np.stack([column, row], axis=-1)


@SCENARIOS.register("lifelong-warehouse")
class LifelongWarehouse(GridScenario):
    """The warehouse without an end: whoever has been served at a shelf or station is sent to a station or shelf.

    An agent's goals alternate between a place beside a shelf (one of its own, no other agent's) and one of the
    stations at the left and right walls (shared). They are keyed by (seed, episode, agent, how many so far), never
    by time or by what others do. Serving takes ``service_ticks`` of rest at the goal.

    An episode runs to its time limit. A lane succeeds when nothing touched anything and every agent was served at
    least once; what counts is ``tasks_per_agent_hour``.
    """

    name: ClassVar[str] = "lifelong-warehouse"

    stations: int = Field(8, ge=2, le=24, description="stations, half of them at each of two walls")
    service_ticks: int = Field(8, ge=1, le=1000, description="ticks of rest at a goal until it is served")
    any_station: bool = Field(False, description="who is sent to a station may be served at any of them")
    max_ticks: int | None = Field(1200, ge=1, description="length of an episode in ticks")

    def grid(self) -> GridMap:
        """See `GridScenario.grid`."""
        return load(WAREHOUSE)

    def stops(self, grid: GridMap) -> Cells:
        """Cells of the stations, int64 [station, 2]."""
        height, width = grid.blocked.shape
        number = np.arange(self.stations)
        along = ((number // 2 + 0.5) * height / ((self.stations + 1) // 2)).astype(np.int64)
        return np.stack([np.where(number % 2, width - 1, 0), along], axis=-1)

    def tasks(self, grid: GridMap, seed: int, episode: int) -> Cells:
        """Cells of one episode's goals, int64 [agent, K, 2]: shelves at even places, stations at odd ones."""
        shelves = beside_shelves(grid)
        if self.agents > len(shelves):
            raise ConfigError(
                f"scenario.lifelong-warehouse.agents must be at most {len(shelves)} (places beside shelves), "
                f"got {self.agents}"
            )
        stations = self.stops(grid)
        key = (seed, stream_id("scenario.lifelong-warehouse"), episode)
        shelves = shelves[np.argsort(hash_words(*key, -1, np.arange(len(shelves))), kind="stable")]
        agent, turn = np.arange(self.agents)[:, None], np.arange(TASKS)
        draw = hash_words(*key, agent, turn)
        # Shelf number a, a + A, a + 2A … are agent a's own.
        own = (len(shelves) - agent + self.agents - 1) // self.agents
        shelf = agent + self.agents * (draw % own.astype(np.uint64)).astype(np.int64)
        station = (draw % np.uint64(self.stations)).astype(np.int64)
        return np.where((turn % 2 == 0)[:, None], shelves[shelf], stations[station])

    def cells(self, grid: GridMap, seed: int, episode: int) -> tuple[Cells, Cells]:
        """Starts anywhere, goals the first of `tasks`; see `GridScenario.cells`."""
        first = self.tasks(grid, seed, episode)[:, 0]
        return super().cells(grid, seed, episode)[0], first

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`."""
        world, grid = super().build(seed, episodes), self.grid()
        cells = np.array([self.tasks(grid, seed, int(episode)) for episode in episodes], np.int64)
        goals = cell_centre(cells.reshape(len(episodes), self.agents, TASKS, 2))
        stops = cell_centre(self.stops(grid))
        capacity = np.ones(len(stops), np.int64)
        return replace(
            world,
            queue=GoalQueue(goals, self.service_ticks, stops if self.any_station else None),
            resources=Resources(stops, np.zeros_like(stops), capacity, interchangeable=self.any_station),
        )
