"""Prefix codes: from how often symbols occur to how many bits each takes, and tables to write and read them.

Codes are canonical: lengths alone define them (shorter ones first, equal ones in the order of their symbols), so a
file holds lengths only and every machine derives the same words.

Reference: D. Huffman, "A method for the construction of minimum-redundancy codes", 1952; E. Schwartz and B. Kallick,
"Generating a canonical prefix encoding", 1964.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agentsc.intent._learned_kernels import LONGEST


def code_lengths(counts: ArrayLike, longest: int = LONGEST) -> NDArray[np.uint8]:
    """Bits of each symbol's code, of least total length for those counts.

    Args:
        counts: [symbols], how often each occurs, not negative; every symbol gets a code, the rarest included.
        longest: bits of the longest code; where it is exceeded, rare symbols are treated as less rare.

    Returns:
        uint8 [symbols]; Σ 2^-length is 1.
    """
    weight = np.maximum(np.asarray(counts, np.float64), 1e-9)
    if not 2 <= len(weight) <= 1 << longest:
        raise ValueError(f"counts must hold 2 to {1 << longest} symbols, got {len(weight)}")
    weight /= weight.sum()
    while True:
        lengths = _huffman(weight)
        if lengths.max() <= longest:
            return lengths
        weight = np.maximum(weight, 2.0 * weight[lengths > longest].max())


def _huffman(weight: NDArray[np.float64]) -> NDArray[np.uint8]:
    heap = [(w, k, [k]) for k, w in enumerate(weight.tolist())]
    heapq.heapify(heap)
    lengths = np.zeros(len(weight), np.uint8)
    while len(heap) > 1:
        (a, first, some), (b, _, others) = heapq.heappop(heap), heapq.heappop(heap)
        joined = some + others
        lengths[joined] += 1
        heapq.heappush(heap, (a + b, first, joined))
    return lengths


@dataclass(frozen=True)
class PrefixTables:
    """Canonical codes of several tables, ready for the kernels.

    Attributes:
        lengths: uint8 [table, symbol], 0 for symbols that a table lacks. words: uint32 [table, symbol].
        order: int32 [table, symbol], symbols by length. first, count: int32 [table, LONGEST + 1], by length, where
            in ``order`` it begins and how many there are.
    """

    lengths: NDArray[np.uint8]
    words: NDArray[np.uint32]
    order: NDArray[np.int32]
    first: NDArray[np.int32]
    count: NDArray[np.int32]

    @classmethod
    def of(cls, lengths: NDArray[np.uint8]) -> PrefixTables:
        """The codes that those lengths define.

        Raises:
            ValueError: a table whose code is not complete, so that some bits would mean nothing.
        """
        tables, symbols = lengths.shape
        words, order = np.zeros((tables, symbols), np.uint32), np.zeros((tables, symbols), np.int32)
        first, count = (np.zeros((tables, LONGEST + 1), np.int32) for _ in range(2))
        for table, row in enumerate(lengths):
            there = np.flatnonzero(row)
            if row.max() > LONGEST or int((1 << (LONGEST - row[there].astype(np.int64))).sum()) != 1 << LONGEST:
                raise ValueError(f"lengths must be of a complete prefix code, those of table {table} are not")
            ranked = there[np.argsort(row[there], kind="stable")]
            order[table, : len(ranked)] = ranked
            count[table] = np.bincount(row[there], minlength=LONGEST + 1)
            first[table] = np.concatenate([[0], np.cumsum(count[table])[:-1]])
            word = 0
            for place, symbol in enumerate(ranked):
                if place:
                    word = (word + 1) << int(row[symbol] - row[ranked[place - 1]])
                words[table, symbol] = word
        return cls(np.ascontiguousarray(lengths), words, order, first, count)
