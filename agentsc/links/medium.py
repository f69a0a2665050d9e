"""The medium: broadcasts go in, and come out at each receiver, lost or late as the links decide.

Time is counted in message rounds. A packet sent in round k is handed over at the start of the
first round that begins no earlier than its arrival, and never before round k + 1.

Every draw is keyed by (seed, link, episode, round, sender, receiver), so a lane's packets fare
the same whatever other lanes run beside it. Cost grows with packets, not with time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links import LinkModel, parse_link
from envs.keyed import hash_words, stream_id

Ints = NDArray[np.int32]


class Packets(NamedTuple):
    """Broadcasts of one round, at most one per agent.

    lane, sender: int32 [K]. data: uint8 [K, W], not to be changed afterwards. bits: int32 [K], on the air.
    """

    lane: Ints
    sender: Ints
    data: NDArray[np.uint8]
    bits: Ints


@dataclass(frozen=True)
class Deliveries:
    """Packets handed over in one round, sorted by (lane, receiver, arrival, sender).

    Attributes:
        lane, sender, receiver: int32 [M]. sent_clock: int32 [M], round of sending.
        arrival_s: float64 [M], when it arrived.
        packet: int32 [M], its row of ``payload``; a broadcast heard by many is there once, so decode
            ``payload`` and index the result.
        payload: uint8 [K, W]. payload_bits: int32 [K].
    """

    lane: Ints
    sender: Ints
    receiver: Ints
    sent_clock: Ints
    arrival_s: NDArray[np.float64]
    packet: Ints
    payload: NDArray[np.uint8]
    payload_bits: Ints

    def __len__(self) -> int:
        return len(self.lane)

    @property
    def data(self) -> NDArray[np.uint8]:
        """uint8 [M, W], the bytes of every delivery."""
        return self.payload[self.packet]

    @property
    def bits(self) -> Ints:
        """int32 [M], bits of every delivery."""
        return self.payload_bits[self.packet]


class Transmissions(NamedTuple):
    """What became of one lane's packets of the last round, one row per packet and receiver.

    packet: row of the `Packets` sent. arrival_s: NaN where lost. Times in seconds since the start.
    """

    packet: Ints
    sender: Ints
    receiver: Ints
    sent_s: NDArray[np.float64]
    arrival_s: NDArray[np.float64]
    lost: NDArray[np.bool_]
    bits: Ints


class _Flight(NamedTuple):
    """Packets of one round that are due together."""

    packet: Ints
    receiver: Ints
    arrival_s: NDArray[np.float64] | float
    sent_clock: int
    packets: Packets


_NO_INTS = np.zeros(0, np.int32)
_NONE = Deliveries(
    lane=_NO_INTS,
    sender=_NO_INTS,
    receiver=_NO_INTS,
    sent_clock=_NO_INTS,
    arrival_s=np.zeros(0),
    packet=_NO_INTS,
    payload=np.zeros((0, 0), np.uint8),
    payload_bits=_NO_INTS,
)


class Medium:
    """Broadcast among the agents of every lane.

    Args:
        link: a link spec such as ``erasure:p=0.2+delay:ms=150``, or parsed links.
        seed: of the run. episodes: int64 [L], global number of each lane's episode.
        agents: A. round_s: seconds per message round.

    Attributes:
        packets, bits: int64 [L, A], offered so far by each agent.
        decisions, lost, delivered: int64 [L], packet × receiver: offered, lost, handed over.
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
        # Agents are numbered on 16 bits in the key, so it does not depend on the fleet's size.
        self._pair = (np.arange(agents)[:, None] << 16) + np.arange(agents)
        self._keys = [
            hash_words(seed, stream_id(f"link.{i}"), episodes) if link.random else None
            for i, link in enumerate(self.links)
        ]
        self._states = [
            link.initial(hash_words(key[:, None, None], -1, self._pair)) if key is not None else None
            for link, key in zip(self.links, self._keys, strict=True)
        ]
        self._flights: dict[int, list[_Flight]] = {}
        self._last: tuple[Packets, int, NDArray[np.bool_] | None, NDArray[np.float64] | float] | None = None
        self.packets = np.zeros((lanes, agents), np.int64)
        self.bits = np.zeros((lanes, agents), np.int64)
        self.decisions = np.zeros(lanes, np.int64)
        self.lost = np.zeros(lanes, np.int64)
        self.delivered = np.zeros(lanes, np.int64)
        self.delay_sum_s = np.zeros(lanes)

    def transmit(self, packets: Packets, clock: int) -> None:
        """Send to all other agents of each packet's lane in round ``clock``.

        Raises:
            ValueError: an agent sends twice in one round.
        """
        count = len(packets.lane)
        if count == 0:
            self._last = None
            return
        lanes, agents = self.packets.shape
        lane, sender = packets.lane, packets.sender
        sent = np.bincount(lane * agents + sender, minlength=lanes * agents).reshape(lanes, agents)
        if sent.max() > 1:
            raise ValueError("an agent may send one packet per round, got several (join their sections)")
        lost, delay = self._fate(lane, sender, clock)
        self._last = packets, clock, lost, delay

        self.packets += sent
        self.bits[lane, sender] += packets.bits
        offered = sent.sum(1)
        self.decisions += offered * (agents - 1)
        heard = np.ones((count, agents), bool) if lost is None else ~lost
        heard[np.arange(count), sender] = False
        if lost is not None:
            got = np.bincount(lane, weights=heard.sum(1), minlength=lanes).astype(np.int64)
            self.lost += offered * (agents - 1) - got

        packet, receiver = np.divmod(np.flatnonzero(heard).astype(np.int32), np.int32(agents))
        start = clock * self.round_s
        if isinstance(delay, float):
            due = clock + int(self._rounds(delay))
            self._launch(due, _Flight(packet, receiver, start + delay, clock, packets))
            return
        wait = delay[packet, receiver]
        rounds = self._rounds(wait)
        for late in np.unique(rounds):
            now = rounds == late
            rows, renumbered = np.unique(packet[now], return_inverse=True)
            part = Packets(*(column[rows] for column in packets))
            flight = _Flight(renumbered.astype(np.int32), receiver[now], start + wait[now], clock, part)
            self._launch(clock + int(late), flight)

    def deliver(self, clock: int) -> Deliveries:
        """Everything that has arrived by the start of round ``clock`` and was not handed over before."""
        if not self._flights:
            return _NONE
        due = [k for k in self._flights if k <= clock]
        if not due:
            return _NONE
        flights = [flight for k in due for flight in self._flights.pop(k)]
        flights.sort(key=lambda flight: flight.sent_clock)
        for flight in flights:
            count = np.bincount(flight.packets.lane[flight.packet], minlength=len(self.delivered))
            self.delivered += count
            self.delay_sum_s += count * ((clock - flight.sent_clock) * self.round_s)
        return self._on_time(flights[0]) if len(flights) == 1 else self._mixed(flights)

    def transmissions(self, lane: int) -> Transmissions:
        """What became of the packets of one lane in the last `transmit`, for recordings."""
        agents = self.agents
        if self._last is None:
            sender, bits, rows = _NO_INTS, _NO_INTS, np.zeros(0, np.int64)
            sent_s, lost = 0.0, None
            delay: NDArray[np.float64] | float = 0.0
        else:
            packets, clock, lost, delay = self._last
            sender, bits, rows = packets.sender, packets.bits, np.flatnonzero(packets.lane == lane)
            sent_s = clock * self.round_s
        packet, receiver = (a.ravel() for a in np.broadcast_arrays(rows[:, None], np.arange(agents)))
        others = receiver != sender[packet]
        packet, receiver = packet[others], receiver[others]
        gone = np.zeros(len(packet), bool) if lost is None else lost[packet, receiver]
        wait = delay if isinstance(delay, float) else delay[packet, receiver]
        return Transmissions(
            packet.astype(np.int32),
            sender[packet].astype(np.int32),
            receiver.astype(np.int32),
            np.full(len(packet), sent_s),
            np.where(gone, np.nan, sent_s + wait),
            gone,
            bits[packet],
        )

    def _fate(
        self, lane: Ints, sender: Ints, clock: int
    ) -> tuple[NDArray[np.bool_] | None, NDArray[np.float64] | float]:
        """Losses [K, A] (None: none) and delays in seconds, [K, A] or one for all."""
        lost: NDArray[np.bool_] | None = None
        delay: NDArray[np.float64] | float = 0.0
        pair, none = self._pair[sender], np.zeros((len(lane), 1), np.uint64)
        for i, link in enumerate(self.links):
            base, state = self._keys[i], self._states[i]
            key = none if base is None else hash_words(base[lane, None], clock, pair)
            gone, after = link.loss(key, None if state is None else state[lane, sender])
            if state is not None:
                state[lane, sender] = after
            if gone is not None:
                lost = gone if lost is None else lost | gone
            delay = delay + link.delay_s(key)
        return lost, delay

    def _rounds(self, delay_s: NDArray[np.float64] | float) -> NDArray[np.int64]:
        """Rounds from sending to hand-over."""
        # A delay of a whole number of rounds must not be rounded up for its last floating-point digit.
        return np.maximum(np.ceil(np.asarray(delay_s) / self.round_s - 1e-9), 1).astype(np.int64)

    def _launch(self, due: int, flight: _Flight) -> None:
        if len(flight.packet):
            self._flights.setdefault(due, []).append(flight)

    def _on_time(self, flight: _Flight) -> Deliveries:
        """One round's packets that are due together."""
        if not isinstance(flight.arrival_s, float):
            return self._mixed([flight])
        packets, agents = flight.packets, self.agents
        # All arrived together, so the order is that of (lane, receiver, sender), which is one integer.
        key = (packets.lane.astype(np.int64) * agents**2 + packets.sender)[flight.packet]
        key += flight.receiver * np.int64(agents)
        order = _order(key, len(self.delivered) * agents**2)
        packet = flight.packet[order]
        return Deliveries(
            lane=packets.lane[packet].astype(np.int32, copy=False),
            sender=packets.sender[packet].astype(np.int32, copy=False),
            receiver=flight.receiver[order],
            sent_clock=np.full(len(order), flight.sent_clock, np.int32),
            arrival_s=np.full(len(order), flight.arrival_s),
            packet=packet,
            payload=packets.data,
            payload_bits=packets.bits,
        )

    def _mixed(self, flights: list[_Flight]) -> Deliveries:
        """Packets of several rounds, or with arrivals of their own; flights in their order of sending."""
        first = np.cumsum([0, *(len(f.packets.lane) for f in flights)], dtype=np.int32)
        packet = _join([f.packet + start for f, start in zip(flights, first, strict=False)])
        receiver = _join([f.receiver for f in flights])
        lane = _join([f.packets.lane for f in flights])[packet].astype(np.int32, copy=False)
        sender = _join([f.packets.sender for f in flights])[packet].astype(np.int32, copy=False)
        sent_clock = np.repeat([f.sent_clock for f in flights], [len(f.packet) for f in flights])
        arrival = _join([np.broadcast_to(f.arrival_s, len(f.packet)) for f in flights])
        # The sort is stable, which settles ties of one sender's packets.
        order = np.lexsort((sender, arrival, lane * np.int64(self.agents) + receiver))
        return Deliveries(
            lane=lane[order],
            sender=sender[order],
            receiver=receiver[order],
            sent_clock=sent_clock[order].astype(np.int32),
            arrival_s=arrival[order],
            packet=packet[order],
            payload=_stack([f.packets.data for f in flights]),
            payload_bits=_join([f.packets.bits for f in flights]),
        )


def _join(parts: list[NDArray]) -> NDArray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _stack(parts: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Rows of all parts, padded with zeros to one width."""
    width = max(part.shape[1] for part in parts)
    return _join([np.pad(p, ((0, 0), (0, width - p.shape[1]))) if p.shape[1] < width else p for p in parts])


class AgeOfInformation:
    """Mean age of the newest packet that each agent holds of each other, over time and pairs.

    The age of a pair is the time since its newest received packet was sent; everybody knows the
    start, so ages begin at zero. It grows linearly between deliveries, and its integral is kept
    exactly, in whole rounds, at the cost of one update per delivery.

    Args:
        lanes, agents: shape of the fleet. round_s: seconds per message round.

    Reference: S. Kaul, R. Yates and M. Gruteser, Real-time status: how often should one update?,
    IEEE INFOCOM 2012.
    """

    def __init__(self, lanes: int, agents: int, round_s: float) -> None:
        self.agents, self.round_s = agents, round_s
        self._newest = np.zeros(lanes * agents * agents, np.int64)
        """Round of sending of the newest packet held, by (lane, receiver, sender)."""
        self._since = np.zeros_like(self._newest)
        self._area = np.zeros(lanes, np.int64)
        """Twice the integral of age over time, in rounds², summed over pairs."""

    def update(self, found: Deliveries, clock: int) -> None:
        """Account for what was handed over in round ``clock``; rounds must not go back."""
        if len(found) == 0:
            return
        pair = (found.lane.astype(np.int64) * self.agents + found.receiver) * self.agents + found.sender
        lane, sent = found.lane, found.sent_clock.astype(np.int64)
        if (pair[1:] <= pair[:-1]).any():  # several packets of one pair: the newest counts
            order = np.lexsort((sent, pair))
            last = order[np.append(pair[order][1:] != pair[order][:-1], True)]
            pair, lane, sent = pair[last], lane[last], sent[last]
        newest, since = self._newest[pair], self._since[pair]
        area = (clock - since) * (clock + since - 2 * newest)
        self._area += np.bincount(lane, weights=area, minlength=len(self._area)).astype(np.int64)
        self._newest[pair] = np.maximum(newest, sent)
        self._since[pair] = clock

    def totals(self, clock: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """From the start to round ``clock``, per lane.

        Args:
            clock: not before the last `update`.

        Returns:
            float64 [L], integral of age summed over ordered pairs, s², and float64 [L], time summed over
            ordered pairs, s; their ratio is the mean age in seconds.
        """
        shape = (len(self._area), self.agents, self.agents)
        newest, since = self._newest.reshape(shape), self._since.reshape(shape)
        rest = (clock - since) * (clock + since - 2 * newest)
        rest[:, np.arange(self.agents), np.arange(self.agents)] = 0
        area = (self._area + rest.sum((1, 2))) * (0.5 * self.round_s**2)
        pairs = self.agents * (self.agents - 1)
        return area, np.full(len(area), pairs * clock * self.round_s)


def _order(key: NDArray[np.integer], top: int) -> NDArray[np.integer]:
    """The order that sorts distinct keys below ``top``: by counting where that is denser than sorting."""
    if top > 8 * len(key):
        return np.argsort(key)
    place = np.full(top, -1, np.int32)
    place[key] = np.arange(len(key), dtype=np.int32)
    return np.asarray(place[place >= 0])
