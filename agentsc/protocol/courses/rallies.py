"""Going on without those who are silent: when a rally is called, what its members say, and the course it comes to.

A row that is held up by a silent peer, or has lost its course, calls a rally, or joins one that it hears of: it stops,
says its word until all members have agreed to the course that their words come to, and is under way on that. What a
rally is, and why it is safe: `agentsc.protocol.rally`.

Of the other blocks' methods it replaces those in which rallies matter: who negotiates, how long a row stays on a
course, which packets are heard, how the next course is worked out, and what a restart leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import AGREE, PACE, RALLY, RESUME, RESUME_BOXES
from agentsc.protocol import Packets, SampleReply, Setup
from agentsc.protocol import rally as rallies
from agentsc.protocol.courses.detours import Box
from agentsc.protocol.courses.lead import led_by
from agentsc.protocol.courses.phases import AGREED, FREE, GATHERING, LEFT, LOST, RALLYING, UNDER_WAY, URGENT
from agentsc.protocol.courses.silence import FOR_EVER, SilenceBlock
from agentsc.protocol.joint import shadows
from agentsc.protocol.joint.order import Course
from agentsc.protocol.rally import CALLERS, NOTHING, Rally, Word
from agentsc.protocol.situation import Flags, Floats, Ints
from agentsc.protocol.variants.negotiated import merged
from envs import keyed

if TYPE_CHECKING:
    from agentsc.protocol.variants.intent import Intent

TRUST = 8
"""Rounds by which a rally's number may be ahead of what clocks allow: callers take numbers above all that they know."""
MOST_TRIES = 4
"""Waits between rallies of one caller double up to so many times."""


class RallyBlock(SilenceBlock):
    """Rows that may go on without some of their peers."""

    def __init__(self, variant: Intent, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        rows = len(self.rows)
        self.rally: dict[int, Rally] = {}
        """The newest that each row has joined; it matters while the row is rallying."""
        self.newest = np.zeros(rows, np.int64)
        """Number of the newest rally that each row has heard of."""
        self.without: dict[int, tuple[int, ...]] = {}
        """Whom that one leaves out, where it leaves out the row."""
        self.may_call = np.zeros(rows, np.int64)
        """Round before which each row calls no rally."""
        self.tries = np.zeros(rows, np.int64)
        self.astray = np.full(rows, -1, np.int64)
        """Round in which each row joined a rally without having had any course; -1 if it has one, or is in no rally."""
        self.others_on = np.zeros(rows, np.int64)
        """Number of the newest rally's course that each row that has left knows others to be on."""
        self.thwarted = np.zeros(rows, np.int64)
        """How often in a row each was led elsewhere around others' shadows, up to `MOST_TRIES`: it asks less often."""
        # Of processes: who has forgotten what it agreed to, who has not been started yet, and the last round by which
        # a rally may be numbered that each row's process has taken part in before a restart.
        self.forgetful = np.zeros(rows, bool)
        self.unborn = np.zeros(rows, bool)
        self.born = np.full(rows, -1, np.int64)
        self.surveyor = shadows.Surveyor(self.settler)
        self.skew = int(np.ceil(variant.clock_skew_s * setup.rounds / setup.world.dt))

    @property
    def negotiating(self) -> Flags:
        """Those who have left, and know that nobody will ever set out, or that nobody goes on without others."""
        there = super().negotiating
        if self.silence < FOR_EVER and there.any():
            there = there & (2 * self.gone.sum(1) > self.agents)
        return there

    def _gives_up(self) -> Flags:
        """See `AgreementBlock`; so does who has long been in rallies without getting anywhere, if it may."""
        late = (self.phase == RALLYING) & (self.astray >= 0)
        late &= self.now - self.astray // self.setup.rounds >= self.patience
        for row in np.flatnonzero(late).tolist():
            late[row] = self._may_leave(row)
        return super()._gives_up() | late

    def _may_leave(self, row: int) -> bool:
        """Whether a row in a rally has agreed to nothing that may come about: no rally's course, as far as it knows.

        The roster's course cannot come about once somebody has left.
        """
        root, number = self.pledge[row][0] if row in self.pledge else NOTHING
        return not self.forgetful[row] and root == 0 and (number <= 0 or bool(self.gone[row].any()))

    def _leave(self, rows: Ints) -> None:
        super()._leave(rows)
        self.astray[rows] = -1

    def _least_stay(self) -> Ints:
        return super()._least_stay() << self.thwarted

    def _begin(self, rows: Ints) -> None:
        for progress, here, place in self._on_courses(rows):
            short = self._falls_short(progress, rows[here], place)
            again = np.minimum(self.thwarted[rows[here]] + 1, MOST_TRIES)
            self.thwarted[rows[here]] = np.where(short & bool(progress.course.corners), again, 0)
        super()._begin(rows)

    # -- words, in and out -----------------------------------------------------------------------

    def _hear_words(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        """See `AgreementBlock`; words of rallies come first."""
        rallying = message.kind[packet] == RALLY
        for at in np.flatnonzero(rallying).tolist():
            self._hear_rally(int(row[at]), int(sender[at]), int(packet[at]), message)
        row, sender, packet = row[~rallying], sender[~rallying], packet[~rallying]
        # Who has left hears of it when others have set out all the same, and anybody that a majority has left.
        set_out = (self.phase[row] == FREE) & np.isin(message.kind[packet], (PACE, RESUME, RESUME_BOXES))
        for known in (self.newest, self.others_on):
            np.maximum.at(known, row[set_out], message.root[packet[set_out]])
        if self.silence < FOR_EVER:
            self.gone[row[(message.kind[packet] == AGREE) & (message.digest[packet] == LEFT)]] = True
        super()._hear_words(row, sender, packet, message)

    def _of_own_course(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> tuple[Ints, Ints, Ints]:
        """See `AgreementBlock`; packets that speak of courses with other roots tell who is behind."""
        root = message.root[packet].astype(np.int64)
        newer, older = root > self.root[row], root < self.root[row]
        if newer.any():
            np.maximum.at(self.newest, row[newer], root[newer])
            for each, number in zip(row[newer].tolist(), root[newer].tolist(), strict=True):
                rally = self.rally.get(each)
                if self.phase[each] == RALLYING and rally is not None and rally.root == number:
                    # The sender knows that all have agreed; who does not know to what has forgotten it.
                    if rally.course is None:
                        self.phase[each] = LOST
                    else:
                        self._set_out_anew(each)
        # Those who are behind are told so.
        self.news[row[older & (self.phase[row] == UNDER_WAY)]] = True
        return super()._of_own_course(row[~newer], sender[~newer], packet[~newer], message)

    def _hear_rally(self, row: int, sender: int, packet: int, message: Message) -> None:
        root, me = int(message.root[packet]), int(self.id[row])
        out, word, corners = rallies.read(message, packet)
        limit = self.clock + self.skew + TRUST
        sound = list(out) == sorted(set(out)) and all(agent < self.agents for agent in out) and sender not in out
        if not sound or {corner[0] for corner in corners} - set(out) or root // CALLERS > limit:
            return
        if self.phase[row] == FREE or self.silence == FOR_EVER:
            self.owes[row] = self.phase[row] == FREE
            return
        rally = self.rally.get(row)
        inside = self.phase[row] == RALLYING and rally is not None
        own = rally.root if inside and rally is not None else int(self.root[row])
        if root <= own and not inside:
            self.news[row] |= self.phase[row] == UNDER_WAY  # the sender is behind, or has not heard that all agree
            return
        if root > own:
            if root > self.newest[row]:
                self.newest[row] = root
                self.without.pop(row, None)
                if me in out:
                    self.without[row] = out
            if me in out or root // CALLERS <= self.born[row]:
                return  # it may have taken part in an earlier life, and agreed to something
            # Whom the present course leaves out, and who has been silent since, need not be waited for once more.
            away = ~self.member[row] & (self.clock - self.heard_at[row] >= self.silence)
            whole = tuple(sorted({*out, *np.flatnonzero(away).tolist()}))
            better = len(whole) > len(out) and self.enough(self.agents - len(whole))
            if better and self.clock >= self.may_call[row] and self.root[row] > 0:
                self.may_call[row] = self.clock + self.silence
                root, out = (max(self.clock, root // CALLERS + 1)) * CALLERS + me, whole
                self._join(row, root, out)
                return
            self._join(row, root, out)
            rally = self.rally[row]
        if rally is None or rally.root != root or out != rally.out:
            return
        rally.words[sender] = word
        if message.digest[packet]:
            rally.digests[sender] = int(message.digest[packet])
        if corners:
            rally.shadows[sender] = corners

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """See `AgreementBlock.speak`; members of rallies say their words, again and again."""
        undecided = (self.phase == FREE) & ~self.negotiating & (clock - self.last_sent >= URGENT)
        self.owes |= self.running & undecided
        said = super().speak(sampled, clock)
        rows = np.flatnonzero(self.running & (self.phase == RALLYING))
        if not len(rows):
            return said
        self.last_sent[rows] = clock
        words = [(self.rally[row], int(self.id[row])) for row in rows.tolist()]
        message = Message.blank(len(rows), self.setup.spec, **rallies.room(words))
        message.id[:], message.clock[:] = self.id[rows], clock & 0xFF
        for at, (rally, me) in enumerate(words):
            rallies.put(message, at, rally, me)
        data, bits = encode(message, self.setup.spec)
        return merged(said, Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits))

    # -- calling and joining ---------------------------------------------------------------------

    def _keep_together(self, running: Flags) -> None:
        """Bring rallies on, and call one where it is time for it."""
        if self.silence == FOR_EVER:
            return
        for row in np.flatnonzero(running & (self.phase == RALLYING)).tolist():
            self._advance(row)
        self._note_who_is_waited_for(running)
        lonely = self.quiet >= self.silence
        # Two silences after the first word for a course somebody must have lost what it had said.
        stuck = ((self.phase == GATHERING) | (self.phase == AGREED)) & (self.clock - self.called > 2 * self.silence)
        # Who has left comes back if others have set out all the same: then no majority has left, or ever will.
        own = self.root.copy()
        for row in np.flatnonzero(self.phase == RALLYING).tolist():
            own[row] = self.rally[row].root
        behind = (np.where(self.phase == FREE, self.others_on, self.newest) > own) & ~self.negotiating
        due = running & (self.clock >= self.may_call) & (lonely.any(1) | stuck | behind | (self.phase == LOST))
        for row in np.flatnonzero(due).tolist():
            out = set(np.flatnonzero(lonely[row]).tolist()) | set(self.without.get(row, ()))
            self._call_together(row, out)

    def _call_together(self, row: int, out: set[int]) -> None:
        """Call a rally without those who are ``out`` and still silent, if the others may be a majority."""
        recent = self.clock - self.heard_at[row] < self.silence
        out = {agent for agent in out if agent != self.id[row] and not recent[agent]}
        if out and not self.enough(self.agents - len(out)):
            return
        wait = self.silence << min(int(self.tries[row]), MOST_TRIES)
        self.may_call[row] = self.clock + wait
        self.tries[row] += 1
        root = max(self.clock, int(self.newest[row]) // CALLERS + 1) * CALLERS + int(self.id[row])
        self._join(row, root, tuple(sorted(out)))

    def enough(self, count: int) -> bool:
        """Whether so many agents, none of whom has forgotten anything, may go on without the others."""
        return 2 * count > self.agents

    def _join(self, row: int, root: int, out: tuple[int, ...]) -> None:
        """Stop, and take part in a rally; in no earlier one, and no earlier course, any more."""
        rally = Rally(root, out, self.agents, self.clock)
        rally.words[int(self.id[row])] = self._word(row, out)
        if self.number[row] < 0 and self.astray[row] < 0:
            self.astray[row] = self.clock
        self.rally[row] = rally
        self.newest[row] = max(int(self.newest[row]), root)
        self.phase[row], self.restless[row], self.called[row] = RALLYING, False, self.clock
        self.without.pop(row, None)

    def _word(self, row: int, out: tuple[int, ...]) -> Word:
        lane, place, me = int(self.lane[row]), row % len(self.ids), int(self.id[row])
        root, number = int(self.root[row]), int(self.number[row])
        rest, steps, done = self.setup.world.starts[lane, me], 0, self.now
        if number >= 0:
            progress = self.progress[lane, root, number]
            steps, done = int(progress.steps[place]), max(int(progress.done[place, progress.steps[place]]), self.now)
            rest = progress.course.route[steps, me]
        before, lows = ((root, number + 1) if number >= 0 else NOTHING), (0,) * len(out)
        if row in self.pledge:
            before, course = self.pledge[row]
            if before != (root, number + 1):
                steps = int(course.covered[me])
            # What others still do of the course before that is over, too, before anybody sets out anew.
            done = max(done, course.tick + int(course.covered.max()))
            known = self.progress.get((lane, before[0], before[1] - 1))
            made = course.covered if known is None else known.made(place, done)
            lows = tuple(int(made[agent]) for agent in out)
        spec = self.setup.spec
        wish, spot = (tuple(spec.lattice(point).tolist()) for point in (self.goal[row], rest))
        return Word(wish, spot, done, before, steps, bool(self.forgetful[row]), lows)

    # -- what a rally comes to ---------------------------------------------------------------------

    def _advance(self, row: int) -> None:
        """Work out what a rally comes to as soon as all words are there; set out when all agree; or call another."""
        rally, me = self.rally[row], int(self.id[row])
        ready = not rally.missing and (not rally.out or self.enough(rally.remembering))
        if rally.course is None and ready:
            if rally.out and rally.teller == me and me not in rally.shadows:
                rally.shadows[me] = self._whereabouts(row, rally)
            course = None if rally.corners() is None else self._rallied(row, rally)
            if course is not None:
                rally.course, rally.digests[me] = course, rally.digest(course)
                self.pledge[row] = (rally.root, 1), course
                self.forgetful[row] = False
                self.counters.proposals[self.lane[row]] += 1
                self.counters.grants_asked[self.lane[row]] += len(rally.members) - 1
        if rally.settled:
            self._set_out_anew(row)
            return
        wait = self.silence // 2
        # Not all at once: who comes first in the roster calls first.
        mine = self.clock - rally.since - 2 * rally.members.index(me)
        if mine >= wait and rally.missing:
            self.may_call[row] = min(self.may_call[row], self.clock)
            silent = set(rally.missing) | {agent for agent in rally.out if self.heard_at[row, agent] < rally.since}
            if self.newest[row] == rally.root:  # nothing but this rally could keep them
                self.heard_at[row, rally.missing] = self.clock - self.silence
            self._call_together(row, silent)
        elif mine >= 4 * wait and self.clock >= self.may_call[row]:
            self._call_together(row, set(rally.out))

    def _set_out_anew(self, row: int) -> None:
        """All members of a rally have agreed."""
        rally = self.rally.pop(row)
        assert rally.course is not None and rally.course.members is not None
        course, wish = rally.course, np.array(rally.words[int(self.id[row])].wish)
        self.root[row], self.number[row] = rally.root, 0
        self.member[row] = rally.course.members
        self._track_progress(int(self.lane[row]), rally.root, 0, course)
        self.without.pop(row, None)
        self.wishes[row, self.id[row]] = wish
        self.tries[row], self.astray[row] = 0, -1
        self.may_call[row] = self.clock + self.silence
        self._begin(np.array([row]))

    def _whereabouts(self, row: int, rally: Rally) -> shadows.Corners:
        known = self.pledge.get(row)
        starts = self.setup.world.starts[self.lane[row]]
        tolerance = max(self.variant.margin / 16, 1e-3) * self.setup.world.radius
        return rallies.whereabouts(rally, known[1] if known else None, starts, self.setup.spec, tolerance)

    def _rallied(self, row: int, rally: Rally) -> Course | None:
        """The course that a rally comes to; None if its members rest too close to each other for any."""
        spec, corners = self.setup.spec, rally.corners() or ()
        members = np.array(rally.members)
        words = [rally.words[agent] for agent in rally.members]
        goals, starts = (spec.point(np.array(part)) for part in ([w.wish for w in words], [w.rest for w in words]))
        key = self.setup.seed, keyed.stream_id("rally"), int(self._episode[row]), rally.root
        gap = np.linalg.norm(starts[:, None] - starts, axis=-1)[np.triu_indices(len(starts), 1)]
        distance = min(self.settler.distance, float(gap.min(initial=np.inf)) - 1e-6)
        tick = rally.done + self.slack
        found = self.surveyor.course(starts, goals, key, tick, None, distance, self._spots(corners))
        return None if found is None else found.widened(members, self.agents, corners)

    def _course(self, row: int) -> tuple[Course | None, tuple[Box, ...]]:
        """See `AgreementBlock`; those whose course goes back to a rally agree on the next one among its members."""
        return super()._course(row) if self.root[row] == 0 else self._renewed(row)

    def _renewed(self, row: int) -> tuple[Course | None, tuple[Box, ...]]:
        """As `_course`, for those who take part in the present one, which goes back to a rally."""
        spec, root, number = self.setup.spec, int(self.root[row]), int(self.number[row])
        before = self.progress[self._course_of(row)].course
        members = np.flatnonzero(self.member[row])
        inner = before.of_some(members)
        tick, starts, lead = led_by(inner, self.cuts[row, members])
        goals = spec.point(self.wishes[row, members])
        key = self.setup.seed, keyed.stream_id("rally"), int(self._episode[row]), root, number + 1
        points = self._spots(before.corners)
        maps = self.detours.maps
        boxes = maps.around(self._named_by_all(row), starts)
        surveyor = shadows.Surveyor(maps.settler(boxes)) if boxes else self.surveyor
        found = surveyor.course(starts, goals, key, tick, lead, before.distance, points)
        return None if found is None else found.widened(members, self.agents, before.corners), boxes

    def _spots(self, corners: shadows.Corners) -> dict[int, Floats]:
        """Shadows as points [k, 2], metres."""
        spec = self.setup.spec
        who = {agent for agent, _, _ in corners}
        return {each: spec.point(np.array([corner[1:] for corner in corners if corner[0] == each])) for each in who}

    # -- processes that come and go --------------------------------------------------------------

    def late(self, agents: Flags) -> None:
        """See `StandingBlock.late`."""
        super().late(agents)
        self.unborn |= agents[self.lane, self.id]

    def restart(self, rows: Ints) -> None:
        """See `StandingBlock.restart`: the process knows which course its vehicle follows, and how far; no more of it.

        It calls a rally. Whether it has left for good outlives it.
        """
        super().restart(rows)
        self._wake(rows)
        known = rows[(self.phase[rows] != FREE) & ~self.unborn[rows]]
        self.unborn[rows] = False
        self.phase[known], self.forgetful[known] = LOST, True
        self.wishes[known], self.cuts[known], self.digests[known], self.under_way[known] = -1, 0, 0, False
        self.newest[known] = self.root[known]
        self.restless[known] = self.owes[known] = False
        for row in known.tolist():
            self.rally.pop(row, None)
            self.pledge.pop(row, None)
            self.without.pop(row, None)

    def muster(self, alive: Flags, tick: int) -> None:
        """See `Block.muster`."""
        new = alive & ~self.alive
        super().muster(alive, tick)
        if self.silence < FOR_EVER:
            self._wake(np.flatnonzero(new.ravel()))

    def _wake(self, rows: Ints) -> None:
        """From now on these listen: nobody has been silent for them before."""
        self.heard_at[rows], self.called[rows] = self.clock, self.clock
        self.tries[rows], self.astray[rows] = 0, -1
        # Rallies that a process takes part in must be later than all of its earlier life.
        self.born[rows] = self.clock + self.skew + TRUST + 1
        self.may_call[rows] = self.born[rows] + 1
