"""A crossing of two streets."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
from pydantic import Field

from envs.errors import ConfigError
from envs.keyed import hash_words, stream_id, uniform
from envs.scenarios import SCENARIOS
from envs.scenarios._grid import Cells, GridMap, GridScenario

_ARMS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""Outward directions of the arms, counter-clockwise (x to the right, y up)."""
RIGHT, STRAIGHT, LEFT = 1, 2, 3
"""Arm that an agent leaves by, counted counter-clockwise from the one that it comes by."""


@lru_cache(maxsize=32)
def crossing(arm: int) -> GridMap:
    """Two streets two cells wide that cross, with arms of ``arm`` cells, between solid blocks."""
    blocked = np.ones((2 * arm + 2, 2 * arm + 2), bool)
    blocked[arm : arm + 2] = blocked[:, arm : arm + 2] = False
    return GridMap("intersection", blocked)


def slots(arm: int, outward: bool) -> Cells:
    """Cells (column, row) of each arm's right-hand side, int64 [4, arm, 2], from the crossing outwards.

    Args:
        arm: cells. outward: the side of those who leave, or of those who come.
    """
    heading = _ARMS if outward else -_ARMS
    right = np.stack([heading[:, 1], -heading[:, 0]], axis=-1)
    step = np.arange(arm)[:, None] + 1.5
    spot = arm + 1 + _ARMS[:, None] * step + 0.5 * right[:, None]
    return np.asarray(np.floor(spot), np.int64)


@SCENARIOS.register("intersection")
class Intersection(GridScenario):
    """Agents come by the four arms of a crossing and go straight on, left or right between solid blocks.

    Streets are 2 m wide. Starts are on the right-hand side of the way in, goals on that of the way out, in map
    coordinates (x to the right, y up; pictures of maps have y down). ``keep_right`` makes that the map's motion
    pattern. Where an arm has no free place left for a goal, the agent goes another way.
    """

    name: ClassVar[str] = "intersection"

    agents: int = Field(8, ge=1, description="number of agents")
    arm: int = Field(8, ge=2, le=40, description="length of each arm, m")
    straight: float = Field(0.5, ge=0, le=1, description="share that goes straight on; the others turn, half each way")

    def grid(self) -> GridMap:
        """See `GridScenario.grid`."""
        return crossing(self.arm)

    def cells(self, grid: GridMap, seed: int, episode: int) -> tuple[Cells, Cells]:
        """Drawn places on the ways in, and on the ways out; see `GridScenario.cells`."""
        places = 4 * self.arm
        if self.agents > places:
            raise ConfigError(
                f"scenario.intersection.agents must be at most {places} (places on the ways in), got {self.agents}"
            )
        key = (seed, stream_id("scenario.intersection"), episode)
        chosen = np.argsort(hash_words(*key, 0, np.arange(places)), kind="stable")[: self.agents]
        start = slots(self.arm, outward=False).reshape(-1, 2)[chosen]
        draw = uniform(*key, 1, np.arange(self.agents))
        turn = np.where(draw < self.straight, STRAIGHT, np.where(draw < (1 + self.straight) / 2, RIGHT, LEFT))
        order = np.argsort(hash_words(*key, 2, np.arange(4)[:, None], np.arange(self.arm)), axis=1, kind="stable")
        used = [0] * 4
        goal = np.empty_like(start)
        ways_out = slots(self.arm, outward=True)
        for agent, (came_by, wanted) in enumerate(zip((chosen // self.arm).tolist(), turn.tolist(), strict=True)):
            # The way it wants, then the others; back the way it came only if all are full.
            options = [(came_by + by) % 4 for by in (wanted, STRAIGHT, RIGHT, LEFT, 0)]
            arm = next(option for option in options if used[option] < self.arm)
            goal[agent] = ways_out[arm, order[arm, used[arm]]]
            used[arm] += 1
        return start, goal
