"""Diffusion posterior sampling: the likelihood at the clean estimate, as if that were certain."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from envs.errors import ConfigError
from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Likelihood
from policies.diffusion.operators import Measurement


@GUIDANCE.register("dps")
class DPS(Likelihood):
    """Gradient of ‖y − A(x̂_0)‖ through the network; biased: it ignores how uncertain x̂_0 is.

    ``normalised`` is the published step, x_s ← x_s − scale ∇‖y − A(x̂_0)‖ after an ancestral step, carried
    over to x̂_0. ``gaussian`` weighs by the measurement's variance σ_y², ``annealed`` by σ_y² + (σ/α)².
    Reference: Chung et al., "Diffusion posterior sampling for general noisy inverse problems", 2023,
    algorithm 1 with ζ_i = ζ/‖y − A(x̂_0)‖; without backprop: He et al., "Manifold preserving guided
    diffusion", 2024, algorithm 1.
    """

    step: Literal["normalised", "gaussian", "annealed"] = Field(
        "normalised", description="how steps are scaled"
    )
    scale: float = Field(1.0, gt=0.0, description="multiplies the step")
    backprop: bool = Field(True, description="differentiate through the network, or take x̂_0 as isotropic")

    def shift(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        residual = problem.residual(at.x0)
        pull = at.covariance(problem.operator.adjoint(residual, at.x0), self.backprop)
        if self.step == "gaussian":
            return self.scale / problem.noise**2 * pull
        alpha, variance = at.process.alpha(at.t), at.process.sigma(at.t) ** 2
        if self.step == "annealed":
            return self.scale / (problem.noise**2 + variance / alpha**2) * pull
        if at.s is None:
            raise ConfigError(
                "guidance.dps.step must be 'gaussian' or 'annealed' with solvers of several calls a step, got "
                "'normalised' (its published step belongs to solvers of one call)"
            )
        # J ᵀu = (α/σ²) Cov u; an ancestral step moves x_s by so much per unit of x̂_0:
        _, var_step = at.process.transition(at.s, at.t)
        carried = at.process.alpha(at.s) * var_step / variance
        length = residual.norm(dim=1).clamp_min(1e-12).reshape(-1, *([1] * (pull.dim() - 1)))
        return (self.scale * alpha / variance / carried) * pull / length
