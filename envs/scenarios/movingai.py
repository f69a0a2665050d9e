"""Any MovingAI map."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
from pydantic import Field

from envs.errors import ConfigError
from envs.keyed import hash_words, stream_id
from envs.maps import WAREHOUSE, ScenPair, read_scen
from envs.scenarios import SCENARIOS
from envs.scenarios._grid import Cells, GridMap, GridScenario, Stamp, load, stamp


@lru_cache(maxsize=8)
def _pairs(path: str, version: Stamp | None, grid: GridMap) -> list[ScenPair]:
    return read_scen(path, grid.blocked)


@SCENARIOS.register("movingai")
class MovingAI(GridScenario):
    """Trips on a MovingAI .map, with the pairs of its .scen or drawn in the largest free area."""

    name: ClassVar[str] = "movingai"

    map: str | None = Field(None, description="a MovingAI .map file; null is the warehouse that ships")
    scen: str | None = Field(None, description="that map's .scen file; null draws starts and goals")
    first: int | None = Field(
        None, ge=0, description="the pair of the .scen file to begin with; null draws one for each episode"
    )

    def grid(self) -> GridMap:
        """See `GridScenario.grid`."""
        return load(self.map or WAREHOUSE)

    def cells(self, grid: GridMap, seed: int, episode: int) -> tuple[Cells, Cells]:
        """The pairs of the ``.scen`` file in the file's order, those that clash left out.

        A pair clashes when its start or its goal is taken, its start is its goal, or no way leads
        from one to the other.
        """
        if self.scen is None:
            return super().cells(grid, seed, episode)
        pairs = _pairs(self.scen, stamp(self.scen), grid)
        first = self.first
        if first is None:
            key = hash_words(seed, stream_id("scenario.movingai.first"), episode)
            first = int(key % np.uint64(len(pairs)))
        starts: dict[tuple[int, int], None] = {}
        goals: dict[tuple[int, int], None] = {}
        for index in range(len(pairs)):
            _, start, goal, _ = pairs[(first + index) % len(pairs)]
            joined = grid.regions[start[::-1]] == grid.regions[goal[::-1]]
            if joined and start != goal and start not in starts and goal not in goals:
                starts[start], goals[goal] = None, None
                if len(starts) == self.agents:
                    return np.array(list(starts), np.int64), np.array(list(goals), np.int64)
        raise ConfigError(
            f"scenario.movingai.agents must be at most {len(starts)} (pairs of {self.scen} with "
            f"distinct starts, distinct goals and a way between them), got {self.agents}"
        )
