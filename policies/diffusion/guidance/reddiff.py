"""RED-diff: a variational fit, denoising as the regulariser of an optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field

from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Guidance
from policies.diffusion.operators import Measurement

if TYPE_CHECKING:
    from policies.diffusion.sampling import Sampler


@GUIDANCE.register("red-diff")
class REDDiff(Guidance):
    """Stochastic descent on ‖y − A(μ)‖² + weight (σ/α) (ε̂ − ε)ᵀμ; finds a mode, not a posterior sample.

    Owns its run; needs no gradient of the network. The step is Adam's, one for every time of the grid.
    Reference: Mardani et al., "A variational perspective on solving inverse problems with diffusion
    models", 2024, algorithm 1.
    """

    weight: float = Field(0.25, gt=0.0, description="λ: weight of the regulariser")
    rate: float = Field(0.1, gt=0.0, description="Adam's step, in units of the data")

    def correct(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        return at.x0

    def run(self, sampler: Sampler, problem: Measurement, x: torch.Tensor) -> torch.Tensor:
        process, operator = sampler.process, problem.operator
        mean = sampler.denoise(x, sampler.times[0])
        first, second = torch.zeros_like(mean), torch.zeros_like(mean)
        # At time 0 nothing is noised and nothing can be learnt about μ.
        for k, t in enumerate(t for t in sampler.times if process.sigma(t) > 0.0):
            noise = sampler.noise(k)
            alpha, sigma = process.alpha(t), process.sigma(t)
            noisy = alpha * mean + sigma * noise
            predicted = process.epsilon(noisy, sampler.denoise(noisy, t), t)
            gradient = -2.0 * operator.adjoint(problem.residual(mean), mean)
            gradient = gradient + self.weight * min(sigma / max(alpha, 1e-3), 1e3) * (predicted - noise)
            first = 0.9 * first + 0.1 * gradient
            second = 0.99 * second + 0.01 * gradient.square()
            step = (first / (1.0 - 0.9 ** (k + 1))) / ((second / (1.0 - 0.99 ** (k + 1))).sqrt() + 1e-8)
            mean = mean - self.rate * step
        return mean
