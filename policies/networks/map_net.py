"""A network that guesses what stands in cells that nobody has seen yet, from those that somebody has."""

from __future__ import annotations

import torch
from torch import nn


class MapNet(nn.Module):
    """Partly seen occupancy maps → log-odds of every cell to be filled.

    Args:
        width: channels. dilations: of the 3 × 3 convolutions, one after the other; the first and last are followed
            and preceded by no other than them, those between are residual.
    """

    def __init__(self, width: int = 32, dilations: tuple[int, ...] = (1, 2, 4, 8, 2)) -> None:
        super().__init__()
        self.entry = nn.Conv2d(3, width, 3, padding=1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in dilations)
        self.exit = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Log-odds [batch, H, W] of x [batch, 3, H, W]: seen to be filled, seen to be free, and 1 inside the arena."""
        hidden = nn.functional.silu(self.entry(x))
        for layer in self.middle:
            hidden = hidden + nn.functional.silu(layer(hidden))
        return self.exit(hidden)[:, 0]
