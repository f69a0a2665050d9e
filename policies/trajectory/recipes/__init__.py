"""Recipes: what one optimiser step of a training minimises, one file each. A preset names its recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from policies.trajectory.prior import TrajectoryPrior


class Recipe(ABC):
    """A training objective over demonstrations. Its draws come from the generator of the step alone.

    Attributes:
        scale: float32 [state], units of the states that the prior is about.
    """

    scale: torch.Tensor

    def phase(self, step: int) -> tuple[int, int]:
        """(first step, number of steps) of the phase that ``step`` is in; the rate anneals within a phase."""
        return 0, self.steps

    @property
    @abstractmethod
    def steps(self) -> int:
        """Optimiser steps of all phases."""

    def begin(self, step: int, prior: TrajectoryPrior, average: TrajectoryPrior) -> None:
        """Called before ``step``, the first of a phase; most recipes have only one."""
        return None

    @abstractmethod
    def loss(
        self, prior: TrajectoryPrior, average: TrajectoryPrior, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss to minimise, plain error to report), scalars.

        Args:
            prior: is trained. average: its slowly averaged twin.
        """

    def state(self) -> dict[str, Any]:
        """Tensors that a resumed training needs besides the prior's."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        return None
