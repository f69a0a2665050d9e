"""Sharing the medium: when radios send, who is on the air at the same time, and what that does to packets."""

from __future__ import annotations

import numpy as np

from agentsc.links.packets import Held
from agentsc.links.parts import Air, Overlaps


def overlaps(packets: Held, air: Air) -> Overlaps:
    """Which other transmissions were on the air during each packet, in its lane and on its channel.

    Args:
        packets: of `Stage.advance`, each of them in ``air``.
    """
    from agentsc.links.access import _kernels

    lanes = int(air.lane[-1]) + 1 if len(air.lane) else 0
    edge = np.searchsorted(air.lane, np.arange(lanes + 1))
    longest = float((air.end_s - air.start_s).max(initial=0.0))
    begin = np.zeros(len(packets.lane) + 1, np.int64)
    room = 4 * len(packets.lane) + 16
    while True:
        sender, share = np.empty(room, np.int32), np.empty(room)
        _kernels.overlaps(
            packets.lane, packets.sender, packets.start_s, packets.at_s, edge, air.sender, air.start_s, air.end_s,
            air.channel, longest, begin, sender, share,
        )  # fmt: skip
        if begin[-1] <= room:
            return Overlaps(begin, sender[: begin[-1]], share[: begin[-1]])
        room = int(begin[-1])
