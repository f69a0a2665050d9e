"""A network that understands scenes: a class for every pixel, and features of the whole."""

from __future__ import annotations

import torch
from torch import nn

from policies.networks.convolution import ResidualBlock, norm


class SceneNet(nn.Module):
    """Images → class scores per pixel; features of the whole image, from which its kind is told.

    Args:
        classes: of pixels. kinds: of scenes, several questions with so many answers each.
        width: channels of the finest level. features: numbers that describe an image.
    """

    def __init__(
        self, classes: int = 6, kinds: tuple[int, ...] = (6, 4), width: int = 40, features: int = 32
    ) -> None:
        super().__init__()
        self.entry = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, width, 3, padding=1))
        self.fine_in, self.fine_out = ResidualBlock(width), ResidualBlock(width)
        self.shrink = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * width, 2 * width, 1))
        self.coarse = nn.Sequential(ResidualBlock(2 * width), ResidualBlock(2 * width))
        self.grow = nn.Sequential(nn.Conv2d(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.merge = nn.Conv2d(2 * width, width, 1)
        self.exit = nn.Sequential(
            norm(width), nn.SiLU(), nn.Conv2d(width, 4 * classes, 3, padding=1), nn.PixelShuffle(2)
        )
        self.describe = nn.Sequential(nn.Linear(4 * width, features), nn.Tanh())
        self.kinds = nn.ModuleList(nn.Linear(features, count) for count in kinds)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores [batch, classes, H, W] and features [batch, features] of x [batch, 3, H, W] in [−1, 1]."""
        fine = self.fine_in(self.entry(x))
        coarse = self.coarse(self.shrink(fine))
        hidden = self.fine_out(self.merge(torch.cat([fine, self.grow(coarse)], dim=1)))
        spread, middle = torch.std_mean(coarse.float(), dim=(2, 3))
        return self.exit(hidden), self.describe(torch.cat([middle, spread], dim=1))
