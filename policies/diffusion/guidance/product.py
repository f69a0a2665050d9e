"""Composition: the product of several models' densities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from envs.errors import ConfigError
from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Likelihood
from policies.diffusion.solvers import Denoise


@dataclass(frozen=True)
class Experts:
    """Models whose densities multiply that of the sampler's own denoiser.

    Attributes:
        denoisers: experts p_i. weights: exponents, one for each.
        reference: q with ∏ (p_i/q)^{w_i}, for experts that share a prior; None for the plain product ∏ p_i^{w_i}.
    """

    denoisers: Sequence[Denoise]
    weights: Sequence[float]
    reference: Denoise | None = None

    def __post_init__(self) -> None:
        if len(self.denoisers) != len(self.weights):
            raise ConfigError(
                f"weights must be one for each of {len(self.denoisers)} experts, got {len(self.weights)}"
            )


@GUIDANCE.register("product")
class Product(Likelihood):
    """Product of experts: scores add up; exact as noise vanishes, so let predictor-corrector settle it.

    The product of noised densities is not the noised product; Langevin corrections at low noise make up
    for it.
    Reference: Liu et al., "Compositional visual generation with composable diffusion models", 2022, eq. 9;
    Du et al., "Reduce, reuse, recycle", 2023, section 4.
    """

    def shift(self, at: Estimate, problem: Experts) -> torch.Tensor:
        # A flat reference has score zero, which is the clean estimate x/α.
        base = problem.reference(at.x, at.t) if problem.reference else at.x / at.process.alpha(at.t)
        total = torch.zeros_like(at.x0)
        for denoise, weight in zip(problem.denoisers, problem.weights, strict=True):
            total = total + weight * (denoise(at.x, at.t) - base)
        return total
