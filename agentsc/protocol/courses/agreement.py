"""Getting onto the next course: wishes until all are known, digests until all agree, then everybody sets out.

A row is under way until it wants to go elsewhere, or hears that somebody does; then it gathers wishes, works out the
next course, has agreed to it, and is under way again (`agentsc.protocol.courses.phases`). Before the first course it
may leave for good, and negotiates plan by plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import (
    AGREE,
    BOXES,
    PACE,
    PROGRESS,
    RALLY,
    RENEW,
    RENEW_BOXES,
    RESUME,
    RESUME_BOXES,
)  # fmt: skip
from agentsc.protocol import Deliveries, Packets, SampleReply, Setup
from agentsc.protocol.courses.along import AlongBlock
from agentsc.protocol.courses.detours import Box
from agentsc.protocol.courses.lead import led_by
from agentsc.protocol.courses.phases import AGREED, FREE, GATHERING, LEAVING, LEFT, NUMBERS, UNDER_WAY
from agentsc.protocol.joint.order import Course, Progress
from agentsc.protocol.joint.proposals import Proposer
from agentsc.protocol.joint.settle import digest
from agentsc.protocol.situation import Flags, Floats, Ints
from agentsc.protocol.variants.negotiated import MAX_LEAD, merged, row_and_packet, some_of
from envs import keyed

if TYPE_CHECKING:
    from agentsc.protocol.variants.intent import Intent

NAMING = (RENEW_BOXES, RESUME_BOXES)
"""Wishes that name late boxes."""
KINDS = (AGREE, PROGRESS, RENEW, RENEW_BOXES, BOXES, RALLY, PACE, RESUME, RESUME_BOXES)


class AgreementBlock(AlongBlock):
    """Rows on courses, that may be about to agree on the next one."""

    def __init__(self, variant: Intent, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        world, rows = setup.world, len(self.rows)
        self.called = np.zeros(rows, np.int64)
        """Round in which each row told its wish for the next course first."""
        self.restless = np.zeros(rows, bool)
        """Wants to go elsewhere than its course leads."""
        self.owes = np.zeros(rows, bool)
        """Has left, and owes others word of that."""
        self.gone = np.zeros((rows, self.agents), bool)
        """Who has left, [row, peer]; everybody, once one that knows has said that a majority has."""
        self.gone[:] = (self.phase == FREE)[:, None]
        # Of the next course, [row, peer]: wishes, how far peers go until then (steps, tick, lag), what they make of it.
        self.wishes = np.full((rows, self.agents, 2), -1, np.int64)
        self.wishes[self.rows, self.id] = setup.spec.lattice(self.goal)
        self.cuts = np.zeros((rows, self.agents, 3), np.int64)
        self.digests = np.zeros((rows, self.agents), np.int64)
        self.patience = round(variant.patience_s / world.dt)
        self.renewal = round(variant.renew_s / world.dt)

    @property
    def negotiating(self) -> Flags:
        """Those who have left the first course, or never had one."""
        return super().negotiating & (self.phase == FREE)

    def retarget(self, goal: Floats, tick: int) -> None:
        """See `Block.retarget`: a new goal is a wish for the next course."""
        before = self.goal.copy()
        super().retarget(goal, tick)
        changed = (self.goal != before).any(1)
        self.restless |= changed & (self.phase != FREE)
        # Before anybody knows it, a wish may still change.
        early = changed & (self.number < 0) & (self.last_sent < 0)
        self.wishes[early, self.id[early]] = self.setup.spec.lattice(self.goal[early])

    def remap(self, rows: Ints, tick: int) -> None:
        """See `SituatedBlock.remap`: only those who negotiate look at their own maps."""
        super().remap(rows[(self.phase[rows] == FREE) & (self.boxes.key[rows] > 0)], tick)

    # -- one round: what came in, and what follows from it ---------------------------------------

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """As in `NegotiatedBlock`, and whatever brings the course on."""
        super().listen(inbox, clock)
        running = self.running
        if self.boxes and self.variant.tells_boxes:
            idle = running & (self.phase == UNDER_WAY) & ~self.restless & (clock % self.setup.rounds == 0)
            self.restless |= self._barred(np.flatnonzero(idle))
        calling = running & self.restless & (self.phase == UNDER_WAY)
        calling &= self.now - self.since >= self._least_stay()
        self._call(np.flatnonzero(calling))
        gathering = running & (self.phase == GATHERING)
        for row in np.flatnonzero(gathering & ((self.wishes >= 0).all(2) | ~self.member).all(1)):
            self._agree(int(row))
        self._leave(np.flatnonzero(running & (self.number < 0) & self._gives_up()))
        self._keep_together(running)
        same = (self.digests == self.digests[self.rows, self.id, None]) | ~self.member
        self._set_out(np.flatnonzero(running & (self.phase == AGREED) & same.all(1)))
        self._go_on(np.flatnonzero(running & (self.phase == UNDER_WAY)))

    def _least_stay(self) -> Ints:
        """Ticks [row] that rows stay on a course before they call for another one."""
        return np.full(len(self.rows), self.renewal)

    def _gives_up(self) -> Flags:
        """bool [row]: who would leave, if it is not on a course yet."""
        waiting = (self.phase == GATHERING) | (self.phase == AGREED)
        late = (self.phase == GATHERING) & (self.now - self.called // self.setup.rounds >= self.patience)
        gone = (self.gone.any(1) & waiting) | ((2 * self.gone.sum(1) > self.agents) & (self.phase != FREE))
        return np.asarray(gone | late)

    def _keep_together(self, running: Flags) -> None:
        """Where peers are silent: everybody waits for them, unless a subclass does something about it."""

    def _take_in(self, inbox: Deliveries, clock: int) -> None:
        received = self.receive(inbox, clock, MAX_LEAD, _of_use)
        message, width = received.message, len(self.ids)
        bare = message.sections[received.packet] == 0
        self._absorb(some_of(received, ~bare))
        boxes = bare & (message.kind[received.packet] == BOXES)
        self._hear_boxes(*row_and_packet(received, boxes, width), message)
        words = bare & ~boxes
        row, packet = row_and_packet(received, words, width)
        self._hear_words(row, received.sender[words], packet, message)

    def _hear_words(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        """Packets [n] about courses that rows [n] hear: everything but plans and boxes."""
        kind, told = message.kind[packet], message.digest[packet]
        left = (kind == AGREE) & (told >= LEAVING)
        self.gone[row[left], sender[left]] = True
        # Who has left says so to those who do not know it, or do not know yet that a majority has.
        free = self.phase[row] == FREE
        self.owes[row[free & (kind == AGREE) & (told != LEFT)]] = True
        row, sender, packet = self._of_own_course(row[~free], sender[~free], packet[~free], message)
        speaks_of = message.course[packet]
        # Somebody on a course knows that all have agreed to it; so does now who hears of it. Wishes for a course
        # are told by those who are on the one before.
        word = np.isin(message.kind[packet], (PROGRESS, PACE))
        on = np.where(word, speaks_of, speaks_of - 1)
        ahead = (on - self.number[row]) % NUMBERS == 1
        self._set_out(np.unique(row[ahead & (self.phase[row] == AGREED)]))
        current = (on - self.number[row]) % NUMBERS == 0
        row, sender, packet, word = row[current], sender[current], packet[current], word[current]
        naming = np.isin(message.kind[packet], NAMING)
        self._hear_names(row[naming], sender[naming], packet[naming], message)
        self._hear_wishes(row[~word], sender[~word], packet[~word], message)
        word = message.kind[packet] != AGREE
        self._hear_progress(row[word], sender[word], packet[word], message)

    def _of_own_course(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> tuple[Ints, Ints, Ints]:
        """Those packets from members that speak of courses with the same root as the receiver's."""
        own = (self.phase[row] < FREE) & self.member[row, sender] & (message.root[packet] == self.root[row])
        return row[own], sender[own], packet[own]

    def _hear_wishes(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        """Wishes do not change, and who has agreed or left does not take it back: packets may come in any order."""
        self.wishes[row, sender] = message.position[packet]
        self.cuts[row, sender] = np.stack([message.steps[packet], message.done[packet], message.lag[packet]], -1)
        np.maximum.at(self.digests, (row, sender), message.digest[packet])
        self._call(np.unique(row[self.phase[row] == UNDER_WAY]))

    def _hear_names(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        """Boxes in wishes: whoever hears of them stops before them, too."""
        self.detours.hear(row, sender, packet, message)
        self._hear_boxes(row, packet, message)

    # -- agreeing on a course --------------------------------------------------------------------

    def _call(self, rows: Ints) -> None:
        """Tell the wish for the next course; until all have agreed to that, go no farther than said."""
        for progress, here, place in self._on_courses(rows):
            row = rows[here]
            steps, done = progress.word(place)
            ready = np.maximum(done, self.now)
            self.wishes[row, self.id[row]] = self.setup.spec.lattice(self.goal[row])
            self.cuts[row, self.id[row]] = np.stack([steps, ready, ready - self.now], -1)
            if self.boxes and self.variant.tells_boxes:
                for each in row.tolist():
                    self.detours.name(each, int(self.id[each]), self._course_of(each))
            self.phase[row], self.restless[row], self.called[row] = GATHERING, False, self.clock

    def _agree(self, row: int) -> None:
        """All wishes are known: work out the course."""
        lane, root, number = self._course_of(row)
        number += 1
        course, boxes = self._course(row)
        if course is None:
            if number == 0:
                self._leave(np.array([row]))
            return
        self.phase[row] = AGREED
        named = self._named_by_all(row)
        self.digests[row, self.id[row]] = digest(course, np.array(sorted(named), np.int64).tobytes())
        self.pledge[row] = (root, number + 1), course
        self._track_progress(lane, root, number, course, named, boxes)
        self.counters.proposals[lane] += 1
        self.counters.grants_asked[lane] += int(self.member[row].sum()) - 1

    def _named_by_all(self, row: int) -> set[Box]:
        """Late boxes that have been named for the next course or before, as one row sees it."""
        return self.detours.named_by_all(row, self.agents, self._course_of(row))

    def _course(self, row: int) -> tuple[Course | None, tuple[Box, ...]]:
        """The next course, as one row sees it, and the late boxes that it goes around.

        There is none if none is found, and nobody has moved yet.
        """
        spec, number, maps = self.setup.spec, int(self.number[row]), self.detours.maps
        self._prepare()
        goals = spec.point(self.wishes[row])
        key = self.setup.seed, keyed.stream_id("course"), int(self._episode[row]), number + 1
        starts = self.setup.world.starts[self.lane[row]]
        if number < 0:
            return self.settler.course(starts, goals, key), ()
        before = self.progress[self._course_of(row)].course
        tick, starts, lead = led_by(before, self.cuts[row])
        # Where no way is found from here, one may be found from where everybody will rest.
        boxes = maps.around(self._named_by_all(row), starts)
        settler = maps.settler(boxes) if boxes else self.settler
        found = settler.course(starts, goals, key, tick, lead)
        return found or settler.halt(starts, tick, lead), boxes

    def _prepare(self) -> None:
        """Once the core is there: let courses keep to proposals, where they are wanted."""
        variant, world = self.variant, self.setup.world
        patterned = world.flow is not None or world.stops is not None
        wanted = variant.proposals > 0 and (patterned or variant.proposals_for == "every")
        if wanted and self.settler.proposer is None and self.sample is not None:
            self.settler.proposer = Proposer(
                self.setup, self.sample, variant.proposals, variant.against, variant.drawn
            )

    def _leave(self, rows: Ints) -> None:
        self.phase[rows] = FREE
        if self.boxes:
            self.remap(rows, self.now + 1)
        self.gone[rows, self.id[rows]] = self.owes[rows] = True

    def _set_out(self, rows: Ints) -> None:
        """All have agreed to the next course: it is the present one now."""
        self.number[rows] += 1
        self._begin(rows)

    def _begin(self, rows: Ints) -> None:
        """Rows are on another course; what they knew of the next one was about this."""
        self.phase[rows] = UNDER_WAY
        self.since[rows] = self.now
        wish = self.wishes[rows, self.id[rows]]
        led_elsewhere = (wish != self.setup.spec.lattice(self.goal[rows])).any(-1)
        for progress, here, place in self._on_courses(rows):
            led_elsewhere[here] |= self._falls_short(progress, rows[here], place)
            self.reported[rows[here]] = progress.steps[place]
        self.restless[rows] = led_elsewhere
        self.detours.set_out(rows)
        self.wishes[rows], self.cuts[rows], self.digests[rows] = -1, 0, 0
        self.under_way[rows] = ~self.member[rows]
        self.news[rows] = True
        np.add.at(self.counters.commits, self.lane[rows], 1)
        np.add.at(self.counters.commit_rounds, self.lane[rows], self.clock - self.called[rows])
        np.add.at(self.counters.grants_given, self.lane[rows], self.member[rows].sum(1) - 1)

    def _falls_short(self, progress: Progress, rows: Ints, place: Ints) -> Flags:
        """bool [n]: whom the course does not lead to where it wished to go."""
        end = progress.course.route[-1, self.ids[place]]
        return np.asarray((self.setup.spec.lattice(end) != self.wishes[rows, self.id[rows]]).any(-1))

    # -- what goes out ---------------------------------------------------------------------------

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Wishes until all have agreed, progress while somebody waits for it; else as in `NegotiatedBlock`."""
        running = self.running
        wish = (self.phase == GATHERING) | (self.phase == AGREED)
        wish = running & (wish | ((self.phase == FREE) & self.owes & (clock % self.setup.rounds > 0)))
        progress = running & (self.phase == UNDER_WAY) & self._worth_telling(clock)
        self.news[progress], self.owes[wish] = False, False
        said = super().speak(sampled, clock)
        rows = np.flatnonzero(wish | progress)
        self.last_sent[rows] = clock
        return merged(said, self._words(rows, wish, progress, clock)) if len(rows) else said

    def _words(self, rows: Ints, wish: Flags, progress: Flags, clock: int) -> Packets:
        """The packets of ``rows``, who tell a wish [row] or how far they are [row]."""
        named = [self.detours.named_by(int(row), int(self.id[row])) if wish[row] else set() for row in rows]
        message = Message.blank(len(rows), self.setup.spec, boxes=max(map(len, named)))
        message.id[:], message.clock[:] = self.id[rows], clock & 0xFF
        first, whole = self.number[rows] < 0, self.root[rows] == 0
        wishing = np.where(first, AGREE, np.where(whole, RENEW, RESUME))
        message.kind[:] = np.where(wish[rows], wishing, np.where(whole, PROGRESS, PACE))
        for n in np.flatnonzero([len(boxes) > 0 for boxes in named]).tolist():
            message.kind[n], message.box_count[n] = RENEW_BOXES if whole[n] else RESUME_BOXES, len(named[n])
            message.boxes[n, : len(named[n])] = sorted(named[n])
        message.course[:] = (self.number[rows] + wish[rows]) % NUMBERS
        message.root[:] = self.root[rows]
        mine = np.flatnonzero(wish[rows])
        row = rows[mine]
        message.position[mine] = np.maximum(self.wishes[row, self.id[row]], 0)
        left = np.where(self.negotiating[row], LEFT, LEAVING)
        message.digest[mine] = np.where(self.phase[row] == FREE, left, self.digests[row, self.id[row]])
        renewing = mine[self.number[row] >= 0]
        cut = self.cuts[rows[renewing], self.id[rows[renewing]]]
        message.steps[renewing], message.done[renewing], message.lag[renewing] = cut.T
        mine = np.flatnonzero(progress[rows])
        self._tell_progress(message, mine, rows[mine])
        data, bits = encode(message, self.setup.spec)
        return Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits)


def _of_use(message: Message) -> Flags:
    return (message.sections != 0) | np.isin(message.kind, KINDS)
