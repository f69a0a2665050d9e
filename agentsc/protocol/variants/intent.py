"""Agree on an order once, then say how far you are: the fewest bits per agreement.

Everybody tells its wish until all know all wishes. From those everybody works out the same course (routes, and who
passes where before whom; `agentsc.protocol.joint`), and says so by its digest. Who knows that all say the same sets
out, and from then on commits to steps as the course's order allows, and tells how far it has committed: no plans cross
the air, and no grants.

Whoever wants to go elsewhere calls for the next course: it tells its new wish, and how far along the present course it
will still go; whoever hears that does the same. Then all is as before, but that the new course begins with what
everybody had promised to still do. Courses are numbered; a packet that speaks of one says that all have agreed to the
one before.

Whoever has not yet agreed to the first course may leave instead: when none is found, or wishes are missing for too
long. Then it can never be agreed on, and everybody negotiates plan by plan (`agentsc.protocol.variants.negotiated`).

Safe under any loss: until it sets out an agent rests where the roster says, or goes no farther than it has said. It
sets out knowing that all others have agreed. Who has agreed leaves only upon hearing of somebody who has left without
agreeing; so if anybody sets out, nobody has left or ever will. From then on the course's own argument holds
(`agentsc.protocol.joint.order`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import AGREE, BOXES, MAX_BOXES, PROGRESS, RENEW, RENEW_BOXES, confidence_code
from agentsc.protocol import PROTOCOLS, Beliefs, Deliveries, Packets, SampleReply, SampleRequest, Setup
from agentsc.protocol.joint import lags
from agentsc.protocol.joint.late import LateMaps
from agentsc.protocol.joint.order import Course, Progress
from agentsc.protocol.joint.search import Lead
from agentsc.protocol.joint.settle import DIGEST_BYTES, Settler, digest
from agentsc.protocol.reception import Received
from agentsc.protocol.situation import Flags, Floats, Ints
from agentsc.protocol.variants.negotiated import MAX_LEAD, Negotiated, NegotiatedBlock, merged
from envs import keyed

UNDER_WAY, GATHERING, AGREED, FREE = range(4)
LEFT = (1 << 8 * DIGEST_BYTES) - 1
"""Stands for a digest in packets of those who have left."""
URGENT, PATIENT = 3, 8
"""Rounds between repeats of a progress, if a peer is at a step that waits for it, and if one will be later."""
REMINDED = 2 * PATIENT
"""Rounds after which one that has said so already says it again."""
NUMBERS = 1 << 16
"""Courses are numbered in sixteen bits, as rounds are: none is agreed on in less than a round."""
MOST_LAG = (1 << 8) - 1
BELIEF_TICKS = 16
"""Ticks between beliefs of one row. Nothing is decided by them: they are for those who watch or measure."""


@PROTOCOLS.register("intent")
class Intent(Negotiated):
    """Wishes instead of plans: all work out the same course from them, and tell how far they are along it."""

    attempts: int = Field(100, ge=1, description="orders of agents tried until everybody has a route")
    repairs: int = Field(40, ge=0, description="neighbourhoods searched to improve the routes after that")
    patience_s: float = Field(8.0, gt=0.0, description="who has not heard all wishes by then negotiates plan by plan")
    ahead_ticks: int = Field(32, ge=1, le=MOST_LAG - 1, description="ticks ahead to which an agent commits")
    renew_s: float = Field(1.0, ge=0.0, description="least time on a course before somebody calls for another one")

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
        self.settler = self.maps.settler(())
        # Late boxes, by (lane, course): named for it or before, and those that it goes around; and of the next one, by
        # (row, peer).
        self.agreed: dict[tuple[int, int], set[tuple[int, ...]]] = {}
        self.mapped: dict[tuple[int, int], set[tuple[int, ...]]] = {}
        self.named: dict[tuple[int, int], set[tuple[int, ...]]] = {}
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
        self.progress: dict[tuple[int, int], Progress] = {}
        self.reported = np.zeros(rows, np.int64)
        self.owes = np.zeros(rows, bool)
        # Where each row is at each tick, as far as committed; it rests after that.
        self.track = np.repeat(self.own.path[:, 1, :1], world.max_ticks + 2, axis=1)
        self.lags = lags.Lags.load()
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

    def _on_courses(self, rows: Ints) -> list[tuple[Progress, Ints, Ints]]:
        """The courses that rows are on: each one's progress, indices into ``rows``, and their places in the block."""
        found = []
        pair = self.lane[rows] * (1 << 32) + self.number[rows]
        for one in np.unique(pair[self.number[rows] >= 0]).tolist():
            here = np.flatnonzero(pair == one)
            place = rows[here] % len(self.ids)
            found.append((self.progress[one >> 32, one & ((1 << 32) - 1)], here, place))
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
        fine = self.phase[row] != FREE
        self.owes[row[~fine & (message.kind[packet] == AGREE) & (message.digest[packet] != LEFT)]] = True
        row, sender, packet = row[fine], sender[fine], packet[fine]
        speaks_of = message.course[packet]
        # Somebody on a course knows that all have agreed to it; so does now who hears of it. Wishes for a course
        # are told by those who are on the one before.
        on = np.where(message.kind[packet] == PROGRESS, speaks_of, speaks_of - 1)
        ahead = (on - self.number[row]) % NUMBERS == 1
        self._set_out(np.unique(row[ahead & (self.phase[row] == AGREED)]))
        current = (on - self.number[row]) % NUMBERS == 0
        row, sender, packet = row[current], sender[current], packet[current]
        kind = message.kind[packet]
        self._hear_names(row[kind == RENEW_BOXES], sender[kind == RENEW_BOXES], packet[kind == RENEW_BOXES], message)
        self._hear_wishes(row[kind != PROGRESS], sender[kind != PROGRESS], packet[kind != PROGRESS], message)
        self._hear_progress(row[kind != AGREE], sender[kind != AGREE], packet[kind != AGREE], message)

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
            old = steps[here] <= progress.known[place, sender[here]]
            progress.hear(place, sender[here], steps[here], done[here])
            # Who repeats what is known does not know how far its hearers have come: they say so, or it never ends.
            told = row[here[old]]
            further = self.reported[told] < progress.steps[place[old]]
            self.news[told[further | (self.clock - self.last_sent[told] >= REMINDED)]] = True

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """As in `NegotiatedBlock`, and whatever brings the course on."""
        super().listen(inbox, clock)
        running = self.taking_part
        if self.boxes and self.variant.tells_boxes:
            idle = running & (self.phase == UNDER_WAY) & ~self.restless & (clock % self.setup.rounds == 0)
            self.restless |= self._barred(np.flatnonzero(idle))
        calling = running & self.restless & (self.phase == UNDER_WAY) & (self.now - self.since >= self.renewal)
        self._call(np.flatnonzero(calling))
        gathering = running & (self.phase == GATHERING)
        for row in np.flatnonzero(gathering & (self.wishes >= 0).all((1, 2))):
            self._agree(int(row))
        first = running & (self.number < 0)
        someone_left = (self.digests == LEFT).any(1) & ((self.phase == GATHERING) | (self.phase == AGREED))
        late = (self.phase == GATHERING) & (self.now >= self.patience)
        self._leave(np.flatnonzero(first & (someone_left | late)))
        settled = (self.digests == self.digests[self.rows, self.id, None]).all(1)
        self._set_out(np.flatnonzero(running & (self.phase == AGREED) & settled))
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
        lane, number = int(self.lane[row]), int(self.number[row]) + 1
        course, boxes = self._course(row)
        if course is None:
            if number == 0:
                self._leave(np.array([row]))
            return
        self.phase[row] = AGREED
        named = self._named_by_all(row)
        beside = np.array(sorted(named), np.int64).tobytes()
        self.digests[row, self.id[row]] = digest(course, beside)
        if (lane, number) not in self.progress:
            self.progress[lane, number] = Progress(course, self.ids, self.slack)
            self.agreed[lane, number], self.mapped[lane, number] = named, set(boxes)
            for old in (self.progress, self.agreed, self.mapped):
                old.pop((lane, number - 2), None)
        self.counters.proposals[lane] += 1
        self.counters.grants_asked[lane] += self.agents - 1

    def _course_of(self, row: int) -> tuple[int, int]:
        """Lane and number of the course that a row is on."""
        return int(self.lane[row]), int(self.number[row])

    def remap(self, rows: Ints, tick: int) -> None:
        """See `SituatedBlock.remap`: only those who negotiate look at their own maps."""
        super().remap(rows[(self.phase[rows] == FREE) & (self.boxes.key[rows] > 0)], tick)

    def _named_by_all(self, row: int) -> set[tuple[int, ...]]:
        """Late boxes that have been named for the next course or before, as one row sees it."""
        named = (self.named.get((row, peer), set()) for peer in range(self.agents))
        return self.agreed.get(self._course_of(row), set()).union(*named)

    def _course(self, row: int) -> tuple[Course | None, tuple[tuple[int, ...], ...]]:
        """The next course, as one row sees it, and the late boxes that it goes around.

        There is none if none is found, and nobody has moved yet.
        """
        spec, number = self.setup.spec, int(self.number[row])
        goals = spec.point(self.wishes[row])
        key = self.setup.seed, keyed.stream_id("course"), int(self._episode[row]), number + 1
        starts = self.setup.world.starts[self.lane[row]]
        if number < 0:
            return self.settler.course(starts, goals, key), ()
        before = self.progress[int(self.lane[row]), number].course
        tick, starts, lead = led_by(before, self.cuts[row])
        # Where no way is found from here, one may be found from where everybody will rest.
        boxes = self.maps.around(self._named_by_all(row), starts)
        settler = self.maps.settler(boxes) if boxes else self.settler
        found = settler.course(starts, goals, key, tick, lead)
        return found or settler.halt(starts, tick, lead), boxes

    def _leave(self, rows: Ints) -> None:
        self.phase[rows] = FREE
        if self.boxes:
            self.remap(rows, self.now + 1)
        self.digests[rows, self.id[rows]] = LEFT
        self.owes[rows] = True

    def _set_out(self, rows: Ints) -> None:
        """All have agreed to the next course: it is the present one now."""
        self.phase[rows] = UNDER_WAY
        self.number[rows] += 1
        self.since[rows] = self.now
        spec = self.setup.spec
        led_elsewhere = (self.wishes[rows, self.id[rows]] != spec.lattice(self.goal[rows])).any(-1)
        for progress, here, place in self._on_courses(rows):
            end = progress.course.route[-1, self.ids[place]]
            led_elsewhere[here] |= (spec.lattice(end) != self.wishes[rows[here], self.id[rows[here]]]).any(-1)
            self.reported[rows[here]] = progress.steps[place]
        self.restless[rows] = led_elsewhere
        for row, peer in [which for which in self.named if which[0] in set(rows.tolist())]:
            del self.named[row, peer]
        self.wishes[rows], self.cuts[rows], self.digests[rows], self.under_way[rows] = -1, 0, 0, False
        self.news[rows] = True
        np.add.at(self.counters.commits, self.lane[rows], 1)
        np.add.at(self.counters.commit_rounds, self.lane[rows], self.clock - self.called[rows])
        np.add.at(self.counters.grants_given, self.lane[rows], self.agents - 1)

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

    def _not_mapped(self, row: int) -> list[tuple[int, ...]]:
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
        done = np.minimum(progress.done[place, first + 1 : last + 1], self.track.shape[1] - 1)
        spots = progress.course.route[first + 1 : last + 1, self.ids[place]]
        until = np.append(done[1:], self.track.shape[1])
        for at, end, spot in zip(done, until, spots, strict=True):
            self.track[row, at:end] = spot

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

    # -- exchange: what goes out -----------------------------------------------------------------

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Wishes until all have agreed, progress while somebody waits for it; else as in `NegotiatedBlock`."""
        running = self.taking_part
        wish = (self.phase == GATHERING) | (self.phase == AGREED)
        wish = running & (wish | (self.owes & (clock % self.setup.rounds > 0)))
        progress = running & (self.phase == UNDER_WAY) & self._worth_telling(clock)
        self.news[progress], self.owes[wish] = False, False
        said = super().speak(sampled, clock)
        rows = np.flatnonzero(wish | progress)
        if not len(rows):
            return said
        self.last_sent[rows] = clock
        named = [self.named.get((int(row), int(self.id[row])), set()) if wish[row] else set() for row in rows]
        message = Message.blank(len(rows), self.setup.spec, boxes=max(map(len, named)))
        message.id[:], message.clock[:] = self.id[rows], clock & 0xFF
        message.kind[:] = np.where(wish[rows], np.where(self.number[rows] < 0, AGREE, RENEW), PROGRESS)
        for n in np.flatnonzero([len(boxes) > 0 for boxes in named]).tolist():
            message.kind[n], message.box_count[n] = RENEW_BOXES, len(named[n])
            message.boxes[n, : len(named[n])] = sorted(named[n])
        message.course[:] = (self.number[rows] + wish[rows]) % NUMBERS
        mine = np.flatnonzero(wish[rows])
        row = rows[mine]
        message.position[mine] = np.maximum(self.wishes[row, self.id[row]], 0)
        message.digest[mine] = self.digests[row, self.id[row]]
        renewing = mine[self.number[row] >= 0]
        cut = self.cuts[rows[renewing], self.id[rows[renewing]]]
        message.steps[renewing], message.done[renewing], message.lag[renewing] = cut.T
        mine = np.flatnonzero(~wish[rows])
        for one, here, place in self._on_courses(rows[mine]):
            message.steps[mine[here]], message.done[mine[here]] = one.word(place)
            self.reported[rows[mine[here]]] = one.steps[place]
        data, bits = encode(message, self.setup.spec)
        return merged(said, Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits))

    def _worth_telling(self, clock: int) -> Flags:
        """bool [row]: steps that some peer waits for and has not been told of, or may have missed."""
        worth = self.news | self.unasked(clock)
        silent = clock - self.last_sent
        rows = np.flatnonzero((self.phase == UNDER_WAY) & self.taking_part)
        for progress, here, place in self._on_courses(rows):
            row = rows[here]
            told = np.zeros(len(self.ids), np.int64)
            told[place] = self.reported[row]
            urgent, later, news = (part[place] for part in progress.awaited(told))
            unsure = ~self.under_way[row]
            unsure[np.arange(len(row)), self.id[row]] = False
            urgent |= unsure
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
    return (message.sections != 0) | np.isin(message.kind, (AGREE, PROGRESS, RENEW, RENEW_BOXES, BOXES))

