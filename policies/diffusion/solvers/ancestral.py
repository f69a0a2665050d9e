"""Ancestral (DDPM) sampling: the exact posterior q(x_s | x_t, x̂_0) at every step."""

from __future__ import annotations

import torch

from policies.diffusion import SOLVERS
from policies.diffusion.solvers import Solver, Step


def posterior(at: Step) -> tuple[torch.Tensor, float]:
    """Mean and variance of q(x_s | x_t, x_0 = x̂_0).

    Reference: Kingma et al., "Variational diffusion models", 2021, eq. 25–26 of appendix A.
    """
    process = at.process
    ratio, var_step = process.transition(at.s, at.t)
    var_t, var_s = process.sigma(at.t) ** 2, process.sigma(at.s) ** 2
    mean = (ratio * var_s * at.x + process.alpha(at.s) * var_step * at.x0) / var_t
    return mean, var_step * var_s / var_t


@SOLVERS.register("ancestral")
class Ancestral(Solver):
    """Draws from the Gaussian posterior of each step; many steps, exact as they grow (weak order 1).

    Reference: Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", 2020, eq. 6–7.
    """

    def step(self, at: Step) -> torch.Tensor:
        mean, variance = posterior(at)
        return mean + variance**0.5 * at.noise(0)
