"""Numbers as bits of a packet: fixed widths, and Golomb–Rice codes, written and read without loops over numbers.

A Rice code of parameter k says v >> k in unary and the last k bits as they are; a block of codes holds all unary parts
first, then all remainders, so where each number ends follows from the positions of zeros.

Reference: R. F. Rice, "Some practical universal noiseless coding techniques", JPL 79-22, 1979, section 4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Bits = NDArray[np.uint8]

MOST_UNARY = 64
"""Longest unary part that a reader accepts, and a writer makes."""
PARAMETER_BITS = 4


class Damaged(ValueError):
    """What arrived says nothing: it ends too early, or has a code that no writer makes."""


class Writer:
    """Collects bits, first bit first."""

    def __init__(self) -> None:
        self._parts: list[Bits] = []

    @property
    def count(self) -> int:
        """Bits so far."""
        return sum(len(part) for part in self._parts)

    def write(self, values: ArrayLike, width: int) -> None:
        """Unsigned numbers of ``width`` bits each.

        Raises:
            ValueError: one does not fit.
        """
        numbers = np.atleast_1d(np.asarray(values, np.int64)).ravel()
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < 1 << width):
            raise ValueError(f"numbers must fit {width} bits, got {numbers.min()} to {numbers.max()}")
        shifts = np.arange(width - 1, -1, -1)
        self._parts.append(((numbers[:, None] >> shifts) & 1).astype(np.uint8).ravel())

    def write_rice(self, values: ArrayLike) -> None:
        """Unsigned numbers, with the parameter that suits them best before them."""
        numbers = np.asarray(values, np.int64).ravel()
        ks = np.arange(1 << PARAMETER_BITS)
        costs = (numbers[:, None] >> ks).sum(0) + len(numbers) * (1 + ks)
        fits = (numbers.max(initial=0) >> ks) <= MOST_UNARY
        k = int(ks[np.argmin(np.where(fits, costs, np.iinfo(np.int64).max))])
        self.write(k, PARAMETER_BITS)
        quotient = numbers >> k
        ends = np.cumsum(quotient + 1) - 1
        unary = np.ones(int(quotient.sum()) + len(numbers), np.uint8)
        unary[ends] = 0
        self._parts.append(unary)
        if k:
            self.write(numbers & ((1 << k) - 1), k)

    def bytes(self) -> Bits:
        """All of it as bytes, filled up with zeros."""
        return np.packbits(np.concatenate(self._parts)) if self._parts else np.zeros(0, np.uint8)


class Reader:
    """Reads what a `Writer` wrote; a packet that does not hold it raises `Damaged`."""

    def __init__(self, data: Bits, count: int) -> None:
        self._bits = np.unpackbits(np.asarray(data, np.uint8))[:count]
        self._at = 0

    @property
    def left(self) -> int:
        """Bits not yet read."""
        return len(self._bits) - self._at

    def _take(self, count: int) -> Bits:
        if count > self.left:
            raise Damaged(f"a packet must hold {count} more bits, has {self.left}")
        found = self._bits[self._at : self._at + count]
        self._at += count
        return found

    def read(self, count: int, width: int) -> Ints:
        """``count`` unsigned numbers of ``width`` bits."""
        bits = self._take(count * width).astype(np.int64).reshape(count, width)
        return np.asarray(bits @ (1 << np.arange(width - 1, -1, -1)), np.int64).reshape(count)

    def read_one(self, width: int) -> int:
        """One unsigned number."""
        return int(self.read(1, width)[0])

    def read_rice(self, count: int) -> Ints:
        """``count`` numbers of a block of Rice codes."""
        k = self.read_one(PARAMETER_BITS)
        ends = np.flatnonzero(self._bits[self._at :] == 0)[:count]
        if len(ends) < count:
            raise Damaged("a block of codes must end within its packet")
        quotient = np.diff(ends, prepend=-1) - 1
        if quotient.max(initial=0) > MOST_UNARY:
            raise Damaged("a code must be one that a writer makes")
        self._take(int(ends[-1]) + 1 if count else 0)
        low = self.read(count, k) if k else np.zeros(count, np.int64)
        return np.asarray((quotient << k) + low, np.int64)


def zigzag(values: ArrayLike) -> Ints:
    """Signed numbers as unsigned ones: 0, −1, 1, −2, 2 … → 0, 1, 2, 3, 4 …."""
    numbers = np.asarray(values, np.int64)
    return np.asarray(np.where(numbers < 0, -2 * numbers - 1, 2 * numbers), np.int64)


def unzigzag(values: ArrayLike) -> Ints:
    """Inverse of `zigzag`."""
    numbers = np.asarray(values, np.int64)
    return np.asarray(np.where(numbers % 2 == 1, -(numbers + 1) // 2, numbers // 2), np.int64)
