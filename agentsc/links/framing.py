"""What of a packet is not payload: the header that every packet begins with, and the checksum at its end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.fields import BASE, INTENT, KIND_BITS

HEADER_BITS = sum(bits for _, bits in BASE)


def overhead_bits(data: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bits of header and of checksum; the rest of a packet's bits are payload.

    Args:
        data: uint8 [K, W], at least one byte each.

    Returns:
        int64 [K] and int64 [K]. Packets without sections name their kind in the header.
    """
    sections = data[:, 0] >> 4
    header = np.where(sections == 0, HEADER_BITS + KIND_BITS, HEADER_BITS)
    return header, np.where(sections == INTENT, 8, 16)
