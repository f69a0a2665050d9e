"""Denoisers made of denoisers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from policies.diffusion.solvers import Denoise


def joint(parts: Sequence[tuple[Denoise, tuple[int, ...]]]) -> Denoise:
    """Independent priors over one concatenated row, e.g. a signal and the channel that it went through.

    Args:
        parts: (denoiser, shape of its rows); rows of the joint denoiser are the flat parts side by side.

    Returns:
        denoise(x [batch, Σ numbers], t).
    """
    sizes = [math.prod(shape) for _, shape in parts]

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        cleaned = [
            part(piece.reshape(len(x), *shape), t).flatten(1)
            for piece, (part, shape) in zip(x.split(sizes, dim=1), parts, strict=True)
        ]
        return torch.cat(cleaned, dim=1)

    return denoise
