"""Anywhere to anywhere in a square that grows with the fleet."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

from pydantic import Field

from envs.geometry import Obstacles
from envs.scenarios import SCENARIOS
from envs.scenarios._unit import RADIUS, UnitScenario


@lru_cache(maxsize=32)
def _square(half: float) -> Obstacles:
    """A walled square with nothing in it; immutable, so every episode shares one."""
    return Obstacles((), (-half, -half, half, half), cutoff=1.0)


@SCENARIOS.register("field")
class FieldOfAgents(UnitScenario):
    """Uniform random starts and goals in a walled square with as many agents per square metre for any fleet.

    The world is that of the unit scenes but for its size: the side is sqrt(agents / density) metres, and the time limit
    grows with it.
    """

    name: ClassVar[str] = "field"

    agents: int = Field(16, ge=1, le=1024, description="number of agents")
    density: float = Field(4.0, gt=0.0, le=12.0, description="agents per square metre; 16 of them on 2 m x 2 m at 4")

    @property
    def half(self) -> float:
        """Half the side, metres."""
        return round(0.5 * math.sqrt(self.agents / self.density), 6)

    def walls(self) -> Obstacles:
        """See `UnitScenario.walls`."""
        return _square(self.half)

    @property
    def reach(self) -> float:
        """See `UnitScenario.reach`."""
        return self.half - RADIUS

    @property
    def time_limit(self) -> int:
        """``max_ticks``, and in proportion more on fields larger than the unit world."""
        return math.ceil(self.max_ticks * max(1.0, self.half))
