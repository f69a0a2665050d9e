"""What of a packet is not payload: the header that every packet begins with, and the checksum at its end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.codec import append_crc, crc_holds
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


def intact(data: NDArray[np.uint8], bits: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether each packet's checksum holds, as its receiver computes it from what arrived.

    Args:
        data: uint8 [K, W]. bits: [K], of each packet with its checksum; what is behind them is ignored.

    Returns:
        bool [K]; False for packets too short for a checksum.
    """
    bits = np.asarray(bits, np.int64)
    if data.shape[1] == 0:
        return np.zeros(len(data), bool)
    width = np.where(data[:, 0] >> 4 == INTENT, 8, 16)
    payload = np.minimum(bits - width, 8 * data.shape[1] - width)
    good = payload > 0
    for each in (8, 16):
        rows = np.flatnonzero(good & (width == each))
        if len(rows):
            wide = np.pad(data[rows], ((0, 0), (0, 3)))
            good[rows] = crc_holds(wide, payload[rows], each)
    return good


def with_checksum(data: NDArray[np.uint8], payload: NDArray[np.integer]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Packets from their payloads, whatever those say.

    Args:
        data: uint8 [K, W], zeros behind the payload. payload: [K], bits of each.

    Returns:
        uint8 [K, W'] and int32 [K], bits with the checksum.
    """
    length: NDArray[np.int64] = np.asarray(payload, np.int64)
    width = np.where(data[:, 0] >> 4 == INTENT, 8, 16)
    out = np.zeros((len(data), data.shape[1] + 3), np.uint8)
    for each in (8, 16):
        rows = np.flatnonzero(width == each)
        if len(rows):
            sealed = append_crc(data[rows], length[rows], each)
            columns = min(sealed.shape[1], out.shape[1])
            out[rows, :columns] = sealed[:, :columns]
    return out, (length + width).astype(np.int32)
