"""Agree on an order once, then say how far you are: the fewest bits per agreement.

Everybody tells its wish until all know all wishes. From those everybody works out the same course (routes, and who
passes where before whom; `agentsc.protocol.joint`), and says so by its digest. Who knows that all say the same sets
out, and from then on commits to steps as the course's order allows, and tells how far it has committed: no plans cross
the air, and no grants.

Whoever wants to go elsewhere calls for the next course: it tells its new wish, and how far along the present course it
will still go; whoever hears that does the same. Then all is as before, but that the new course begins with what
everybody had promised to still do. Courses are numbered; a packet that speaks of one says that all have agreed to the
one before.

Whoever is held up by a peer that has been silent for ``silence_s``, or has lost its course, calls a rally: the others
stop, and agree on a course without those that are silent, if they are a majority (`agentsc.protocol.rally`).

Whoever has not yet agreed to the first course may leave instead: when none is found, or wishes are missing for too
long. Once a majority has left, none can ever be agreed on, and everybody negotiates plan by plan
(`agentsc.protocol.variants.negotiated`).

Safe under any loss: until it sets out an agent rests where the roster says, or goes no farther than it has said. It
sets out knowing that all others have agreed. Who has agreed leaves only upon hearing of somebody who has left without
agreeing; so if anybody sets out, nobody has left or ever will. From then on the course's own argument holds
(`agentsc.protocol.joint.order`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import (
    AGREE,
    BOXES,
    MAX_BOXES,
    PACE,
    PROGRESS,
    RALLY,
    RENEW,
    RENEW_BOXES,
    RESUME,
    RESUME_BOXES,
    confidence_code,
)  # fmt: skip
from agentsc.protocol import PROTOCOLS, Beliefs, Deliveries, Packets, SampleReply, SampleRequest, Setup
from agentsc.protocol import rally as rallies
from agentsc.protocol.joint import lags, shadows
from agentsc.protocol.joint.late import LateMaps
from agentsc.protocol.joint.order import Course, Progress
from agentsc.protocol.joint.proposals import How, Proposer
from agentsc.protocol.joint.search import Lead
from agentsc.protocol.joint.settle import DIGEST_BYTES, Settler, digest
from agentsc.protocol.rally import CALLERS, NOTHING, Rally, Word
from agentsc.protocol.reception import Received
from agentsc.protocol.situation import Flags, Floats, Ints
from agentsc.protocol.variants.negotiated import MAX_LEAD, Negotiated, NegotiatedBlock, merged
from envs import keyed

Box = tuple[int, ...]
"""Codes of a late box, see `agentsc.protocol.boxes`."""
UNDER_WAY, GATHERING, AGREED, FREE, RALLYING, LOST = range(6)
LEFT = (1 << 8 * DIGEST_BYTES) - 1
"""Stands for a digest in packets of those who have left."""
LEAVING = LEFT - 1
"""The same, of those who do not know yet that a majority has."""
URGENT, PATIENT = 3, 8
"""Rounds between repeats of a progress, if a peer is at a step that waits for it, and if one will be later."""
REMINDED = 2 * PATIENT
"""Rounds after which one that has said so already says it again."""
NUMBERS = 1 << 16
"""Courses are numbered in sixteen bits, as rounds are: none is agreed on in less than a round."""
MOST_LAG = (1 << 8) - 1
BELIEF_TICKS = 16
"""Ticks between beliefs of one row. Nothing is decided by them: they are for those who watch or measure."""
NAMING = (RENEW_BOXES, RESUME_BOXES)
"""Wishes that name late boxes."""
FOR_EVER = 1 << 40
"""Rounds."""
TRUST = 8
"""Rounds by which a rally's number may be ahead of what clocks allow: callers take numbers above all that they know."""
PINGS = 2
"""Rounds between words of one that is held up by a silent peer."""
MOST_TRIES = 4
"""Waits between rallies of one caller double up to so many times."""


@PROTOCOLS.register("intent")
class Intent(Negotiated):
    """Wishes instead of plans: all work out the same course from them, and tell how far they are along it."""

    attempts: int = Field(100, ge=1, description="orders of agents tried until everybody has a route")
    repairs: int = Field(40, ge=0, description="neighbourhoods searched to improve the routes after that")
    patience_s: float = Field(8.0, gt=0.0, description="who has not heard all wishes by then negotiates plan by plan")
    ahead_ticks: int = Field(32, ge=1, le=MOST_LAG - 1, description="ticks ahead to which an agent commits")
    renew_s: float = Field(1.0, ge=0.0, description="least time on a course before somebody calls for another one")
    silence_s: float | None = Field(
        4.0, gt=0.0, description="who is held up by a peer silent for so long goes on without it; null: waits for ever"
    )

    proposals: int = Field(4, ge=0, description="ways per agent that are drawn from the prior for a course; 0 is none")
    proposals_for: Literal["patterned", "every"] = Field(
        "patterned", description="maps on which courses keep to proposals: those with a motion pattern, or every one"
    )
    tube: float = Field(3.0, gt=0.0, description="how far a course may be from a proposal, in radii")
    against: float = Field(
        30.0, ge=1.0, description="proposals: a way straight against the pattern counts as so many times its length"
    )
    drawn: How = Field(
        "joint", description="proposals: by the prior, guided to keep clear of one another; each alone; or just routes"
    )

    @property
    def restarts(self) -> bool:
        """A restarted process comes back by a rally, if those are allowed."""
        return self.silence_s is not None

    def block(self, setup: Setup, ids: Sequence[int]) -> IntentBlock:
        return IntentBlock(self, setup, ids)


class IntentBlock(NegotiatedBlock):
    """Every row is on a course, or on none yet (number −1), and may be about to agree on the next one."""

    variant: Intent

    def __init__(self, variant: Intent, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        world, rows = setup.world, len(self.rows)
        # Clocks that differ are waited for along a course: only plans have to keep farther apart for that.
        distance = world.separation + variant.margin * world.radius
        self.maps = LateMaps(
            world, setup.spec, lambda each: Settler(each, distance, variant.attempts, variant.repairs)
        )
        # Around late boxes courses are searched for without proposals: those know the map as it was.
        self.settler = self.maps.settler(())
        self.settler.tube_m = variant.tube * world.radius
        # Late boxes, by (lane, root, number) of a course: named for it or before, and those that it goes around; and of
        # the next one, by (row, peer).
        self.agreed: dict[tuple[int, int, int], set[Box]] = {}
        self.mapped: dict[tuple[int, int, int], set[Box]] = {}
        self.named: dict[tuple[int, int], set[Box]] = {}
        self.slack = int(np.ceil(variant.clock_skew_s / world.dt))
        # Routes have corners: a limit on acceleration leaves only plans of the prior.
        self.phase = np.full(rows, FREE if np.isfinite(world.a_max) else GATHERING)
        self.number = np.full(rows, -1)
        self.since = np.zeros(rows, np.int64)
        self.called = np.zeros(rows, np.int64)
        """Round in which each row told its wish for the next course first."""
        self.restless = np.zeros(rows, bool)
        """Wants to go elsewhere than its course leads."""
        # Of the next course, [row, peer]: wishes, how far peers go until then (steps, tick, lag), what they make of it.
        self.wishes = np.full((rows, self.agents, 2), -1, np.int64)
        self.wishes[self.rows, self.id] = setup.spec.lattice(self.goal)
        self.cuts = np.zeros((rows, self.agents, 3), np.int64)
        self.digests = np.zeros((rows, self.agents), np.int64)
        self.under_way = np.zeros((rows, self.agents), bool)
        self.progress: dict[tuple[int, int, int], Progress] = {}
        """Lane, root, number → how far rows are."""
        self.reported = np.zeros(rows, np.int64)
        self.owes = np.zeros(rows, bool)
        # Of rallies: whose course goes back to which, who takes part in it, and what each row is about to agree on.
        self.root = np.zeros(rows, np.int64)
        self.member = np.ones((rows, self.agents), bool)
        self.rally: dict[int, Rally] = {}
        self.pledge: dict[int, tuple[tuple[int, int], Course]] = {}
        """The newest course that each row has agreed to, and its root and number + 1."""
        self.forgetful = np.zeros(rows, bool)
        self.unborn = np.zeros(rows, bool)
        self.born = np.full(rows, -1, np.int64)
        """Last round by which a rally may be numbered that each row's process has taken part in before a restart."""
        self.newest = np.zeros(rows, np.int64)
        """Number of the newest rally that each row has heard of."""
        self.without: dict[int, tuple[int, ...]] = {}
        """Whom that one leaves out, where it leaves out the row."""
        self.heard_at = np.zeros((rows, self.agents), np.int64)
        self.quiet = np.zeros((rows, self.agents), np.int64)
        """Rounds for which each row has waited for a peer without hearing anything of it; 0 if it does not wait."""
        self.may_call = np.zeros(rows, np.int64)
        self.tries = np.zeros(rows, np.int64)
        self.asked_again = np.zeros(rows, bool)
        self.thwarted = np.zeros(rows, np.int64)
        """How often in a row each was led elsewhere around others' shadows, up to `MOST_TRIES`: it asks less often."""
        self.gone = np.zeros((rows, self.agents), bool)
        """Who has left."""
        self.gone[:] = (self.phase == FREE)[:, None]
        self.surveyor = shadows.Surveyor(self.settler)
        rounds = setup.rounds / world.dt
        self.silence = FOR_EVER if variant.silence_s is None else max(round(variant.silence_s * rounds), 4)
        self.skew = int(np.ceil(variant.clock_skew_s * rounds))
        # Where each row is at each tick, as far as committed; it rests after that.
        self.track = np.repeat(self.own.path[:, 1, :1], world.max_ticks + 2, axis=1)
        self.lags = lags.Lags.load()
        self.patience = round(variant.patience_s / world.dt)
        self.renewal = round(variant.renew_s / world.dt)

    @property
    def negotiating(self) -> Flags:
        """Those who have left the first course, or never had one, and know that nobody will ever set out."""
        free = self.phase == FREE
        if self.silence < FOR_EVER and free.any():
            free &= 2 * self.gone.sum(1) > self.agents
        return super().negotiating & free

    @property
    def running(self) -> Flags:
        """bool [row]: taking part, and the process is not dead."""
        return self.taking_part & self.processes.running

    def retarget(self, goal: Floats, tick: int) -> None:
        """See `Block.retarget`: a new goal is a wish for the next course."""
        before = self.goal.copy()
        super().retarget(goal, tick)
        changed = (self.goal != before).any(1)
        self.restless |= changed & (self.phase != FREE)
        # Before anybody knows it, a wish may still change.
        early = changed & (self.number < 0) & (self.last_sent < 0)
        self.wishes[early, self.id[early]] = self.setup.spec.lattice(self.goal[early])

    def _on_courses(self, rows: Ints) -> list[tuple[Progress, Ints, Ints]]:
        """The courses that rows are on: each one's progress, indices into ``rows``, and their places in the block."""
        found = []
        pair = (self.lane[rows] << 40) + (self.root[rows] << 16) + self.number[rows]
        for one in np.unique(pair[self.number[rows] >= 0]).tolist():
            here = np.flatnonzero(pair == one)
            place = rows[here] % len(self.ids)
            found.append((self.progress[one >> 40, (one >> 16) & LEFT, one & (NUMBERS - 1)], here, place))
        return found

    # -- exchange: what came in ------------------------------------------------------------------

    def _take_in(self, inbox: Deliveries, clock: int) -> None:
        received = self.receive(inbox, clock, MAX_LEAD, _of_use)
        message, packet, lane, place, sender, sent = received
        bare = message.sections[packet] == 0
        rest = ~bare
        self._absorb(Received(message, packet[rest], lane[rest], place[rest], sender[rest], sent[rest]))
        told = bare & (message.kind[packet] == BOXES)
        self._hear_boxes((lane * len(self.ids) + place)[told], packet[told], message)
        bare &= ~told
        packet, row, sender = packet[bare], (lane * len(self.ids) + place)[bare], sender[bare]
        self.heard_at[lane * len(self.ids) + place, received.sender] = clock
        left = (message.kind[packet] == AGREE) & (message.digest[packet] >= LEAVING)
        self.gone[row[left], sender[left]] = True
        rallying = message.kind[packet] == RALLY
        for at in np.flatnonzero(rallying).tolist():
            self._hear_rally(int(row[at]), int(sender[at]), int(packet[at]), message)
        fine = ~rallying & (self.phase[row] != FREE)
        # Who has left says so to those who do not know it, or do not know yet that a majority has; and hears of it
        # when others have set out all the same.
        free, kind = self.phase[row] == FREE, message.kind[packet]
        self.owes[row[free & (kind == AGREE) & (message.digest[packet] != LEFT)]] = True
        set_out = free & np.isin(kind, (PACE, RESUME, RESUME_BOXES))
        np.maximum.at(self.newest, row[set_out], message.root[packet[set_out]])
        row, sender, packet = row[fine], sender[fine], packet[fine]
        row, sender, packet = self._of_own_rally(row, sender, packet, message)
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

    def _of_own_rally(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> tuple[Ints, Ints, Ints]:
        """Those packets that speak of courses that go back to the same rally as the receiver's own one."""
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
        own = ~newer & ~older & (self.phase[row] < FREE) & self.member[row, sender]
        own &= root == self.root[row]
        return row[own], sender[own], packet[own]

    def _hear_wishes(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        """Wishes do not change, and who has agreed or left does not take it back: packets may come in any order."""
        self.wishes[row, sender] = message.position[packet]
        self.cuts[row, sender] = np.stack([message.steps[packet], message.done[packet], message.lag[packet]], -1)
        np.maximum.at(self.digests, (row, sender), message.digest[packet])
        self._call(np.unique(row[self.phase[row] == UNDER_WAY]))

    def _hear_names(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        """Boxes in wishes: whoever hears of them stops before them, too."""
        for each, peer, at in zip(row.tolist(), sender.tolist(), packet.tolist(), strict=True):
            codes = message.boxes[at, : message.box_count[at]].astype(np.int64)
            self.named[each, peer] = set(map(tuple, codes.tolist()))
        self._hear_boxes(row, packet, message)

    def _hear_progress(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        self.under_way[row, sender] = True
        steps, done = message.steps[packet].astype(np.int64), message.done[packet].astype(np.int64)
        for progress, here, place in self._on_courses(row):
            # Who is held up, and hears nothing, says the same again: it is told that there is nothing new.
            same = steps[here] <= progress.known[place, sender[here]]
            at = np.minimum(steps[here], progress.course.steps - 1)
            waits = progress.course.need[sender[here], self.ids[place], at] > progress.steps[place]
            quiet = 4 * (self.clock - self.last_sent[row[here]]) >= self.silence
            self.asked_again[row[here][same & waits & quiet]] = True
            progress.hear(place, sender[here], steps[here], done[here])
            # Who repeats what is known does not know how far its hearers have come: they say so, or it never ends.
            told = row[here[same]]
            further = self.reported[told] < progress.steps[place[same]]
            self.news[told[further | (self.clock - self.last_sent[told] >= REMINDED)]] = True

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """As in `NegotiatedBlock`, and whatever brings the course on."""
        super().listen(inbox, clock)
        running = self.running
        if self.boxes and self.variant.tells_boxes:
            idle = running & (self.phase == UNDER_WAY) & ~self.restless & (clock % self.setup.rounds == 0)
            self.restless |= self._barred(np.flatnonzero(idle))
        calling = running & self.restless & (self.phase == UNDER_WAY)
        calling &= self.now - self.since >= self.renewal << self.thwarted
        self._call(np.flatnonzero(calling))
        gathering = running & (self.phase == GATHERING)
        for row in np.flatnonzero(gathering & ((self.wishes >= 0).all(2) | ~self.member).all(1)):
            self._agree(int(row))
        first = running & (self.number < 0)
        waiting = (self.phase == GATHERING) | (self.phase == AGREED)
        late = (self.phase == GATHERING) & (self.now - self.called // self.setup.rounds >= self.patience)
        gone = (self.gone.any(1) & waiting) | ((2 * self.gone.sum(1) > self.agents) & (self.phase != FREE))
        self._leave(np.flatnonzero(first & (gone | late)))
        if self.silence < FOR_EVER:
            self._keep_together(running)
        same = (self.digests == self.digests[self.rows, self.id, None]) | ~self.member
        self._set_out(np.flatnonzero(running & (self.phase == AGREED) & same.all(1)))
        self._go_on(np.flatnonzero(running & (self.phase == UNDER_WAY)))

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
                    new = sorted(set(self.boxes.of(each)) - self.agreed.get(self._course_of(each), set()))
                    self.named[each, int(self.id[each])] = set(new[:MAX_BOXES])
            self.phase[row], self.restless[row], self.called[row] = GATHERING, False, self.clock

    def _agree(self, row: int) -> None:
        """All wishes are known: work out the course."""
        lane, root, number = int(self.lane[row]), int(self.root[row]), int(self.number[row]) + 1
        course, boxes = self._course(row) if root == 0 else self._renewed(row)
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

    def _course_of(self, row: int) -> tuple[int, int, int]:
        """Lane, root and number of the course that a row is on."""
        return int(self.lane[row]), int(self.root[row]), int(self.number[row])

    def remap(self, rows: Ints, tick: int) -> None:
        """See `SituatedBlock.remap`: only those who negotiate look at their own maps."""
        super().remap(rows[(self.phase[rows] == FREE) & (self.boxes.key[rows] > 0)], tick)

    def _named_by_all(self, row: int) -> set[Box]:
        """Late boxes that have been named for the next course or before, as one row sees it."""
        named = (self.named.get((row, peer), set()) for peer in range(self.agents))
        return self.agreed.get(self._course_of(row), set()).union(*named)

    def _course(self, row: int) -> tuple[Course | None, tuple[Box, ...]]:
        """The next course, as one row sees it, and the late boxes that it goes around.

        There is none if none is found, and nobody has moved yet.
        """
        spec, number = self.setup.spec, int(self.number[row])
        self._prepare()
        goals = spec.point(self.wishes[row])
        key = self.setup.seed, keyed.stream_id("course"), int(self._episode[row]), number + 1
        starts = self.setup.world.starts[self.lane[row]]
        if number < 0:
            return self.settler.course(starts, goals, key), ()
        before = self.progress[int(self.lane[row]), 0, number].course
        tick, starts, lead = led_by(before, self.cuts[row])
        # Where no way is found from here, one may be found from where everybody will rest.
        boxes = self.maps.around(self._named_by_all(row), starts)
        settler = self.maps.settler(boxes) if boxes else self.settler
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

    def _track_progress(
        self, lane: int, root: int, number: int, course: Course, named: set[Box] | None = None,
        boxes: tuple[Box, ...] = (),
    ) -> None:  # fmt: skip
        """Keep how far rows are on a course, and forget courses that nobody is on or has agreed to."""
        if (lane, root, number) in self.progress:
            return
        rows = range(lane * len(self.ids), (lane + 1) * len(self.ids))
        used = {(int(self.root[row]), int(self.number[row])) for row in rows}
        used |= {(before[0], before[1] - 1) for row in rows for before, _ in (self.pledge.get(row, (NOTHING, course)),)}
        for key in [key for key in self.progress if key[0] == lane and key[1:] not in used]:
            del self.progress[key], self.agreed[key], self.mapped[key]
        self.progress[lane, root, number] = Progress(course, self.ids, self.slack)
        self.agreed[lane, root, number], self.mapped[lane, root, number] = named or set(), set(boxes)

    def _set_out(self, rows: Ints) -> None:
        """All have agreed to the next course: it is the present one now."""
        self.number[rows] += 1
        self._begin(rows)

    def _begin(self, rows: Ints) -> None:
        self.phase[rows] = UNDER_WAY
        self.since[rows] = self.now
        spec = self.setup.spec
        led_elsewhere = (self.wishes[rows, self.id[rows]] != spec.lattice(self.goal[rows])).any(-1)
        for progress, here, place in self._on_courses(rows):
            end = progress.course.route[-1, self.ids[place]]
            short = (spec.lattice(end) != self.wishes[rows[here], self.id[rows[here]]]).any(-1)
            led_elsewhere[here] |= short
            again = np.minimum(self.thwarted[rows[here]] + 1, MOST_TRIES)
            self.thwarted[rows[here]] = np.where(short & bool(progress.course.corners), again, 0)
            self.reported[rows[here]] = progress.steps[place]
        self.restless[rows] = led_elsewhere
        for row, peer in [which for which in self.named if which[0] in set(rows.tolist())]:
            del self.named[row, peer]
        self.wishes[rows], self.cuts[rows], self.digests[rows] = -1, 0, 0
        self.under_way[rows] = ~self.member[rows]
        self.news[rows] = True
        np.add.at(self.counters.commits, self.lane[rows], 1)
        np.add.at(self.counters.commit_rounds, self.lane[rows], self.clock - self.called[rows])
        np.add.at(self.counters.grants_given, self.lane[rows], self.member[rows].sum(1) - 1)

    def _go_on(self, rows: Ints) -> None:
        """Commit to steps, and keep in mind where that leads."""
        for progress, here, place in self._on_courses(rows):
            may = np.zeros(len(self.ids), bool)
            may[place] = True
            before = progress.steps.copy()
            most = self._free_steps(progress, rows[here], place) if self.boxes else None
            moved = progress.extend(self.now, may, self.variant.ahead_ticks, most)
            for k in np.flatnonzero(moved).tolist():
                row = int(rows[here[0]]) // len(self.ids) * len(self.ids) + k
                self._lay(row, progress, k, int(before[k]))

    def _free_steps(self, progress: Progress, row: Ints, place: Ints) -> Ints:
        """Steps of each place of the block [row] that lead through no late box that rows know of: int64."""
        most = np.full(len(self.ids), progress.course.steps)
        for each, at in zip(row.tolist(), place.tolist(), strict=True):
            new = self._not_mapped(each)
            if new:
                done = int(progress.steps[at])
                through = self.maps.through(progress.course, new)[done:, self.id[each]]
                most[at] = done + (int(through.argmax()) if through.any() else len(through))
        return most

    def _not_mapped(self, row: int) -> list[Box]:
        """Late boxes that a row knows of, and that its course does not go around."""
        around = self.mapped.get(self._course_of(row), set())
        return [box for box in self.boxes.of(row) if box not in around]

    def _barred(self, rows: Ints) -> Flags:
        """bool [row]: who of ``rows`` knows of a box on a way that somebody still has to go, as far as it knows."""
        barred = np.zeros(len(self.rows), bool)
        for progress, here, place in self._on_courses(rows):
            for row, at in zip(rows[here].tolist(), place.tolist(), strict=True):
                new = self._not_mapped(row)
                if new:
                    known = progress.known[at].astype(np.int64)
                    known[self.id[row]] = progress.steps[at]
                    through = self.maps.through(progress.course, new)
                    barred[row] = (through & (np.arange(len(through))[:, None] >= known)).any()
        return barred

    def _lay(self, row: int, progress: Progress, place: int, first: int) -> None:
        """Write steps from ``first`` on into the track; before each of them the row rests."""
        last = int(progress.steps[place])
        done = progress.done[place, first + 1 : last + 1]  # what comes after the end of all times is left out
        spots = progress.course.route[first + 1 : last + 1, self.ids[place]]
        until = np.append(done[1:], self.track.shape[1])
        for at, end, spot in zip(done, until, spots, strict=True):
            self.track[row, at:end] = spot

    # -- going on without those who are silent -----------------------------------------------------

    def _keep_together(self, running: Flags) -> None:
        """Bring rallies on, and call one where it is time for it."""
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
        behind = (self.newest > own) & ~self.negotiating
        due = running & (self.clock >= self.may_call) & (lonely.any(1) | stuck | behind | (self.phase == LOST))
        for row in np.flatnonzero(due).tolist():
            out = set(np.flatnonzero(lonely[row]).tolist()) | set(self.without.get(row, ()))
            self._call_together(row, out)

    def _note_who_is_waited_for(self, running: Flags) -> None:
        """Count rounds in which a peer that is waited for says nothing; before, it may have had nothing to say."""
        waits = np.zeros_like(self.member)
        rows = np.flatnonzero(running & (self.phase == UNDER_WAY))
        for progress, here, place in self._on_courses(rows):
            waits[rows[here]] = progress.waits_for(place)
        gathering, agreed = running & (self.phase == GATHERING), running & (self.phase == AGREED)
        waits[gathering] = (self.wishes[gathering] < 0).any(2)
        waits[agreed] = self.digests[agreed] != self.digests[agreed, self.id[agreed], None]
        waits &= self.member & (self.heard_at < self.clock)
        waits[self.rows, self.id] = False
        self.quiet = np.where(waits, self.quiet + 1, 0)

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

    def _renewed(self, row: int) -> tuple[Course | None, tuple[Box, ...]]:
        """As `_course`, for those who take part in the present one, which goes back to a rally."""
        spec, root, number = self.setup.spec, int(self.root[row]), int(self.number[row])
        before = self.progress[int(self.lane[row]), root, number].course
        members = np.flatnonzero(self.member[row])
        inner = before.of_some(members)
        tick, starts, lead = led_by(inner, self.cuts[row, members])
        goals = spec.point(self.wishes[row, members])
        key = self.setup.seed, keyed.stream_id("rally"), int(self._episode[row]), root, number + 1
        points = self._spots(before.corners)
        boxes = self.maps.around(self._named_by_all(row), starts)
        surveyor = shadows.Surveyor(self.maps.settler(boxes)) if boxes else self.surveyor
        found = surveyor.course(starts, goals, key, tick, lead, before.distance, points)
        return None if found is None else found.widened(members, self.agents, before.corners), boxes

    def _spots(self, corners: shadows.Corners) -> dict[int, Floats]:
        """Shadows as points [k, 2], metres."""
        spec = self.setup.spec
        who = {agent for agent, _, _ in corners}
        return {each: spec.point(np.array([corner[1:] for corner in corners if corner[0] == each])) for each in who}

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
        self.tries[row] = 0
        self.may_call[row] = self.clock + self.silence
        self._begin(np.array([row]))

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
        self.tries[rows] = 0
        # Rallies that a process takes part in must be later than all of its earlier life.
        self.born[rows] = self.clock + self.skew + TRUST + 1
        self.may_call[rows] = self.born[rows] + 1

    # -- where everybody is ----------------------------------------------------------------------

    def executed(self, rows: Ints, ticks: Ints) -> Floats:
        """Own positions [rows, k, 2] at ``ticks`` [rows, k], as committed."""
        spots = super().executed(rows, ticks)
        on_course = self.number[rows] >= 0
        at = np.minimum(ticks[on_course], self.track.shape[1] - 1)
        spots[on_course] = self.track[rows[on_course, None], at]
        return spots

    # -- what peers will do ----------------------------------------------------------------------

    def imagine(self, clock: int) -> SampleRequest | None:
        """As in `PlanningBlock` for those who negotiate; those on a course need no samples to know what peers do."""
        turn = (self.tick(clock) + self.id) % BELIEF_TICKS == 0
        self._believe(np.flatnonzero(turn & self.taking_part & (self.number >= 0)))
        return super().imagine(clock)

    def _believe(self, rows: Ints) -> None:
        """Beliefs of rows about their nearest peers, see `agentsc.protocol.joint.lags`."""
        now, horizon = self.now, self.horizon
        if self.agents < 2:
            return  # there is nobody to believe anything of
        when = now + np.arange(-lags.MOST, horizon + lags.MOST + 1)
        for progress, here, place in self._on_courses(rows):
            row, course = rows[here], progress.course
            at = lags.timetable(
                course, self.ids[place], progress.steps[place], progress.done[place], progress.known[place],
                progress.known_at[place], self.since[row], self.slack, int(when[-1]),
            )  # fmt: skip
            peers = self._nearest_on(course, at, row)
            n = np.repeat(np.arange(len(row)), peers.shape[1])
            mine, peer = row[n], peers.ravel()
            made = lags.made(at[n, peer], when)
            way = course.route[made, peer[:, None]]
            known = progress.known[place[n], peer].astype(np.int64)
            until = np.where(known == course.steps, 2 * horizon, at[n, peer, known].astype(np.int64) - now)
            # Steps within the horizon for which somebody has to be gone first who has not said that it will be.
            last = made[:, lags.MOST + horizon]
            step = np.arange(course.steps)
            ahead = (step >= known[:, None]) & (step <= last[:, None])
            need = course.need[peer].astype(np.int64)
            heard = progress.known[place[n]].astype(np.int64)
            heard[np.arange(len(n)), self.id[mine]] = progress.steps[place[n]]
            gated = np.asarray(((need > heard[:, :, None]).any(1) & ahead).any(1))
            renewed = np.asarray((self.number[mine] > 0) | (self.phase[mine] != UNDER_WAY))
            which = lags.context(until / horizon, gated, renewed)
            # What sender and receiver share: whose word it is, of which course, and how far it went.
            keys = keyed.hash_words(
                self.setup.seed, keyed.stream_id("belief"), self._episode[mine], peer, self.number[mine], known,
                now // BELIEF_TICKS,
            )  # fmt: skip
            self._form(mine, peer, way, which, keys)

    def _form(self, row: Ints, peer: Ints, way: Floats, which: Ints, keys: NDArray[np.uint64]) -> None:
        """Note beliefs [n] of rows about peers; of equal ones, one."""
        reach = self.setup.vehicle.reach
        samples = self.lags.foretell(way, which, keys, self.variant.belief_samples, reach)
        marks = {(peer[k], self.lane[row[k]], samples[k].tobytes()): k for k in reversed(range(len(row)))}
        kept = np.sort(np.array(list(marks.values()), np.int64))
        sure = confidence_code(self.lags.certainty(which[kept])).astype(np.int64)
        self.formed.append(Beliefs(self.lane[row[kept]], peer[kept], self.now, samples[kept], sure))

    def _nearest_on(self, course: Course, at: NDArray[np.int32], row: Ints) -> Ints:
        """Ids [row, k] of the peers that should be nearest now, by timetables ``at`` [row, agent, S + 1]."""
        made = (at[:, :, 1:] <= self.now).sum(-1)
        spots = course.route[made, np.arange(self.agents)]
        gap = np.linalg.norm(spots - spots[np.arange(len(row)), self.id[row], None], axis=-1)
        gap[np.arange(len(row)), self.id[row]] = np.inf
        count = min(self.variant.neighbours, self.agents - 1)
        return np.argsort(gap, axis=1, kind="stable")[:, :count]

    # -- what terms may know ---------------------------------------------------------------------

    def settled_wishes(self) -> Flags:
        """Where courses are agreed on, another wish means another course."""
        return np.asarray(self.phase != FREE)

    def has_told(self, rows: Ints) -> Flags:
        """Who has told a wish, or is known by the course to go somewhere."""
        return super().has_told(rows) | (self.wishes[rows] >= 0).all(-1) | (self.number[rows] >= 0)[:, None]

    def told_goals(self, rows: Ints) -> Floats:
        """Wishes, where they have been heard; else where the course ends."""
        goals = super().told_goals(rows)
        for progress, here, _ in self._on_courses(rows):
            goals[here] = progress.course.route[-1]
        known = (self.wishes[rows] >= 0).all(-1)
        goals[known] = self.setup.spec.point(self.wishes[rows][known])
        return goals

    def spots(self, rows: Ints, ticks: Ints | None = None) -> Floats:
        """Along a course, as far as peers are known to have come; they may be some steps behind that."""
        spots = super().spots(rows, ticks)
        for progress, here, place in self._on_courses(rows):
            course = progress.course.route[progress.known[place], np.arange(self.agents)]
            peer = np.arange(self.agents) != self.id[rows[here], None]
            spots[here] = np.where(peer[..., None], course, spots[here])
        return spots

    # -- exchange: what goes out -----------------------------------------------------------------

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Wishes until all have agreed, progress while somebody waits for it; else as in `NegotiatedBlock`."""
        running = self.running
        undecided = (self.phase == FREE) & ~self.negotiating & (clock - self.last_sent >= URGENT)
        self.owes |= running & undecided
        wish = (self.phase == GATHERING) | (self.phase == AGREED)
        wish = running & (wish | ((self.phase == FREE) & self.owes & (clock % self.setup.rounds > 0)))
        progress = running & (self.phase == UNDER_WAY) & self._worth_telling(clock)
        rallying = running & (self.phase == RALLYING)
        self.news[progress], self.owes[wish], self.asked_again[progress] = False, False, False
        said = super().speak(sampled, clock)
        rows = np.flatnonzero(wish | progress | rallying)
        if not len(rows):
            return said
        self.last_sent[rows] = clock
        words = [(self.rally[row], int(self.id[row])) for row in np.flatnonzero(rallying).tolist()]
        named = [self.named.get((int(row), int(self.id[row])), set()) if wish[row] else set() for row in rows]
        room = {**rallies.room(words), "boxes": max(map(len, named))}
        message = Message.blank(len(rows), self.setup.spec, **room)
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
        for one, here, place in self._on_courses(rows[mine]):
            message.steps[mine[here]], message.done[mine[here]] = one.word(place)
            self.reported[rows[mine[here]]] = one.steps[place]
        for at, (rally, me) in zip(np.flatnonzero(rallying[rows]).tolist(), words, strict=True):
            rallies.put(message, at, rally, me)
        data, bits = encode(message, self.setup.spec)
        return merged(said, Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits))

    def _worth_telling(self, clock: int) -> Flags:
        """bool [row]: steps that some peer waits for and has not been told of, or may have missed."""
        worth = self.news | self.asked_again | self.unasked(clock)
        silent = clock - self.last_sent
        rows = np.flatnonzero((self.phase == UNDER_WAY) & self.running)
        for progress, here, place in self._on_courses(rows):
            row = rows[here]
            told = np.zeros(len(self.ids), np.int64)
            told[place] = self.reported[row]
            urgent, later, news = (part[place] for part in progress.awaited(told))
            unsure = ~self.under_way[row]
            unsure[np.arange(len(row)), self.id[row]] = False
            urgent |= unsure
            if self.silence < FOR_EVER:
                worth[row] |= (2 * self.quiet[row] >= self.silence).any(1) & (silent[row] >= PINGS)
            due = (urgent.any(1) & (silent[row] >= URGENT)) | (later.any(1) & (silent[row] >= PATIENT))
            worth[row] |= news.any(1) | due
        return worth


def led_by(before: Course, cuts: Ints) -> tuple[int, Floats, Lead]:
    """What everybody still does of a course before the next one.

    Args:
        cuts: int64 [agent, 3]: steps that each agent makes of it, the tick by which it rests after them, and how many
            ticks before that tick it said so. What was done before it said so concerns nobody any more.

    Returns:
        The tick from which on the next course counts, where everybody rests [agent, 2], and how they come there: as
        late as they may.
    """
    steps, ready, lag = cuts.T
    steps = np.minimum(steps, before.steps)
    tick = int((ready - lag).min())
    until = ready - tick
    at = tick + np.arange(int(until.max()) + 1)
    made = np.clip(steps - np.maximum(ready - at[:, None], 0), 0, None)
    agents = np.arange(len(steps))
    path = before.route[made, agents]
    return tick, before.route[steps, agents], Lead(np.asarray(path, np.float32), until)


def _of_use(message: Message) -> Flags:
    kinds = (AGREE, PROGRESS, RENEW, RENEW_BOXES, BOXES, RALLY, PACE, RESUME, RESUME_BOXES)
    return (message.sections != 0) | np.isin(message.kind, kinds)

