"""Sharing the medium: when radios send, who is on the air at the same time, and what that does to packets."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agentsc.links.hop import Hop, Mask, known
from agentsc.links.packets import Held, Ints
from agentsc.links.parts import Air, Overlaps
from agentsc.links.reach import within


def overlaps(packets: Held, air: Air) -> Overlaps:
    """Which other transmissions were on the air during each packet, in its lane and on its channel.

    Args:
        packets: of `Stage.advance`, each of them in ``air``.
    """
    from agentsc.links.access import _kernels

    longest = float((air.end_s - air.start_s).max(initial=0.0))
    begin = np.zeros(len(packets.lane) + 1, np.int64)
    room = 4 * len(packets.lane) + 16
    while True:
        sender, share = np.empty(room, np.int32), np.empty(room)
        _kernels.overlaps(
            packets.lane, packets.sender, packets.start_s, packets.at_s, _edges(air, packets), air.sender, air.start_s,
            air.end_s, air.channel, longest, begin, sender, share,
        )  # fmt: skip
        if begin[-1] <= room:
            return Overlaps(begin, sender[: begin[-1]], share[: begin[-1]])
        room = int(begin[-1])


def fates(hop: Hop, air: Air, metres: float, deaf: bool, collides: bool) -> tuple[Mask, Mask]:
    """Receivers that were sending during a packet, and those that heard another transmission during it.

    Args:
        metres: how far radios hear each other; infinite if everywhere. deaf, collides: whether either is asked for.

    Returns:
        bool [N] and bool [N].
    """
    from agentsc.links.access import _kernels

    packets, everywhere = hop.packets, metres == math.inf or not collides
    busy, collision = np.empty(len(hop), bool), np.empty(len(hop), bool)
    spot = np.zeros((1, 1, 2)) if everywhere else np.ascontiguousarray(known(hop.around.position), np.float64)
    found = np.empty((len(packets.lane), 2 if everywhere else _FEW), np.int32)
    crowded = np.empty(len(packets.lane), bool)

    def decide(near: Neighbours) -> None:
        _kernels.fates(
            packets.lane, packets.sender, packets.start_s, packets.at_s, hop.packet, hop.receiver, _edges(air, packets),
            air.sender, air.start_s, air.end_s, air.channel, hop.around.nodes, spot,
            math.inf if everywhere else metres**2, *near, deaf, collides, found, crowded, busy, collision,
        )  # fmt: skip

    decide(NOBODY)
    if crowded.any() and not everywhere:
        decide(neighbours(spot, metres))
    return busy, collision


_FEW = 16
"""Up to so many others on the air at once, looking at all of them is quicker than at everybody around a receiver."""

Neighbours = tuple[NDArray[np.int64], Ints]
"""Where the neighbours of every node of every lane begin, [L N + 1], and the neighbours."""
NOBODY: Neighbours = np.zeros(1, np.int64), np.zeros(0, np.int32)


def neighbours(position: NDArray[np.floating], metres: float) -> Neighbours:
    """Nodes no farther than ``metres`` from each other.

    Args:
        position: float [L, N, 2], metres.
    """
    lanes, nodes = position.shape[:2]
    lane, node = (part.ravel().astype(np.int32) for part in np.indices((lanes, nodes)))
    row, neighbour = within(lane, node, position, metres)
    return np.searchsorted(row, np.arange(lanes * nodes + 1)), neighbour


def _edges(air: Air, packets: Held) -> NDArray[np.int64]:
    """Where each lane begins among the transmissions, up to the last lane that has any, or packets."""
    last = max(int(air.lane.max(initial=-1)), int(packets.lane.max(initial=-1)))
    return np.searchsorted(air.lane, np.arange(last + 2))
