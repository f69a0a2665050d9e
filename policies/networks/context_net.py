"""A network that predicts each cell of a map from those before it, small enough to be run in integers."""

from __future__ import annotations

import torch
from torch import nn

from envs.errors import ConfigError

SCALES = 4
"""Resolutions that maps are coded at: the full one, and halves of it."""
FIXED = 256
"""Weights are whole numbers of 1/FIXED, below 8 in size: both are exact in a file of half precision."""
LARGEST = 2047.0 / FIXED


class ContextNet(nn.Module):
    """Map → scores of every cell's class, in bits, from cells above it and to its left.

    A cell sees ``reach`` rows above and ``reach`` columns to both sides; what lies beyond the edge is a class of its
    own. Two hidden layers, the second on one cell at a time.

    Args:
        classes: of cells. reach: cells that a cell sees on every side. width, hidden: of the two layers.

    Raises:
        ConfigError: a size below 1.

    Reference: van den Oord et al., "Pixel recurrent neural networks", 2016, section 3.4 (masked convolutions).
    """

    def __init__(self, classes: int = 6, reach: int = 4, width: int = 48, hidden: int = 32) -> None:
        super().__init__()
        if min(classes, reach, width, hidden) < 1:
            raise ConfigError(
                f"classes, reach, width and hidden must be at least 1, got {classes}, {reach}, {width} and {hidden}"
            )
        self.classes, self.reach = classes, reach
        near = reach * (2 * reach + 1) + reach
        self.table = nn.Parameter(torch.randn(width, classes + 1, near) / near**0.5)
        self.scale = nn.Parameter(torch.zeros(SCALES, width))
        self.second, self.third = nn.Conv2d(width, hidden, 1), nn.Conv2d(hidden, classes, 1)

    @property
    def filter(self) -> torch.Tensor:
        """The table as a convolution [width, classes + 1, reach + 1, 2 reach + 1] that sees nothing later."""
        rest = self.table.new_zeros(*self.table.shape[:2], self.reach + 1)
        whole = torch.cat([self.table, rest], dim=2)
        return whole.unflatten(2, (self.reach + 1, 2 * self.reach + 1))

    def forward(self, labels: torch.Tensor, scale: int) -> torch.Tensor:
        """Scores [batch, classes, H, W], log2 up to a constant, of int64 labels [batch, H, W] at a resolution."""
        reach = self.reach
        around = nn.functional.pad(labels, (reach, reach, reach, 0), value=self.classes)
        hot = nn.functional.one_hot(around, self.classes + 1).movedim(-1, 1).to(self.table.dtype)
        hidden = nn.functional.conv2d(hot, self.filter) + self.scale[scale][:, None, None]
        return self.third(torch.relu(self.second(torch.relu(hidden))))

    def rounded(self) -> None:
        """Put every weight on the grid that integers know."""
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_((weight.clamp(-LARGEST, LARGEST) * FIXED).round() / FIXED)
