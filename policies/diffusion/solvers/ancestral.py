"""Ancestral (DDPM) sampling: the exact posterior q(x_s | x_t, x̂_0) at every step."""

from __future__ import annotations

from collections.abc import Callable

import torch

from policies.diffusion import SOLVERS
from policies.diffusion.process import CosineVP
from policies.diffusion.solvers import Solver


@SOLVERS.register("ancestral")
class Ancestral(Solver):
    """Draws from the Gaussian posterior of each step; many steps, unbiased as they grow.

    Reference: Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", 2020, eq. 6–7.
    """

    def step(
        self,
        process: CosineVP,
        x: torch.Tensor,
        x0: torch.Tensor,
        t: float,
        s: float,
        noise: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        ratio = process.alpha(t) / process.alpha(s)
        var_t, var_s = process.sigma(t) ** 2, process.sigma(s) ** 2
        var_step = var_t - ratio**2 * var_s
        mean = (ratio * var_s * x + process.alpha(s) * var_step * x0) / var_t
        return mean + (var_step * var_s / var_t) ** 0.5 * noise()
