"""The best map that fits a number of bits: things are left out and resolution is given up, least important first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label

from envs.scenery import AGENT, CLASSES, FLOOR, GOAL, OBSTACLE
from policies.networks.context_net import SCALES
from policies.scene.map_code import MapCode

Labels = NDArray[np.uint8]
WEIGHT = np.ones(len(CLASSES))
"""What a class's intersection over union is worth to the sender."""
WEIGHT[[OBSTACLE, GOAL, AGENT]] = 3.0, 2.0, 3.0
_TOUCHING = np.ones((3, 3), int)
_SPECKLE = 2
"""Cells up to which a piece is noise to a smoothed map."""
MOST = 16
"""Pieces that are weighed one by one; of a map with more of them the smallest go first, and do not come back."""


class Packed(NamedTuple):
    """packet: bytes. bits: of these, that are needed. labels: the map that it decodes to. whole: nothing was lost."""

    packet: bytes
    bits: int
    labels: Labels
    whole: bool


def worth(made: Labels, wanted: Labels) -> float:
    """Weighted mean over the classes in ``wanted`` of intersection over union, in [0, 1]."""
    total = value = 0.0
    for number, weight in enumerate(WEIGHT):
        own = wanted == number
        if own.any():
            other = made == number
            total += weight
            value += weight * (own & other).sum() / (own | other).sum()
    return value / total


def fit(code: MapCode, labels: Labels, bits: int) -> Packed | None:
    """The packet of at most ``bits`` bits whose map is worth most to a sender that sees ``labels`` [size, size].

    A map that fits is coded as it is. Otherwise pieces of one class, in the order of what they are worth for the bits
    that leaving them out saves, give way to what surrounds them, until the rest fits at full resolution or at one of
    the lower ones; once from the map as it is, once without its speckles. Among these the best is chosen.

    Returns:
        None if not even an empty map fits.
    """
    packet, used = code.encode_bits(labels)
    if used <= bits:
        return Packed(packet, used, labels, True)
    best: Packed | None = None
    value = -1.0
    for start in (labels, without_speckles(labels)):
        pieces = _least_first(code, start)
        for halvings in range(SCALES):
            found = _fullest(code, start, pieces, halvings, bits)
            if found is None:
                continue
            seen = code.decode(found[0])
            score = worth(seen, labels)
            if score > value:
                best, value = Packed(*found, seen, False), score
    return best


def without_speckles(labels: Labels) -> Labels:
    """The map with pieces of up to two cells given to what surrounds them."""
    made = labels
    for number, cells in _pieces(labels):
        if cells.sum() <= _SPECKLE:
            made = _filled(made, number, cells)
    return made


Piece = tuple[int, NDArray[np.bool_]]
"""Class and cells of a connected piece of a map."""


def _least_first(code: MapCode, labels: Labels) -> list[Piece]:
    """Pieces of a map, ascending in what they are worth for the bits that they take."""
    whole = code.encode_bits(labels)[1]
    area = np.bincount(labels.ravel(), minlength=len(CLASSES))
    order: list[tuple[float, int, int, NDArray[np.bool_]]] = []
    pieces = sorted(_pieces(labels), key=lambda piece: int(piece[1].sum()))
    small = pieces[: max(len(pieces) - MOST, 0)]
    for number, cells in pieces[len(small) :]:
        saved = whole - code.encode_bits(_filled(labels, number, cells))[1]
        loss = WEIGHT[number] * cells.sum() / area[number]
        order.append((loss / max(saved, 0.5), len(order), number, cells))
    return small + [(number, cells) for _, _, number, cells in sorted(order, key=lambda entry: entry[:2])]


def _fullest(
    code: MapCode, labels: Labels, pieces: list[Piece], halvings: int, bits: int
) -> tuple[bytes, int] | None:
    """The packet of a map that fits, with as many pieces as can be: the first ones go, then what has room comes back.

    How many must go is searched by halves, as lengths fall along that line but for a few bits.
    """

    def tried(gone: int, kept: frozenset[int] = frozenset()) -> tuple[bytes, int]:
        made = labels
        for place, piece in enumerate(pieces[:gone]):
            if place not in kept:
                made = _filled(made, *piece)
        if gone > len(pieces):
            made = np.full_like(labels, FLOOR)
        return code.encode_bits(made, halvings)

    low, high = 0, len(pieces) + 1
    found = tried(high)
    if found[1] > bits:
        return None
    while low < high:
        middle = (low + high) // 2
        attempt = tried(middle)
        if attempt[1] <= bits:
            high, found = middle, attempt
        else:
            low = middle + 1
    if high > len(pieces):
        return found
    kept: frozenset[int] = frozenset()
    for place in reversed(range(max(len(pieces) - MOST, 0), high)):
        attempt = tried(high, kept | {place})
        if attempt[1] <= bits:
            kept, found = kept | {place}, attempt
    return found


def _pieces(labels: Labels) -> list[Piece]:
    """Class and cells of every connected piece but the floor's."""
    found = []
    for number in range(len(CLASSES)):
        if number == FLOOR:
            continue
        pieces, count = label(labels == number, _TOUCHING)
        found += [(number, pieces == piece) for piece in range(1, count + 1)]
    return found


def _filled(labels: Labels, number: int, cells: NDArray[np.bool_]) -> Labels:
    """The map with a piece given to the class that most of its neighbours have."""
    ring = labels[binary_dilation(cells, _TOUCHING) & ~cells]
    ring = ring[ring != number]
    other = np.bincount(ring, minlength=1).argmax() if len(ring) else FLOOR
    return np.where(cells & (labels == number), np.uint8(other), labels)
