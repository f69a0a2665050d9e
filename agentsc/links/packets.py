"""Packets on their way, as arrays: one row per packet, whoever sends it and whatever stage it has come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]


class Packets(NamedTuple):
    """Broadcasts of one round, at most one per agent.

    lane, sender: int32 [K]. data: uint8 [K, W], not to be changed afterwards. bits: int32 [K], on the air.
    """

    lane: Ints
    sender: Ints
    data: Bytes
    bits: Ints

    def take(self, rows: NDArray) -> Packets:
        """Some rows, by number or by mask."""
        return Packets(*_taken(self, rows))


class Held(NamedTuple):
    """Packets at one point of their way, at most one per sender.

    lane, sender: int32 [K]; the sender is the node whose radio sends, an agent or a hostile station.
    clock: int32 [K], the message round in which the packet was first sent. data: uint8 [K, W].
    bits: int32 [K], on the air.
    at_s: float64 [K], seconds since the start, when they reach that point: offered to a stage, the offer; on the
        air, when the last bit has left.
    start_s: float64 [K], when the first bit went on the air.
    origin: int32 [K], the agent that the packet names as its author: the sender, unless relayed or forged.
    hops: int32 [K], how often it was relayed. forged: bool [K], not sent by any agent.
    mode: int32 [K], the radio's modulation and coding, 0 for radios with a single one.
    rate_bps: float64 [K], of that mode, bits per second; NaN where no radio says.
    """

    lane: Ints
    sender: Ints
    clock: Ints
    data: Bytes
    bits: Ints
    at_s: Doubles
    start_s: Doubles
    origin: Ints
    hops: Ints
    forged: NDArray[np.bool_]
    mode: Ints
    rate_bps: Doubles

    @classmethod
    def new(cls, lane: Ints, sender: Ints, clock: Ints, data: Bytes, bits: Ints, at_s: Doubles) -> Held:
        """Packets of agents that are about to be sent."""
        zero = np.zeros(len(lane), np.int32)
        forged, rate = np.zeros(len(lane), bool), np.full(len(lane), np.nan)
        return cls(lane, sender, clock, data, bits, at_s, at_s, sender, zero, forged, zero, rate)

    def take(self, rows: NDArray) -> Held:
        """Some rows, by number or by mask."""
        return Held(*_taken(self, rows))


def _taken(columns: Iterable[NDArray], rows: NDArray) -> list[Any]:
    """Rows of every column; a mask becomes numbers first, because looking through it for each column takes longer."""
    numbers = np.flatnonzero(rows) if rows.dtype == bool else rows
    return [column.take(numbers, axis=0) for column in columns]


def join(parts: Sequence[Held]) -> Held:
    """All parts one behind the other; shorter data is filled up with zeros."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.data.shape[1] for part in parts)
    wide = [p._replace(data=widen(p.data, width)) for p in parts]
    return Held(*(np.concatenate(columns) for columns in zip(*wide, strict=True)))


def widen(data: Bytes, width: int) -> Bytes:
    """Rows filled up with zeros."""
    return np.pad(data, ((0, 0), (0, width - data.shape[1]))) if data.shape[1] < width else data


def turns(packets: Held) -> list[Held]:
    """The packets in their order, split so that no sender is twice in a part."""
    if len(packets.lane) == 0:
        return []
    who = (packets.lane.astype(np.int64) << 32) + packets.sender
    order = np.argsort(who, kind="stable")
    first = np.append(True, who[order][1:] != who[order][:-1])
    begin = np.flatnonzero(first)
    rank = np.empty(len(who), np.int64)
    rank[order] = np.arange(len(who)) - np.repeat(begin, np.diff(np.append(begin, len(who))))
    if not rank.any():
        return [packets]
    return [packets.take(rank == turn) for turn in range(int(rank.max()) + 1)]
