"""DPM-Solver++(2M): second order at one network call a step."""

from __future__ import annotations

import math

import torch

from policies.diffusion import SOLVERS
from policies.diffusion.solvers import Solver, Step


@SOLVERS.register("dpm-solver++")
class DPMSolverPP2M(Solver):
    """Multistep exponential integrator of the probability-flow ODE in log-SNR (order 2, one call a step).

    The first step is DDIM, and so is a step of infinite length (from pure noise).
    Reference: Lu et al., "DPM-Solver++", 2022, algorithm 2.
    """

    def step(self, at: Step) -> torch.Tensor:
        process = at.process
        length = process.log_snr(at.s) - process.log_snr(at.t)
        estimate = at.x0
        if at.before is not None:
            t_before, x0_before = at.before
            last = process.log_snr(at.t) - process.log_snr(t_before)
            if math.isfinite(last) and math.isfinite(length):
                estimate = at.x0 + (0.5 * length / last) * (at.x0 - x0_before)
        shrink = process.sigma(at.s) / process.sigma(at.t)
        return shrink * at.x - process.alpha(at.s) * math.expm1(-length) * estimate
