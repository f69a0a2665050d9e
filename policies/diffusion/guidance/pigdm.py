"""Pseudoinverse guidance: a clean estimate with isotropic uncertainty."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Likelihood
from policies.diffusion.krylov import covered_solution
from policies.diffusion.operators import Linear, Measurement, Operator


def pull_isotropic(
    operator: Operator,
    x0: torch.Tensor,
    residual: torch.Tensor,
    variance: float,
    noise: float,
    iterations: int,
) -> torch.Tensor:
    """Aᵀ (v A Aᵀ + σ_y² I)⁻¹ r like ``x0``, with A's derivative there: by its SVD if linear, else by CG."""
    if isinstance(operator, Linear):
        return operator.adjoint(operator.solve(residual, variance, noise), x0)
    pulled = covered_solution(
        lambda u: operator.adjoint(u, x0), lambda v: variance * v, lambda v: operator.forward_derivative(v, x0),
        residual, noise, iterations,
    )  # fmt: skip
    return pulled / variance


@GUIDANCE.register("pigdm")
class PiGDM(Likelihood):
    """p(x_0 | x_t) ≈ N(x̂_0, r² I): A's pseudoinverse softened by r²; exact only for isotropic data.

    Published for data of unit variance, r² = ρ²/(1 + ρ²) with ρ = σ/α; with ``data`` the sampler's data
    variance v enters as r² = ρ² v/(ρ² + v).
    Reference: Song et al., "Pseudoinverse-guided diffusion models", 2023, eq. 7–8.
    """

    variance: Literal["unit", "data"] = Field(
        "data", description="unit as published, data for the data's own"
    )
    scale: float = Field(1.0, gt=0.0, description="multiplies the correction")
    iterations: int = Field(16, ge=1, description="conjugate-gradient steps, for nonlinear operators")
    backprop: bool = Field(True, description="differentiate through the network, or take x̂_0 as isotropic")

    def shift(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        variance = at.variance
        if self.variance == "unit":
            noise, data = at.process.sigma(at.t) ** 2, at.process.alpha(at.t) ** 2
            variance = noise / (noise + data)
        pulled = pull_isotropic(
            problem.operator, at.x0, problem.residual(at.x0), variance, problem.noise, self.iterations
        )
        return self.scale * at.covariance(pulled, self.backprop)
