"""Variance preserving, linear β schedule."""

from __future__ import annotations

import math

import torch
from pydantic import Field

from policies.diffusion import PROCESSES
from policies.diffusion.process import Process, T


@PROCESSES.register("vp-linear")
class LinearVP(Process):
    """Variance preserving, β growing linearly: α = exp(−½∫β), σ² = 1 − α².

    Reference: Ho, Jain and Abbeel 2020, section 4, in the continuous time of Song et al. 2021, eq. 32–33.
    """

    beta_min: float = Field(0.1, ge=0.0, description="β at t = 0, per unit of time")
    beta_max: float = Field(20.0, gt=0.0, description="β at t = 1, per unit of time")

    def _integral(self, t: T) -> T:
        return self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t * t

    def alpha(self, t: T) -> T:
        half = -0.5 * self._integral(t)
        return torch.exp(half) if isinstance(half, torch.Tensor) else math.exp(half)

    def sigma(self, t: T) -> T:
        spent = -self._integral(t)
        if isinstance(spent, torch.Tensor):
            return torch.sqrt(-torch.expm1(spent))
        return math.sqrt(-math.expm1(spent))

    def rates(self, t: float) -> tuple[float, float]:
        beta, alpha, sigma = self.beta_min + (self.beta_max - self.beta_min) * t, self.alpha(t), self.sigma(t)
        return -0.5 * beta * alpha, 0.5 * beta * alpha * alpha / sigma if sigma > 0.0 else math.inf

    def time_of(self, ratio: float) -> float:
        spent = math.log1p(min(ratio, 1e100) ** 2)
        if spent == 0.0:
            return 0.0
        # The root of the quadratic in the form that cancels no digits and allows any slope, also 0; where β
        # falls it has none for a ratio beyond that of t = 1.
        square = self.beta_min**2 + 2.0 * (self.beta_max - self.beta_min) * spent
        return min(2.0 * spent / (self.beta_min + math.sqrt(square)), 1.0) if square > 0.0 else 1.0
