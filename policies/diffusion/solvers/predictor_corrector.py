"""Predictor–corrector: an ancestral step, then Langevin steps at the new noise level."""

from __future__ import annotations

import torch
from pydantic import Field

from policies.diffusion import SOLVERS
from policies.diffusion.solvers import Solver, Step
from policies.diffusion.solvers.ancestral import posterior


@SOLVERS.register("predictor-corrector")
class PredictorCorrector(Solver):
    """Ancestral prediction, Langevin corrections (weak order 1 if r ∝ 1/√steps); also samples products of models.

    The step is δ = 2 (r σ)², the published rule with the norm of the score replaced by its expectation
    √d/σ, so that no sample's step depends on the batch it rides in.

    Unadjusted Langevin steps have a bias: where the marginal's variance is V they settle at V/(1 − δ/2V), too
    wide by the share (r σ)²/V. At fixed r more steps do not remove it: on a grid that ends at σ > 0 that share
    remains; on one that ends at 0 the error falls with steps^(−2/3), the last turns being too short to settle.
    With the default r both only show beyond 1,000 steps, below which the predictor's error is the larger.
    Reference: Song et al. 2021, algorithms 2–5; for products: Du et al., "Reduce, reuse, recycle", 2023.
    """

    corrections: int = Field(1, ge=0, description="Langevin steps after every prediction")
    langevin_snr: float = Field(
        0.16, gt=0.0, le=1.0, description="r: step of the corrector relative to the noise"
    )

    def step(self, at: Step) -> torch.Tensor:
        mean, variance = posterior(at)
        x = mean + variance**0.5 * at.noise(0)
        alpha, sigma = at.process.alpha(at.s), at.process.sigma(at.s)
        length = 2.0 * (self.langevin_snr * sigma) ** 2
        for turn in range(self.corrections):
            score = (alpha * at.denoise(x, at.s) - x) / (sigma * sigma)
            x = x + length * score + (2.0 * length) ** 0.5 * at.noise(1 + turn)
        return x
