"""DDIM: the deterministic sampler, with η as the dial towards the ancestral one."""

from __future__ import annotations

import torch
from pydantic import Field

from policies.diffusion import SOLVERS
from policies.diffusion.solvers import Solver, Step


@SOLVERS.register("ddim")
class DDIM(Solver):
    """Denoising diffusion implicit model: few steps, deterministic at η = 0 (order 1).

    Reference: Song, Meng and Ermon, "Denoising diffusion implicit models", 2021, eq. 12 and 16.
    """

    eta: float = Field(0.0, ge=0.0, le=1.0, description="0 deterministic, 1 as noisy as ancestral sampling")

    def step(self, at: Step) -> torch.Tensor:
        process = at.process
        _, var_step = process.transition(at.s, at.t)
        std = self.eta * process.sigma(at.s) / process.sigma(at.t) * var_step**0.5
        epsilon = process.epsilon(at.x, at.x0, at.t)
        x = process.alpha(at.s) * at.x0 + max(process.sigma(at.s) ** 2 - std**2, 0.0) ** 0.5 * epsilon
        return x + std * at.noise(0) if std > 0.0 else x
