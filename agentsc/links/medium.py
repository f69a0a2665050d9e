"""The medium: broadcasts go in, and come out at each receiver, lost or late as the links decide.

Time is counted in message rounds. A packet sent in round k is handed over at the start of the
first round that begins no earlier than its arrival, and never before round k + 1.

A packet waits in its sender's queue if a link has one, and then hops to all receivers at once: links
that restrict who can hear whom name the pairs in play, and every link in turn says which of those packets
are lost, how late the others are and which come twice. Every draw is keyed by (seed, link, episode, round,
sender, receiver), so a lane's packets fare the same whatever other lanes run beside it. Cost grows with
pairs in play, not with time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links import LinkModel, parse_link
from agentsc.links.books import Books, Counts
from agentsc.links.flight import NO_INTS, Deliveries, Flights
from agentsc.links.hop import Doubles, Draw, Hop, Ints, Mask, Pairs, known
from agentsc.links.queue import Held
from agentsc.links.reach import both, everyone
from envs.keyed import hash_words, stream_id

Positions = NDArray[np.floating]


class Packets(NamedTuple):
    """Broadcasts of one round, at most one per agent.

    lane, sender: int32 [K]. data: uint8 [K, W], not to be changed afterwards. bits: int32 [K], on the air.
    """

    lane: Ints
    sender: Ints
    data: NDArray[np.uint8]
    bits: Ints


class Transmissions(NamedTuple):
    """What has become of one lane's packets, one row per packet and receiver in play, and one per copy.

    packet: row of ``data`` and ``bits``. arrival_s: NaN where lost. Times in seconds since the start.
    """

    packet: Ints
    sender: Ints
    receiver: Ints
    sent_s: Doubles
    arrival_s: Doubles
    lost: Mask
    bits: Ints
    data: NDArray[np.uint8]


class _Carried(NamedTuple):
    """A hop and what became of it. alive: None where nothing was lost."""

    hop: Hop
    data: NDArray[np.uint8]
    alive: Mask | None
    delay_s: Doubles | float


class Medium:
    """Broadcast among the agents of every lane.

    Args:
        link: a link spec such as ``erasure:p=0.2+delay:ms=150``, or parsed links.
        seed: of the run. episodes: int64 [L], global number of each lane's episode.
        agents: A. round_s: seconds per message round.

    Attributes:
        packets, bits: int64 [L, A], offered so far by each agent.
        books: what became of them, packet × receiver.
        airtime_s: float64 [L, A], spent sending by each agent; None without a link that has a rate.
        delay_sum_s: float64 [L], over delivered packets, from sending to hand-over.
    """

    def __init__(
        self,
        link: str | Sequence[LinkModel],
        seed: int,
        episodes: NDArray[np.integer] | Sequence[int],
        agents: int,
        round_s: float,
    ) -> None:
        self.links = parse_link(link) if isinstance(link, str) else list(link)
        self.agents, self.round_s = agents, round_s
        episodes = np.asarray(episodes, np.int64)
        lanes = len(episodes)
        self._seeds = [hash_words(seed, stream_id(f"link.{i}"), episodes) for i in range(len(self.links))]
        every = _every_pair(lanes, agents)
        self._states = [
            link.initial(Draw(every, seeds)) for link, seeds in zip(self.links, self._seeds, strict=True)
        ]
        queues = [(i, link.sender_queue(lanes, agents)) for i, link in enumerate(self.links)]
        self._queues = [(i, queue) for i, queue in queues if queue is not None]
        self._flights = Flights(lanes, agents, round_s)
        self._position: Positions | None = None
        self._carried: list[_Carried] = []
        self._dropped: list[Held] = []
        self._ended = True
        self.books = Books(self.links, lanes)
        self.packets = np.zeros((lanes, agents), np.int64)
        self.bits = np.zeros((lanes, agents), np.int64)
        self.airtime_s = np.zeros((lanes, agents)) if self._queues else None
        self.delay_sum_s = np.zeros(lanes)

    @property
    def decisions(self) -> Counts:
        """int64 [L], packet × receiver: offered."""
        return self.books.offered

    @property
    def lost(self) -> Counts:
        """int64 [L], packet × receiver: lost."""
        return self.books.lost

    @property
    def delivered(self) -> Counts:
        """int64 [L], packet × receiver: handed over, copies included."""
        return self.books.delivered

    @property
    def in_flight(self) -> Counts:
        """int64 [L], packet × receiver: in a queue or in the air."""
        waiting = sum(
            (q.waiting(len(self.packets)) for _, q in self._queues), np.zeros(len(self.packets), np.int64)
        )
        return self._flights.count() + waiting * (self.agents - 1)

    def columns(self) -> dict[str, Counts | Doubles]:
        """Name → [L]: the books as columns of a run's rows; ``docs/results.md`` says what they are."""
        books = self.books
        found: dict[str, Counts | Doubles] = {
            "delivered": books.delivered,
            "duplicated": books.duplicated,
            "in_flight": self.in_flight,
            **{f"lost_{reason}": count for reason, count in books.by_reason.items()},
        }
        return found if self.airtime_s is None else found | {"airtime_s": self.airtime_s.sum(1)}

    def transmit(self, packets: Packets, clock: int, position: Positions | None = None) -> None:
        """Send to all other agents of each packet's lane in round ``clock``.

        Args:
            position: float [L, A, 2], metres, where agents are in that round; not to be changed afterwards.
                Only links that look at distances need it.

        Raises:
            ValueError: an agent sends twice in one round, or a link needs positions.
        """
        self._begin(ends=True)
        self._position = position
        count = len(packets.lane)
        if count == 0:
            return
        lanes, agents = self.packets.shape
        lane, sender = (column.astype(np.int32, copy=False) for column in (packets.lane, packets.sender))
        sent = np.bincount(lane * agents + sender, minlength=lanes * agents).reshape(lanes, agents)
        if sent.max() > 1:
            raise ValueError("an agent may send one packet per round, got several (join their sections)")
        self.packets += sent
        self.bits[lane, sender] += packets.bits
        self.books.offered += sent.sum(1) * (agents - 1)
        clocks, start = np.full(count, clock, np.int32), np.full(count, clock * self.round_s)
        held = Held(lane, sender, clocks, packets.data, packets.bits, start)
        if self._queues:
            self._advance([held], clock)
        else:
            self._send(held, 0.0, clock)

    def deliver(self, clock: int) -> Deliveries:
        """Everything that has arrived by the start of round ``clock`` and was not handed over before."""
        if self._queues:
            self._begin(ends=False)
            self._advance([], clock)
        found = self._flights.land(clock)
        if len(found):
            lanes = len(self.books.delivered)
            self.books.delivered += np.bincount(found.lane, minlength=lanes)
            rounds = np.bincount(found.lane, weights=clock - found.sent_clock, minlength=lanes)
            self.delay_sum_s += rounds * self.round_s
        return found

    def transmissions(self, lane: int) -> Transmissions:
        """What has become of a lane's packets since the `transmit` before the last one, for recordings."""
        parts = [self._shown(carried, lane) for carried in self._carried]
        parts += [self._shown_dropped(held, lane) for held in self._dropped]
        if not parts:
            none = np.zeros(0)
            return Transmissions(
                NO_INTS, NO_INTS, NO_INTS, none, none, np.zeros(0, bool), NO_INTS, np.zeros((0, 1), np.uint8)
            )
        if len(parts) == 1:
            return parts[0]
        first = np.cumsum([0, *(len(part.data) for part in parts)], dtype=np.int32)
        parts = [part._replace(packet=part.packet + start) for part, start in zip(parts, first, strict=False)]
        width = max(part.data.shape[1] for part in parts)
        parts = [p._replace(data=np.pad(p.data, ((0, 0), (0, width - p.data.shape[1])))) for p in parts]
        return Transmissions(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _begin(self, ends: bool) -> None:
        """Forget what was decided before the last `transmit` ended; ``ends``: this one is a `transmit`."""
        if self._ended:
            self._carried, self._dropped = [], []
        self._ended = ends

    def _shown(self, carried: _Carried, lane: int) -> Transmissions:
        hop = carried.hop
        rows = np.flatnonzero(hop.lane[hop.packet] == lane)
        packet = hop.packet[rows]
        gone = np.zeros(len(rows), bool) if carried.alive is None else ~carried.alive[rows]
        wait = carried.delay_s if isinstance(carried.delay_s, float) else carried.delay_s[rows]
        sent_s = np.asarray(hop.clock * self.round_s, np.float64)[packet]
        return Transmissions(
            packet,
            hop.sender[packet],
            hop.receiver[rows],
            sent_s,
            np.where(gone, np.nan, sent_s + wait),
            gone,
            hop.bits[packet],
            carried.data,
        )

    def _shown_dropped(self, held: Held, lane: int) -> Transmissions:
        held = held.take(held.lane == lane)
        packet, receiver = everyone(held.sender, self.agents)
        return Transmissions(
            packet,
            held.sender[packet],
            receiver,
            np.asarray(held.clock * self.round_s, np.float64)[packet],
            np.full(len(packet), np.nan),
            np.ones(len(packet), bool),
            held.bits[packet],
            held.data,
        )

    def _advance(self, turns: list[Held], clock: int) -> None:
        """Packets on their way through the queues up to the start of round ``clock``; what leaves them is sent."""
        for link, queue in self._queues:
            left: list[Held] = []
            for held in turns:
                out, dropped = queue.offer(held)
                left += out
                if dropped is not None:
                    count = np.bincount(dropped.lane, minlength=len(self.packets)) * (self.agents - 1)
                    self.books.lose(link, self.links[link].reasons[0], count)
                    self._dropped.append(dropped)
            turns = left + queue.advance(clock * self.round_s)
            assert self.airtime_s is not None
            for held in turns:
                self.airtime_s[held.lane, held.sender] += held.bits / queue.rate_bps
        for held in turns:
            self._send(held, held.at_s - held.clock * self.round_s, clock)

    def _send(self, held: Held, waited_s: Doubles | float, clock: int) -> None:
        """One hop: through all links, and into the air.

        Args:
            held: at most one packet per sender. waited_s: since it was sent, [K] or one number for all.
        """
        hop = Hop(
            held.lane,
            held.sender,
            held.clock,
            held.bits,
            held.at_s,
            self._reach(held),
            self.agents,
            self._position,
        )
        delay = waited_s if isinstance(waited_s, float) else waited_s[hop.packet]
        alive: Mask | None = None
        for i, link in enumerate(self.links):
            state = self._states[i]
            effect = link.carry(hop, Draw(hop, self._seeds[i]), None if state is None else state[hop.pair])
            if state is not None and effect.state is not None:
                first = hop.originals
                state[hop.pair[:first]] = effect.state[:first]
            for reason, lost in effect.lost.items():
                fresh = lost if alive is None else lost & alive
                self.books.lose(i, reason, self._per_lane(hop, np.flatnonzero(fresh)))
                alive = ~fresh if alive is None else alive & ~fresh
            delay = delay + effect.delay_s
            if effect.copied is not None and len(effect.copied):
                hop, alive, delay = self._copy(i, hop, alive, delay, effect.copied, effect.copy_delay_s)
        self._carried.append(_Carried(hop, held.data, alive, delay))
        packet, receiver = hop.packet, hop.receiver
        if alive is not None:
            rows = np.flatnonzero(alive)
            packet, receiver = packet[rows], receiver[rows]
            delay = delay if isinstance(delay, float) else delay[rows]
        self._flights.launch(held, packet, receiver, delay, clock)

    def _reach(self, held: Held) -> Pairs:
        """The pairs in play; those out of reach are lost."""
        pairs: Pairs | None = None
        for i, link in enumerate(self.links):
            if not link.restricts:
                continue
            heard = link.audience(held.lane, held.sender, known(self._position))
            lanes = len(self.packets)
            if pairs is None:
                before = np.bincount(held.lane, minlength=lanes) * (self.agents - 1)
                pairs = heard
            else:
                before = np.bincount(held.lane[pairs.packet], minlength=lanes)
                pairs = both(pairs, heard, self.agents)
            after = np.bincount(held.lane[pairs.packet], minlength=lanes)
            self.books.lose(i, link.reasons[0], before - after)
        return everyone(held.sender, self.agents) if pairs is None else pairs

    def _copy(
        self,
        link: int,
        hop: Hop,
        alive: Mask | None,
        delay: Doubles | float,
        rows: NDArray[np.integer],
        later_s: Doubles | float,
    ) -> tuple[Hop, Mask | None, Doubles]:
        """Copies of what is still alive go on beside their packets."""
        later = np.broadcast_to(later_s, len(rows))
        if alive is not None:
            rows, later = rows[alive[rows]], later[alive[rows]]
        self.books.duplicated += self._per_lane(hop, rows)
        each = np.broadcast_to(delay, len(hop))
        alive = None if alive is None else np.concatenate([alive, np.ones(len(rows), bool)])
        return hop.with_copies(rows, link), alive, np.concatenate([each, each[rows] + later])

    def _per_lane(self, hop: Hop, rows: NDArray[np.integer]) -> Counts:
        """int64 [L], how many of those rows each lane has."""
        each = np.bincount(hop.packet[rows], minlength=len(hop.lane))
        return np.bincount(hop.lane, weights=each, minlength=len(self.packets)).astype(np.int64)


def _every_pair(lanes: int, agents: int) -> Hop:
    """All ordered pairs of all lanes, an agent and itself among them, in the order of `Hop.pair`."""
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((lanes, agents)))
    packet, receiver = (part.ravel().astype(np.int32) for part in np.indices((lanes * agents, agents)))
    none = np.zeros(lanes * agents, np.int32)
    return Hop(lane, sender, none, none, np.zeros(lanes * agents), Pairs(packet, receiver), agents)
