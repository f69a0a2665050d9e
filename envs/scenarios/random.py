"""Anywhere to anywhere in the open."""

from __future__ import annotations

from typing import ClassVar

from envs.scenarios import SCENARIOS
from envs.scenarios._unit import UnitScenario


@SCENARIOS.register("random")
class Random(UnitScenario):
    """Uniform random starts and goals in an empty arena (MMD's Empty with random instances)."""

    name: ClassVar[str] = "random"
