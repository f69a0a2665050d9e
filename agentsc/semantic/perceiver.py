"""What paths of the machine scenario are: what a sender makes of what it sees, and a receiver of what arrives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.semantic.budget import Budget
from agentsc.semantic.channel import Heard, SymbolChannel
from agentsc.semantic.receiver import Decoder, Receiver, counted, segmented
from envs.registry import Plugin
from envs.scenery import CLASSES, FLOOR
from policies.core import DiffusionCore
from policies.scene.codec import ImageCodec
from policies.scene.machine import MAP_CODEC, MapCodec
from policies.scene.map_code import MapCode
from policies.scene.model import Arrival, CodecRequest

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """What senders have of B scenes.

    Attributes:
        rgb: float32 [B, 3, size, size] in [0, 1]. labels: uint8 [B, size, size], their maps. soft: float32
            [B, classes, size, size], class probabilities of every cell.
    """

    rgb: Floats
    labels: Labels
    soft: Floats


@dataclass(frozen=True)
class Sent:
    """What goes on the air of B scenes: symbols, or packets.

    Attributes:
        symbols: complex [B, m]. packets: bytes of every scene, None for one that says nothing. bits: int64 [B], used of
            the packets. picture: float32 [B, 3, size, size] in [−1, 1], for a decoder with a way of its own across.
    """

    symbols: NDArray[np.complexfloating] | None = None
    packets: list[bytes | None] | None = None
    bits: NDArray[np.int64] | None = None
    picture: Floats | None = None


@dataclass(frozen=True)
class Delivered:
    """All that a receiver learns of B scenes.

    Attributes:
        arrival: of symbols, with repetitions combined, or what a decoder with a way of its own makes of it; None for
            packets. early: the same of the first uses alone, for
            paths that decide before all has come. packets: as sent, None for those that were lost.
    """

    arrival: Any = None
    early: Arrival | None = None
    packets: list[bytes | None] | None = None


@dataclass(frozen=True)
class Understood:
    """What a receiver makes of it.

    Attributes:
        labels: uint8 [B, size, size]. calls: int64 [B], evaluations of a diffusion network for each.
        rgb: float32 [B, 3, size, size] in [0, 1], if there was a picture on the way. provisional: maps that were given
            at once. rows: further figures per scene, name → [B].
    """

    labels: Labels
    calls: NDArray[np.int64]
    rgb: Floats | None = None
    provisional: Labels | None = None
    rows: dict[str, NDArray] = field(default_factory=dict)


class Station:
    """Networks that senders and receivers share; nothing of a scene.

    Args:
        core: with the models that a path needs. codec: of images. maps: of soft maps, if the path needs it.
        weights: name of a model → its file, for the map code.
    """

    def __init__(
        self,
        core: DiffusionCore,
        codec: ImageCodec,
        maps: MapCodec | None = None,
        weights: Mapping[str, Path | str] | None = None,
    ) -> None:
        self.core, self.codec, self.maps = core, codec, maps
        self.receiver = Receiver(core, codec)
        self._weights = weights
        self._loaded: MapCode | None = None

    @property
    def size(self) -> int:
        """Cells of a map per side."""
        return self.codec.shape[-1]

    @property
    def code(self) -> MapCode:
        """The lossless code of maps."""
        if self._loaded is None:
            self._loaded = MapCode.load(self._weights, self.size)
        return self._loaded

    def look(self, rgb: Floats) -> tuple[Labels, Floats, Floats]:
        """Classes [B, H, W], their probabilities [B, classes, H, W] and features of images in [0, 1]."""
        found = segmented(self.core, 2.0 * rgb - 1.0)
        return found.labels, softmax(found.scores), found.features

    def encode_map(self, soft: Floats, snr_db: float, count: int) -> NDArray[np.complex128]:
        """Symbols [B, count] of class probabilities."""
        told = np.full(len(soft), snr_db, np.float32)
        x = (2.0 * soft - 1.0).astype(np.float32)
        pairs = self.core.sample(CodecRequest(MAP_CODEC, counted(x), "encode", x, told, count)).rows.astype(np.float64)
        return np.asarray(pairs[..., 0] + 1j * pairs[..., 1])

    def decode_map(self, arrival: Arrival) -> Floats:
        """Class probabilities [B, classes, H, W] by the codec's own decoder."""
        noise = arrival.noise_variance[:, None]
        power = (arrival.gain**2).sum(axis=2)
        whole = np.maximum(power + noise, 1e-30)
        real = (arrival.gain * arrival.received).sum(axis=2)
        imaginary = arrival.gain[..., 0] * arrival.received[..., 1] - arrival.gain[..., 1] * arrival.received[..., 0]
        symbols = (np.stack([real, imaginary], axis=2) / whole[..., None]).astype(np.float32)
        variance = (noise / whole).astype(np.float32)
        request = CodecRequest(
            MAP_CODEC, counted(symbols), "decode", symbols, arrival.snr_db, symbols.shape[1], variance
        )
        made: Floats = self.core.sample(request).rows
        return np.asarray(0.5 * (made + 1.0), np.float32)

    def nothing(self, count: int) -> Labels:
        """What receivers take maps for of which nothing arrived: the commonest class everywhere."""
        return np.full((count, self.size, self.size), FLOOR, np.uint8)


class Perceiver(Plugin):
    """A path of the machine scenario. All that crosses from `send` to `understand` is what a link delivers."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Models beside those of `scene_core`."""

    labels: Literal["segmented", "true"] = Field(
        "segmented", description="the sender's map: of its own segmenter, or the true one, an oracle's upper line"
    )

    @abstractmethod
    def send(self, station: Station, seen: Seen, budget: Budget) -> Sent:
        """The sender's part."""

    @abstractmethod
    def understand(self, station: Station, delivered: Delivered, keys: NDArray[np.uint64]) -> Understood:
        """The receiver's part.

        Args:
            keys: uint64 [B]; all randomness of a scene comes from its key.
        """

    def arrives(
        self, bits: NDArray[np.int64], carried: NDArray[np.float64], keys: NDArray[np.uint64], budget: Budget
    ) -> NDArray[np.bool_]:
        """Which packets come through, [B]: with an ideal code those that the channel's capacity carries.

        Args:
            bits: of the packets. carried: Σ log2(1 + |g|²/N0) over the uses of each, bits. keys: of draws.
        """
        return np.asarray(bits <= carried + 1e-9)

    @property
    def shares(self) -> tuple[int, float]:
        """Users that share the channel uses, and the share of its own that a user leaves out."""
        return 1, 0.0

    @property
    def early(self) -> float | None:
        """Share of the uses after which a first decision is due, or None."""
        return None


@dataclass(frozen=True)
class Pictured:
    """Any decoder of the human scenario as a path: the picture is sent, received, and segmented by the receiver.

    A decoder that says it is not ``analog`` sends bits, and crosses by its own ``send``, in as many uses as all have.
    """

    decoder: Decoder
    labels: str = "none"
    needs: tuple[str, ...] = ()
    shares: tuple[int, float] = (1, 0.0)
    early: None = None

    def model_dump(self) -> dict[str, Any]:
        """Parameters of the decoder."""
        return self.decoder.model_dump()

    def send(self, station: Station, seen: Seen, budget: Budget) -> Sent:
        """See `Perceiver.send`."""
        from agentsc.semantic.budget import most_that_fit

        count = most_that_fit(station.codec.counts, budget.uses)
        x = (2.0 * seen.rgb - 1.0).astype(np.float32)
        if not getattr(self.decoder, "analog", True):
            return Sent(picture=x)
        return Sent(symbols=station.receiver.encode(x, budget.snr_db, count))

    @property
    def models(self) -> tuple[str, ...]:
        """Models that its decoder needs beside those of `scene_core`."""
        return tuple(getattr(self.decoder, "models", ()))

    def cross(
        self, station: Station, channel: SymbolChannel, sent: Sent, budget: Budget, first: int
    ) -> tuple[Heard, Any]:
        """The decoder's own way across the channel: what was heard, and what it decodes."""
        decoder: Any = self.decoder
        crossed: tuple[Heard, Any] = decoder.send(
            station.receiver, channel, sent.picture, budget.uses, first, budget.snr_db
        )
        return crossed

    def understand(self, station: Station, delivered: Delivered, keys: NDArray[np.uint64]) -> Understood:
        """See `Perceiver.understand`."""
        assert delivered.arrival is not None
        decoded = self.decoder.decode(station.receiver, delivered.arrival, keys)
        rgb = 0.5 * (np.clip(decoded.x, -1.0, 1.0) + 1.0)
        return Understood(station.look(rgb)[0], decoded.calls, rgb)


def softmax(scores: Floats) -> Floats:
    """Probabilities [B, classes, …] of natural logarithms."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def one_hot(labels: NDArray[np.integer]) -> Floats:
    """Maps [B, H, W] as probabilities [B, classes, H, W]."""
    return np.asarray(labels[:, None] == np.arange(len(CLASSES))[:, None, None], np.float32)


def entropy_bits(soft: Floats) -> NDArray[np.float64]:
    """Mean entropy of a map's cells [B], bits per cell."""
    p = np.maximum(soft.astype(np.float64), 1e-12)
    return np.asarray(-(p * np.log2(p)).sum(axis=1).mean(axis=(1, 2)))
