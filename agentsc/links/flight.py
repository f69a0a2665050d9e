"""Packets in the air, by the round in which they are due, and how they are handed over."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links.packets import Doubles, Held, Ints, widen


@dataclass(frozen=True)
class Deliveries:
    """Packets handed over in one round, sorted by (lane, receiver, arrival, sender).

    Attributes:
        lane, sender, receiver: int32 [M]. sent_clock: int32 [M], round of sending.
        arrival_s: float64 [M], when it arrived.
        packet: int32 [M], its row of ``payload``; a broadcast heard by many is there once, so decode
            ``payload`` and index the result.
        payload: uint8 [K, W]. payload_bits: int32 [K].
        hops: int32 [K], how often each packet was relayed. forged: bool [K], sent by no agent. Nobody but metrics
            may look at the latter; ``sender`` is the one that the packet names.
    """

    lane: Ints
    sender: Ints
    receiver: Ints
    sent_clock: Ints
    arrival_s: Doubles
    packet: Ints
    payload: NDArray[np.uint8]
    payload_bits: Ints
    hops: Ints
    forged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.lane)

    def take(self, rows: NDArray) -> Deliveries:
        """Some deliveries, by number or by mask, of the same packets."""
        return Deliveries(
            self.lane[rows], self.sender[rows], self.receiver[rows], self.sent_clock[rows], self.arrival_s[rows],
            self.packet[rows], self.payload, self.payload_bits, self.hops, self.forged,
        )  # fmt: skip

    def compact(self) -> Deliveries:
        """The same deliveries without the packets that none of them is of."""
        kept, packet = np.unique(self.packet, return_inverse=True)
        return Deliveries(
            self.lane, self.sender, self.receiver, self.sent_clock, self.arrival_s, packet.astype(np.int32),
            self.payload[kept], self.payload_bits[kept], self.hops[kept], self.forged[kept],
        )  # fmt: skip

    def joined(self, others: Deliveries) -> Deliveries:
        """These deliveries, and others behind them."""
        if not len(self):
            return others
        width = max(self.payload.shape[1], others.payload.shape[1])
        payload = [np.pad(part.payload, ((0, 0), (0, width - part.payload.shape[1]))) for part in (self, others)]
        columns = {f.name: [getattr(part, f.name) for part in (self, others)] for f in fields(self)}
        columns |= {"packet": [self.packet, others.packet + np.int32(len(self.payload))], "payload": payload}
        return Deliveries(**{name: np.concatenate(both) for name, both in columns.items()})

    def onward(self, rows: NDArray, now_s: float) -> Held:
        """What the receivers of some deliveries send on, as they received it."""
        packet, origin = self.packet[rows], self.sender[rows]
        at = np.full(len(packet), now_s)
        sent = Held.new(
            self.lane[rows], self.receiver[rows], self.sent_clock[rows], self.payload[packet],
            self.payload_bits[packet], at,
        )  # fmt: skip
        return sent._replace(origin=origin, hops=self.hops[packet] + 1, forged=self.forged[packet])

    @property
    def data(self) -> NDArray[np.uint8]:
        """uint8 [M, W], the bytes of every delivery."""
        return self.payload[self.packet]

    @property
    def bits(self) -> Ints:
        """int32 [M], bits of every delivery."""
        return self.payload_bits[self.packet]


class Flight(NamedTuple):
    """Packets of one `Medium.transmit` that are due together.

    packet: int32 [N], row of ``sent``. receiver: int32 [N]. arrival_s: [N], or one number for all, which are then
    distinct packets of one round. launched: round in which they were sent off, the order among equals.
    """

    packet: Ints
    receiver: Ints
    arrival_s: Doubles | float
    sent: Held
    launched: int


NO_INTS = np.zeros(0, np.int32)
NONE = Deliveries(
    lane=NO_INTS,
    sender=NO_INTS,
    receiver=NO_INTS,
    sent_clock=NO_INTS,
    arrival_s=np.zeros(0),
    packet=NO_INTS,
    payload=np.zeros((0, 0), np.uint8),
    payload_bits=NO_INTS,
    hops=NO_INTS,
    forged=np.zeros(0, bool),
)


class Flights:
    """Everything in the air.

    Args:
        lanes, agents: shape of the fleet. round_s: seconds per message round.
    """

    def __init__(self, lanes: int, agents: int, round_s: float) -> None:
        self.lanes, self.agents, self.round_s = lanes, agents, round_s
        self._due: dict[int, list[Flight]] = {}

    def launch(self, sent: Held, packet: Ints, receiver: Ints, delay_s: Doubles | float, clock: int) -> None:
        """Send packets off in round ``clock``.

        Args:
            delay_s: from sending to arrival, seconds: [N], or one number for distinct packets of this round.
        """
        if not len(packet):
            return
        if isinstance(delay_s, float):
            arrival = clock * self.round_s + delay_s
            self._add(clock + int(self._rounds(delay_s)), Flight(packet, receiver, arrival, sent, clock))
            return
        due = sent.clock[packet] + self._rounds(delay_s)
        arrivals = (sent.clock * self.round_s)[packet] + delay_s
        soonest, latest = int(due.min()), int(due.max())
        if latest - soonest < 1 << 16:  # sixteen bits are sorted without comparing
            order = np.argsort((due - soonest).astype(np.uint16), kind="stable")
        else:
            order = np.argsort(due, kind="stable")
        due = due[order]
        ends = np.append(np.flatnonzero(due[1:] != due[:-1]) + 1, len(due))
        begin = 0
        for end in ends.tolist():
            rows = order[begin:end]
            used = np.zeros(len(sent.lane), bool)
            used[packet[rows]] = True
            part = sent.take(used)
            number = (np.cumsum(used) - 1).astype(np.int32)[packet[rows]]
            self._add(int(due[begin]), Flight(number, receiver[rows], arrivals[rows], part, clock))
            begin = end

    def _add(self, due: int, flight: Flight) -> None:
        self._due.setdefault(due, []).append(flight)

    def _rounds(self, delay_s: Doubles | float) -> NDArray[np.int64]:
        """Rounds from sending to hand-over."""
        # A delay of a whole number of rounds must not be rounded up for its last floating-point digit.
        return np.maximum(np.ceil(np.asarray(delay_s) / self.round_s - 1e-9), 1).astype(np.int64)

    def land(self, clock: int) -> Deliveries:
        """Everything that is due by round ``clock``; it is in the air no more."""
        due = sorted(k for k in self._due if k <= clock)  # in an order that no other lane can change
        if not due:
            return NONE
        flights = [flight for k in due for flight in self._due.pop(k)]
        flights.sort(key=lambda flight: flight.launched)
        return self._on_time(flights[0]) if len(flights) == 1 else self._mixed(flights)

    def count(self) -> NDArray[np.int64]:
        """int64 [L], packet × receiver in the air."""
        found = np.zeros(self.lanes, np.int64)
        for flight in (flight for flights in self._due.values() for flight in flights):
            found += np.bincount(flight.sent.lane[flight.packet], minlength=self.lanes)
        return found

    def _on_time(self, flight: Flight) -> Deliveries:
        """One round's packets that are due together."""
        if not isinstance(flight.arrival_s, float):
            return self._mixed([flight])
        sent, agents = flight.sent, self.agents
        lane, sender = sent.lane[flight.packet], sent.origin[flight.packet]
        inbox = lane * np.int64(agents) + flight.receiver
        # All arrived together, so the order is that of (lane, receiver, sender), which is one integer.
        top = self.lanes * agents**2
        if top <= 8 * len(inbox):
            order: NDArray[np.integer] = _dense_order(inbox * agents + sender, top)
        else:
            order = self._arrivals(inbox, np.zeros(len(inbox)), sender)
        packet = flight.packet[order]
        return Deliveries(
            lane=lane[order],
            sender=sender[order],
            receiver=flight.receiver[order],
            sent_clock=np.full(len(order), flight.launched, np.int32),
            arrival_s=np.full(len(order), flight.arrival_s),
            packet=packet,
            payload=sent.data,
            payload_bits=sent.bits,
            hops=sent.hops,
            forged=sent.forged,
        )

    def _mixed(self, flights: list[Flight]) -> Deliveries:
        """Packets of several rounds, or with arrivals of their own; flights in their order of sending."""
        first = np.cumsum([0, *(len(f.sent.lane) for f in flights)], dtype=np.int32)
        packet = _join([f.packet + start for f, start in zip(flights, first, strict=False)])
        receiver = _join([f.receiver for f in flights])
        lane = _join([f.sent.lane for f in flights])[packet]
        sender = _join([f.sent.origin for f in flights])[packet]
        sent_clock = _join([f.sent.clock for f in flights])[packet]
        arrival = _join([np.broadcast_to(f.arrival_s, len(f.packet)) for f in flights])
        order = self._arrivals(lane * np.int64(self.agents) + receiver, arrival, sender)
        return Deliveries(
            lane=lane[order],
            sender=sender[order],
            receiver=receiver[order],
            sent_clock=sent_clock[order],
            arrival_s=arrival[order],
            packet=packet[order],
            payload=_stack([f.sent.data for f in flights]),
            payload_bits=_join([f.sent.bits for f in flights]),
            hops=_join([f.sent.hops for f in flights]),
            forged=_join([f.sent.forged for f in flights]),
        )

    def _arrivals(self, inbox: NDArray[np.int64], arrival: Doubles, sender: Ints) -> NDArray[np.integer]:
        """The order by (inbox, arrival, sender); equals, which are one sender's packets, stay in order."""
        from agentsc.links import _kernels

        end = np.zeros(self.lanes * self.agents + 1, np.int64)
        np.cumsum(np.bincount(inbox, minlength=len(end) - 1), out=end[1:])
        order, spare = np.empty(len(inbox), np.int64), np.empty(len(inbox), np.int64)
        _kernels.arrivals(inbox, arrival, sender, end, order, spare)
        return order


def _join(parts: list[NDArray]) -> NDArray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _stack(parts: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Rows of all parts, padded with zeros to one width."""
    width = max(part.shape[1] for part in parts)
    return _join([widen(part, width) for part in parts])


def _dense_order(key: NDArray[np.int64], top: int) -> NDArray[np.int32]:
    """The order that sorts distinct keys below ``top``, by counting: for keys that are dense."""
    place = np.full(top, -1, np.int32)
    place[key] = np.arange(len(key), dtype=np.int32)
    return np.asarray(place[place >= 0])
