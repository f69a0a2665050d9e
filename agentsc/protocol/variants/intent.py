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
from pydantic import Field

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import AGREE, PROGRESS, RENEW
from agentsc.protocol import PROTOCOLS, Deliveries, Packets, SampleReply, Setup
from agentsc.protocol.joint.order import Course, Progress
from agentsc.protocol.joint.search import Lead
from agentsc.protocol.joint.settle import DIGEST_BYTES, Settler, digest
from agentsc.protocol.reception import Received
from agentsc.protocol.situation import Flags, Floats, Ints
from agentsc.protocol.variants.negotiated import MAX_LEAD, Negotiated, NegotiatedBlock
from envs import keyed

UNDER_WAY, GATHERING, AGREED, FREE = range(4)
LEFT = (1 << 8 * DIGEST_BYTES) - 1
"""Stands for a digest in packets of those who have left."""
URGENT, PATIENT = 3, 8
"""Rounds between repeats of a progress, if a peer is at a step that waits for it, and if one will be later."""
NUMBERS = 1 << 16
"""Courses are numbered in sixteen bits, as rounds are: none is agreed on in less than a round."""
MOST_LAG = (1 << 8) - 1


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
        self.settler = Settler(world, distance, variant.attempts, variant.repairs)
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
        self._hear_wishes(row[kind != PROGRESS], sender[kind != PROGRESS], packet[kind != PROGRESS], message)
        self._hear_progress(row[kind != AGREE], sender[kind != AGREE], packet[kind != AGREE], message)

    def _hear_wishes(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        """Wishes do not change, and who has agreed or left does not take it back: packets may come in any order."""
        self.wishes[row, sender] = message.position[packet]
        self.cuts[row, sender] = np.stack([message.steps[packet], message.done[packet], message.lag[packet]], -1)
        np.maximum.at(self.digests, (row, sender), message.digest[packet])
        self._call(np.unique(row[self.phase[row] == UNDER_WAY]))

    def _hear_progress(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        self.under_way[row, sender] = True
        steps, done = message.steps[packet].astype(np.int64), message.done[packet].astype(np.int64)
        for progress, here, place in self._on_courses(row):
            progress.hear(place, sender[here], steps[here], done[here])

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """As in `NegotiatedBlock`, and whatever brings the course on."""
        super().listen(inbox, clock)
        running = self.taking_part
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
            self.phase[row], self.restless[row], self.called[row] = GATHERING, False, self.clock

    def _agree(self, row: int) -> None:
        """All wishes are known: work out the course."""
        lane, number = int(self.lane[row]), int(self.number[row]) + 1
        course = self._course(row)
        if course is None:
            if number == 0:
                self._leave(np.array([row]))
            return
        self.phase[row] = AGREED
        self.digests[row, self.id[row]] = digest(course)
        if (lane, number) not in self.progress:
            self.progress[lane, number] = Progress(course, self.ids, self.slack)
            self.progress.pop((lane, number - 2), None)
        self.counters.proposals[lane] += 1
        self.counters.grants_asked[lane] += self.agents - 1

    def _course(self, row: int) -> Course | None:
        """The next course, as one row sees it; None if there is none, and nobody has moved yet."""
        spec, number = self.setup.spec, int(self.number[row])
        goals = spec.point(self.wishes[row])
        key = self.setup.seed, keyed.stream_id("course"), int(self._episode[row]), number + 1
        starts = self.setup.world.starts[self.lane[row]]
        if number < 0:
            return self.settler.course(starts, goals, key)
        before = self.progress[int(self.lane[row]), number].course
        tick, starts, lead = led_by(before, self.cuts[row])
        # Where no way is found from here, one may be found from where everybody will rest.
        found = self.settler.course(starts, goals, key, tick, lead)
        return found or self.settler.halt(starts, tick, lead)

    def _leave(self, rows: Ints) -> None:
        self.phase[rows] = FREE
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
            moved = progress.extend(self.now, may, self.variant.ahead_ticks)
            for k in np.flatnonzero(moved).tolist():
                row = int(rows[here[0]]) // len(self.ids) * len(self.ids) + k
                self._lay(row, progress, k, int(before[k]))

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
        message = Message.blank(len(rows), self.setup.spec)
        message.id[:], message.clock[:] = self.id[rows], clock & 0xFF
        message.kind[:] = np.where(wish[rows], np.where(self.number[rows] < 0, AGREE, RENEW), PROGRESS)
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
        return _merged(said, Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits))

    def _worth_telling(self, clock: int) -> Flags:
        """bool [row]: steps that some peer waits for and has not been told of, or may have missed."""
        worth = self.news.copy()
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
    return (message.sections != 0) | np.isin(message.kind, (AGREE, PROGRESS, RENEW))


def _merged(said: Packets, mine: Packets) -> Packets:
    """Both, in the order (lane, sender); whoever is in both says ``mine``."""
    first = said.lane.astype(np.int64) * 1024 + said.sender
    second = mine.lane.astype(np.int64) * 1024 + mine.sender
    kept = ~np.isin(first, second)
    width = max(said.data.shape[1], mine.data.shape[1])
    data = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in (said.data[kept], mine.data)])
    order = np.argsort(np.concatenate([first[kept], second]), kind="stable")
    return Packets(
        np.concatenate([said.lane[kept], mine.lane])[order],
        np.concatenate([said.sender[kept], mine.sender])[order],
        data[order],
        np.concatenate([said.bits[kept], mine.bits])[order],
    )
