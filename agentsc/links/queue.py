"""Finite queues in front of the senders' radios.

A packet goes on the air when everything that its sender sent before has left. While it waits it may
still be dropped, so the queue holds it until its turn has come; nothing is decided ahead of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Doubles = NDArray[np.float64]

_SAME_S = 1e-9
"""Times no further apart are the same, computed along two ways."""


class Held(NamedTuple):
    """Packets at one point of their way, at most one per sender.

    lane, sender, clock, bits: int32 [K]; clock is the message round of sending. data: uint8 [K, W].
    at_s: float64 [K], seconds since the start at which they reach that point.
    """

    lane: Ints
    sender: Ints
    clock: Ints
    data: NDArray[np.uint8]
    bits: Ints
    at_s: Doubles

    def take(self, rows: NDArray) -> Held:
        """Some rows, by number or by mask."""
        return Held(*(column[rows] for column in self))


def join(parts: Sequence[Held]) -> Held:
    """All parts one behind the other; shorter data is filled up with zeros."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.data.shape[1] for part in parts)
    wide = [p._replace(data=np.pad(p.data, ((0, 0), (0, width - p.data.shape[1])))) for p in parts]
    return Held(*(np.concatenate(columns) for columns in zip(*wide, strict=True)))


class SenderQueue:
    """First come, first served, one at a time, at a constant rate; one queue for every sender.

    Args:
        rate_bps: bits per second. places: packets that may wait, besides the one that is being sent.
        drop_head: when no place is left, the packet that waited longest goes, not the one that comes.
        lanes, agents: how many senders there are.
    """

    def __init__(self, rate_bps: float, places: int, drop_head: bool, lanes: int, agents: int) -> None:
        self.rate_bps, self.places, self.drop_head, self.agents = rate_bps, places, drop_head, agents
        self._free_s = np.full(lanes * agents, -np.inf)
        """When each radio has sent everything that it has begun to send."""
        self._waiting: Held | None = None
        """Sorted by sender, then by arrival."""

    def __len__(self) -> int:
        return 0 if self._waiting is None else len(self._waiting.lane)

    def waiting(self, lanes: int) -> NDArray[np.int64]:
        """int64 [L]: packets that wait."""
        lane = np.zeros(0, np.int32) if self._waiting is None else self._waiting.lane
        return np.bincount(lane, minlength=lanes).astype(np.int64)

    def advance(self, now_s: float) -> list[Held]:
        """Packets whose turn came up to ``now_s``, in turns; ``at_s`` is when their last bit has left."""
        return self._serve(np.full(len(self._free_s), now_s))

    def offer(self, packets: Held) -> tuple[list[Held], Held | None]:
        """Take packets in when they come.

        Args:
            packets: no sender may come before its own earlier ones.

        Returns:
            Packets that have left or are leaving, as by `advance`, and packets that were dropped.
        """
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
        """Begin to send as soon as the radio is free."""
        who = self._who(packets)
        end = np.maximum(self._free_s[who], packets.at_s) + packets.bits / self.rate_bps
        self._free_s[who] = end
        return packets._replace(at_s=end)

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
