"""Noise processes: how data turn into noise, one file each.

Reference: Song et al., "Score-based generative modeling through stochastic differential
equations", 2021, section 3; Kingma et al., "Variational diffusion models", 2021, section 3.1.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TypeVar

import torch

from envs.registry import Plugin

T = TypeVar("T", float, torch.Tensor)


class Process(Plugin):
    """x_t = α(t) x_0 + σ(t) ε for t in [0, 1], with σ(0) = 0 or nearly so.

    Subclasses give α, σ, their derivatives and the time of a noise-to-signal ratio; the rest
    follows. Times are Python floats in samplers and tensors in training.
    """

    @abstractmethod
    def alpha(self, t: T) -> T:
        """Scale of the data at time ``t``."""

    @abstractmethod
    def sigma(self, t: T) -> T:
        """Standard deviation of the noise at time ``t``."""

    @abstractmethod
    def rates(self, t: float) -> tuple[float, float]:
        """(dα/dt, dσ/dt)."""

    @abstractmethod
    def time_of(self, ratio: float) -> float:
        """The time at which σ/α = ``ratio``, clipped to [0, 1]."""

    def diffuse(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Forward process at times ``t`` [batch]; ``x0`` and ``noise`` are [batch, …]."""
        t = t.reshape(-1, *([1] * (x0.dim() - 1)))
        return self.alpha(t) * x0 + self.sigma(t) * noise

    def epsilon(self, x: torch.Tensor, x0: torch.Tensor, t: float) -> torch.Tensor:
        """The noise implied by a clean estimate: ε = (x_t − α x̂_0)/σ. Needs σ(t) > 0."""
        return (x - self.alpha(t) * x0) / self.sigma(t)

    def ratio(self, t: float) -> float:
        """Noise-to-signal ratio σ/α: the σ of EDM, since x_t/α = x_0 + (σ/α) ε; infinite at pure noise."""
        alpha = self.alpha(t)
        return self.sigma(t) / alpha if alpha > 0.0 else math.inf

    def log_snr(self, t: float) -> float:
        """λ = log(α/σ), half the logarithm of the signal-to-noise ratio; ±infinite at the ends."""
        alpha, sigma = self.alpha(t), self.sigma(t)
        if sigma == 0.0:
            return math.inf
        return math.log(alpha / sigma) if alpha > 0.0 else -math.inf

    def angle(self, t: float) -> float:
        """φ with x_t ∝ cos(φ) x_0 + sin(φ) ε, in [0, π/2]; increasing in t."""
        return math.atan2(self.sigma(t), self.alpha(t))

    def time_at_angle(self, angle: float) -> float:
        """Inverse of `angle`."""
        return self.time_of(math.tan(angle)) if angle < 0.5 * math.pi else 1.0

    def transition(self, s: float, t: float) -> tuple[float, float]:
        """(a, variance) of the forward kernel q(x_t | x_s) = N(a x_s, variance) for s ≤ t.

        Reference: Kingma et al. 2021, eq. 2 (α_{t|s} and σ²_{t|s}).
        """
        a = self.alpha(t) / self.alpha(s)
        return a, max(self.sigma(t) ** 2 - a * a * self.sigma(s) ** 2, 0.0)

    def drift(self, t: float) -> tuple[float, float]:
        """(f, g²) of the forward SDE dx = f x dt + g dw; infinite where α = 0.

        Reference: Kingma et al. 2021, eq. 3: f = d log α/dt, g² = dσ²/dt − 2 f σ².
        """
        alpha_rate, sigma_rate = self.rates(t)
        alpha, sigma = self.alpha(t), self.sigma(t)
        if alpha <= 0.0:
            return -math.inf, math.inf
        f = alpha_rate / alpha
        return f, max(2.0 * sigma * sigma_rate - 2.0 * f * sigma * sigma, 0.0)
