"""Diffusion of class maps: cells are one-hot vectors, so the clean estimate is known with their probabilities.

A map as a signal is −1 in every channel but 1 in that of a cell's class. With x̄ = x_0 + ρ ε the posterior mean of such
a signal is exactly 2 p − 1, with p the cell's class probabilities given all of x̄. A network says what the surroundings
tell of them; what the cell's own six numbers tell is known: log p(x̄ | c) = 2 x̄_c / ρ² up to a constant.

Reference: Bayes' rule. Dieleman et al., "Continuous diffusion for categorical data", 2022, section 3 (probabilities
by cross-entropy in place of regression).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from policies.diffusion.process import Process
from policies.diffusion.solvers import Denoise

SHARPEST = 60.0
"""Largest score, so that a noiseless cell stays finite."""
SHARES = (0.715, 0.174, 0.037, 0.026, 0.022, 0.026)
"""Of the classes among the cells of scenes that models are trained on."""
RARITY = 0.2
"""How much rare classes are preferred where a map is unsure, see `decided`."""


def scores(network: Callable[..., torch.Tensor], noisy: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Logarithms of class probabilities, up to a constant, [batch, classes, H, W].

    Args:
        network: told ¼ ln ρ. noisy: x̄ = x_0 + ρ ε, [batch, classes, H, W]. ratio: ρ, [batch] or [1].
    """
    level = ratio.clamp_min(1e-3)
    wide = level.reshape(-1, 1, 1, 1)
    told = network((1.0 + wide.square()).rsqrt() * noisy, 0.25 * level.log().expand(len(noisy))).float()
    own = 2.0 * noisy / wide.square()
    return told + own.clamp(-SHARPEST, SHARPEST)


def map_denoiser(network: Callable[..., torch.Tensor], process: Process) -> Denoise:
    """x, t → posterior mean 2 p − 1, for a sampler."""

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        # At pure noise nothing is left of the data: a very large ratio stands for an infinite one.
        alpha, sigma = max(process.alpha(t), 1e-3), process.sigma(t)
        ratio = torch.full((1,), max(sigma / alpha, 1e-3), dtype=x.dtype, device=x.device)
        return 2.0 * torch.softmax(scores(network, x / alpha, ratio), dim=1) - 1.0

    return denoise


def decided(probabilities: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The class of every cell, [batch, H, W], of class probabilities [batch, classes, H, W]: greatest p / share^RARITY.

    Of blurred probabilities the greatest is nearly always that of the floor, so that small things vanish; intersection
    over union counts every class alike. Sure cells stay what they are. `RARITY`, chosen on scenes of the training
    bank, is best or near it from 16 symbols to 512 at 10 dB.
    """
    weight = np.asarray(SHARES)[:, None, None] ** -RARITY
    return np.asarray((probabilities * weight).argmax(axis=1), np.uint8)
