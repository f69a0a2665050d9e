"""What crosses the link of a picture that both ends draw alike: a class map, its colours, and the number of a seed.

A frame, most significant bit first:

- one bit, where both ends agreed on a fallback: 1 for a code of the picture itself, in the bytes that follow it
- the seed's number in the bank, ⌈log2 K⌉ bits
- with colours: six bits for which classes are there, then three numbers for each of these
- the packet of the map (`policies.scene.map_code`), and zeros
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.semantic.simplify import WEIGHT, fit, restricted, worth
from envs.scenery import CLASSES, FLOOR
from policies.scene.map_code import MapCode

Floats = NDArray[np.float32]
Bits = NDArray[np.uint8]
"""Zeros and ones."""
ReadMaps = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Packets [B, n] → maps [B, size, size]."""


class Layout(NamedTuple):
    """What both ends agree on.

    Attributes:
        seeds: K, of the bank. depth: bits of a primary colour; 0 sends no colours. falls_back: the first bit is there.
    """

    seeds: int
    depth: int
    falls_back: bool

    @property
    def head_bits(self) -> int:
        """Bits before colours and map."""
        return int(self.falls_back) + self.index_bits

    @property
    def index_bits(self) -> int:
        """Bits of a seed's number."""
        return (self.seeds - 1).bit_length()

    def colour_bits(self, classes: int) -> int:
        """Bits of the colours of so many classes."""
        return len(CLASSES) + 3 * self.depth * classes if self.depth else 0


@dataclass(frozen=True)
class Drafts:
    """B pictures to be drawn.

    Attributes:
        labels: uint8 [B, size, size]. palette: float32 [B, classes, 3] in [−1, 1], zero for classes that are not there.
        seed: int64 [B], numbers in the bank.
    """

    labels: NDArray[np.uint8]
    palette: Floats
    seed: NDArray[np.int64]

    @property
    def flat(self) -> Floats:
        """The map in its colours, [B, 3, size, size]."""
        rows = np.arange(len(self.labels))[:, None, None]
        return np.ascontiguousarray(self.palette[rows, self.labels].transpose(0, 3, 1, 2))


class Packed(NamedTuple):
    """A map with its colours, of one picture: ``bits`` without head; whether the map is ``whole``."""

    bits: Bits
    whole: bool


def pack(code: MapCode, layout: Layout, labels: NDArray[np.uint8], x: Floats, room: int) -> Packed | None:
    """The best map that fits, and the mean colours of its classes in the picture.

    Args:
        labels: [size, size], as the sender sees it. x: [3, size, size] in [−1, 1]. room: bits, without the head.

    Returns:
        None if nothing fits.
    """
    # Maps that are made simpler have no class that was not there before, but perhaps the floor.
    classes = np.union1d(labels, [FLOOR])
    found = fit(code, labels, room - layout.colour_bits(len(classes)))
    if layout.depth and (found is None or not found.whole):
        # What the colours of classes that are left out would have taken is the map's.
        dear = sorted(set(classes.tolist()) - {FLOOR}, key=lambda number: -WEIGHT[number])
        for most in range(len(dear)):
            again = fit(code, restricted(labels, dear[:most]), room - layout.colour_bits(1 + most))
            if again is not None and (found is None or worth(again.labels, labels) > worth(found.labels, labels)):
                found = again._replace(whole=False)
    if found is None:
        return None
    packet = np.unpackbits(np.frombuffer(found.packet, np.uint8))[: found.bits]
    if not layout.depth:
        return Packed(packet, found.whole)
    there = np.isin(np.arange(len(CLASSES)), found.labels)
    colours = np.stack([x[:, found.labels == number].mean(axis=1) for number in np.flatnonzero(there)])
    steps = np.round(0.5 * (colours.ravel() + 1.0) * (2**layout.depth - 1)).astype(np.int64)
    told = np.concatenate([there.astype(np.uint8), *(to_bits(step, layout.depth) for step in steps)])
    return Packed(np.concatenate([told, packet]), found.whole)


def frame(layout: Layout, packed: Bits, seed: int, size: int) -> NDArray[np.uint8]:
    """Bytes [size] of a map with its colours, and the number of a seed."""
    head = np.concatenate([np.zeros(int(layout.falls_back), np.uint8), to_bits(seed, layout.index_bits)])
    return _filled(np.concatenate([head, packed]), size)


def plain_frame(code: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bytes [size] of a picture's own code, uint8 [n] with n < size."""
    return _filled(np.concatenate([np.ones(1, np.uint8), np.unpackbits(code)]), size)


def is_plain(layout: Layout, frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of frames [B, size] carry a code of the picture itself."""
    there = layout.falls_back and frames.shape[1] > 0
    return frames[:, 0] >= 128 if there else np.zeros(len(frames), bool)


def plain_code(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Inverse of `plain_frame`, [B, size − 1]."""
    bits = np.unpackbits(frames, axis=1)[:, 1:]
    return np.packbits(bits[:, : 8 * (frames.shape[1] - 1)], axis=1)


def read(read_maps: ReadMaps, layout: Layout, frames: NDArray[np.uint8]) -> Drafts:
    """What frames [B, size] without codes of pictures say; whatever the bytes, some picture."""
    packets = np.zeros_like(frames)
    palette = np.zeros((len(frames), len(CLASSES), 3), np.float32)
    seed = np.zeros(len(frames), np.int64)
    for row, bits in enumerate(np.unpackbits(frames, axis=1)):
        at = layout.head_bits
        seed[row] = to_number(bits[at - layout.index_bits : at]) % layout.seeds
        if layout.depth:
            there = np.flatnonzero(bits[at : at + len(CLASSES)])
            at += len(CLASSES)
            for number in there:
                for primary in range(3):
                    step = to_number(bits[at : at + layout.depth])
                    palette[row, number, primary] = 2.0 * step / (2**layout.depth - 1) - 1.0
                    at += layout.depth
        packet = np.packbits(bits[at:])
        packets[row, : len(packet)] = packet
    return Drafts(read_maps(packets), palette, seed)


def to_bits(number: int, width: int) -> Bits:
    """A number below 2^width as ``width`` bits."""
    return np.asarray([(int(number) >> place) & 1 for place in reversed(range(width))], np.uint8)


def to_number(bits: Bits) -> int:
    """Inverse of `to_bits`."""
    return int("".join(map(str, bits.tolist())) or "0", 2)


def _filled(bits: Bits, size: int) -> NDArray[np.uint8]:
    whole = np.zeros(8 * size, np.uint8)
    whole[: len(bits)] = bits
    return np.packbits(whole)
