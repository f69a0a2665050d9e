"""Moment matching: a clean estimate with the covariance that the denoiser's Jacobian gives."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Likelihood
from policies.diffusion.krylov import covered_solution
from policies.diffusion.operators import Measurement


@GUIDANCE.register("moment")
class MomentMatching(Likelihood):
    """p(x_0 | x_t) ≈ N(x̂_0, Cov[x_0 | x_t]) with Cov from the denoiser; exact for Gaussian data.

    The system (A Cov Aᵀ + σ_y² I) v = y − A x̂_0 is solved by conjugate gradients, one backward pass a
    step, or with ``diagonal`` by the published approximation diag(A Cov Aᵀ 1), one backward pass in all.
    A nonlinear A is linearised at x̂_0.
    Reference: Boys et al., "Tweedie moment projected diffusions", 2023, eq. 7 and section 3.3; Rozet et
    al., "Learning diffusion priors from observations", 2024, section 4.2 (conjugate gradients).
    """

    solve: Literal["cg", "diagonal"] = Field("cg", description="how the measurements' covariance is inverted")
    iterations: int = Field(16, ge=1, description="conjugate-gradient steps at most")
    tolerance: float = Field(1e-4, gt=0.0, lt=1.0, description="relative residual at which a row is done")
    backprop: bool = Field(True, description="differentiate through the network, or take x̂_0 as isotropic")

    def shift(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        operator, residual = problem.operator, problem.residual(at.x0)

        def pull(u: torch.Tensor) -> torch.Tensor:
            return operator.adjoint(u, at.x0)

        def cover(v: torch.Tensor) -> torch.Tensor:
            return at.covariance(v, self.backprop)

        def push(v: torch.Tensor) -> torch.Tensor:
            return operator.forward_derivative(v, at.x0)

        if self.solve == "diagonal":
            spread = push(cover(pull(torch.ones_like(residual)))) + problem.noise**2
            return cover(pull(residual / spread.clamp_min(problem.noise**2)))
        return covered_solution(pull, cover, push, residual, problem.noise, self.iterations, self.tolerance)
