"""Which packets have been received before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.links.flight import Deliveries

WINDOW = 64
"""Rounds by which a packet may be behind the newest of its author; older ones count as received."""


class Seen:
    """For every receiver and author: the newest round received, and which of the 64 up to it.

    Args:
        lanes, agents: shape of the fleet.

    A sliding window as in IPsec: S. Kent, IP Encapsulating Security Payload, RFC 4303 (2005), section 3.4.3.
    """

    def __init__(self, lanes: int, agents: int) -> None:
        self.agents = agents
        self._newest = np.full(lanes * agents * agents, -WINDOW, np.int64)
        self._window = np.zeros(lanes * agents * agents, np.uint64)
        """Bit b: the packet of round newest − b was received."""

    def first(self, found: Deliveries) -> NDArray[np.bool_]:
        """bool [M]: which of these are the first of their packet, by author and round, and not older than the window.

        Packets are looked at in the order in which they are handed over. An agent's own packets that come back to it
        are not new either.
        """
        from agentsc.links import _kernels

        fresh = np.zeros(len(found), bool)
        pair = (found.lane.astype(np.int64) * self.agents + found.receiver) * self.agents + found.sender
        own = found.receiver == found.sender
        _kernels.first_seen(pair, found.sent_clock, own, self._newest, self._window, fresh)
        return fresh
