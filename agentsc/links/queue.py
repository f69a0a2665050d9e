"""Finite queues in front of the senders' radios.

A packet goes on the air when everything that its sender sent before has left. While it waits it may
still be dropped, so the queue holds it until its turn has come; nothing is decided ahead of time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agentsc.links.packets import Doubles, Held, join
from agentsc.links.parts import Stage

_SAME_S = 1e-9
"""Times no further apart are the same, computed along two ways."""


Plan = Callable[[Held, Doubles], tuple[Doubles, Doubles]]
"""(K packets, from when on their radios may send them) → seconds at which each starts and ends."""


def at_rate(rate_bps: float) -> Plan:
    """Send at once, at a constant rate, bits per second."""
    return lambda packets, ready_s: (ready_s, ready_s + packets.bits / rate_bps)


class SenderQueue(Stage):
    """First come, first served, one at a time; one queue for every sender.

    Args:
        plan: when a radio sends a packet whose turn has come. places: packets that may wait, besides the one whose
            turn it is. drop_head: when no place is left, the packet that waited longest goes, not the one that comes.
        lanes, agents: how many senders there are.
    """

    def __init__(self, plan: Plan, places: int, drop_head: bool, lanes: int, agents: int) -> None:
        self.plan, self.places, self.drop_head, self.agents = plan, places, drop_head, agents
        self._free_s = np.full(lanes * agents, -np.inf)
        """When each radio has sent everything that it has begun to send."""
        self._waiting: Held | None = None
        """Sorted by sender, then by arrival."""

    def __len__(self) -> int:
        return 0 if self._waiting is None else len(self._waiting.lane)

    @property
    def waiting(self) -> Held | None:
        return self._waiting

    def advance(self, now_s: float) -> list[Held]:
        """Packets whose turn came up to ``now_s``; they may still be on their way."""
        return self._serve(np.full(len(self._free_s), now_s))

    def offer(self, packets: Held) -> tuple[list[Held], Held | None]:
        who = self._who(packets)
        until = np.full(len(self._free_s), -np.inf)
        until[who] = packets.at_s
        left = self._serve(until)
        waits = self._free_s[who] > packets.at_s + _SAME_S
        if not waits.all():
            left.append(self._send(packets.take(~waits)))
        return left, (self._enqueue(packets.take(waits)) if waits.any() else None)

    def _who(self, packets: Held) -> NDArray[np.int64]:
        return packets.lane.astype(np.int64) * self.agents + packets.sender

    def _send(self, packets: Held) -> Held:
        """Their turn has come."""
        who = self._who(packets)
        start, end = self.plan(packets, np.maximum(self._free_s[who], packets.at_s))
        self._free_s[who] = end
        return packets._replace(at_s=end, start_s=start)

    def _serve(self, until_s: Doubles) -> list[Held]:
        """Send what waits, one packet per sender and turn, as long as a turn begins by ``until_s`` [sender]."""
        left = []
        while self._waiting is not None:
            who = self._who(self._waiting)
            head = np.append(True, who[1:] != who[:-1])
            head &= self._free_s[who] <= until_s[who] + _SAME_S
            if not head.any():
                break
            left.append(self._send(self._waiting.take(head)))
            self._waiting = None if head.all() else self._waiting.take(~head)
        return left

    def _enqueue(self, packets: Held) -> Held | None:
        """Let packets wait; what finds no place, or makes place, is returned."""
        count = np.zeros(len(self._free_s), np.int64)
        if self._waiting is not None:
            count += np.bincount(self._who(self._waiting), minlength=len(count))
        full = count[self._who(packets)] >= self.places
        dropped = None
        if full.any() and not self.drop_head:
            dropped, packets = packets.take(full), packets.take(~full)
        elif full.any():
            assert self._waiting is not None
            crowded = np.zeros(len(count), bool)
            crowded[self._who(packets)[full]] = True
            who = self._who(self._waiting)
            oldest = np.append(True, who[1:] != who[:-1]) & crowded[who]
            dropped, self._waiting = self._waiting.take(oldest), self._waiting.take(~oldest)
        line = packets if self._waiting is None else join([self._waiting, packets])
        order = np.argsort(self._who(line), kind="stable")
        self._waiting = line.take(order) if len(order) else None
        return dropped
