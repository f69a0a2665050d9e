"""What hubs and vehicles tell each other, bit by bit.

| word   | from    | bits         | holds                                                                   |
|--------|---------|--------------|-------------------------------------------------------------------------|
| REPORT | vehicle | 77, or 109   | number of its goal, steps committed to, by when; the goal, until known  |
| ORDERS | hub     | 46 + entries | an entry per vehicle: 42 bits, 24 for a gate, 38 for every leg          |
| REST   | vehicle | 89           | that it listens to no hub any more, where it comes to rest and when     |

All begin with the 20 bits that every packet has (`agentsc.intent.fields`) and a kind, and end with a CRC-16. An entry
says which goal of the vehicle the hub knows, and leads it from step ``first`` to step ``limit`` along *legs*: so many
steps of equal length to a place. A *gate* says before which tick steps from some number on must not begin.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.codec import append_crc
from agentsc.links.framing import intact
from agentsc.links.medium import Packets

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

REPORT, ORDERS, REST = 8, 9, 10
"""Kinds of packets without sections; `agentsc.intent.fields` has those of protocols."""
WISHES = 16
"""Goals of a vehicle are numbered in four bits."""
MAX_STEPS = 1 << 16
MOST_LEGS, MOST_LEAD, MOST_LEG = 31, 255, 63
"""Of an entry: legs, steps from the first to the limit; and steps of a leg."""
_COUNT, _CRC = 6, 16
MOST_ENTRIES = (1 << _COUNT) - 1
ENTRY_BITS, GATE_BITS, LEG_BITS = 8 + 4 + 16 + 8 + 5 + 1, 8 + 16, 6 + 16 + 16
ORDERS_BITS = 20 + 4 + _COUNT + _CRC


class Leg(NamedTuple):
    """So many steps of equal length, and where they end, in lattice units."""

    steps: int
    x: int
    y: int


@dataclass(frozen=True)
class Entry:
    """What a hub tells one vehicle.

    Attributes:
        vehicle: whom. wish: number of its goal that the hub knows. first: step from which the legs lead on.
        limit: number of steps that it may make in all. gate: first step that must not begin before tick ``until``;
            None for none.
        legs: from where the vehicle is after ``first`` steps.
    """

    vehicle: int
    wish: int
    first: int
    limit: int
    legs: tuple[Leg, ...] = ()
    gate: int | None = None
    until: int = 0

    @property
    def bits(self) -> int:
        """On the air."""
        return ENTRY_BITS + GATE_BITS * (self.gate is not None) + LEG_BITS * len(self.legs)

    def gated(self, gate: int, until: int) -> Entry:
        """The same with a gate, if any of its steps are behind that."""
        return replace(self, gate=gate, until=until) if gate < self.limit else replace(self, gate=None, until=0)

    def shorter(self) -> Entry:
        """The same without its last leg."""
        legs = self.legs[:-1]
        cut = replace(self, legs=legs, limit=min(self.limit, self.first + sum(leg.steps for leg in legs)))
        return cut if self.gate is None else cut.gated(self.gate, self.until)


class Reports(NamedTuple):
    """K reports as columns: sender, wish, steps and done int64 [K]; goal int64 [K, 2], lattice units, −1 for none."""

    sender: Ints
    wish: Ints
    steps: Ints
    done: Ints
    goal: Ints

    def take(self, rows: NDArray) -> Reports:
        """Some of them."""
        return Reports(self.sender[rows], self.wish[rows], self.steps[rows], self.done[rows], self.goal[rows])


class Rests(NamedTuple):
    """K words of rest as columns: sender, done int64 [K]; complete bool [K], it has heard all others'; place [K, 2]."""

    sender: Ints
    done: Ints
    complete: Flags
    place: Ints

    def take(self, rows: NDArray) -> Rests:
        """Some of them."""
        return Rests(self.sender[rows], self.done[rows], self.complete[rows], self.place[rows])


@dataclass
class _Bits:
    """Numbers one behind the other, the first one in the highest bits."""

    value: int = 0
    count: int = 0

    def put(self, *numbers: tuple[int, int]) -> None:
        for number, width in numbers:
            self.value = (self.value << width) | number
            self.count += width


@dataclass
class _Reader:
    """The same in reverse."""

    value: int
    left: int
    short: bool = field(default=False)

    @classmethod
    def of(cls, data: NDArray[np.uint8], bits: int) -> _Reader:
        size = -(-bits // 8)
        return cls(int.from_bytes(data[:size].tobytes(), "big") >> (8 * size - bits), bits)

    def take(self, width: int) -> int:
        self.left -= width
        if self.left < 0:
            self.short = True
            return 0
        return (self.value >> self.left) & ((1 << width) - 1)


def kinds(data: NDArray[np.uint8]) -> Ints:
    """int64 [K]: REPORT, ORDERS or REST; 0 for packets of protocols."""
    if data.shape[1] < 3:
        return np.zeros(len(data), np.int64)
    kind = np.where(data[:, 0] >> 4 == 0, data[:, 2] & 15, 0).astype(np.int64)
    return np.where(kind >= REPORT, kind, 0)


def _packets(lane: Ints, sender: Ints, contents: list[_Bits]) -> Packets:
    """Packets with their checksums."""
    bits = np.array([content.count for content in contents], np.int64)
    width = -(-int(bits.max(initial=0)) // 8)
    data = np.zeros((len(contents), width), np.uint8)
    for row, content in enumerate(contents):
        size = -(-content.count // 8)
        data[row, :size] = np.frombuffer((content.value << (8 * size - content.count)).to_bytes(size, "big"), np.uint8)
    sealed = append_crc(data, bits, _CRC) if len(contents) else data
    return Packets(lane.astype(np.int32), sender.astype(np.int32), sealed, (bits + _CRC).astype(np.int32))


def _head(kind: int, number: int, clock: int) -> _Bits:
    bits = _Bits()
    bits.put((0, 4), (number, 8), (clock & 255, 8), (kind, 4))
    return bits


def reports(lane: Ints, sender: Ints, wish: Ints, steps: Ints, done: Ints, goal: Ints, clock: int) -> Packets:
    """REPORT packets; ``goal`` [K, 2] in lattice units, negative where it is not told."""
    contents = []
    for columns in zip(sender.tolist(), wish.tolist(), steps.tolist(), done.tolist(), goal.tolist(), strict=True):
        number, which, made, tick, (x, y) = columns
        bits = _head(REPORT, number, clock)
        bits.put((int(x >= 0), 1), (which % WISHES, 4), (made, 16), (min(tick, MAX_STEPS - 1), 16))
        if x >= 0:
            bits.put((x, 16), (y, 16))
        contents.append(bits)
    return _packets(lane, sender, contents)


def rests(lane: Ints, sender: Ints, done: Ints, complete: Flags, place: Ints, clock: int) -> Packets:
    """REST packets; ``place`` [K, 2] in lattice units."""
    contents = []
    for number, tick, whole, (x, y) in zip(
        sender.tolist(), done.tolist(), complete.tolist(), place.tolist(), strict=True
    ):
        bits = _head(REST, number, clock)
        bits.put((int(whole), 1), (x, 16), (y, 16), (min(tick, MAX_STEPS - 1), 16))
        contents.append(bits)
    return _packets(lane, sender, contents)


def orders(lane: Ints, sender: Ints, hub: Ints, entries: list[list[Entry]], clock: int) -> Packets:
    """ORDERS packets of hubs whose radios have the numbers ``sender``."""
    contents = []
    for number, told in zip(hub.tolist(), entries, strict=True):
        bits = _head(ORDERS, number, clock)
        bits.put((len(told), _COUNT))
        for entry in told:
            gated = entry.gate is not None
            bits.put((entry.vehicle, 8), (entry.wish % WISHES, 4), (entry.first, 16), (entry.limit - entry.first, 8))
            bits.put((len(entry.legs), 5), (int(gated), 1))
            if entry.gate is not None:
                bits.put((entry.gate - entry.first, 8), (entry.until, 16))
            for leg in entry.legs:
                bits.put((leg.steps, 6), (leg.x, 16), (leg.y, 16))
        contents.append(bits)
    return _packets(lane, sender, contents)


def _sound(data: NDArray[np.uint8], bits: NDArray[np.integer]) -> Flags:
    """bool [K]: long enough, and the checksum holds."""
    return np.asarray(intact(data, bits) & (bits > 24 + _CRC))


def read_reports(data: NDArray[np.uint8], bits: NDArray[np.integer]) -> tuple[Reports, Flags]:
    """Contents of REPORT packets [K], and which of them are good."""
    good = _sound(data, bits)
    columns = np.full((len(data), 6), -1, np.int64)
    for row in np.flatnonzero(good).tolist():
        reader = _Reader.of(data[row], int(bits[row]) - _CRC)
        reader.take(4)
        sender = reader.take(8)
        reader.take(12)
        told = reader.take(1)
        columns[row] = sender, reader.take(4), reader.take(16), reader.take(16), -1, -1
        if told:
            columns[row, 4:] = reader.take(16), reader.take(16)
        good[row] = not reader.short and reader.left == 0
    sent, wish, steps, done = columns[:, :4].T
    return Reports(sent, wish, steps, done, columns[:, 4:]), good


def read_rests(data: NDArray[np.uint8], bits: NDArray[np.integer]) -> tuple[Rests, Flags]:
    """Contents of REST packets [K], and which of them are good."""
    good = _sound(data, bits)
    columns = np.zeros((len(data), 5), np.int64)
    for row in np.flatnonzero(good).tolist():
        reader = _Reader.of(data[row], int(bits[row]) - _CRC)
        reader.take(4)
        sender = reader.take(8)
        reader.take(12)
        complete, x, y, done = reader.take(1), reader.take(16), reader.take(16), reader.take(16)
        columns[row] = sender, done, complete, x, y
        good[row] = not reader.short and reader.left == 0
    return Rests(columns[:, 0], columns[:, 1], columns[:, 2] > 0, columns[:, 3:]), good


def read_orders(data: NDArray[np.uint8], bits: int) -> list[Entry] | None:
    """Entries of one ORDERS packet whose checksum holds; None if they make no sense."""
    reader = _Reader.of(data, bits - _CRC)
    reader.take(24)
    found = []
    for _ in range(reader.take(_COUNT)):
        vehicle, wish, first, lead = reader.take(8), reader.take(4), reader.take(16), reader.take(8)
        count, gated = reader.take(5), reader.take(1)
        gate, until = (first + reader.take(8), reader.take(16)) if gated else (None, 0)
        legs = tuple(Leg(reader.take(6), reader.take(16), reader.take(16)) for _ in range(count))
        if reader.short or sum(leg.steps for leg in legs) < lead or any(leg.steps == 0 for leg in legs):
            return None
        found.append(Entry(vehicle, wish, first, first + lead, legs, gate, until))
    return found if reader.left == 0 else None
