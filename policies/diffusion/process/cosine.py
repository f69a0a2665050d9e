"""Variance preserving, cosine schedule."""

from __future__ import annotations

import math

import torch

from policies.diffusion import PROCESSES
from policies.diffusion.process import Process, T

HALF_PI = 0.5 * math.pi


@PROCESSES.register("vp-cosine")
class CosineVP(Process):
    """Variance preserving, cosine schedule: α = cos(πt/2), σ = sin(πt/2); pure noise at t = 1.

    α² + σ² = 1: data of unit variance keep unit variance at every time.
    Reference: Nichol and Dhariwal, "Improved denoising diffusion probabilistic models", 2021,
    eq. 17 with offset s = 0.
    """

    def alpha(self, t: T) -> T:
        return torch.cos(HALF_PI * t) if isinstance(t, torch.Tensor) else math.cos(HALF_PI * t)

    def sigma(self, t: T) -> T:
        return torch.sin(HALF_PI * t) if isinstance(t, torch.Tensor) else math.sin(HALF_PI * t)

    def rates(self, t: float) -> tuple[float, float]:
        return -HALF_PI * math.sin(HALF_PI * t), HALF_PI * math.cos(HALF_PI * t)

    def time_of(self, ratio: float) -> float:
        return min(max(math.atan(ratio) / HALF_PI, 0.0), 1.0)
