"""A U-Net for images that is conditioned on a class map at every place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from envs.errors import ConfigError
from policies.networks.convolution import FEEDS, Attention, Merge, NormSiLU, Scalars, Shrink


class SpadeBlock(nn.Module):
    """A residual block whose second normalisation is scaled and shifted by the noise level and, at each place, a map.

    Args:
        channels: of input and output. condition: numbers of the noise level's code. guide: channels of the map's.

    Reference: Park et al., "Semantic image synthesis with spatially-adaptive normalization", 2019, eq. 1.
    """

    feeds: ClassVar[dict[str, str]] = FEEDS

    def __init__(self, channels: int, condition: int, guide: int) -> None:
        super().__init__()
        self.norm_in, self.norm_out = NormSiLU(channels), NormSiLU(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.level = nn.Linear(condition, 2 * channels)
        self.place = nn.Conv2d(guide, 2 * channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, condition: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """x [batch, channels, h, w], condition [batch, condition], place [batch, 2 · channels, h, w] of a map."""
        hidden = self.first(self.norm_in(x))
        change: torch.Tensor = self.second(self.norm_out(hidden, self.level(condition), place))
        return change.add_(x)  # in place: a new tensor for every block costs a tenth of the time


class SpadeUNet(nn.Module):
    """Noisy image and class map → image of the same size; a map of zeros stands for no condition.

    Like `UNet` it works on blocks of 2 × 2 pixels; the map is folded in the same way, so no edge of it is lost.

    Args:
        classes: of the map. width: channels of the finest level. multipliers: of the width, per level.
        guide: channels that the map is described by. channels: of the image.

    Raises:
        ConfigError: widths that are not positive multiples of 4, or no levels.
    """

    feeds: ClassVar[dict[str, str]] = {"norm": "exit"}

    def __init__(
        self,
        classes: int = 6,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        guide: int = 24,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if min(width, guide) < 4 or width % 4 or guide % 4 or not multipliers:
            raise ConfigError(
                f"width and guide must be positive multiples of 4, with at least one multiplier, got {width}, {guide} "
                f"and {list(multipliers)} (of a conditional U-Net)"
            )
        condition = 2 * width
        widths = [width * m for m in multipliers]
        self.clock = Scalars(1, condition, reach=2.0)
        self.entry = nn.Conv2d(4 * channels, widths[0], 3, padding=1)
        self.guides = nn.ModuleList(
            nn.Conv2d(4 * (guide if number else classes), guide, 3, padding=1) for number in range(len(widths))
        )
        self.down = nn.ModuleList(SpadeBlock(w, condition, guide) for w in widths)
        self.shrink = nn.ModuleList(Shrink(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.middle = nn.ModuleList(SpadeBlock(widths[-1], condition, guide) for _ in range(2))
        self.attention = Attention(widths[-1])
        self.merge = nn.ModuleList(Merge(2 * w, w) for w in widths)
        self.up = nn.ModuleList(SpadeBlock(w, condition, guide) for w in widths)
        self.grow = nn.ModuleList(
            nn.Conv2d(b, 4 * a, 1) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.norm = NormSiLU(widths[0])
        self.exit = nn.Conv2d(widths[0], 4 * channels, 3, padding=1)
        self.halve, self.widen = nn.PixelUnshuffle(2), nn.PixelShuffle(2)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, noise: torch.Tensor | float, classes: torch.Tensor) -> torch.Tensor:
        """The network's output, like x [batch, channels, H, W].

        Args:
            noise: [batch] or one for all, as EDM's preconditioning tells it. classes: [batch, classes, H, W],
                probabilities, or zeros.
        """
        return self.draw(x, noise, self.places(classes))

    def places(self, classes: torch.Tensor) -> list[torch.Tensor]:
        """What a map says to every block, in their turn, [batch, 2 · channels, h, w] each.

        It is the same at all noise levels and a third of the work, so samplers ask for it once.
        """
        guides: list[torch.Tensor] = []
        for layer in self.guides:
            guides.append(nn.functional.silu(layer(self.halve(guides[-1] if guides else classes))))
        last = guides[-1]
        return [
            *(block.place(guide) for block, guide in zip(self.down, guides, strict=True)),  # type: ignore[operator]
            *(block.place(last) for block in self.middle),  # type: ignore[operator]
            *(block.place(guide) for block, guide in reversed(list(zip(self.up, guides, strict=True)))),  # type: ignore[operator]
        ]

    def draw(self, x: torch.Tensor, noise: torch.Tensor | float, places: Sequence[torch.Tensor]) -> torch.Tensor:
        """As `forward`, given what `places` makes of the map."""
        level = torch.as_tensor(noise, dtype=x.dtype, device=x.device).expand(len(x))
        told, place = self.clock(level[:, None]), iter(places)
        hidden = self.entry(self.halve(x))
        kept: list[torch.Tensor] = []
        for number, block in enumerate(self.down):
            hidden = block(hidden, told, next(place))
            kept.append(hidden)
            if number < len(self.shrink):
                hidden = self.shrink[number](hidden)
        hidden = self.middle[0](hidden, told, next(place))
        hidden = self.middle[1](self.attention(hidden), told, next(place))
        for number in reversed(range(len(self.up))):
            merged = self.merge[number](hidden, kept[number])
            hidden = self.up[number](merged, told, next(place))
            if number:
                hidden = self.widen(self.grow[number - 1](hidden))
        return self.widen(self.exit(self.norm(hidden)))
