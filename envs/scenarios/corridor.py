"""Two-way traffic through a corridor in which nobody can pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
from pydantic import Field

from envs.errors import ConfigError
from envs.keyed import hash_words, stream_id
from envs.scenarios import SCENARIOS
from envs.scenarios._grid import Cells, GridMap, GridScenario
from envs.tasks import Resources
from envs.world import World


@lru_cache(maxsize=32)
def corridor(room: int, length: int, bays: int) -> GridMap:
    """Two square rooms of ``room`` cells joined by a corridor one cell wide, with bays on alternating sides."""
    blocked = np.ones((room, 2 * room + length), bool)
    blocked[:, :room] = blocked[:, room + length :] = False
    middle = room // 2
    blocked[middle] = False
    for bay in range(bays):
        column = room + ((2 * bay + 1) * length) // (2 * bays)
        blocked[middle + (1 if bay % 2 else -1), column] = False
    return GridMap("corridor", blocked)


@SCENARIOS.register("corridor")
class Corridor(GridScenario):
    """Half of the agents cross from each of two rooms to the other, by a corridor 1 m wide with bays to give way in.

    Two agents of the default radius need 1.2 m to pass each other. Agents of even number start on the left.
    """

    name: ClassVar[str] = "corridor"

    agents: int = Field(6, ge=1, description="number of agents, half of them in each room")
    radius: float = Field(0.3, gt=0.25, lt=0.5, description="radius of an agent, m; two do not fit side by side in 1 m")
    room: int = Field(5, ge=3, le=31, description="side of each room, m; odd")
    length: int = Field(12, ge=3, le=60, description="length of the corridor, m")
    bays: int = Field(2, ge=1, le=30, description="bays of 1 m × 1 m along the corridor, on alternating sides")

    def grid(self) -> GridMap:
        """See `GridScenario.grid`."""
        if self.room % 2 == 0:
            raise ConfigError(f"scenario.corridor.room must be odd, got {self.room} (the corridor meets its middle)")
        if 2 * self.bays >= self.length:
            raise ConfigError(
                f"scenario.corridor.bays must be fewer than half of the length, {self.length} m, got {self.bays}"
            )
        return corridor(self.room, self.length, self.bays)

    def cells(self, grid: GridMap, seed: int, episode: int) -> tuple[Cells, Cells]:
        """Drawn cells of the own room and of the other one; see `GridScenario.cells`."""
        side = np.arange(self.agents) % 2
        if self.agents > 2 * self.room**2:
            raise ConfigError(
                f"scenario.corridor.agents must be at most {2 * self.room**2} (cells of two rooms), got {self.agents}"
            )
        cell = np.arange(self.room**2)
        place = np.stack([cell % self.room, cell // self.room], axis=-1)
        stream = stream_id("scenario.corridor")
        drawn = [
            [place[np.argsort(hash_words(seed, stream, episode, what, room, cell), kind="stable")] for room in (0, 1)]
            for what in (0, 1)
        ]
        turn = np.arange(self.agents) // 2
        across = np.array([self.room + self.length, 0])
        start = np.where(side[:, None], drawn[0][1][turn] + across, drawn[0][0][turn])
        goal = np.where(side[:, None], drawn[1][0][turn], drawn[1][1][turn] + across)
        return start, goal

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`; the map says that the corridor holds agents of one direction at a time."""
        centre = np.array([[self.room + self.length / 2, self.room // 2 + 0.5]], np.float32)
        half = np.array([[self.length / 2, 0.5]], np.float32)
        capacity = np.ones(1, np.int64)
        return replace(super().build(seed, episodes), resources=Resources(centre, half, capacity, one_way=True))
