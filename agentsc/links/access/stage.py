"""Stages that decide when packets go on the air."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agentsc.links.access import NOBODY, Neighbours, neighbours
from agentsc.links.access.link import AccessLink
from agentsc.links.hop import Surroundings, known, uniform
from agentsc.links.packets import Doubles, Held, Ints, join, turns
from agentsc.links.parts import Air, Site, Stage
from agentsc.links.queue import SenderQueue
from envs.keyed import hash_words

_SAME_S = 1e-9
"""Times no further apart are the same, computed along two ways."""

Start = Callable[[Held, Doubles, Doubles], Doubles]
"""(K packets, from when on their radios may send them, uniform draws in [0, 1)) → when they start, seconds."""


class AccessStage(Stage):
    """What all of them share: rates, and what is on the air.

    Args:
        link: whose stage it is. site: where.
    """

    shares: ClassVar[bool] = True

    def __init__(self, link: AccessLink, site: Site) -> None:
        self.link, self.site = link, site
        self._air: list[tuple[Held, Ints]] = []
        """Transmissions with their channels: going on, planned, or over but still of interest."""
        self._flying: list[tuple[Held, Ints]] = []
        """Those of them that have not been returned."""

    def airtime(self, packets: Held) -> Doubles:
        """See `Stage.airtime`."""
        rate = packets.rate_bps if self.link.rate_bps is None else self.link.rate_bps
        return np.asarray(self.link.preamble_s + packets.bits / rate)

    def who(self, packets: Held) -> NDArray[np.int64]:
        """Number of each packet's radio over all lanes."""
        return packets.lane.astype(np.int64) * self.site.nodes + packets.sender

    def keys(self, packets: Held) -> NDArray[np.uint64]:
        """Random bits of each packet."""
        return hash_words(self.site.seeds[packets.lane], packets.clock, packets.sender, packets.origin, packets.hops)

    def send(self, packets: Held, channel: Ints) -> None:
        """Put packets on the air from ``start_s`` to ``at_s``, or plan to."""
        self._air.append((packets, channel))
        self._flying.append((packets, channel))

    def landed(self, now_s: float) -> list[Held]:
        """What is out by ``now_s``, in parts with at most one packet per sender, and everything that overlaps it."""
        self.air = None
        if not self._flying:
            return []
        packets, channel = _join(self._flying)
        over = packets.at_s <= now_s + _SAME_S
        if not over.any():
            return []
        still = ~over
        self._flying = [(packets.take(still), channel[still])] if still.any() else []
        whole, channels = _join(self._air)
        order = np.lexsort((whole.start_s, whole.lane))
        self.air = Air(
            whole.lane[order], whole.sender[order], whole.start_s[order], whole.at_s[order], channels[order]
        )
        # What ended before anything that is yet to be returned began cannot overlap it.
        soonest = min(packets.start_s[still].min(initial=np.inf), now_s)
        kept = whole.at_s > soonest - _SAME_S
        self._air = [(whole.take(kept), channels[kept])] if kept.any() else []
        return turns(packets.take(np.flatnonzero(over)[np.argsort(packets.at_s[over], kind="stable")]))

    def _in_flight(self) -> list[Held]:
        return [held for held, _ in self._flying]


class PlannedStage(AccessStage):
    """Radios that do not listen: when a packet is sent is known when its turn has come.

    Args:
        start: when that is. pieces: for how long a packet of given seconds on the air keeps its channel; none: for
            just as long. channels: radios whose numbers differ modulo this are on different channels.
        See `AccessStage` for the others.
    """

    def __init__(
        self, link: AccessLink, site: Site, start: Start, pieces: Callable[[Doubles], Doubles] | None = None,
        channels: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(link, site)
        self._start, self._pieces, self._channels = start, pieces, channels
        self._queue = SenderQueue(self._plan, link.queue, link.drop == "head", site.lanes, site.nodes)

    def _plan(self, packets: Held, ready_s: Doubles) -> tuple[Doubles, Doubles]:
        start, spent = self._start(packets, ready_s, uniform(self.keys(packets))), self.airtime(packets)
        return start, start + (spent if self._pieces is None else self._pieces(spent))

    def _begin(self, parts: list[Held]) -> None:
        for packets in parts:
            self.send(packets, packets.sender % np.int32(self._channels))

    def offer(self, packets: Held) -> tuple[list[Held], Held | None]:
        """See `Stage.offer`."""
        parts, dropped = self._queue.offer(packets)
        self._begin(parts)
        return [], dropped

    def advance(self, now_s: float) -> list[Held]:
        """See `Stage.advance`."""
        self._begin(self._queue.advance(now_s))
        return self.landed(now_s)

    @property
    def waiting(self) -> Held | None:
        queued = self._queue.waiting
        parts = [*self._in_flight(), *([] if queued is None else [queued])]
        return join(parts) if parts else None


class SensingStage(AccessStage):
    """Radios that listen before they send, and wait a random time.

    Whether a packet finds a place in its sender's queue is decided on what had begun by the last `advance`.

    Args:
        wait_s: for which the medium must be idle. slot_s: of back-off. window: most slots of it.
        jitter_s: longest random time before a packet contends. sense_m: how far radios sense each other.
        See `AccessStage` for the others.
    """

    def __init__(
        self, link: AccessLink, site: Site, wait_s: float, slot_s: float, window: int, jitter_s: float, sense_m: float
    ) -> None:
        super().__init__(link, site)
        self.wait_s, self.slot_s, self.window = wait_s, slot_s, window
        self.jitter_s, self.sense_m = jitter_s, sense_m
        radios = site.lanes * site.nodes
        self._left = np.full(radios, -1, np.int64)
        self._idle, self._since, self._expiry = (np.full(radios, at) for at in (-np.inf, -np.inf, np.inf))
        """The counters of all radios, see `_kernels.carrier_sense`."""
        self._free_s = np.full(radios, -np.inf)
        """When each radio has sent everything that it has begun to send."""
        self._line: Held | None = None
        """Packets that have not begun, by radio, then in their order; each radio's first one contends."""
        self._near: Neighbours = NOBODY

    def see(self, around: Surroundings) -> None:
        """See `Stage.see`."""
        if self.sense_m < math.inf:
            self._near = neighbours(known(around.position), self.sense_m)

    def offer(self, packets: Held) -> tuple[list[Held], Held | None]:
        """See `Stage.offer`."""
        who = self.who(packets)
        count = np.zeros(len(self._left), np.int64)
        if self._line is not None:
            count += np.bincount(self.who(self._line), minlength=len(count))
        idle = self._free_s[who] <= packets.at_s + _SAME_S
        full = count[who] - idle >= self.link.queue
        dropped = self._make_room(packets, full, idle) if full.any() else None
        if self.link.drop == "tail" and dropped is not None:
            packets = packets.take(~full)
        line = packets if self._line is None else join([self._line, packets])
        self._line = line.take(np.argsort(self.who(line), kind="stable")) if len(line.lane) else None
        return [], dropped

    def _make_room(self, packets: Held, full: NDArray[np.bool_], idle: NDArray[np.bool_]) -> Held:
        """What is dropped: the newcomers that find no place, or those that have waited longest."""
        if self.link.drop == "tail":
            return packets.take(full)
        assert self._line is not None
        radio = self.who(packets)[full]
        # A radio that sends has nothing contending yet; else its first packet has its turn, and the second waits.
        oldest = np.searchsorted(self.who(self._line), radio) + idle[full]
        self._left[radio[~idle[full]]], self._expiry[radio[~idle[full]]] = -1, np.inf
        dropped, kept = self._line.take(oldest), np.ones(len(self._line.lane), bool)
        kept[oldest] = False
        self._line = self._line.take(kept)
        return dropped

    def advance(self, now_s: float) -> list[Held]:
        """See `Stage.advance`."""
        if self._line is not None:
            self._contend(self._line, now_s)
        return self.landed(now_s)

    @property
    def waiting(self) -> Held | None:
        parts = [*self._in_flight(), *([] if self._line is None else [self._line])]
        return join(parts) if parts else None

    def _contend(self, line: Held, now_s: float) -> None:
        """Everything that begins before ``now_s`` goes on the air."""
        from agentsc.links.access import _kernels

        begin = np.zeros(len(self._left) + 1, np.int64)
        np.cumsum(np.bincount(self.who(line), minlength=len(self._left)), out=begin[1:])
        keys = self.keys(line)
        backoff = (uniform(keys) * (self.window + 1)).astype(np.int32)
        ready = line.at_s + uniform(hash_words(keys, 1)) * self.jitter_s if self.jitter_s else line.at_s
        airtime, start = self.airtime(line), np.full(len(line.lane), np.nan)
        _kernels.carrier_sense(
            self.site.nodes, begin, ready, airtime, backoff, *self._near, self.sense_m == math.inf, self.wait_s,
            self.slot_s, now_s, self._left, self._idle, self._since, self._expiry, start,
        )  # fmt: skip
        began = np.flatnonzero(~np.isnan(start))
        if len(began):
            end = start[began] + airtime[began]
            np.maximum.at(self._free_s, self.who(line)[began], end)
            sent = line.take(began)._replace(start_s=start[began], at_s=end)
            self.send(sent, np.zeros(len(began), np.int32))
            rest = np.isnan(start)
            self._line = line.take(rest) if rest.any() else None


def _join(parts: list[tuple[Held, Ints]]) -> tuple[Held, Ints]:
    if len(parts) == 1:
        return parts[0]
    return join([held for held, _ in parts]), np.concatenate([channel for _, channel in parts])
