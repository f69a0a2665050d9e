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

    def read(self, data: NDArray[np.uint8]) -> Floats:
        """Images float32 [batch, *shape] in [−1, 1] of bytes [batch, n]; whatever the bytes, some image."""
        reader = Reader(data, self.tables)
        batch, side = len(data), self.shape[1] // 4
        level = reader.get(np.full((batch, 1), len(_WIDTHS), np.int64))[:, 0]
        quality = _quality(level).to(self.device)

        def settle(number: int, places: torch.Tensor, forecast: Forecast) -> torch.Tensor:
            index = _index(forecast.scale)
            keep = places.cpu().numpy()
            chosen = index[:, :, keep]
            table = chosen.reshape(batch, -1)
            found = (reader.get(table) - _REACH[table]).reshape(chosen.shape)
            gap = np.zeros(index.shape)
            gap[:, :, keep] = found
            return torch.as_tensor(gap, device=self.device) + forecast.mean

        with torch.no_grad():
            like = torch.zeros(batch, 1, side, side, dtype=torch.float64, device=self.device)
            numbers = self._exact.fill(like, quality.double(), settle)
            made = self.network.synthesise(numbers.float(), quality)
        return np.clip(made.float().cpu().numpy(), -1.0, 1.0)

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
    """Images to be coded in so many bits, or frames to be decoded.

    Attributes:
        model: name. keys: uint64 [batch], only counted. what: encode or decode.
        rows: float32 [batch, *shape] in [−1, 1], or frames uint8 [batch, bits // 8]. bits: of a frame.
    """

    model: str
    keys: NDArray[np.uint64]
    what: Literal["encode", "decode"]
    rows: NDArray
    bits: int


@dataclass(frozen=True)
class CodeReply:
    """What came of it.

    Attributes:
        rows: frames or images. length: bytes in use [batch]. level: quality [batch], −1 where nothing fits (to encode);
            both zero to decode. report: how it was served.
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
        if request.what not in ("encode", "decode") or request.bits < 0:
            raise ConfigError(
                f"bits must be at least 0 and what encode or decode, got {request.bits} and {request.what!r}"
            )
        if request.what == "encode":
            check_rows("rows", request.rows, len(request.keys), self.codec.shape)
        elif request.rows.dtype != np.uint8 or request.rows.shape != (len(request.keys), request.bits // 8):
            raise ConfigError(
                f"rows must be uint8 [{len(request.keys)}, {request.bits // 8}], got {request.rows.dtype} "
                f"{list(request.rows.shape)} (frames of bits // 8 bytes)"
            )

    def key(self, request: CodeRequest) -> Hashable:
        return request.what, request.bits

    def serve(self, request: CodeRequest, meter: Meter) -> CodeReply:
        with meter.forward(len(request.rows)):
            if request.what == "encode":
                x = torch.as_tensor(np.array(request.rows, np.float32), device=self.device)
                return CodeReply(*self.codec.fit(x, request.bits))
            nothing = np.zeros(len(request.rows), np.int64)
            return CodeReply(self.codec.read(request.rows), nothing, nothing)
