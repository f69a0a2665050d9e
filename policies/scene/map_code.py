"""The lossless code of class maps: a learned predictor in whole numbers, and an arithmetic coder.

    code = MapCode.load()
    packet = code.encode(labels)              # bytes; about a thirtieth of a byte per cell
    assert (code.decode(packet) == labels).all()

A packet is read from its bytes alone: its first two bits say at which resolution the map was coded (every halving
saves bits, `coarser`), then an arithmetic code of its cells from top to bottom, left to right. Each cell's
probabilities come from `ContextNet` on the cells before it, in integers, plus scores that adapt to the map at hand. How
long a packet is, is told by whoever carries it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from envs.errors import ConfigError
from envs.scenery import AGENT, CLASSES, FLOOR, GOAL, OBSTACLE
from policies.models import Meter, Model, check_keys
from policies.networks.context_net import FIXED, SCALES, ContextNet
from policies.requests import Report
from policies.scene.files import load

Labels = NDArray[np.uint8]
HEAD_BITS = 2
"""The resolution."""
PRIORITY = np.ones(len(CLASSES))
"""How much a cell of a class counts where cells are merged."""
PRIORITY[[OBSTACLE, GOAL, AGENT]] = 1.5, 2.0, 3.0


def coarser(labels: Labels, halvings: int) -> Labels:
    """Maps [..., H, W] at a lower resolution: blocks of 2^halvings cells per side take the class that counts most.

    Cells of classes that agents run into or look for count more (`PRIORITY`).
    """
    if halvings == 0:
        return labels
    step = 1 << halvings
    *batch, rows, columns = labels.shape
    cut = labels.reshape(*batch, rows // step, step, columns // step, step)
    counts = [(cut == number).sum(axis=(-3, -1)) * weight for number, weight in enumerate(PRIORITY)]
    return np.asarray(np.argmax(np.stack(counts), axis=0), np.uint8)


def finer(labels: Labels, size: int) -> Labels:
    """Maps [..., h, w] at ``size`` cells per side: every cell becomes a block."""
    step = size // labels.shape[-1]
    return np.asarray(labels.repeat(step, axis=-2).repeat(step, axis=-1))


class Network(NamedTuple):
    """`ContextNet` in whole numbers of 1/256.

    table [near, classes + 1, width], bias [scale, width], second [width, hidden], third [classes, hidden].
    """

    table: NDArray[np.int32]
    bias: NDArray[np.int32]
    second: NDArray[np.int32]
    second_bias: NDArray[np.int32]
    third: NDArray[np.int32]
    third_bias: NDArray[np.int32]


def whole_numbers(network: ContextNet) -> Network:
    """Its weights in units of 1/256."""

    def ints(weight: torch.Tensor | None) -> NDArray[np.int32]:
        assert weight is not None
        return np.ascontiguousarray((weight.detach().double() * FIXED).round().numpy().astype(np.int32))

    return Network(
        np.ascontiguousarray(ints(network.table).transpose(2, 1, 0)), ints(network.scale),
        ints(network.second.weight[:, :, 0, 0].T), ints(network.second.bias), ints(network.third.weight[:, :, 0, 0]),
        ints(network.third.bias),
    )  # fmt: skip


class MapCode:
    """A code for square maps.

    Args:
        network: trained, with weights on its grid (`ContextNet.rounded`). size: cells per side.
    """

    def __init__(self, network: ContextNet, size: int = 32) -> None:
        self.network, self.size, self.classes = whole_numbers(network), size, network.classes

    @classmethod
    def load(cls, weights: Mapping[str, Path | str] | None = None, size: int = 32) -> MapCode:
        """The shipped code, or that of a file.

        Raises:
            ConfigError: a file that is missing or unfit.
        """
        network, _, _ = load("map-coder", (weights or {}).get("map-coder"))
        return cls(network, size)

    @cached_property
    def _powers(self) -> NDArray[np.int64]:
        return np.round(2.0 ** (20.0 - np.arange(256) / 256.0)).astype(np.int64)

    def encode(self, labels: Labels, halvings: int = 0) -> bytes:
        """The packet of a map [size, size], sent at a resolution of size / 2^halvings.

        Raises:
            ConfigError: a map of another shape or with classes that there are not, or too many halvings.
        """
        return self.encode_bits(labels, halvings)[0]

    def encode_bits(self, labels: Labels, halvings: int = 0) -> tuple[bytes, int]:
        """As `encode`, and how many bits of it are needed; the rest fills the last byte."""
        from policies.scene import _map_kernels as kernels

        if not 0 <= halvings < SCALES:
            raise ConfigError(f"halvings must be in [0, {SCALES}), got {halvings} (of the map's resolution)")
        if labels.shape != (self.size, self.size) or labels.max(initial=0) >= self.classes:
            raise ConfigError(
                f"labels must be [{self.size}, {self.size}] with classes below {self.classes}, got "
                f"{list(labels.shape)} up to {labels.max(initial=0)}"
            )
        small = np.ascontiguousarray(coarser(labels, halvings), np.uint8)
        out, bits = np.zeros(small.size * 3 + 16, np.uint8), np.zeros(1, np.int64)
        n = self.network
        kernels.encode(
            small, n.table, n.bias[halvings], n.second, n.second_bias, n.third, n.third_bias, self._powers, out, bits
        )
        count = int(bits[0]) + HEAD_BITS
        whole = np.unpackbits(out)[: int(bits[0])]
        head = np.asarray([halvings >> 1, halvings & 1], np.uint8)
        return np.packbits(np.concatenate([head, whole])).tobytes(), count

    def decode(self, packet: bytes) -> Labels:
        """The map [size, size] of a packet; any bytes are the packet of some map."""
        from policies.scene import _map_kernels as kernels

        every = np.unpackbits(np.frombuffer(packet or b"\0", np.uint8))
        halvings = 2 * int(every[0]) + int(every[1])
        side = self.size >> halvings
        labels, n = np.full((side, side), FLOOR, np.uint8), self.network
        kernels.decode(
            np.packbits(every[HEAD_BITS:]), n.table, n.bias[halvings], n.second, n.second_bias, n.third, n.third_bias,
            self._powers, labels,
        )  # fmt: skip
        return finer(labels, self.size)


@dataclass(frozen=True)
class MapRequest:
    """Packets to be read. model: name. keys: uint64 [batch], counted. packets: uint8 [batch, n], filled with zeros."""

    model: str
    keys: NDArray[np.uint64]
    packets: NDArray[np.uint8]


@dataclass(frozen=True)
class MapReply:
    """labels: uint8 [batch, size, size]. report: how it was served."""

    labels: Labels
    report: Report | None = None


class MapModel(Model[MapRequest, MapReply]):
    """A map code of the core: reads packets; senders, who have to search for one that fits, take ``code`` itself."""

    smallest = 1

    def __init__(self, code: MapCode) -> None:
        self.code = code

    def check(self, request: MapRequest) -> None:
        check_keys(request.keys)
        if request.packets.dtype != np.uint8 or request.packets.ndim != 2 or len(request.packets) != len(request.keys):
            raise ConfigError(
                f"packets must be uint8 [{len(request.keys)}, n], got {request.packets.dtype} "
                f"{list(request.packets.shape)} (of class maps)"
            )

    def key(self, request: MapRequest) -> Hashable:
        return request.packets.shape[1]

    def sample(self, request: MapRequest, meter: Meter) -> MapReply:
        return MapReply(np.stack([self.code.decode(packet.tobytes()) for packet in request.packets]))
