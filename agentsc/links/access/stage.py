"""Stages that decide when packets go on the air."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agentsc.links.hop import Surroundings, uniform
from agentsc.links.packets import Doubles, Held, Ints, join, turns
from agentsc.links.parts import Air, Site, Stage
from envs.keyed import hash_words

_SAME_S = 1e-9
"""Times no further apart are the same, computed along two ways."""

Plan = Callable[[Held, Doubles, Doubles], tuple[Doubles, Doubles, Ints]]
"""(packets, from when on their radios are free, seconds on the air) → start, end and channel of each."""


class AccessStage(Stage):
    """What all of them share: rates, queues, and what is on the air.

    Args:
        site: where. rate_bps: of all radios; None where packets say. preamble_s: before every packet.
        places: packets of a sender that may wait for their turn.
    """

    def __init__(self, site: Site, rate_bps: float | None, preamble_s: float, places: int) -> None:
        self.site, self.rate_bps, self.preamble_s, self.places = site, rate_bps, preamble_s, places
        self._air: list[tuple[Held, Ints]] = []
        """Transmissions with their channels: going on, planned, or over but still of interest."""
        self._flying: list[tuple[Held, Ints]] = []
        """Those of them that have not been returned."""

    def airtime(self, packets: Held) -> Doubles:
        """Seconds on the air, [K]."""
        rate = packets.rate_bps if self.rate_bps is None else self.rate_bps
        return np.asarray(self.preamble_s + packets.bits / rate)

    def who(self, packets: Held) -> NDArray[np.int64]:
        """Number of each packet's radio over all lanes."""
        return packets.lane.astype(np.int64) * self.site.nodes + packets.sender

    def keys(self, packets: Held) -> NDArray[np.uint64]:
        """Random bits of each packet."""
        return hash_words(self.site.seeds[packets.lane], packets.clock, packets.sender, packets.origin, packets.hops)

    def send(self, packets: Held, start: Doubles, end: Doubles, channel: Ints) -> None:
        """Put packets on the air, or plan to."""
        flying = packets._replace(start_s=start, at_s=end), channel
        self._air.append(flying)
        self._flying.append(flying)

    def landed(self, now_s: float) -> list[Held]:
        """What is out by ``now_s``, in parts with at most one packet per sender, and everything that overlaps it."""
        if not self._flying:
            return []
        packets, channel = _join(self._flying)
        over = packets.at_s <= now_s + _SAME_S
        self.air = None
        if not over.any():
            return []
        still = ~over
        self._flying = [(packets.take(still), channel[still])] if still.any() else []
        whole, channels = _join(self._air)
        order = np.lexsort((whole.start_s, whole.lane))
        whole, channels = whole.take(order), channels[order]
        self.air = Air(whole.lane, whole.sender, whole.start_s, whole.at_s, channels)
        # What ended before anything that is yet to be returned began cannot overlap it.
        soonest = packets.start_s[still].min() if still.any() else now_s
        kept = whole.at_s > soonest - _SAME_S
        self._air = [(whole.take(kept), channels[kept])] if kept.any() else []
        out = packets.take(np.flatnonzero(over)[np.argsort(packets.at_s[over], kind="stable")])
        return turns(out)


class PlannedStage(AccessStage):
    """Radios that do not listen: when a packet goes on the air is known when it comes.

    Args:
        plan: when packets start and end. See `AccessStage` for the others.
    """

    def __init__(
        self, site: Site, rate_bps: float | None, preamble_s: float, places: int, plan: Plan
    ) -> None:
        super().__init__(site, rate_bps, preamble_s, places)
        self._plan = plan
        self._free_s = np.full(site.lanes * site.nodes, -np.inf)

    def offer(self, packets: Held) -> tuple[list[Held], Held | None]:
        """See `Stage.offer`; a packet that finds too many others of its sender waiting is dropped."""
        who = self.who(packets)
        waiting = np.zeros(len(self._free_s), np.int64)
        arrival = np.full(len(self._free_s), np.inf)
        arrival[who] = packets.at_s
        for held, _ in self._flying:
            other = self.who(held)
            waiting += np.bincount(other[held.start_s > arrival[other] + _SAME_S], minlength=len(waiting))
        full = waiting[who] > self.places
        dropped = packets.take(full) if full.any() else None
        packets, who = (packets.take(~full), who[~full]) if full.any() else (packets, who)
        if len(who):
            ready = np.maximum(packets.at_s, self._free_s[who])
            start, end, channel = self._plan(packets, ready, self.airtime(packets))
            self._free_s[who] = end
            self.send(packets, start, end, channel)
        return [], dropped

    def advance(self, now_s: float) -> list[Held]:
        """See `Stage.advance`."""
        return self.landed(now_s)

    @property
    def waiting(self) -> Held | None:
        return join([held for held, _ in self._flying]) if self._flying else None


class SensingStage(AccessStage):
    """Radios that listen before they send, and wait a random time.

    Args:
        wait_s: for which the medium must be idle. slot_s: of back-off. window: most slots of it.
        jitter_s: longest random time before a packet contends.
        sense_m: how far radios sense each other. See `AccessStage` for the others.
    """

    def __init__(
        self, site: Site, rate_bps: float | None, preamble_s: float, places: int, wait_s: float, slot_s: float,
        window: int, jitter_s: float, sense_m: float,
    ) -> None:  # fmt: skip
        super().__init__(site, rate_bps, preamble_s, places)
        self.wait_s, self.slot_s, self.window = wait_s, slot_s, window
        self.jitter_s, self.sense_m = jitter_s, sense_m
        radios = site.lanes * site.nodes
        self._left = np.full(radios, -1, np.int64)
        self._idle = np.full(radios, -np.inf)
        self._line: Held | None = None
        """Packets that wait, by radio, then in their order."""
        self._spot = np.zeros((site.lanes, site.nodes, 2))

    def see(self, around: Surroundings) -> None:
        """See `Stage.see`."""
        if np.isfinite(self.sense_m):
            if around.position is None:
                raise ValueError("csma with sense_m needs to know where agents are: transmit(…, position)")
            self._spot = np.ascontiguousarray(around.position, np.float64)

    def offer(self, packets: Held) -> tuple[list[Held], Held | None]:
        """See `Stage.offer`; a packet that finds too many others of its sender waiting is dropped."""
        self._contend(float(packets.at_s.min(initial=np.inf)))
        who = self.who(packets)
        count = np.zeros(self.site.lanes * self.site.nodes, np.int64)
        if self._line is not None:
            count += np.bincount(self.who(self._line), minlength=len(count))
        full = count[who] > self.places
        dropped = packets.take(full) if full.any() else None
        packets = packets.take(~full) if full.any() else packets
        line = packets if self._line is None else join([self._line, packets])
        self._line = line.take(np.argsort(self.who(line), kind="stable")) if len(line.lane) else None
        return [], dropped

    def advance(self, now_s: float) -> list[Held]:
        """See `Stage.advance`."""
        self._contend(now_s)
        return self.landed(now_s)

    @property
    def waiting(self) -> Held | None:
        parts = [held for held, _ in self._flying] + ([] if self._line is None else [self._line])
        return join(parts) if parts else None

    def _contend(self, now_s: float) -> None:
        """Everything that begins before ``now_s`` goes on the air."""
        from agentsc.links.access import _kernels

        if self._line is None or not np.isfinite(now_s):
            return
        line, radios = self._line, self.site.lanes * self.site.nodes
        begin = np.zeros(radios + 1, np.int64)
        np.cumsum(np.bincount(self.who(line), minlength=radios), out=begin[1:])
        keys = self.keys(line)
        backoff = (uniform(keys) * (self.window + 1)).astype(np.int32)
        ready = line.at_s + uniform(hash_words(keys, 1)) * self.jitter_s if self.jitter_s else line.at_s
        airtime = self.airtime(line)
        start = np.full(len(line.lane), np.nan)
        _kernels.carrier_sense(
            self.site.nodes, begin, ready, airtime, backoff, self._spot, self.sense_m**2, self.wait_s,
            self.slot_s, now_s, np.zeros(radios, np.int64), self._left, self._idle, start,
        )  # fmt: skip
        began = ~np.isnan(start)
        if began.any():
            sent = line.take(began)
            self.send(sent, start[began], start[began] + airtime[began], np.zeros(len(sent.lane), np.int32))
            self._line = None if began.all() else line.take(~began)


def _join(parts: list[tuple[Held, Ints]]) -> tuple[Held, Ints]:
    if len(parts) == 1:
        return parts[0]
    return join([held for held, _ in parts]), np.concatenate([channel for _, channel in parts])
