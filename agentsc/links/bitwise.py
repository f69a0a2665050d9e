"""Reading and writing bits of many packets at once; the first bit is the highest of the first byte."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.links.packets import Bytes, widen


def read(data: Bytes, at: NDArray[np.integer], width: int) -> NDArray[np.uint64]:
    """Unsigned numbers of ``width`` ≤ 64 bits.

    Args:
        data: uint8 [K, W]. at: int [K], where each begins, inside the row with all of its bits.
    """
    bits = np.unpackbits(data, axis=1)
    picked = bits[np.arange(len(data))[:, None], np.asarray(at)[:, None] + np.arange(width)]
    place = np.uint64(1) << np.arange(width - 1, -1, -1, dtype=np.uint64)
    return np.asarray((picked * place).sum(1, dtype=np.uint64))


def write(data: Bytes, at: NDArray[np.integer], width: int, value: NDArray[np.integer]) -> Bytes:
    """Rows with the lowest ``width`` ≤ 64 bits of ``value`` [K] from bit ``at`` [K] on; longer rows if need be."""
    longest = int(np.max(at, initial=0)) + width
    bits = np.unpackbits(widen(data, -(-longest // 8)), axis=1)
    place = np.arange(width - 1, -1, -1, dtype=np.uint64)
    digits = (np.asarray(value).astype(np.uint64)[:, None] >> place) & np.uint64(1)
    bits[np.arange(len(data))[:, None], np.asarray(at)[:, None] + np.arange(width)] = digits
    return np.packbits(bits, axis=1)


def cut(data: Bytes, bits: NDArray[np.integer]) -> Bytes:
    """Rows with zeros from bit ``bits`` [K] on."""
    found = np.unpackbits(data, axis=1)
    found[np.arange(found.shape[1]) >= np.asarray(bits)[:, None]] = 0
    return np.packbits(found, axis=1)
