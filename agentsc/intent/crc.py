"""Cyclic redundancy checks of many packets at once.

A CRC is linear: the checksum of a message is the exclusive-or of one term per byte that depends
on the byte's value and on its distance from the end, plus a term of the initial register that
depends on the length. Both are tabulated, so a batch is one gather and one reduction.

Reference: CRC-8 is CRC-8/SMBUS, CRC-16 is CRC-16/IBM-3740 ("CCITT-FALSE") of the CRC catalogue
(reveng.sourceforge.io/crc-catalogue); W. W. Peterson and D. T. Brown, Cyclic codes for error
detection, Proc. IRE 49 (1961).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = {8: 0x07, 16: 0x1021}
_INITIAL = {8: 0x00, 16: 0xFFFF}


def crc(data: NDArray[np.uint8], length: NDArray[np.integer], width: int) -> NDArray[np.int64]:
    """Checksums of the first ``length`` bytes of each row.

    Args:
        data: uint8 [K, W]; bytes from ``length`` on must be zero.
        length: [K], 0 … W bytes.
        width: 8 or 16 bits.

    Returns:
        int64 [K] in 0 … 2^width − 1.
    """
    columns = data.shape[1]
    terms, start = _tables(width, -(-max(columns, 1) // 32) * 32)
    place = np.maximum(length[:, None] - 1 - np.arange(columns), 0)  # zero bytes contribute nothing
    register = np.bitwise_xor.reduce(terms[(place << 8) + data], axis=1)
    return (register ^ start[length]).astype(np.int64)


@lru_cache(maxsize=32)
def _tables(width: int, columns: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Terms [columns · 256] by distance from the end and byte, and of the initial register [columns + 1]."""
    mask, top = (1 << width) - 1, width - 8

    def step(register: NDArray[np.int64]) -> NDArray[np.int64]:
        """Shift eight zero bits in."""
        for _ in range(8):
            carry = (register >> (width - 1)) & 1
            register = ((register << 1) ^ (carry * _POLYNOMIAL[width])) & mask
        return register

    terms = np.empty((columns, 256), np.uint16)
    start = np.empty(columns + 1, np.uint16)
    register, initial = np.arange(256, dtype=np.int64) << top, np.array([_INITIAL[width]], np.int64)
    start[0] = initial[0]
    for distance in range(columns):
        register, initial = step(register), step(initial)
        terms[distance], start[distance + 1] = register, initial[0]
    return terms.ravel(), start
