"""Euler–Maruyama on the reverse-time stochastic differential equation."""

from __future__ import annotations

import torch

from policies.diffusion import SOLVERS
from policies.diffusion.solvers import Solver, Step
from policies.diffusion.solvers.ancestral import posterior

_PURE_NOISE = 1e-3


@SOLVERS.register("euler-maruyama")
class EulerMaruyama(Solver):
    """dx = [f x − g² ∇log p_t] dt + g dw̄ with fixed steps (weak order 1); needs many.

    Where the data are lost altogether (α ≈ 0) the drift is infinite: the first step is ancestral there.
    Reference: Song et al. 2021, eq. 6 and appendix D.
    """

    def step(self, at: Step) -> torch.Tensor:
        process = at.process
        alpha, sigma = process.alpha(at.t), process.sigma(at.t)
        if alpha < _PURE_NOISE:
            mean, variance = posterior(at)
            return mean + variance**0.5 * at.noise(0)
        f, variance = process.drift(at.t)
        score = (alpha * at.x0 - at.x) / (sigma * sigma)
        length = at.t - at.s
        return at.x - (f * at.x - variance * score) * length + (variance * length) ** 0.5 * at.noise(0)
