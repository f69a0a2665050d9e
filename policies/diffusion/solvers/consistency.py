"""Few-step sampling with a consistency model: jump to the data, add noise again, jump."""

from __future__ import annotations

import torch

from policies.diffusion import SOLVERS
from policies.diffusion.solvers import Solver, Step


@SOLVERS.register("consistency")
class Consistency(Solver):
    """x_s = α_s f(x_t, t) + σ_s z with fresh noise; exact at any number of steps if f is the flow's end point.

    With a denoiser in place of a consistency function this is the annealing of DAPS.
    Reference: Song et al., "Consistency models", 2023, algorithm 1; Zhang et al., "DAPS", 2024, algorithm 1.
    """

    def step(self, at: Step) -> torch.Tensor:
        return at.process.alpha(at.s) * at.x0 + at.process.sigma(at.s) * at.noise(0)
