"""A network that understands scenes: a class for every pixel, and features of the whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from policies.networks.convolution import Attention, ResidualBlock, norm


class SceneNet(nn.Module):
    """Images → class scores per pixel; features of the whole image, from which its kind is told.

    A U-Net on blocks of 2 × 2 pixels; its coarsest level sees the whole image (attention) and gives the features.

    Args:
        classes: of pixels. kinds: of scenes, several questions with so many answers each.
        width: channels of the finest level. multipliers: of the width, per level. blocks: residual ones per level.
        features: numbers that describe an image.
    """

    def __init__(
        self,
        classes: int = 6,
        kinds: tuple[int, ...] = (6, 4),
        width: int = 48,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        features: int = 32,
    ) -> None:
        super().__init__()
        widths = [width * m for m in multipliers]
        steps = list(zip(widths[:-1], widths[1:], strict=True))
        self.entry = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, widths[0], 3, padding=1))
        self.down = nn.ModuleList(nn.Sequential(*(ResidualBlock(w) for _ in range(blocks))) for w in widths)
        self.shrink = nn.ModuleList(nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * a, b, 1)) for a, b in steps)
        self.attention = Attention(widths[-1])
        self.grow = nn.ModuleList(nn.Sequential(nn.Conv2d(b, 4 * a, 1), nn.PixelShuffle(2)) for a, b in steps)
        self.merge = nn.ModuleList(nn.Conv2d(2 * a, a, 1) for a, _ in steps)
        self.up = nn.ModuleList(nn.Sequential(*(ResidualBlock(a) for _ in range(blocks))) for a, _ in steps)
        self.exit = nn.Sequential(
            norm(widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 4 * classes, 3, padding=1), nn.PixelShuffle(2)
        )
        self.describe = nn.Sequential(nn.Linear(2 * widths[-1], features), nn.Tanh())
        self.kinds = nn.ModuleList(nn.Linear(features, count) for count in kinds)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores [batch, classes, H, W] and features [batch, features] of x [batch, 3, H, W] in [−1, 1]."""
        hidden, kept = self.entry(x), []
        for number, shrink in enumerate(self.shrink):
            kept.append(self.down[number](hidden))
            hidden = shrink(kept[-1])
        hidden = self.attention(self.down[-1](hidden))
        spread, middle = torch.std_mean(hidden.float(), dim=(2, 3))
        for number in reversed(range(len(self.up))):
            merged = self.merge[number](torch.cat([kept[number], self.grow[number](hidden)], dim=1))
            hidden = self.up[number](merged)
        return self.exit(hidden), self.describe(torch.cat([middle, spread], dim=1))
