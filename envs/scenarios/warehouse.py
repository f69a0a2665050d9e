"""The demonstration: a fleet between the shelves of the map that ships."""

from __future__ import annotations

from typing import ClassVar

from envs.maps import WAREHOUSE
from envs.scenarios import SCENARIOS
from envs.scenarios._grid import GridMap, GridScenario, load


@SCENARIOS.register("warehouse")
class Warehouse(GridScenario):
    """Random trips between the shelves of the 36×26 warehouse that ships."""

    name: ClassVar[str] = "warehouse"

    def grid(self) -> GridMap:
        """See `GridScenario.grid`."""
        return load(WAREHOUSE)
