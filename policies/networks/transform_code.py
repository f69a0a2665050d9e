"""A learned transform code: an image becomes a grid of numbers to be rounded, with a forecast for every one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn

from envs.errors import ConfigError
from policies.networks.convolution import ResidualBlock, Scalars, norm
from policies.networks.jscc import Decoder, Encoder

SCALES = (0.05, 48.0)
"""Standard deviations of forecasts are kept in here, in units of the rounding step."""
DEPTHS = (4e3, 1.2e7)
"""Bits that the code pays for mean squared error (peak 1) of an image, at quality −1 and 1."""


class Forecast(NamedTuple):
    """What is known of a number before it is read: mean and standard deviation, [batch, size, h, w] each."""

    mean: torch.Tensor
    scale: torch.Tensor


class _Context(nn.Module):
    """Forecast of a slice from the slices before it and, at second sight, from half of its own places."""

    def __init__(self, known: int, size: int, width: int) -> None:
        super().__init__()
        self.told = Scalars(1, 32, reach=2.0)
        self.entry = nn.Conv2d(known + size + 1, width, 3, padding=1)
        self.block = ResidualBlock(width, 32)
        self.exit = nn.Sequential(norm(width), nn.SiLU(), nn.Conv2d(width, 2 * size, 3, padding=1))

    def forward(self, seen: torch.Tensor, quality: torch.Tensor) -> Forecast:
        """seen [batch, known + size + 1, h, w], with zeros where nothing is known; quality [batch]."""
        hidden = self.block(self.entry(seen), self.told(quality[:, None].to(seen.dtype)))
        mean, scale = self.exit(hidden).to(torch.promote_types(seen.dtype, torch.float32)).chunk(2, dim=1)
        return Forecast(mean, scale.clamp(math.log(SCALES[0]), math.log(SCALES[1])).exp())


Settle = Callable[[int, torch.Tensor, Forecast], torch.Tensor]
"""(number of the slice, which places bool [h, w], their forecast) → the slice's numbers at these places."""


class TransformCode(nn.Module):
    """Analysis, synthesis, and forecasts of the numbers between them; one network for all rates.

    The quality, in [−1, 1], sets the rounding step of each channel and is told to all parts. Numbers are forecast slice
    by slice, and each slice in two rounds, like the colours of a chessboard.

    Args:
        slices: channels of each slice, at a quarter of the image's resolution; a multiple of 6 in all.
        fine, coarse, blocks: of analysis and synthesis, as `DeepJSCC` has them. context: channels of the forecasts.

    Raises:
        ConfigError: channels that are no multiple of 6, or widths no multiples of 4.

    Reference: Ballé et al., "Nonlinear transform coding", 2021; Cui et al., "Asymmetric gained deep image compression
    with continuous rate adaptation", 2021 (one network for all rates); Minnen and Singh, "Channel-wise autoregressive
    entropy models for learned image compression", 2020 (slices, rounding straight through); He et al., "Checkerboard
    context model for efficient learned image compression", 2021.
    """

    def __init__(
        self,
        slices: tuple[int, ...] = (4, 8, 12),
        fine: int = 32,
        coarse: int = 64,
        blocks: int = 2,
        context: int = 40,
    ) -> None:
        super().__init__()
        channels = sum(slices)
        if not slices or min(slices) < 1 or channels % 6 or min(fine, coarse, context) < 4 or fine % 4 or coarse % 4:
            raise ConfigError(
                "slices must be positive with a multiple of 6 in all, fine and coarse multiples of 4, got "
                f"{list(slices)}, {fine} and {coarse} (of a transform code)"
            )
        self.slices, self.channels = tuple(slices), channels
        self.analysis = Encoder(channels // 2, fine, coarse, blocks)
        self.synthesis = Decoder(channels // 3, fine, coarse, blocks)
        known = [sum(slices[:number]) for number in range(len(slices))]
        self.contexts = nn.ModuleList(_Context(a, b, context) for a, b in zip(known, slices, strict=True))
        self.gain = nn.Parameter(torch.ones(channels))
        self.slope = nn.Parameter(torch.full((channels,), 1.4))

    def steps(self, quality: torch.Tensor) -> torch.Tensor:
        """Numbers per unit of the analysis' output, [batch, channels, 1, 1]."""
        return (self.gain + self.slope * quality[:, None]).exp()[..., None, None]

    def analyse(self, x: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
        """Numbers to be rounded, [batch, channels, H/4, W/4], of x [batch, 3, H, W] in [−1, 1]; quality [batch]."""
        made = self.analysis(x, _told(quality))
        return made.to(torch.promote_types(made.dtype, torch.float32)) * self.steps(quality)

    def synthesise(self, numbers: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
        """Images [batch, 3, H, W], about in [−1, 1]."""
        return self.synthesis(numbers / self.steps(quality), _told(quality))

    def fill(self, like: torch.Tensor, quality: torch.Tensor, settle: Settle) -> torch.Tensor:
        """All numbers [batch, channels, h, w], place by place in the order in which they are coded.

        Args:
            like: gives batch, h, w, precision and device. settle: says what stands where, given its forecast.
        """
        whole = like.new_zeros(len(like), self.channels, *like.shape[2:])
        for number, places, forecast in self._walk(whole, quality):
            first = sum(self.slices[:number])
            part = whole[:, first : first + self.slices[number]]
            part[:, :, places] = settle(number, places, forecast)[:, :, places]
        return whole

    def _walk(self, whole: torch.Tensor, quality: torch.Tensor) -> Iterator[tuple[int, torch.Tensor, Forecast]]:
        """The rounds; reads ``whole`` as far as it is filled."""
        colours = chessboard(whole)
        for number in range(len(self.slices)):
            for second in (False, True):
                yield number, colours if second else ~colours, self.forecast(whole, quality, number, second)

    def forecast(self, numbers: torch.Tensor, quality: torch.Tensor, number: int, second: bool) -> Forecast:
        """Of slice ``number``, from the numbers before it and, in the second round, from those of the first colour."""
        first, size = sum(self.slices[:number]), self.slices[number]
        light = ~chessboard(numbers)
        mask = light.to(numbers.dtype) if second else torch.zeros_like(light, dtype=numbers.dtype)
        own = numbers[:, first : first + size] * mask
        seen = torch.cat([numbers[:, :first], own, mask.expand(len(numbers), 1, -1, -1)], dim=1)
        made: Forecast = self.contexts[number](seen, quality)
        return made

    def rate(self, numbers: torch.Tensor, quality: torch.Tensor) -> tuple[torch.Tensor, Forecast]:
        """Bits [batch] of numbers (with noise in place of rounding, in training), and all forecasts side by side."""
        dark = chessboard(numbers)
        means, scales = [], []
        for number in range(len(self.slices)):
            first, second = (self.forecast(numbers, quality, number, later) for later in (False, True))
            means.append(torch.where(dark, second.mean, first.mean))
            scales.append(torch.where(dark, second.scale, first.scale))
        whole = Forecast(torch.cat(means, dim=1), torch.cat(scales, dim=1))
        return bits(numbers - whole.mean, whole.scale).sum((1, 2, 3)), whole


def chessboard(like: torch.Tensor) -> torch.Tensor:
    """The places of the second round, bool [height, width], of numbers [batch, channels, height, width]."""
    height, width = like.shape[2:]
    row, column = torch.arange(height, device=like.device)[:, None], torch.arange(width, device=like.device)
    return (row + column) % 2 == 1


def bits(gap: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """−log2 of what N(0, scale²) gives to the interval of length 1 about ``gap``."""
    far, unit = gap.abs(), scale * math.sqrt(2.0)
    share = 0.5 * (torch.erfc((far - 0.5) / unit) - torch.erfc((far + 0.5) / unit))
    return -share.clamp_min(1e-6).log2()


def _told(quality: torch.Tensor) -> torch.Tensor:
    return torch.stack([quality, quality], dim=1)
