"""Damage to packets, as a fuzzer does it to genuine ones, and exactly how often a checksum cannot see it.

Shared by the tests and by ``experiments/packet_fuzz.py``. Everything works on batches: uint8 [K, W] and bits [K].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from air import Air
from numpy.typing import NDArray

from agentsc.intent.codec import Message, _crc_width, _fixed_bits, decode, encode
from agentsc.intent.crc import crc
from agentsc.intent.fields import (
    AGREE,
    AUCTION,
    BOX_BITS,
    BOXES,
    COUNT_BITS,
    GRANT_BITS,
    GRANTS,
    INTENT,
    INTENT_FIELDS,
    KIND_FIELDS,
    OPTIMISED,
    PACE,
    PLAN,
    PROGRESS,
    RALLY,
    RECORDS,
    RENEW,
    RENEW_BOXES,
    RESUME,
    RESUME_BOXES,
    STATE,
    STATUS,
    TRAJECTORY,
    WAYPOINT_KINDS,
)
from agentsc.intent.plan import PlanSpec
from agentsc.links.flight import Deliveries

Bytes = NDArray[np.uint8]
Bits = NDArray[np.int64]
Rng = np.random.Generator
Damage = Callable[[Rng, Bytes, Bits], tuple[Bytes, Bits]]

LAYOUTS = {
    "token": (INTENT, 0),
    "verdicts": (STATUS | GRANTS, 0),
    "proposal": (INTENT | STATUS | PLAN, 0),
    "state": (0, STATE),
    "trajectory": (0, TRAJECTORY),
    "optimised": (0, OPTIMISED),
    "agree": (0, AGREE),
    "progress": (0, PROGRESS),
    "renew": (0, RENEW),
    "auction": (0, AUCTION),
    "rally": (0, RALLY),
    "pace": (0, PACE),
    "resume": (0, RESUME),
    "boxes": (0, BOXES),
    "renew-boxes": (0, RENEW_BOXES),
    "resume-boxes": (0, RESUME_BOXES),
}
"""Name → sections and kind of what protocols send."""
VERDICTS = 2
AWARDS, WORDS = 2, 3
OUTS, CORNERS = 2, 3
SEEN = 2
OF_PROTOCOL = {"state": "orca", "auction": "market"}
OF_PROTOCOL |= dict.fromkeys(("token", "verdicts", "proposal"), "negotiated")
OF_PROTOCOL |= dict.fromkeys(("agree", "progress", "renew"), "intent")
"""Layout → who sends it; the rest is of baselines that send trajectories."""


# -- packets ---------------------------------------------------------------------------------------


def anything(rng: Rng, layout: str, count: int, spec: PlanSpec, agents: int = 256) -> Message:
    """Messages of one layout with every field anywhere in its range; way-points are any 32 bits."""
    mask, kind = LAYOUTS[layout]
    points = spec.horizon_ticks + 1 if kind in WAYPOINT_KINDS else 0
    m = Message.blank(count, spec, VERDICTS if mask & GRANTS else 0, points, AWARDS, WORDS, OUTS, CORNERS, SEEN)
    m.sections[:], m.kind[:] = mask, kind
    m.id[:] = rng.integers(0, agents, count)
    m.clock[:] = rng.integers(0, 1 << (16 if mask & STATUS else 8), count)
    if mask & INTENT:
        for name, bits in INTENT_FIELDS:
            getattr(m, name)[:] = rng.integers(0, 1 << bits, count)
    if mask & STATUS:
        m.committed_seq[:], m.pending_seq[:] = rng.integers(0, 256, (2, count))
    if mask & PLAN:
        half = 1 << (spec.delta_bits - 1)
        m.t0_offset[:] = rng.integers(0, 64, count)
        m.plan[:, :2] = rng.integers(0, 1 << 16, (count, 2))
        m.plan[:, 2:] = rng.integers(-half, half, (count, spec.columns - 2))
    if mask & GRANTS:
        m.grant_count[:] = VERDICTS
        m.grant_peer[:] = rng.integers(0, agents, (count, VERDICTS))
        m.grant_seq[:], m.grant_verdict[:] = (rng.integers(0, top, (count, VERDICTS)) for top in (8, 2))
    renewing, resuming = (RENEW, RENEW_BOXES), (RESUME, RESUME_BOXES)
    if kind in (STATE, AGREE, RALLY, *renewing, *resuming):
        m.position[:] = rng.integers(0, 1 << 16, (count, 2))
    if kind in (AGREE, PROGRESS, RALLY, PACE, *renewing, *resuming):
        m.course[:] = rng.integers(0, 1 << 16, count)
    if kind in (AGREE, RALLY, *renewing, *resuming):
        m.digest[:] = rng.integers(0, 1 << 24, count)
    if kind in (*renewing, *resuming):
        m.lag[:] = rng.integers(0, 256, count)
    if kind in (PROGRESS, RALLY, PACE, *renewing, *resuming):
        m.steps[:], m.done[:] = rng.integers(0, 1 << 12, count), rng.integers(0, 1 << 16, count)
    if kind == STATE:
        m.velocity[:] = rng.integers(-2048, 2048, (count, 2))
    if kind in (RALLY, PACE, *resuming):
        m.root[:] = rng.integers(0, 1 << 24, count)
    if kind == RALLY:
        m.rest[:], m.before[:] = rng.integers(0, 1 << 16, (count, 2)), rng.integers(0, 1 << 24, count)
        m.forgetful[:], m.out_count[:], m.corner_count[:] = rng.integers(0, 2, count), OUTS, CORNERS
        m.outs[:] = rng.integers(0, (agents, 1, 1 << 16), m.outs.shape)
        m.corners[:] = rng.integers(0, (agents, 1 << 16, 1 << 16), m.corners.shape)
    if kind in (BOXES, RENEW_BOXES, RESUME_BOXES):
        m.box_count[:], m.boxes[:] = SEEN, rng.integers(0, 1 << np.array(BOX_BITS), m.boxes.shape)
    if kind == AUCTION:
        m.award_count[:], m.word_count[:] = AWARDS, WORDS
        m.awards[:] = rng.integers(0, 256, m.awards.shape)
        m.words[:] = rng.integers(0, (256, 2, 1 << 15), m.words.shape)
    if kind in WAYPOINT_KINDS:
        m.waypoint_t0[:], m.waypoint_count[:] = rng.integers(0, 1 << 16, count), points
        raw = rng.integers(0, 1 << 32, (count, points, 2), np.uint32)
        m.waypoints[:] = raw.view(np.float32)
    return m


def genuine(rng: Rng, layout: str, count: int, spec: PlanSpec) -> tuple[Bytes, Bits]:
    """Their packets, with checksums that hold."""
    data, bits = encode(anything(rng, layout, count, spec), spec)
    return data, bits.astype(np.int64)


# -- damage ----------------------------------------------------------------------------------------


def flipped(count: int) -> Damage:
    """So many bits of each packet wrong, all sets of places alike (R. W. Floyd's sample)."""

    def damage(rng: Rng, data: Bytes, bits: Bits) -> tuple[Bytes, Bits]:
        data, rows = data.copy(), np.arange(len(data))
        chosen = np.full((len(data), count), -1, np.int64)
        for turn in range(count):
            last = bits - count + turn
            place = (rng.random(len(data)) * (last + 1)).astype(np.int64)
            taken = (chosen[:, :turn] == place[:, None]).any(1)
            chosen[:, turn] = np.where(taken, last, place)
            at = chosen[:, turn]
            data[rows, at >> 3] ^= (0x80 >> (at & 7)).astype(np.uint8)
        return data, bits

    return damage


def some_flipped(rng: Rng, data: Bytes, bits: Bits) -> tuple[Bytes, Bits]:
    """One to eight bits wrong."""
    data, count = data.copy(), rng.integers(1, 9, len(data))
    for number in range(1, 9):
        rows = np.flatnonzero(count == number)
        data[rows] = flipped(number)(rng, data[rows], bits[rows])[0]
    return data, bits


def scrambled(rng: Rng, data: Bytes, bits: Bits) -> tuple[Bytes, Bits]:
    """Every bit that does not decide the layout tossed anew."""
    noise = rng.integers(0, 256, data.shape, np.uint8)
    sort = data[:, 0] >> 4
    for mask, kind in {(int(m), int(k) if m == 0 else 0) for m, k in zip(sort, data[:, 2] & 15, strict=True)}:
        rows = np.flatnonzero((sort == mask) & ((mask > 0) | (data[:, 2] & 15 == kind)))
        keep = np.zeros(8 * data.shape[1], bool)
        keep[layout_bits(mask, kind)] = True
        both = np.packbits(keep)
        noise[rows] = (data[rows] & both) | (noise[rows] & ~both)
    return noise, bits


def truncated(rng: Rng, data: Bytes, bits: Bits) -> tuple[Bytes, Bits]:
    """Only the first so many bits arrive; behind them there is garbage."""
    short = (rng.random(len(data)) * bits).astype(np.int64)
    behind = np.packbits(np.arange(8 * data.shape[1]) >= short[:, None], axis=1)
    return (data & ~behind) | (rng.integers(0, 256, data.shape, np.uint8) & behind), short


def mislaid(rng: Rng, data: Bytes, bits: Bits) -> tuple[Bytes, Bits]:
    """A wrong length: up to 64 bits more or fewer than were sent, or none or less than none at all."""
    change = rng.integers(1, 65, len(data)) * rng.choice([-1, 1], len(data))
    found = np.where(rng.random(len(data)) < 0.05, rng.integers(-9, 1, len(data)), bits + change)
    return np.pad(data, ((0, 0), (0, 8))), found


def garbage(rng: Rng, data: Bytes, bits: Bits) -> tuple[Bytes, Bits]:
    """Random bytes of any length."""
    return rng.integers(0, 256, data.shape, np.uint8), rng.integers(0, 8 * data.shape[1] + 1, len(data))


def untouched(rng: Rng, data: Bytes, bits: Bits) -> tuple[Bytes, Bits]:
    """As they were: a replay, when they come again."""
    return data, bits


# -- what a checksum cannot see --------------------------------------------------------------------


def layout_bits(mask: int, kind: int) -> Bits:
    """Places of the bits that decide what a packet consists of: one in which they are wrong has a wrong length."""
    places = [np.arange(4)]
    if mask == 0:
        places.append(np.arange(20, 24))
    if mask == 0 and kind in WAYPOINT_KINDS:
        places.append(np.arange(40, 48))
    if mask == 0 and kind in RECORDS:
        counts = 8 * len(RECORDS[kind])
        places.append(_fixed_bits(mask, kind, _SHAPE) - counts + np.arange(counts))
    if mask & GRANTS:
        places.append(_fixed_bits(mask, 0, _SHAPE) - COUNT_BITS + np.arange(COUNT_BITS))
    return np.concatenate(places)


_SHAPE = PlanSpec((0.0, 0.0, 1.0, 1.0), 1.0, 1.0)
"""Widths of fields do not depend on a world."""


def syndromes(width: int, bits: int) -> Bits:
    """int64 [bits]: how a wrong bit at each place changes the checksum's difference to what it should be."""
    payload = bits - width
    size = -(-payload // 8)
    one = np.packbits(np.eye(payload, 8 * size, dtype=bool), axis=1)
    length = np.full(payload, size)
    flat = crc(np.zeros((1, size), np.uint8), length[:1], width)
    return np.concatenate([crc(one, length, width) ^ flat, 1 << np.arange(width - 1, -1, -1)])


def missed(layout: str, bits: int, flips: int) -> float:
    """Probability that a checksum holds although so many bits of the packet, chosen at random, are wrong.

    The number of patterns it cannot see is the number of words of that weight in the code whose parity checks are
    the syndromes, by way of the weights of its dual.

    Reference: F. J. MacWilliams and N. J. A. Sloane, The Theory of Error-Correcting Codes, 1977, chapter 5, theorem 1.
    """
    mask, kind = LAYOUTS[layout]
    width = _crc_width(mask)
    seen = np.delete(syndromes(width, bits), layout_bits(mask, kind))
    transform = np.bincount(seen, minlength=1 << width)
    for level in range(width):
        pair = transform.reshape(-1, 2, 1 << level)
        transform = np.stack([pair[:, 0] + pair[:, 1], pair[:, 0] - pair[:, 1]], 1).reshape(-1)
    weights, number = np.unique((len(seen) - transform) // 2, return_counts=True)
    words = Fraction(0)
    for weight, count in zip(weights.tolist(), number.tolist(), strict=True):
        krawtchouk = sum(
            (-1) ** j * math.comb(weight, j) * math.comb(len(seen) - weight, flips - j) for j in range(flips + 1)
        )
        words += Fraction(count * krawtchouk, 1 << width)
    return float(words / math.comb(bits, flips))


def garbage_missed(width: int) -> float:
    """Probability that `garbage` in rows of so many bytes decodes: a layout of the right length, and a checksum."""
    most = 8 * width

    def share(mask: int, kind: int, each: int, counts: int) -> float:
        """Of layouts of which there are as many as entries, each of so many bits, all numbers alike."""
        shortest = _fixed_bits(mask, kind, _SHAPE) + _crc_width(mask)
        fitting = sum(shortest + each * count <= most for count in range(counts))
        return fitting / counts * 2.0 ** -_crc_width(mask)

    sections = [m for m in range(1, 16) if m & STATUS or not m & (PLAN | GRANTS)]
    found = sum(share(m, 0, GRANT_BITS, 1 << COUNT_BITS) if m & GRANTS else share(m, 0, 0, 1) for m in sections)
    bare = sum(share(0, kind, *((64, 256) if kind in WAYPOINT_KINDS else (0, 1))) for kind in KIND_FIELDS)
    # A packet with records has a count of 8 bits for each sort.
    for kind, sorts in RECORDS.items():
        length = np.array(_fixed_bits(0, kind, _SHAPE) + _crc_width(0))
        for _, widths in sorts:
            length = np.add.outer(length, np.arange(256) * sum(widths))
        fitting = float((length <= most).mean())
        bare += fitting * 2.0 ** -_crc_width(0) - share(0, kind, 0, 1)
    return (found + bare / 16) / 16 / (most + 1)


# -- on the air ------------------------------------------------------------------------------------


class Noise:
    """Packets that were on the air come once more, damaged: so many in every round, to receivers at random.

    Attributes:
        sent: how many so far. passed: int64 [lane], how many of them decode.
    """

    def __init__(self, damage: Damage, each_round: int, spec: PlanSpec, lanes: int, seed: int) -> None:
        self.damage, self.each_round, self.spec = damage, each_round, spec
        self.rng = np.random.default_rng([seed, 7])
        self.sent, self.passed = 0, np.zeros(lanes, np.int64)
        self._data, self._known = np.zeros((1024, 0), np.uint8), 0
        self._facts = np.zeros((3, 1024), np.int64)

    def listen_to(self, air: Air) -> None:
        """From now on, what comes through that air is disturbed."""
        self.air = air
        air.disturb = self

    def __call__(self, inbox: Deliveries, clock: int) -> Deliveries:
        self._remember()
        if not self._known:
            return inbox
        rng, agents = self.rng, self.air.agents
        source = rng.integers(0, self._known, self.each_round)
        lane, sender, bits = self._facts[:, source]
        receiver = (sender + rng.integers(1, agents, self.each_round)) % agents
        data, bits = self.damage(rng, self._data[source], bits)
        _, ok = decode(data, bits, self.spec)
        self.sent += self.each_round
        self.passed += np.bincount(lane[ok], minlength=len(self.passed))
        return together(inbox, lane, sender, receiver, data, bits)

    def _remember(self) -> None:
        """What has been sent since the last round, as arrays that double when they are full."""
        air, begin = self.air, self._known
        end = len(air.data)
        width = max((len(row) for row in air.data[begin:]), default=0)
        rows = max(len(self._data), 1 << (end - 1).bit_length()) if end else len(self._data)
        if rows > len(self._data) or width > self._data.shape[1]:
            wider = max(width, self._data.shape[1])
            self._data = np.pad(self._data, ((0, rows - len(self._data)), (0, wider - self._data.shape[1])))
            self._facts = np.pad(self._facts, ((0, 0), (0, rows - self._facts.shape[1])))
        for row in range(begin, end):
            self._data[row, : len(air.data[row])] = air.data[row]
        self._facts[:, begin:end] = air.lane[begin:], air.sender[begin:], air.bits[begin:]
        self._known = end


def together(
    inbox: Deliveries, lane: NDArray, sender: NDArray, receiver: NDArray, data: Bytes, bits: NDArray
) -> Deliveries:
    """An inbox with more deliveries [M] behind it, a packet each."""
    small, count, before = np.int32, len(lane), len(inbox.payload)
    width = max(inbox.payload.shape[1], data.shape[1])
    payload = np.zeros((before + count, width), np.uint8)
    payload[:before, : inbox.payload.shape[1]], payload[before:, : data.shape[1]] = inbox.payload, data
    return Deliveries(
        np.append(inbox.lane, lane).astype(small), np.append(inbox.sender, sender).astype(small),
        np.append(inbox.receiver, receiver).astype(small), np.append(inbox.sent_clock, np.zeros(count)).astype(small),
        np.zeros(len(inbox) + count), np.append(inbox.packet, before + np.arange(count)).astype(small), payload,
        np.append(inbox.payload_bits, bits).astype(small), np.zeros(before + count, small),
        np.zeros(before + count, bool),
    )  # fmt: skip
