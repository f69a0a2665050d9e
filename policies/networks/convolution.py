"""Convolutional parts that image networks share."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn

GROUPS = 8
"""Of group normalisation; widths are multiples of it."""
FEEDS = {"norm_in": "first", "norm_out": "second"}
"""Attributes of residual blocks: a `NormSiLU` → the convolution that alone reads it. Quantisation makes one of both."""


def norm(channels: int) -> nn.GroupNorm:
    """Normalisation within a row: no row's result depends on the batch."""
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


class NormSiLU(nn.GroupNorm):
    """`norm`, scaled and shifted by conditions if there are any, then SiLU: what a convolution is given."""

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(GROUPS, channels), channels)

    def forward(
        self, x: torch.Tensor, level: torch.Tensor | None = None, place: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x [batch, channels, height, width].

        Args:
            level: scale, less one, and shift of every channel, [batch, 2 · channels].
            place: what is added to them at every place, [batch, 2 · channels, height, width].
        """
        hidden = super().forward(x)
        if level is not None:
            both = level[:, :, None, None]
            scale, shift = (both if place is None else both + place).chunk(2, dim=1)
            hidden = hidden * (1.0 + scale) + shift
        return nn.functional.silu(hidden)


class Shrink(nn.Conv2d):
    """Half the resolution: blocks of 2 × 2 places become channels, which are mixed at each place.

    Args:
        channels: of the input. outputs: channels of the result.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(4 * channels, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [batch, channels, height, width] → [batch, outputs, height / 2, width / 2]."""
        return super().forward(nn.functional.pixel_unshuffle(x, 2))

    def plain(self) -> nn.Conv2d:
        """The same map as one convolution with a stride."""
        outputs, blocks = self.weight.shape[:2]
        made = nn.Conv2d(blocks // 4, outputs, 2, stride=2)
        made.load_state_dict({"weight": self.weight.reshape(outputs, blocks // 4, 2, 2), "bias": self.bias})
        return made


class Merge(nn.Conv2d):
    """What several tensors say at each place, mixed. channels: of all of them. outputs: channels of the result."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(channels, outputs, 1)

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        """Parts [batch, …, height, width]."""
        return super().forward(torch.cat(parts, dim=1))


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions around a residual, scaled and shifted by a condition.

    Args:
        channels: of input and output. condition: numbers of the condition; 0 for none.
    """

    feeds: ClassVar[dict[str, str]] = FEEDS

    def __init__(self, channels: int, condition: int = 0) -> None:
        super().__init__()
        self.norm_in, self.norm_out = NormSiLU(channels), NormSiLU(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(condition, 2 * channels) if condition else None
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """x [batch, channels, height, width], condition [batch, condition]."""
        level = None if self.modulation is None or condition is None else self.modulation(condition)
        return x + self.second(self.norm_out(self.first(self.norm_in(x)), level))


class Attention(nn.Module):
    """Single-head self-attention over places, for the coarsest level. channels: of input and output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [batch, channels, height, width]."""
        query, key, value = self.qkv(self.norm(x)).flatten(2).mT.chunk(3, dim=2)
        weight = torch.softmax(query @ key.mT / math.sqrt(x.shape[1]), dim=-1)
        return x + self.out((weight @ value).mT.reshape(x.shape))


class Scalars(nn.Module):
    """Sines and cosines of a few numbers, then a small network: a condition of ``width`` numbers.

    Args:
        count: numbers. width: of the result. reach: the numbers are about in [−reach, reach].
    """

    def __init__(self, count: int, width: int, reach: float = 1.0) -> None:
        super().__init__()
        frequency = torch.exp(torch.linspace(math.log(0.25), math.log(16.0), 8)) * math.pi / reach
        self.register_buffer("frequency", frequency, persistent=False)
        self.layers = nn.Sequential(nn.Linear(count * 16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """numbers [batch, count] → [batch, width]."""
        frequency: torch.Tensor = self.get_buffer("frequency")
        angle = (numbers[:, :, None] * frequency).flatten(1)
        return self.layers(torch.cat([torch.sin(angle), torch.cos(angle)], dim=1))
