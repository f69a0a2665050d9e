"""DDIM: the deterministic sampler, with η as the dial towards the ancestral one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field

from policies.diffusion import SOLVERS
from policies.diffusion.process import CosineVP
from policies.diffusion.solvers import Solver


@SOLVERS.register("ddim")
class DDIM(Solver):
    """Denoising diffusion implicit model: few steps, deterministic at η = 0.

    Reference: Song, Meng and Ermon, "Denoising diffusion implicit models", 2021, eq. 12 and 16.
    """

    eta: float = Field(0.0, ge=0.0, le=1.0, description="0 deterministic, 1 as noisy as ancestral sampling")

    def step(
        self,
        process: CosineVP,
        x: torch.Tensor,
        x0: torch.Tensor,
        t: float,
        s: float,
        noise: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        epsilon = process.epsilon(x, x0, t)
        alpha_ratio = process.alpha(t) / process.alpha(s)
        std = self.eta * process.sigma(s) / process.sigma(t) * max(1.0 - alpha_ratio**2, 0.0) ** 0.5
        x = process.alpha(s) * x0 + max(process.sigma(s) ** 2 - std**2, 0.0) ** 0.5 * epsilon
        return x + std * noise() if std > 0.0 else x
