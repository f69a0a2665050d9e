"""Bits that arrive wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.links.packets import Bytes, Doubles, Ints


def corrupt(
    key: NDArray[np.uint64], rate: Doubles, data: Bytes, packet: Ints, bits: Ints
) -> tuple[NDArray[np.int64], Bytes]:
    """Flip each bit of each row independently.

    Args:
        key: uint64 [N], random bits of the rows. rate: float64 [N], probability per bit.
        data: uint8 [K, W]. packet: int32 [N], the packet of each row. bits: int32 [K], bits of each packet.

    Returns:
        Rows [M] in which at least one bit is wrong, ascending, and their bytes uint8 [M, W].
    """
    from agentsc.links import _kernels

    wrong = np.zeros((len(packet), data.shape[1]), np.uint8)
    _kernels.flips(key, np.minimum(rate, 1.0), packet, bits, wrong)
    rows = np.flatnonzero(wrong.any(1))
    return rows, data[packet[rows]] ^ wrong[rows]
