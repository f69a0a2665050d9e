"""Plan codes: how the plans of a run cross the air."""

from __future__ import annotations

from abc import abstractmethod

from agentsc.intent.plan import PlanSpec
from envs.registry import Plugin, Registry

PLAN_CODES = Registry("plan-codes", "agentsc.intent.codes")


class PlanCode(Plugin):
    """How plans become bits and back."""

    @abstractmethod
    def spec(self, plain: PlanSpec) -> PlanSpec:
        """The code for plans in the world and of the shape that ``plain`` describes.

        Raises:
            ConfigError: plans of a shape that the code does not know, or weights that cannot be read.
        """


__all__ = ["PLAN_CODES", "PlanCode"]
