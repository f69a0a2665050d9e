"""Images as bytes: the learned transform code with its entropy coder, and as a model of the diffusion core."""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from envs.errors import ConfigError
from policies.models import Meter, check_keys, check_rows, device_of
from policies.networks.transform_code import SCALES, Forecast, TransformCode
from policies.range_coder import Reader, Tables, Writer
from policies.requests import Report
from policies.scene.model import EvenModel, Floats

LEVELS = 64
"""Qualities that a sender may choose; the choice takes the first bits of a code."""
_WIDTHS = np.geomspace(*SCALES, 64)
_REACH: NDArray[np.int64] = np.ceil(8.0 * _WIDTHS).astype(np.int64) + 1
"""Greatest number of each width that can be written; what is further off is cut to it."""
_INSIDE = 0.4
"""How far from a number what rounds to it may be, to be safe: less than half."""


def _tables() -> Tables:
    """Rounded normal numbers of every width, and in the last row the levels."""
    steps = np.arange(2 * _REACH.max() + 1)
    gap = (steps[None] - _REACH[:, None]).astype(np.float64)
    share = ndtr((gap + 0.5) / _WIDTHS[:, None]) - ndtr((gap - 0.5) / _WIDTHS[:, None])
    normal = np.where(steps[None] <= 2 * _REACH[:, None], np.maximum(share, 1e-300), 0.0)
    return Tables(np.concatenate([normal, (steps < LEVELS).astype(np.float64)[None]]))


class TransformCodec:
    """Bytes of images and back; a reader needs the bytes alone.

    Forecasts are computed in double precision and widths are taken from a grid, so that writer and reader agree unless
    a width is within 1e-13 of the middle between two: batches, threads and processors may then differ in rounding.

    Args:
        network: trained. mean: colour in [−1, 1] of scenes, what is shown where nothing arrived. size: pixels per side.
        device: where it lives.
    """

    def __init__(
        self, network: TransformCode, mean: Sequence[float], size: int = 32, device: str = "cpu"
    ) -> None:
        self.network, self.shape, self.device = network, (3, size, size), device_of(device)
        self._exact = copy.deepcopy(network).double()
        self.mean = np.asarray(mean, np.float32)
        self.tables = _tables()

    def cost(self, x: torch.Tensor, level: NDArray[np.int64]) -> NDArray[np.float64]:
        """Bits that the entropy coder will need [batch], to within 8, of x [batch, *shape] at levels [batch]."""
        symbols, table = self._symbols(x, level)
        spent = np.where(table >= 0, self.tables.bits(symbols, np.maximum(table, 0)), 0.0)
        return np.asarray(spent.sum(axis=1) + math.log2(LEVELS))

    def write(self, x: torch.Tensor, level: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Bytes [batch, longest] and their number [batch] of x [batch, *shape] in [−1, 1] at levels [batch]."""
        symbols, table = self._symbols(x, level)
        writer = Writer(len(x), self.tables, symbols.shape[1] + 1)
        head = np.asarray(level, np.int64)[:, None]
        writer.put(head, np.full_like(head, len(_WIDTHS)))
        writer.put(symbols, table)
        return writer.finish()

    def fit(self, x: torch.Tensor, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        """The best that fits ``bits`` for every image.

        The level is found by bisection on `cost`, which grows with it but for small dips, and lowered as long as the
        bytes do not fit.

        Returns:
            Frames uint8 [batch, bits // 8], how many bytes of each are used [batch], and levels [batch]; −1 where not
            even the lowest fits.
        """
        room = bits // 8
        low, high = np.full(len(x), -1), np.full(len(x), LEVELS)
        while (high - low > 1).any():
            middle = (low + high) // 2
            fits = self.cost(x, np.clip(middle, 0, LEVELS - 1)) <= bits
            going = high - low > 1
            low, high = np.where(going & fits, middle, low), np.where(going & ~fits, middle, high)
        frames = np.zeros((len(x), room), np.uint8)
        length, level = np.zeros(len(x), np.int64), low.astype(np.int64)
        waiting = np.flatnonzero(level >= 0)
        while len(waiting):
            # All rows again, so that batches keep their shape.
            data, taken = self.write(x, np.maximum(level, 0))
            done = waiting[taken[waiting] <= room]
            width = min(room, data.shape[1])
            frames[done, :width], length[done] = data[done, :width], taken[done]
            waiting = np.setdiff1d(waiting, done)
            level[waiting] -= 1
            waiting = waiting[level[waiting] >= 0]
        return frames, length, level

    def read(self, data: NDArray[np.uint8], steps: int = 0) -> Floats:
        """Images float32 [batch, *shape] in [−1, 1] of bytes [batch, n]; whatever the bytes, some image.

        Args:
            steps: of projection onto the images that have this code, see `_projected`.
        """
        numbers, _, level = self._numbers(data)
        quality = _quality(level).to(self.device)
        with torch.no_grad():
            made = self.network.synthesise(numbers, quality).float().clamp(-1.0, 1.0)
        if steps:
            made = self._projected(made, numbers, quality, steps)
        return np.asarray(made.cpu().numpy())

    def again(self, data: NDArray[np.uint8], x: torch.Tensor) -> NDArray[np.float64]:
        """Share [batch] of the whole numbers in bytes [batch, n] that x [batch, *shape], coded at the same quality,
        gives again. With 1 the bytes are the same: there is nothing else in them."""
        _, wanted, level = self._numbers(data)
        symbols, table = self._symbols(x, level)
        return np.asarray(np.mean(symbols - _REACH[table] == wanted, axis=1))

    def _projected(self, x: torch.Tensor, numbers: torch.Tensor, quality: torch.Tensor, steps: int) -> torch.Tensor:
        """Images near x [batch, *shape] whose analysis rounds to ``numbers`` [batch, channels, h, w].

        Every step is the shortest one that takes what is outside of the rounding intervals into them, were the
        analysis linear; an image that is inside stays as it is. No step needs a size that would have to be tuned.
        Reference: Xu et al., "Idempotence and perceptual image compression", 2024, whose constraint this is; Polyak,
        "Minimization of unsmooth functionals", 1969, for the step.
        """
        for _ in range(steps):
            x = x.detach().requires_grad_(True)
            with torch.enable_grad():
                off = (self.network.analyse(x, quality) - numbers).abs()
                outside = (off - _INSIDE).clamp_min(0.0).square().sum((1, 2, 3))
                (slope,) = torch.autograd.grad(outside.sum(), x)
            size = 2.0 * outside / slope.square().sum((1, 2, 3)).clamp_min(1e-12)
            x = (x - size[:, None, None, None] * slope).clamp(-1.0, 1.0)
        return x.detach()

    def _numbers(self, data: NDArray[np.uint8]) -> tuple[torch.Tensor, NDArray[np.int64], NDArray[np.int64]]:
        """Numbers [batch, channels, h, w] of bytes, the whole numbers [batch, m] as they are coded, and levels."""
        reader = Reader(data, self.tables)
        batch, side = len(data), self.shape[1] // 4
        level = reader.get(np.full((batch, 1), len(_WIDTHS), np.int64))[:, 0]
        quality = _quality(level).to(self.device)
        whole: list[NDArray[np.int64]] = []

        def settle(number: int, places: torch.Tensor, forecast: Forecast) -> torch.Tensor:
            index = _index(forecast.scale)
            keep = places.cpu().numpy()
            chosen = index[:, :, keep]
            table = chosen.reshape(batch, -1)
            whole.append(reader.get(table) - _REACH[table])
            gap = np.zeros(index.shape)
            gap[:, :, keep] = whole[-1].reshape(chosen.shape)
            return torch.as_tensor(gap, device=self.device) + forecast.mean

        with torch.no_grad():
            like = torch.zeros(batch, 1, side, side, dtype=torch.float64, device=self.device)
            numbers = self._exact.fill(like, quality.double(), settle)
        return numbers.float(), np.concatenate(whole, axis=1), level

    def _symbols(self, x: torch.Tensor, level: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Symbols and their tables [batch, m], in the order in which they are coded."""
        quality = _quality(level).to(x.device)
        symbols: list[NDArray[np.int64]] = []
        tables: list[NDArray[np.int64]] = []

        def settle(number: int, places: torch.Tensor, forecast: Forecast) -> torch.Tensor:
            first = sum(self.network.slices[:number])
            mine = numbers[:, first : first + self.network.slices[number]]
            index = _index(forecast.scale)
            reach = torch.as_tensor(_REACH[index], device=x.device)
            gap = torch.minimum(torch.maximum((mine - forecast.mean).round(), -reach), reach)
            keep = places.cpu().numpy()
            table = index[:, :, keep].reshape(len(x), -1)
            symbols.append(gap.cpu().numpy().astype(np.int64)[:, :, keep].reshape(len(x), -1) + _REACH[table])
            tables.append(table)
            return gap + forecast.mean

        with torch.no_grad():
            numbers = self.network.analyse(x, quality).double()
            self._exact.fill(numbers, quality.double(), settle)
        return np.concatenate(symbols, axis=1), np.concatenate(tables, axis=1)


def _quality(level: NDArray[np.int64]) -> torch.Tensor:
    return torch.as_tensor(2.0 * np.asarray(level, np.float32) / (LEVELS - 1) - 1.0)


def _index(scale: torch.Tensor) -> NDArray[np.int64]:
    """The nearest widths, by their logarithm."""
    place = (scale.double().log() - math.log(SCALES[0])) / math.log(SCALES[1] / SCALES[0]) * (len(_WIDTHS) - 1)
    return np.asarray(place.round().clamp(0, len(_WIDTHS) - 1).cpu().numpy().astype(np.int64))


@dataclass(frozen=True)
class CodeRequest:
    """Images to be coded in so many bits, frames to be decoded, or images to be compared with frames.

    Attributes:
        model: name. keys: uint64 [batch], only counted. what: encode, decode or again (`TransformCodec.again`).
        rows: float32 [batch, *shape] in [−1, 1], or to decode frames uint8 [batch, bits // 8]. bits: of a frame.
        steps: of projection, to decode. frames: to compare with.
    """

    model: str
    keys: NDArray[np.uint64]
    what: Literal["encode", "decode", "again"]
    rows: NDArray
    bits: int
    steps: int = 0
    frames: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class CodeReply:
    """What came of it.

    Attributes:
        rows: frames, images or shares. length: bytes in use [batch]. level: quality [batch], −1 where nothing fits (to
            encode); both zero otherwise. report: how it was served.
    """

    rows: NDArray
    length: NDArray[np.int64]
    level: NDArray[np.int64]
    report: Report | None = None


class TransformModel(EvenModel[CodeRequest, CodeReply]):
    """A transform codec of the core. codec: to be served."""

    def __init__(self, codec: TransformCodec) -> None:
        self.codec, self.device = codec, codec.device

    def check(self, request: CodeRequest) -> None:
        check_keys(request.keys)
        if request.what not in ("encode", "decode", "again") or request.bits < 0 or request.steps < 0:
            raise ConfigError(
                f"bits and steps must be at least 0 and what encode, decode or again, got {request.bits}, "
                f"{request.steps} and {request.what!r}"
            )
        if request.what != "decode":
            check_rows("rows", request.rows, len(request.keys), self.codec.shape)
        if request.what != "encode":
            frames = request.rows if request.what == "decode" else np.asarray(request.frames)
            if frames.dtype != np.uint8 or frames.shape != (len(request.keys), request.bits // 8):
                raise ConfigError(
                    f"{'rows' if request.what == 'decode' else 'frames'} must be uint8 [{len(request.keys)}, "
                    f"{request.bits // 8}], got {frames.dtype} {list(frames.shape)} (frames of bits // 8 bytes)"
                )

    def key(self, request: CodeRequest) -> Hashable:
        return request.what, request.bits, request.steps

    def serve(self, request: CodeRequest, meter: Meter) -> CodeReply:
        with meter.forward(len(request.rows)):
            nothing = np.zeros(len(request.rows), np.int64)
            if request.what == "decode":
                return CodeReply(self.codec.read(request.rows, request.steps), nothing, nothing)
            x = torch.as_tensor(np.array(request.rows, np.float32), device=self.device)
            if request.what == "encode":
                return CodeReply(*self.codec.fit(x, request.bits))
            assert request.frames is not None
            return CodeReply(self.codec.again(request.frames, x), nothing, nothing)
