"""Guidance: pure functions that move a clean estimate, one file each.

Bayes' rule for scores, ∇log p(x_t | y) = ∇log p(x_t) + ∇log p(y | x_t), reads in clean estimates
x̂_0 ← x̂_0 + (σ²/α) ∇log p(y | x_t). Every term is written as such a correction, so terms add up,
and any solver runs with any of them. Terms that need the gradient of the network say so; most can
do without and then use an isotropic stand-in (`Estimate.covariance`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from envs.registry import Plugin
from policies.diffusion.estimate import Estimate
from policies.diffusion.solvers import Moment

if TYPE_CHECKING:
    from policies.diffusion.sampling import Sampler


class Guidance(Plugin):
    """A term on the clean estimate."""

    @property
    def needs_gradient(self) -> bool:
        """True if `Estimate.pull_back` is used: the network is then run with its graph kept."""
        return bool(getattr(self, "backprop", False))

    @abstractmethod
    def correct(self, at: Estimate, problem: Any) -> torch.Tensor:
        """The corrected clean estimate, shaped like ``at.x0``.

        Args:
            at: the evaluation. problem: what this term needs: its own data class, most often `Measurement`.
        """

    def after(self, moment: Moment, problem: Any, noise: Callable[[], torch.Tensor]) -> torch.Tensor | None:
        """A state to put in place of the one that a step reached (inpainting by replacement), or None."""
        return None

    @property
    def requires_solver(self) -> str | None:
        """Name of the one solver that this term makes sense with, None for any."""
        return None

    @property
    def owns_run(self) -> bool:
        """True for a method that owns its transitions and overrides `run`."""
        return type(self).run is not Guidance.run

    def run(self, sampler: Sampler, problem: Any, x: torch.Tensor) -> torch.Tensor:
        """The sample that the state ``x`` at ``sampler.times[0]`` leads to."""
        return sampler.run(x, [Term(self, problem)])


class Likelihood(Guidance):
    """A term that stands for log p(y | x_t) of some measurement; it is silent at pure noise."""

    @abstractmethod
    def shift(self, at: Estimate, problem: Any) -> torch.Tensor:
        """(σ²/α) ∇log p(y | x_t), shaped like ``at.x0``."""

    def correct(self, at: Estimate, problem: Any) -> torch.Tensor:
        return at.x0 + self.shift(at, problem) if at.informative else at.x0


@dataclass(frozen=True)
class Term:
    """A guidance term and the problem that it is about."""

    guidance: Guidance
    problem: Any
