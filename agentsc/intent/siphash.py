"""Authentication tags of many packets at once: SipHash-2-4, a keyed hash made for short messages.

Reference: J.-P. Aumasson and D. J. Bernstein, SipHash: a fast short-input PRF, INDOCRYPT 2012. As a pseudo-random
function its truncation to b bits is a message authentication code that a forger passes with probability 2^-b.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_START = tuple(np.uint64(c) for c in (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573))


def siphash(key: Words, data: NDArray[np.uint8], length: NDArray[np.integer]) -> Words:
    """SipHash-2-4 of the first ``length`` bytes of each row.

    Args:
        key: uint64 [K, 2] or [2], little-endian halves of the 128-bit key. data: uint8 [K, W]. length: [K] ≤ W.

    Returns:
        uint64 [K].
    """
    count, columns = data.shape
    length = np.asarray(length, np.int64)
    blocks = columns // 8 + 1
    clean = np.zeros((count, 8 * blocks), np.uint8)
    clean[:, :columns] = data
    clean[np.arange(8 * blocks) >= length[:, None]] = 0
    # The last block of a row ends with the length's low byte.
    clean[np.arange(count), 8 * (length // 8) + 7] = (length & 0xFF).astype(np.uint8)
    words = np.ascontiguousarray(clean.view("<u8").astype(np.uint64))
    first, second = np.broadcast_to(key, (count, 2)).T
    state = [first ^ _START[0], second ^ _START[1], first ^ _START[2], second ^ _START[3]]
    for block in range(blocks):
        word, before = words[:, block], state
        after = [*state[:3], state[3] ^ word]
        for _ in range(2):
            after = _round(*after)
        after[0] = after[0] ^ word
        taken = block <= length // 8
        state = [np.where(taken, new, old) for new, old in zip(after, before, strict=True)]
    state[2] = state[2] ^ np.uint64(0xFF)
    for _ in range(4):
        state = _round(*state)
    return np.asarray(state[0] ^ state[1] ^ state[2] ^ state[3])


def _left(x: Words, by: int) -> Words:
    return (x << np.uint64(by)) | (x >> np.uint64(64 - by))


def _round(v0: Words, v1: Words, v2: Words, v3: Words) -> list[Words]:
    """SipRound of the paper, figure 2.1."""
    v0, v2 = v0 + v1, v2 + v3
    v1, v3 = _left(v1, 13) ^ v0, _left(v3, 16) ^ v2
    v0 = _left(v0, 32)
    v2, v0 = v2 + v1, v0 + v3
    v1, v3 = _left(v1, 17) ^ v2, _left(v3, 21) ^ v0
    return [v0, v1, _left(v2, 32), v3]
