"""Decoupled annealing: draw a clean sample given state and measurement, then noise it again."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Guidance
from policies.diffusion.krylov import covered_solution, square_root
from policies.diffusion.operators import Measurement
from policies.diffusion.schedule import grid
from policies.diffusion.solvers.runge_kutta import Heun


@GUIDANCE.register("daps")
class DAPS(Guidance):
    """x_0 ~ p(x_0 | x_t, y) for a Gaussian p(x_0 | x_t); goes with the solver ``consistency``, which re-noises.

    ``denoiser`` takes its covariance from the denoiser's Jacobian and is exact for Gaussian data;
    ``isotropic`` is the published heuristic N(x̂_0, r² I) around the end point of a short probability-flow
    solution (r = σ/α there; here limited by the data's variance, without which nonlinear measurements
    diverge at high noise). Linear measurements are drawn exactly (Matheron's rule); nonlinear ones are
    linearised at x̂_0, and ``langevin_steps`` then walk on the true likelihood.
    Reference: Zhang et al., "Improving diffusion inverse problem solving with decoupled noise annealing",
    2024, algorithm 1 and eq. 8.
    """

    covariance: Literal["denoiser", "isotropic"] = Field("denoiser", description="spread of x_0 given x_t")
    iterations: int = Field(32, ge=1, description="Krylov steps for the covariance's root and inverse")
    flow_steps: int = Field(0, ge=0, description="Heun steps of the flow to x̂_0; 0 takes the posterior mean")
    langevin_steps: int = Field(0, ge=0, description="Langevin steps on the nonlinear likelihood")
    langevin_rate: float = Field(
        0.1, gt=0.0, le=1.0, description="Langevin step relative to the posterior's variance"
    )

    @property
    def requires_solver(self) -> str:
        return "consistency"

    @property
    def needs_gradient(self) -> bool:
        return self.covariance == "denoiser"

    def correct(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        if not at.informative:
            return at.x0
        assert at.noise is not None, "the sampler gives noise to terms that draw"
        width = at.variance**0.5
        centre = at.x0
        if self.flow_steps:
            times = grid(at.process, self.flow_steps, start=at.t)
            centre = Heun().solve(at.process, at.denoise, at.x, times)
        shape = centre.shape

        def spread(v: torch.Tensor) -> torch.Tensor:
            if self.covariance == "isotropic":
                return width**2 * v
            return at.covariance(v.reshape(shape)).flatten(1)

        operator = problem.operator
        draw = at.noise(0).flatten(1)
        root = width * draw if self.covariance == "isotropic" else square_root(spread, draw, self.iterations)
        residual = problem.residual(centre)
        noise = problem.noise * _measurement_noise(at, residual)
        seen = operator.forward_derivative(root.reshape(shape), centre)

        moved = covered_solution(
            lambda u: operator.adjoint(u, centre).flatten(1),
            spread,
            lambda v: operator.forward_derivative(v.reshape(shape), centre),
            residual - seen - noise,
            problem.noise,
            self.iterations,
        )
        x0 = centre + (root + moved).reshape(shape)
        for k in range(self.langevin_steps):
            x0 = self._walk(x0, centre, width**2, problem, at.noise(1000 + k))
        return x0

    def _walk(
        self,
        x0: torch.Tensor,
        centre: torch.Tensor,
        variance: float,
        problem: Measurement,
        noise: torch.Tensor,
    ) -> torch.Tensor:
        """One unadjusted Langevin step on N(x_0; centre, variance I) N(y; A(x_0), σ_y² I).

        Its length is a share of the narrowest scale, with the operator's slope as seen by the residual.
        """
        residual = problem.residual(x0)
        pulled = problem.operator.adjoint(residual, x0).flatten(1)
        slope = pulled.square().sum(1) / residual.square().sum(1).clamp_min(1e-20)
        length = self.langevin_rate / (slope / problem.noise**2 + 1.0 / variance)
        length = length.reshape(-1, *([1] * (x0.dim() - 1)))
        pull = pulled.reshape(x0.shape) / problem.noise**2 + (centre - x0) / variance
        return x0 + length * pull + (2.0 * length).sqrt() * noise


def _measurement_noise(at: Estimate, residual: torch.Tensor) -> torch.Tensor:
    """Standard normal draws shaped like the measurement, from the rows' own noise."""
    assert at.noise is not None
    parts: list[torch.Tensor] = []
    draw = 1
    while sum(part.shape[1] for part in parts) < residual.shape[1]:
        parts.append(at.noise(draw).flatten(1))
        draw += 1
    return torch.cat(parts, dim=1)[:, : residual.shape[1]].to(residual)
