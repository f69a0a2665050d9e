"""The noise process: variance preserving, cosine schedule, in continuous time.

Reference: Nichol and Dhariwal, "Improved denoising diffusion probabilistic models", 2021,
eq. 17 with offset s = 0; Karras et al., "Elucidating the design space…", 2022, for D(x, t).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class CosineVP:
    """x_t = α(t) x_0 + σ(t) ε with α = cos(πt/2), σ = sin(πt/2), t in [0, 1].

    α² + σ² = 1: data of unit variance keep unit variance at every time.
    """

    def alpha(self, t: float) -> float:
        return math.cos(0.5 * math.pi * t)

    def sigma(self, t: float) -> float:
        return math.sin(0.5 * math.pi * t)

    def diffuse(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Forward process at times ``t`` [batch]; ``x0`` and ``noise`` are [batch, …]."""
        angle = (0.5 * math.pi * t).reshape(-1, *([1] * (x0.dim() - 1)))
        return torch.cos(angle) * x0 + torch.sin(angle) * noise

    def epsilon(self, x: torch.Tensor, x0: torch.Tensor, t: float) -> torch.Tensor:
        """The noise implied by a clean estimate: ε = (x_t − α x̂_0)/σ. Needs t > 0."""
        return (x - self.alpha(t) * x0) / self.sigma(t)

    def times(self, steps: int, start: float = 1.0, power: float = 1.0) -> list[float]:
        """``steps + 1`` times from ``start`` down to 0: evenly spaced, or denser near 0 for ``power`` > 1.

        Raises:
            ValueError: fewer than one step, or a start outside (0, 1].
        """
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps} (denoising steps)")
        if not 0.0 < start <= 1.0:
            raise ValueError(f"start must be in (0, 1], got {start} (diffusion time to start from)")
        return [start * (1.0 - k / steps) ** power for k in range(steps + 1)]
