"""What became of packets, for whoever draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links.flight import NO_INTS
from agentsc.links.hop import Mask
from agentsc.links.packets import Doubles, Held, Ints, widen
from agentsc.links.passage import Carried
from agentsc.links.reach import everyone


class Transmissions(NamedTuple):
    """What has become of one lane's packets, one row per packet and receiver in play, and one per copy.

    packet: row of ``data``. sender: the agent whose radio sent it. arrival_s: NaN where lost. Times in
    seconds since the start.
    """

    packet: Ints
    sender: Ints
    receiver: Ints
    sent_s: Doubles
    arrival_s: Doubles
    lost: Mask
    bits: Ints
    data: NDArray[np.uint8]


def of_hop(carried: Carried, lane: int, agents: int, round_s: float) -> Transmissions:
    """Of a lane's packets that were sent; those of hostile stations are left out."""
    hop = carried.hop
    rows = np.flatnonzero((hop.lane[hop.packet] == lane) & (hop.sender[hop.packet] < agents))
    packet = hop.packet[rows]
    gone = np.zeros(len(rows), bool) if carried.alive is None else ~carried.alive[rows]
    wait = carried.delay_s if isinstance(carried.delay_s, float) else carried.delay_s[rows]
    sent_s = np.asarray(hop.clock * round_s, np.float64)[packet]
    return Transmissions(
        packet,
        hop.sender[packet],
        hop.receiver[rows],
        sent_s,
        np.where(gone, np.nan, sent_s + wait),
        gone,
        hop.bits[packet],
        hop.packets.data,
    )


def of_dropped(held: Held, lane: int, agents: int, round_s: float) -> Transmissions:
    """Of a lane's packets that never went on the air."""
    held = held.take((held.lane == lane) & (held.sender < agents))
    packet, receiver = everyone(held.sender, agents)
    return Transmissions(
        packet,
        held.sender[packet],
        receiver,
        np.asarray(held.clock * round_s, np.float64)[packet],
        np.full(len(packet), np.nan),
        np.ones(len(packet), bool),
        held.bits[packet],
        held.data,
    )


def together(parts: Sequence[Transmissions]) -> Transmissions:
    """All parts, packets numbered through."""
    if not parts:
        none = np.zeros(0)
        return Transmissions(
            NO_INTS, NO_INTS, NO_INTS, none, none, np.zeros(0, bool), NO_INTS, np.zeros((0, 1), np.uint8)
        )
    if len(parts) == 1:
        return parts[0]
    first = np.cumsum([0, *(len(part.data) for part in parts)], dtype=np.int32)
    width = max(part.data.shape[1] for part in parts)
    parts = [
        part._replace(packet=part.packet + start, data=widen(part.data, width))
        for part, start in zip(parts, first, strict=False)
    ]
    return Transmissions(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
