"""A U-Net for images that works on blocks of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from envs.errors import ConfigError
from policies.networks.convolution import Attention, Merge, ResidualBlock, Scalars, Shrink, norm


class UNet(nn.Module):
    """Image → image of the same size, told one number a row (the noise level), as EDM preconditioning asks.

    Blocks of ``unshuffle`` × ``unshuffle`` pixels become channels first, which makes it several times cheaper than
    convolutions on single pixels; every level halves the resolution once more; the coarsest one has attention.

    Args:
        channels: of the image. width: channels of the finest level. multipliers: of the width, per level.
        unshuffle: pixels of a block per axis. outputs: channels of the result; those of the image if 0.

    Raises:
        ConfigError: a width that is not a multiple of 4, no levels, or a block of no pixels.

    Reference: Ronneberger et al., "U-Net", 2015; Hoogeboom et al., "Simple diffusion", 2023, section 3.1 (blocks).
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 40,
        multipliers: Sequence[int] = (1, 2, 2),
        unshuffle: int = 2,
        outputs: int = 0,
    ) -> None:
        super().__init__()
        if width < 4 or width % 4 or not multipliers or unshuffle < 1:
            raise ConfigError(
                f"width must be a positive multiple of 4, with at least one multiplier and unshuffle, got {width}, "
                f"{list(multipliers)} and {unshuffle} (of a U-Net)"
            )
        self.factor = unshuffle * 2 ** (len(multipliers) - 1)
        condition = 2 * width
        widths = [width * m for m in multipliers]
        self.clock = Scalars(1, condition, reach=2.0)
        self.entry = nn.Conv2d(channels * unshuffle**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(ResidualBlock(w, condition) for w in widths)
        self.shrink = nn.ModuleList(Shrink(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.middle = nn.ModuleList([ResidualBlock(widths[-1], condition), ResidualBlock(widths[-1], condition)])
        self.attention = Attention(widths[-1])
        self.merge = nn.ModuleList(Merge(2 * w, w) for w in widths)
        self.up = nn.ModuleList(ResidualBlock(w, condition) for w in widths)
        self.grow = nn.ModuleList(
            nn.Conv2d(b, 4 * a, 1) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.norm = norm(widths[0])
        self.exit = nn.Conv2d(widths[0], (outputs or channels) * unshuffle**2, 3, padding=1)
        self.blocks, self.fold = nn.PixelUnshuffle(unshuffle), nn.PixelShuffle(unshuffle)
        self.widen = nn.PixelShuffle(2)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, noise: torch.Tensor | float) -> torch.Tensor:
        """The network's output [batch, outputs, height, width].

        Args:
            x: [batch, channels, height, width], sides that are multiples of ``factor``. noise: [batch] or one for all.

        Raises:
            ValueError: sides that do not fit.
        """
        if x.shape[-1] % self.factor or x.shape[-2] % self.factor:
            raise ValueError(f"image sides must be multiples of {self.factor}, got {tuple(x.shape[-2:])}")
        # Computed in x's precision, so that priors of double precision can be checked, too.
        level = torch.as_tensor(noise, dtype=x.dtype, device=x.device).expand(len(x))
        return self.through(x, self.clock(level[:, None]))

    def through(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """As `forward`, given what blocks are told, [batch, 2 · width]."""
        hidden = self.entry(self.blocks(x))
        kept: list[torch.Tensor] = []
        for number, block in enumerate(self.down):
            hidden = block(hidden, told)
            kept.append(hidden)
            if number < len(self.shrink):
                hidden = self.shrink[number](hidden)
        hidden = self.middle[1](self.attention(self.middle[0](hidden, told)), told)
        for number in reversed(range(len(self.up))):
            hidden = self.up[number](self.merge[number](hidden, kept[number]), told)
            if number:
                hidden = self.widen(self.grow[number - 1](hidden))
        return self.fold(self.exit(nn.functional.silu(self.norm(hidden))))
