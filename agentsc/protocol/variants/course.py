"""Agree on an order once, then say how far you are: the fewest bits per agreement.

Everybody tells its wish until all know all wishes. From those everybody works out the same course (routes, and who
passes where before whom; `agentsc.protocol.joint`), and says so by its digest. Who knows that all say the same sets
out, and from then on commits to steps as the course's order allows, and tells how far it has committed: no plans cross
the air, and no grants.

Whoever has not yet agreed may leave instead: when no course is found, or wishes are missing for too long. Then the
course can never be agreed on, and everybody negotiates plan by plan, as in `agentsc.protocol.variants.intent`.

Safe under any loss: until it sets out an agent rests where the roster says. It sets out knowing that all others have
agreed. Who has agreed leaves only upon hearing of somebody who has left without agreeing; so if anybody sets out,
nobody has left or ever will. From then on the course's own argument holds (`agentsc.protocol.joint.order`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import AGREE, PROGRESS
from agentsc.protocol import PROTOCOLS, Deliveries, Packets, SampleReply, Setup
from agentsc.protocol.joint.order import Progress
from agentsc.protocol.joint.settle import DIGEST_BYTES, Settler, digest
from agentsc.protocol.reception import Received
from agentsc.protocol.situation import Flags, Floats, Ints
from agentsc.protocol.variants.intent import MAX_LEAD, Intent, IntentBlock
from envs import keyed

GATHERING, AGREED, UNDER_WAY, FREE = range(4)
LEFT = (1 << 8 * DIGEST_BYTES) - 1
"""Stands for a digest in packets of those who have left."""
URGENT, PATIENT = 3.0, 8.0
"""Rounds between repeats of a progress, if a peer is at a step that waits for it, and if one will be later."""


@PROTOCOLS.register("course")
class CourseVariant(Intent):
    """Wishes instead of plans: all work out the same course from them, and tell how far they are along it."""

    attempts: int = Field(100, ge=1, description="orders of agents tried until everybody has a route")
    repairs: int = Field(40, ge=0, description="neighbourhoods searched to improve the routes after that")
    patience_s: float = Field(8.0, gt=0.0, description="who has not heard all wishes by then negotiates plan by plan")

    @property
    def plans_once(self) -> bool:
        """A course is agreed on once, for the goals and agents of the start."""
        return True

    def block(self, setup: Setup, ids: Sequence[int]) -> CourseBlock:
        return CourseBlock(self, setup, ids)


class CourseBlock(IntentBlock):
    """Rows of the same lane share a course, because a course is a function of what was heard."""

    variant: CourseVariant

    def __init__(self, variant: CourseVariant, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        world, rows = setup.world, len(self.rows)
        self.settler = Settler(world, self.distance, variant.attempts, variant.repairs)
        # Routes have corners: a limit on acceleration leaves only plans of the prior.
        self.phase = np.full(rows, FREE if np.isfinite(world.a_max) else GATHERING)
        self.wishes = np.full((rows, self.agents, 2), -1, np.int64)
        self.wishes[self.rows, self.id] = setup.spec.lattice(self.goal)
        self.digests = np.zeros((rows, self.agents), np.int64)
        self.under_way = np.zeros((rows, self.agents), bool)
        self.progress: dict[int, Progress] = {}
        self.pause = np.full(rows, URGENT)
        self.owes = np.zeros(rows, bool)
        self.patience = round(variant.patience_s / world.dt)

    @property
    def negotiating(self) -> Flags:
        """Those who have left the course, or never had one."""
        return super().negotiating & (self.phase == FREE)

    # -- exchange: what came in ------------------------------------------------------------------

    def _take_in(self, inbox: Deliveries, clock: int) -> None:
        received = self.receive(inbox, clock, MAX_LEAD, _known_kind)
        message, packet, lane, place, sender, sent = received
        bare = message.sections[packet] == 0
        rest = ~bare
        self._absorb(Received(message, packet[rest], lane[rest], place[rest], sender[rest], sent[rest]))
        packet, row, sender = packet[bare], (lane * len(self.ids) + place)[bare], sender[bare]
        agree = message.kind[packet] == AGREE
        self._hear_agree(row[agree], sender[agree], packet[agree], message)
        self._hear_progress(row[~agree], sender[~agree], packet[~agree], message)

    def _hear_agree(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        said = message.digest[packet]
        self.wishes[row, sender] = message.position[packet]
        # Packets may come in any order: who has agreed, or left, does not take it back.
        np.maximum.at(self.digests, (row, sender), said)
        self.pause[row] = URGENT
        self.owes[row[(self.phase[row] == FREE) & (said != LEFT)]] = True

    def _hear_progress(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        # Somebody under way knows that all have agreed; so does now who hears of it.
        fine = (self.phase[row] == AGREED) | (self.phase[row] == UNDER_WAY)
        row, sender, packet = row[fine], sender[fine], packet[fine]
        self.under_way[row, sender] = True
        self._set_out(np.unique(row[self.phase[row] == AGREED]))
        for lane in np.unique(self.lane[row]):
            here = self.lane[row] == lane
            self.progress[int(lane)].hear(
                row[here] % len(self.ids), sender[here], message.steps[packet[here]], message.done[packet[here]]
            )

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """As in `IntentBlock`, and whatever brings the course on."""
        super().listen(inbox, clock)
        running = self.active[self.lane]
        gathering = running & (self.phase == GATHERING)
        complete = gathering & (self.wishes >= 0).all((1, 2))
        for row in np.flatnonzero(complete):
            self._agree(int(row))
        someone_left = (self.digests == LEFT).any(1) & (self.phase <= AGREED)
        late = gathering & (self.phase == GATHERING) & (self.now >= self.patience)
        self._leave(np.flatnonzero(running & (someone_left | late)))
        settled = (self.digests == self.digests[self.rows, self.id, None]).all(1)
        self._set_out(np.flatnonzero(running & (self.phase == AGREED) & settled))
        for lane, progress in self.progress.items():
            if self.active[lane]:
                self._proceed(lane, progress)

    def _agree(self, row: int) -> None:
        """All wishes are known: work out the course."""
        lane, spec = int(self.lane[row]), self.setup.spec
        key = self.setup.seed, keyed.stream_id("course"), int(self._episode[row])
        course = self.settler.course(self.setup.world.starts[lane], spec.point(self.wishes[row]), key)
        if course is None:
            self._leave(np.array([row]))
            return
        self.phase[row] = AGREED
        self.digests[row, self.id[row]] = digest(course)
        if lane not in self.progress:
            self.progress[lane] = Progress(course, self.ids, self.now)
        self.counters.proposals[lane] += 1
        self.counters.grants_asked[lane] += self.agents - 1

    def _leave(self, rows: Ints) -> None:
        self.phase[rows] = FREE
        self.digests[rows, self.id[rows]] = LEFT
        self.owes[rows] = True

    def _set_out(self, rows: Ints) -> None:
        self.phase[rows] = UNDER_WAY
        self.pause[rows] = URGENT
        self.news[rows] = True
        np.add.at(self.counters.commits, self.lane[rows], 1)
        np.add.at(self.counters.commit_rounds, self.lane[rows], self.clock)
        np.add.at(self.counters.grants_given, self.lane[rows], self.agents - 1)

    def _proceed(self, lane: int, progress: Progress) -> None:
        mine = np.arange(len(self.ids)) + lane * len(self.ids)
        moved = progress.extend(self.now, self.phase[mine] == UNDER_WAY)
        self.news[mine[moved]] = True
        self.pause[mine[moved]] = URGENT

    # -- where everybody is ----------------------------------------------------------------------

    def executed(self, rows: Ints, ticks: Ints) -> Floats:
        """Own positions [rows, k, 2] at ``ticks`` [rows, k], as committed."""
        spots = super().executed(rows, ticks)
        moving = self.phase[rows] == UNDER_WAY
        for lane in np.unique(self.lane[rows[moving]]):
            here = np.flatnonzero(moving & (self.lane[rows] == lane))
            spots[here] = self.progress[int(lane)].at(rows[here] % len(self.ids), ticks[here])
        return spots

    # -- exchange: what goes out -----------------------------------------------------------------

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Wishes until all have agreed, progress while somebody waits for it; else as in `IntentBlock`."""
        running = self.active[self.lane]
        agree = running & ((self.phase <= AGREED) | (self.owes & (clock % self.setup.rounds > 0)))
        progress = running & (self.phase == UNDER_WAY) & (self.news | self._repeating(clock))
        self.pause[progress & ~self.news] = np.minimum(1.5 * self.pause[progress & ~self.news], PATIENT)
        self.news[progress] = False
        self.owes[agree] = False
        said = super().speak(sampled, clock)
        rows = np.flatnonzero(agree | progress)
        if not len(rows):
            return said
        self.last_sent[rows] = clock
        message = Message.blank(len(rows), self.setup.spec)
        message.id[:], message.clock[:] = self.id[rows], clock & 0xFF
        message.kind[:] = np.where(agree[rows], AGREE, PROGRESS)
        wish = agree[rows]
        message.position[wish] = self.wishes[rows[wish], self.id[rows[wish]]]
        message.digest[wish] = self.digests[rows[wish], self.id[rows[wish]]]
        for lane in np.unique(self.lane[rows[~wish]]):
            here = np.flatnonzero(~wish & (self.lane[rows] == lane))
            message.steps[here], message.done[here] = self.progress[int(lane)].word(rows[here] % len(self.ids))
        data, bits = encode(message, self.setup.spec)
        mine = Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits)
        return _merged(said, mine)

    def _repeating(self, clock: int) -> Flags:
        """bool [row]: under way, and silent for longer than those who may wait for word should have to."""
        silent = clock - self.last_sent
        due = (self.phase == UNDER_WAY) & (silent >= URGENT)
        for lane, progress in self.progress.items():
            mine = np.arange(len(self.ids)) + lane * len(self.ids)
            if not due[mine].any():
                continue
            urgent, later = progress.awaited()
            unsure = ~self.under_way[mine]
            unsure[np.arange(len(mine)), self.ids] = False
            pause = np.minimum(self.pause[mine], np.where((urgent | unsure).any(1), URGENT, PATIENT))
            due[mine] &= (urgent | unsure | later).any(1) & (silent[mine] >= pause)
        return due


def _known_kind(message: Message) -> Flags:
    return (message.sections != 0) | (message.kind == AGREE) | (message.kind == PROGRESS)


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
