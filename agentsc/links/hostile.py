"""Hostile radios: one that forges, one that repeats, one that babbles.

They hear everything that agents send, wherever they stand, and know the format of packets, but no key. How far they
are heard is up to the other links.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.codec import Message, decode, encode
from agentsc.intent.fields import (
    AGREE,
    BASE,
    GRANT_SEQ_BITS,
    GRANTS,
    INTENT,
    INTENT_FIELDS,
    LATTICE_BITS,
    MAX_GRANTS,
    PLAN,
    PROGRESS,
    PROGRESS_FIELDS,
    STATUS,
    STATUS_FIELDS,
    T0_BITS,
)
from agentsc.intent.plan import PlanSpec
from agentsc.links.bitwise import cut, read, write
from agentsc.links.framing import with_checksum
from agentsc.links.packets import Bytes, Held, Ints, widen
from agentsc.links.parts import Site, Station
from envs import keyed

_SECTIONS, _ID, _CLOCK_LOW = (bits for _, bits in BASE)
_BASE_BITS = sum(bits for _, bits in BASE)
_INTENT_BITS = sum(bits for _, bits in INTENT_FIELDS)
_STATUS_BITS = sum(bits for _, bits in STATUS_FIELDS)
_ANY_SPEC = PlanSpec((0.0, 0.0, 1.0, 1.0), 1.0, 1.0)
"""For packets without a plan; what it says is never used."""
_FARTHER = 8
"""Steps by which a forged progress exceeds what the agent has said itself."""


class Hostile(Station):
    """What all of them share: a place, a time at work, and how they put a packet on the air.

    Args:
        site, number: where, and the station's node. place: metres. begin_s, end_s: when it is at work.
        share: probability of acting, per lane and round.
    """

    def __init__(
        self, site: Site, number: int, place: tuple[float, float], begin_s: float, end_s: float, share: float
    ) -> None:
        self.site, self.number, self.share = site, number, share
        self.place = np.tile(np.array(place), (site.lanes, 1))
        self.begin_s, self.end_s = begin_s, end_s

    def acting(self, clock: int) -> NDArray[np.bool_]:
        """bool [L]: where it acts in round ``clock``."""
        if not self.begin_s <= clock * self.site.round_s < self.end_s:
            return np.zeros(self.site.lanes, bool)
        return self.draw(clock, 0, self.site.lanes) < self.share

    def draw(self, clock: int, what: int, lanes: int) -> NDArray[np.float64]:
        """Uniform in [0, 1), [L]."""
        return keyed.uniform(self.site.seeds[:lanes], self.number, clock, what)

    def packets(self, lane: Ints, author: Ints, clock: NDArray[np.integer], data: Bytes, bits: Ints, now: int) -> Held:
        """Packets in the name of ``author`` [n], with a guessed seal if packets have one."""
        sealed = self.site.sealed_bits
        if sealed and len(lane):
            guess = keyed.hash_words(self.site.seeds[lane], self.number, now, 9, author)
            data = write(data, bits, min(sealed, 64), guess)
            bits = bits + np.int32(sealed)
        count = len(lane)
        at = np.full(count, now * self.site.round_s)
        sender = np.full(count, self.number, np.int32)
        held = Held.new(lane, sender, clock.astype(np.int32), data, bits.astype(np.int32), at)
        return held._replace(origin=author.astype(np.int32), forged=np.ones(count, bool))


class Babbler(Hostile):
    """Random bits, all the time: what it does, it does by being on the air."""

    def __init__(self, *hostile: object, bits: int) -> None:
        super().__init__(*hostile)  # type: ignore[arg-type]
        self.bits = bits

    def send(self, sent: Held, clock: int) -> Held | None:
        """See `Station.send`."""
        lane = np.flatnonzero(self.acting(clock)).astype(np.int32)
        if not len(lane):
            return None
        columns = -(-self.bits // 8)
        words = keyed.hash_words(self.site.seeds[lane][:, None], self.number, clock, 1, np.arange(-(-columns // 8)))
        data = np.ascontiguousarray(words).view(np.uint8)[:, :columns].copy()
        bits = np.full(len(lane), self.bits, np.int32)
        author = np.zeros(len(lane), np.int32)
        return self.packets(lane, author, np.full(len(lane), clock), data, bits - self.site.sealed_bits, clock)


class Replayer(Hostile):
    """Repeats what agents sent a while ago, bit by bit."""

    def __init__(self, *hostile: object, age: int) -> None:
        super().__init__(*hostile)  # type: ignore[arg-type]
        self.age = age
        self._heard: dict[int, Held] = {}

    def send(self, sent: Held, clock: int) -> Held | None:
        """See `Station.send`."""
        self._heard[clock] = sent
        old = self._heard.pop(clock - self.age, None)
        if old is None or not len(old.lane):
            return None
        old = old.take(self.acting(clock)[old.lane])
        at = np.full(len(old.lane), clock * self.site.round_s)
        return old._replace(
            sender=np.full(len(old.lane), self.number, np.int32),
            at_s=at,
            start_s=at,
            forged=np.ones(len(old.lane), bool),
        )


class Spoofer(Hostile):
    """Packets in the name of agents, with checksums that hold.

    ``grants``: whoever proposes a plan is granted it by everybody whom it has to ask. ``plans``: an agent's latest
    plan is shown at another place. ``noise``: an agent's intent and status with random contents. ``progress``: an
    agent is said to have made a few more steps of its course than it has (what goes beyond the course's end would be
    ignored). ``wishes``: it is said to want to somewhere else.
    """

    def __init__(self, *hostile: object, what: str) -> None:
        super().__init__(*hostile)  # type: ignore[arg-type]
        self.what = what
        lanes, agents = self.site.lanes, self.site.agents
        self._status = np.zeros((lanes, agents, 2), np.int64)
        self._proposals: NDArray[np.int64] = np.zeros((0, 3), np.int64)
        self._plan_bits = np.zeros((lanes, agents), np.int64)
        self._plans = np.zeros((lanes, agents, 1), np.uint8)
        # Number of the course and steps that each agent has told last; −1 before that.
        self._progress = np.full((lanes, agents, 2), -1, np.int64)
        self._last_step = (1 << next(bits for name, bits in PROGRESS_FIELDS if name == "steps")) - 1

    def send(self, sent: Held, clock: int) -> Held | None:
        """See `Station.send`."""
        acting = self.acting(clock)
        forge = {
            "grants": self._grants, "plans": self._displaced, "noise": self._noise,
            "progress": self._farther, "wishes": self._elsewhere,
        }[self.what]  # fmt: skip
        found = forge(acting, clock)
        self._listen(sent)
        return found

    def _listen(self, sent: Held) -> None:
        """Remember statuses, plans, and who waits for grants; agents count only what came after their proposal."""
        sections = sent.data[:, 0] >> 4 if len(sent.lane) else np.zeros(0, np.uint8)
        self._listen_for_progress(sent.take(np.flatnonzero(sections == 0)))
        rows = np.flatnonzero(sections & STATUS)
        part, sections = sent.take(rows), sections[rows]
        at = _BASE_BITS + np.where(sections & INTENT, _INTENT_BITS, 0)
        if not len(rows):
            self._proposals = np.zeros((0, 3), np.int64)
            return
        status = np.stack([read(part.data, at + 8 + 8 * which, 8) for which in (0, 1)], 1).astype(np.int64)
        self._status[part.lane, part.sender] = status
        plan = (sections & PLAN) != 0
        open_ = plan & (status[:, 0] != status[:, 1])
        self._proposals = np.stack([part.lane, part.sender, status[:, 1]], 1)[open_].astype(np.int64)
        width = max(part.data.shape[1], self._plans.shape[2])
        if width > self._plans.shape[2]:
            self._plans = np.pad(self._plans, ((0, 0), (0, 0), (0, width - self._plans.shape[2])))
        self._plans[part.lane[plan], part.sender[plan]] = widen(part.data[plan], width)
        self._plan_bits[part.lane[plan], part.sender[plan]] = part.bits[plan] - self.site.sealed_bits

    def _listen_for_progress(self, sent: Held) -> None:
        message, _ = decode(sent.data, sent.bits - self.site.sealed_bits, _ANY_SPEC)
        told = np.flatnonzero(message.kind == PROGRESS)
        self._progress[sent.lane[told], sent.sender[told]] = np.stack([message.course[told], message.steps[told]], -1)

    def _farther(self, acting: NDArray[np.bool_], clock: int) -> Held | None:
        """Progress of one agent in every lane: many more steps than it has told, and done by now."""
        known = self._progress[:, :, 0] >= 0
        lane, author = self._victims(acting & known.any(1), clock, known)
        course, steps = self._progress[lane, author].T
        farther = np.minimum(steps + _FARTHER, self._last_step)
        return self._bare(lane, author, clock, PROGRESS, course=course, steps=farther)

    def _elsewhere(self, acting: NDArray[np.bool_], clock: int) -> Held | None:
        """A wish of one agent in every lane for the course that comes next, as far as anybody has told."""
        lane, author = self._victims(acting, clock, np.ones((len(acting), self.site.agents), bool))
        words = keyed.hash_words(self.site.seeds[lane][:, None], self.number, clock, 3, np.arange(2))
        place = (words >> np.uint64(64 - LATTICE_BITS)).astype(np.int64)
        return self._bare(lane, author, clock, AGREE, course=self._progress[lane, :, 0].max(1) + 1, position=place)

    def _bare(self, lane: Ints, author: Ints, clock: int, kind: int, **fields: NDArray[np.int64]) -> Held | None:
        """Packets of a kind without sections."""
        if not len(lane):
            return None
        message = Message.blank(len(lane), _ANY_SPEC)
        message.id[:], message.clock[:], message.kind[:] = author, clock & 0xFF, kind
        for name, values in fields.items():
            getattr(message, name)[:] = values
        data, bits = encode(message, _ANY_SPEC)
        return self.packets(lane, author, np.full(len(lane), clock), data, bits, clock)

    def _grants(self, acting: NDArray[np.bool_], clock: int) -> Held | None:
        """Everybody below each proposer grants, as far as a packet has room."""
        lane, proposer, seq = self._proposals[acting[self._proposals[:, 0]]].T
        if not proposer.any():
            return None
        # One row per grantor and proposal.
        each = np.repeat(np.arange(len(proposer)), proposer)
        grantor = np.arange(len(each)) - np.repeat(np.cumsum(proposer) - proposer, proposer)
        order = np.lexsort((proposer[each], grantor, lane[each]))
        each, grantor = each[order], grantor[order]
        who = lane[each] * self.site.agents + grantor
        first = np.append(True, who[1:] != who[:-1])
        packet = np.cumsum(first) - 1
        place = np.arange(len(who)) - np.flatnonzero(first)[packet]
        fits = place < MAX_GRANTS
        author = grantor[first]
        where = lane[each][first]
        message = Message.blank(len(author), _ANY_SPEC, int(place[fits].max()) + 1)
        message.sections[:] = STATUS | GRANTS
        message.id[:], message.clock[:] = author, clock & 0xFFFF
        message.committed_seq[:], message.pending_seq[:] = self._status[where, author].T
        message.grant_peer[packet[fits], place[fits]] = proposer[each][fits]
        message.grant_seq[packet[fits], place[fits]] = seq[each][fits] & ((1 << GRANT_SEQ_BITS) - 1)
        message.grant_verdict[packet[fits], place[fits]] = 1
        np.add.at(message.grant_count, packet[fits], 1)
        data, bits = encode(message, _ANY_SPEC)
        return self.packets(where.astype(np.int32), author, np.full(len(author), clock), data, bits, clock)

    def _displaced(self, acting: NDArray[np.bool_], clock: int) -> Held | None:
        """One agent's plan in every lane, somewhere else; its status tells of no proposal."""
        lane, author = self._victims(acting & (self._plan_bits > 0).any(1), clock, self._plan_bits > 0)
        if not len(lane):
            return None
        data, bits = self._plans[lane, author], self._plan_bits[lane, author]
        at = _BASE_BITS + np.where((data[:, 0] >> 4) & INTENT, _INTENT_BITS, 0)
        data = self._stamped(data, at, clock)
        place = keyed.hash_words(self.site.seeds[lane], self.number, clock, 3)
        data = write(data, at + _STATUS_BITS + T0_BITS, 2 * LATTICE_BITS, place)
        return self._sealed(lane, author, data, bits - 16, clock)

    def _noise(self, acting: NDArray[np.bool_], clock: int) -> Held | None:
        """Random intent and status of one agent in every lane."""
        lane, author = self._victims(acting, clock, np.ones((len(acting), self.site.agents), bool))
        if not len(lane):
            return None
        words = keyed.hash_words(self.site.seeds[lane][:, None], self.number, clock, 3, np.arange(2))
        data = np.ascontiguousarray(words).view(np.uint8)[:, : (_BASE_BITS + _INTENT_BITS + _STATUS_BITS) // 8].copy()
        zero = np.zeros(len(lane), np.int64)
        data = write(data, zero, _SECTIONS, np.full(len(lane), INTENT | STATUS))
        data = write(data, zero + _SECTIONS, _ID, author)
        data = self._stamped(data, zero + _BASE_BITS + _INTENT_BITS, clock)
        return self._sealed(lane, author, data, zero + _BASE_BITS + _INTENT_BITS + _STATUS_BITS, clock)

    def _victims(self, acting: NDArray[np.bool_], clock: int, known: NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """One of the agents marked in [L, A] per acting lane."""
        lane = np.flatnonzero(acting)
        count = known[lane].sum(1)
        pick = (self.draw(clock, 2, self.site.lanes)[lane] * count).astype(np.int64)
        author = (np.cumsum(known[lane], axis=1) == pick[:, None] + 1).argmax(1)
        return lane.astype(np.int32), author.astype(np.int32)

    def _stamped(self, data: Bytes, status: NDArray[np.integer], clock: int) -> Bytes:
        """Packets that say they were sent now; ``status``: bit where that section begins."""
        now = np.full(len(data), clock)
        data = write(data, np.full(len(data), _SECTIONS + _ID), _CLOCK_LOW, now)
        return write(data, status, 8, now >> 8)

    def _sealed(self, lane: Ints, author: Ints, data: Bytes, payload: NDArray[np.integer], clock: int) -> Held:
        """Packets with their checksums."""
        data, total = with_checksum(cut(data, payload), payload)
        return self.packets(lane, author, np.full(len(lane), clock), data, total, clock)


