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
        self._newest = np.full(lanes * agents * agents, -1, np.int64)
        self._window = np.zeros(lanes * agents * agents, np.uint64)
        """Bit b: the packet of round newest − b was received."""

    def first(self, found: Deliveries) -> NDArray[np.bool_]:
        """bool [M]: which of these are the first of their packet, by author and round, and not older than the window.

        An agent's own packets that come back to it are not new either.
        """
        if not len(found):
            return np.zeros(0, bool)
        clock = found.sent_clock
        pair = (found.lane.astype(np.int64) * self.agents + found.receiver) * self.agents + found.sender
        fresh = np.zeros(len(pair), bool)
        order = np.lexsort((np.arange(len(pair)), clock, pair))
        same = np.append(
            False, (pair[order][1:] == pair[order][:-1]) & (clock[order][1:] == clock[order][:-1])
        )
        rows = order[~same]
        rows = rows[found.receiver[rows] != found.sender[rows]]
        # Rounds of one pair ascend, so one pass per rank keeps windows right.
        while len(rows):
            head = np.append(True, pair[rows][1:] != pair[rows][:-1])
            now, rows = rows[head], rows[~head]
            which, at = pair[now], clock[now].astype(np.int64)
            ahead = at - self._newest[which]
            window = self._window[which]
            inside = (ahead <= 0) & (ahead > -WINDOW)
            back = np.where(inside, -ahead, 0).astype(np.uint64)
            known = inside & ((window >> back) & np.uint64(1) != 0)
            new = (ahead > 0) | (inside & ~known)
            shift = np.clip(ahead, 0, WINDOW - 1).astype(np.uint64)
            moved = np.where(ahead >= WINDOW, np.uint64(0), window << shift) | np.uint64(1)
            kept = np.where(new, window | (np.uint64(1) << back), window)
            self._window[which] = np.where(ahead > 0, moved, kept)
            self._newest[which] = np.maximum(self._newest[which], at)
            fresh[now] = new
        return fresh
