"""Plans negotiated one by one: intent tokens, proposals, grants and locks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import BOXES, GRANTS, INTENT, MAX_GRANTS, PLAN, STATUS, T0_PAST, goal_point
from agentsc.mapping.service import Sharing
from agentsc.protocol import PROTOCOLS, Deliveries, Packets, SampleReply, Setup
from agentsc.protocol.early import Early, rounds_ahead, widened
from agentsc.protocol.grants import verdicts
from agentsc.protocol.notes import notes_to, verdicts_of
from agentsc.protocol.reception import Received
from agentsc.protocol.situation import PlanningVariant
from agentsc.protocol.standing import MAX_LEAD, StandingBlock

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

STUCK = 2
"""Priority of an agent that has made no progress for long."""
PUT_OFF = 4
"""Rounds that boxes wait for one in which their agent has nothing else to say; then they are told instead of that."""
VERDICT_SEQS = 8
"""A verdict names a proposal by the last three bits of its sequence number."""


@PROTOCOLS.register("negotiated")
class Negotiated(PlanningVariant):
    """Plan by plan: intent tokens and grant-locked commits: safe under any loss, silent when nothing happens."""

    heartbeat_s: float = Field(1.0, gt=0.0, description="an agent that has said nothing for so long repeats its token")
    trigger: Literal["surprise", "always", "periodic"] = Field(
        "surprise",
        description="when agents speak unasked: if it is news to somebody, every round, or also every heartbeat_s",
    )
    tells_boxes: bool = Field(True, description="who knows of a box that has come late tells the others")
    rank_changes: bool = Field(
        False, description="who makes room hands the role of grantor over to a peer that is stuck"
    )
    clock_skew_s: float = Field(
        0.0, ge=0.0, description="seconds by which two clocks may differ; plans keep so much farther apart, at v_max"
    )
    map_sharing: Sharing = Field(
        "tokens",
        description="how agents share a map that nobody was told: none, tokens, prior (tokens, and the hub fills in "
        "what nobody has seen), occupancy or picture (uncompressed); oracle: all know it from the start",
    )

    @property
    def explores(self) -> bool:
        """This protocol does; what others built on it need is a map that all agree on, or goals of their own."""
        return type(self) is Negotiated

    @property
    def negotiates(self) -> bool:
        """Plans wait for grants."""
        return True

    @property
    def restarts(self) -> bool:
        """See `agentsc.protocol.restart`."""
        return True

    def block(self, setup: Setup, ids: Sequence[int]) -> NegotiatedBlock:
        return NegotiatedBlock(self, setup, ids)


class NegotiatedBlock(StandingBlock):
    """The round: listen to verdicts and proposals, decide, answer; see `agentsc.protocol.grants`."""

    variant: Negotiated

    def __init__(self, variant: Negotiated, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        rows, world = len(self.rows), setup.world
        self.distance = widened(self.distance, variant.clock_skew_s, world.v_max)
        ahead = rounds_ahead(variant.clock_skew_s, world.dt / setup.rounds)
        self._early = Early(setup.spec, ahead) if ahead else None
        # Whose grant the pending proposal needs, and whose it has.
        self.asked = np.zeros((rows, self.agents), bool)
        self.granted = np.zeros((rows, self.agents), bool)
        self.seq = np.zeros(rows, np.int64)
        self.spent = np.full((rows, VERDICT_SEQS), -1, np.int64)
        self.codes = np.zeros((rows, setup.spec.columns), np.int32)
        self.committed_codes = np.zeros((rows, setup.spec.columns), np.int32)
        self.committed_codes[:, :2] = setup.spec.lattice(self.own.path[:, 1, 0])
        self.first_sent = np.zeros(rows, np.int64)
        self.plan_sent = np.zeros(rows, np.int64)
        self.last_sent = np.full(rows, -1, np.int64)
        self.news = np.zeros(rows, bool)
        self.told = np.full((rows, 2), -1, np.int64)
        # Ticks that agreement takes, repeats included, and rounds until a verdict comes back.
        self.agreement = np.ones(rows)
        self.echo = np.full(rows, 2.0)
        self._answers: list[NDArray[np.int64]] = []
        self._repeats = np.zeros((0, 4), np.int64)
        self._box_wait = np.zeros(rows, np.int64)

    # -- the rule; the first part of it, `must_ask` and `guards`, is in `StandingBlock` -------------

    def may_grant(self, row: Ints, path: Floats, start: Ints) -> Flags:
        """Whether rows may grant plans [n, H + 1, 2] from ticks ``start`` on: bool [n]. Rule 2."""
        return verdicts(self.own, self.pending, row, path, start, self.distance)

    def release(self, row: Ints, peer: Ints, sent: Ints, committed: Ints, pending: Ints) -> None:
        """Unlock what the newest statuses of peers show to be over. Rule 3; rule 4 is `clear_of_peers`."""
        self.knowledge.status(row, peer, sent, committed, pending)

    # -- exchange: what came in ----------------------------------------------------------------

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """Update locks, answer proposals, count grants; then commit or abandon what is due."""
        tick = self.tick(clock)
        self.clock = clock
        self.advance(tick)
        self._answers = []
        asked_twice, self._repeats = self._repeats, np.zeros((0, 4), np.int64)
        if self._early is not None:
            inbox = self._early.due(inbox, clock)
        inbox = self.awake(inbox)
        if len(inbox):
            self._take_in(inbox, clock)
        # Who had to ask twice is answered twice: verdicts are short, proposals are long.
        row, peer, seq, _ = asked_twice.T
        held = self.knowledge.plans.take((row, peer, np.ones_like(row)))
        self._answers.append(asked_twice[held.valid & (held.seq % VERDICT_SEQS == seq) & (held.start >= tick)])
        self._settle(clock, tick)
        self.stand(clock, self._patience())
        if self.open_ended and clock % self.setup.rounds == 0:
            self.rethink()

    @property
    def open_ended(self) -> bool:
        """Whether goals may be wished for."""
        return bool(self.terms)

    def anchors(self, clock: int, quiet: Flags) -> Flags:
        """bool [row]: whose committed plan is to be shown to all, beside what the rule asks; nobody's.

        Args:
            quiet: bool [row], who has said nothing for a heartbeat.
        """
        return np.zeros(len(self.rows), bool)

    def unasked(self, clock: int) -> Flags:
        """bool [row]: who speaks whether it has news or not; nobody, if surprise is the trigger."""
        if self.variant.trigger == "surprise":
            return np.zeros(len(self.rows), bool)
        period = round(self.variant.heartbeat_s / self.setup.world.dt * self.setup.rounds)
        always = self.variant.trigger == "always"
        return np.asarray(always | ((clock + self.id) % max(period, 1) == 0))

    def _patience(self) -> Floats:
        """Rounds [row] after which something that was not answered is said again."""
        return np.asarray(np.ceil(self.echo - 0.25), np.float32)

    def _take_in(self, inbox: Deliveries, clock: int) -> None:
        received = self.receive(inbox, clock, MAX_LEAD, lambda m: (m.sections != 0) | (m.kind == BOXES))
        bare = received.message.sections[received.packet] == 0
        if bare.any():
            self._hear_boxes(*row_and_packet(received, bare, len(self.ids)), received.message)
            received = some_of(received, ~bare)
        self._absorb(received)

    def _hear_boxes(self, row: Ints, packet: Ints, message: Message) -> None:
        """Boxes that packets [n] name to rows [n]."""
        n, entry = np.nonzero(np.arange(message.boxes.shape[1]) < message.box_count[packet, None])
        codes = message.boxes[packet[n], entry].astype(np.int64)
        self.learn(row[n], codes, self.now + 1)
        self.boxes.hear(row[n], codes)

    def learn(self, row: Ints, codes: Ints, tick: int) -> Ints:
        """See `SituatedBlock.learn`: proposals through new boxes are given up, and others are told."""
        rows = super().learn(row, codes, tick)
        through = rows[self.pending.valid[rows] & ~self._passes(rows, self.pending.path[rows])]
        self._abandon(through)
        self.retry[through] = tick
        if self.variant.tells_boxes:
            self.boxes.start_telling(rows, self.setup.rounds * tick)
        return rows

    def _absorb(self, received: Received) -> None:
        message, packet, lane, place, sender, sent = received
        row = lane * len(self.ids) + place
        path = np.zeros((len(message), self.horizon + 1, 2), np.float32)
        planned = np.flatnonzero(message.sections & PLAN)
        path[planned] = self._points(self.setup.spec.dequantise(message.plan[planned]))
        given = verdicts_of(message)
        # Several packets of one sender are taken in the order they were sent.
        order = np.lexsort((sent, sender, row))
        row, sender, sent, packet = row[order], sender[order], sent[order], packet[order]
        pair = row * self.agents + sender
        turn = np.arange(len(pair)) - np.searchsorted(pair, pair)
        for wave in range(int(turn.max(initial=-1)) + 1):
            now = turn == wave
            self._take_in_one(row[now], sender[now], sent[now], packet[now], message, path, given)

    def _take_in_one(
        self, row: Ints, sender: Ints, sent: Ints, packet: Ints, message: Message, path: Floats, given: Ints
    ) -> None:
        """At most one packet per (row, sender)."""
        known, sections = self.knowledge, message.sections[packet]
        known.heard[row, sender] = np.maximum(known.heard[row, sender], sent)
        fresh = ((sections & INTENT) > 0) & (sent > self.intents.clock[row, sender])
        self._note_intent(row[fresh], sender[fresh], sent[fresh], packet[fresh], message)

        count = given[packet]
        for entry in range(int(count.max(initial=0))):
            mine = np.flatnonzero((entry < count) & (message.grant_peer[packet, entry] == self.id[row]))
            if not len(mine):
                continue
            self.count_verdict(
                row[mine], sender[mine], sent[mine],
                message.grant_seq[packet[mine], entry], message.grant_verdict[packet[mine], entry],
            )  # fmt: skip

        fresh = ((sections & STATUS) > 0) & (sent > known.clock[row, sender])
        row, sender, sent, packet = row[fresh], sender[fresh], sent[fresh], packet[fresh]
        committed, pending = message.committed_seq[packet], message.pending_seq[packet]
        self.release(row, sender, sent, committed.astype(np.int64), pending.astype(np.int64))
        plan = (message.sections[packet] & PLAN) > 0
        self._note_plan(row[plan], sender[plan], sent[plan], packet[plan], message, path)
        if message.grant_peer.shape[1] and (given < message.grant_count).any():
            notes = notes_to(message, given, packet, row, sender, self.id[row])
            self.hear_notes(notes, message, packet, sent, path)
        # What a status shows to be outdated hearsay must not stand in the way of a proposal: whoever is
        # really there will refuse it, and show where.
        committed = message.committed_seq[packet]
        old, new = (known.plans.take((row, sender, slot)) for slot in (0, 1))
        missed = (old.seq != committed) & ~(new.valid & (new.seq == committed)) & ~self.guards(row, sender)
        known.plans.valid[row[missed], sender[missed], 0] = False

    def _note_intent(self, row: Ints, sender: Ints, sent: Ints, packet: Ints, message: Message) -> None:
        intents = self.intents
        code = np.stack([message.goal_x[packet], message.goal_y[packet]], -1)
        intents.goal[row, sender] = goal_point(code, self.setup.spec.bounds)
        for name in ("priority", "role", "mode", "homotopy", "confidence"):
            getattr(intents, name)[row, sender] = getattr(message, name)[packet]
        intents.clock[row, sender] = sent

    def count_verdict(self, row: Ints, sender: Ints, sent: Ints, seq: Ints, verdict: Ints) -> None:
        """A verdict counts if it names the pending proposal and was given after that was made."""
        mine = self.pending.valid[row] & (self.pending.seq[row] % VERDICT_SEQS == seq) & (sent > self.first_sent[row])
        row, sender, verdict = row[mine], sender[mine], verdict[mine]
        waited = np.maximum(self.clock - self.plan_sent[row], 2)
        self.echo[row] += 0.2 * (waited - self.echo[row])
        yes = verdict == 1
        np.add.at(self.counters.grants_given, self.lane[row], yes & ~self.granted[row, sender])
        self.granted[row[yes], sender[yes]] = True
        denied = row[~yes]
        if len(denied):
            self._abandon(np.unique(denied))

    def _note_plan(
        self, row: Ints, sender: Ints, sent: Ints, packet: Ints, message: Message, path: Floats
    ) -> None:
        plans = self.knowledge.plans
        seq = message.pending_seq[packet].astype(np.int64)
        start = sent // self.setup.rounds + message.t0_offset[packet] - T0_PAST
        one = np.ones_like(row)
        same = plans.valid[row, sender, 1] & (plans.seq[row, sender, 1] == seq) & (plans.start[row, sender, 1] == start)
        # A proposal whose start has passed is dead, and no verdict on it is ever sent: so the last
        # bits of its sequence number may be used again afterwards (see `_numbers`).
        alive = start >= self.now
        final = message.committed_seq[packet] == message.pending_seq[packet]
        # A committed plan that is shown once more tells its grantors nothing: they hold it locked, except
        # for those that were restarted.
        guards = self.guards(row, sender)
        grantor, hearsay = guards & ~final, ~guards | (final & ~plans.valid[row, sender, 0])
        ask = grantor & ~same & alive
        ok = same & grantor
        ok[ask] = self.may_grant(row[ask], path[packet[ask]], start[ask])
        note = (ok | hearsay) & ~same
        plans.put(
            (row[note], sender[note], one[note]), seq[note], start[note], path[packet[note]]
        )
        self.knowledge.confirmed[row[note], sender[note]] = final[note]
        answer = grantor & alive
        if answer.any():
            answers = np.stack([row, sender, seq % VERDICT_SEQS, ok], -1).astype(np.int64)
            self._answers.append(answers[answer])
            self._repeats = np.concatenate([self._repeats, answers[answer & same]])

    # -- commit ---------------------------------------------------------------------------------

    def _settle(self, clock: int, tick: int) -> None:
        """Commit proposals that everyone has granted; give up those that did not make it in time."""
        waiting = np.flatnonzero(self.pending.valid)
        ready = waiting[(self.granted[waiting] | ~self.asked[waiting]).all(1)]
        ready = ready[tick <= self.pending.start[ready]]
        if len(ready):
            took = (clock - self.first_sent[ready]) / self.setup.rounds
            # Up at once, down slowly: a lead that is too short costs a whole proposal.
            slower = self.agreement[ready] + 0.15 * (took - self.agreement[ready])
            self.agreement[ready] = np.maximum(took, slower)
            np.add.at(self.counters.commit_rounds, self.lane[ready], clock - self.first_sent[ready])
            self.commit(ready)
            self.news[ready] = True
        late = np.flatnonzero(self.pending.valid & (self.pending.start <= tick))
        if len(late):
            self.agreement[late] = np.minimum(1.5 * self.agreement[late] + 1.0, MAX_LEAD)
            self._abandon(late)
        self.lead = np.clip(np.ceil(self.agreement), 1, MAX_LEAD).astype(np.int64)

    def restart(self, rows: Ints) -> None:
        """See `StandingBlock.restart`; the vehicle hands over the number of the plan that it executes."""
        super().restart(rows)
        self.seq[rows], self.spent[rows] = self.own.seq[rows, 1], -1
        self.asked[rows] = self.granted[rows] = False
        self.first_sent[rows] = self.plan_sent[rows] = self.clock
        self.last_sent[rows], self.told[rows], self.news[rows] = -1, -1, True
        self.agreement[rows], self.echo[rows] = 1.0, 2.0

    def gives(self) -> Flags:
        """With `rank_changes`: who is not stuck gives to peers that are."""
        if not self.variant.rank_changes:
            return super().gives()
        return (self.intents.priority == STUCK) & (self.own_priority < STUCK)[:, None]

    def commit(self, rows: Ints) -> None:
        """See `PlanningBlock.commit`; the codes on the air go along."""
        self.committed_codes[rows] = self.codes[rows]
        super().commit(rows)

    def _abandon(self, rows: Ints) -> None:
        """The proposals are dead: their sequence numbers are never committed."""
        self.pending.valid[rows] = False
        self.retry[rows] = self.now + 1

    # -- exchange: what goes out ----------------------------------------------------------------

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """What there is to say of plans, and of boxes."""
        said = self._speak_of_plans(sampled, clock)
        return merged(said, self._speak_of_boxes(said, clock)) if self.boxes else said

    def _speak_of_boxes(self, said: Packets, clock: int) -> Packets:
        """Boxes that are due, of those who say nothing else in this round, or have put it off for long."""
        due = self.boxes.due(clock) & self.negotiating[:, None]
        self._box_wait = np.where(due.any(1), self._box_wait + 1, 0)
        busy = np.zeros(len(self.rows), bool)
        busy[said.lane * len(self.ids) + np.searchsorted(self.ids, said.sender)] = True
        rows = np.flatnonzero(due.any(1) & (~busy | (self._box_wait > PUT_OFF)))
        told = np.zeros_like(due)
        told[rows] = due[rows]
        self.boxes.tell(told, clock)
        return self._box_packets(rows, due[rows], clock) if len(rows) else _nothing()

    def _box_packets(self, rows: Ints, which: Flags, clock: int) -> Packets:
        """Boxes [n, box] told by rows [n]."""
        message = Message.blank(len(rows), self.setup.spec, boxes=int(which.sum(1).max()))
        message.kind[:], message.id[:], message.clock[:] = BOXES, self.id[rows], clock & 0xFF
        message.box_count[:] = which.sum(1)
        n, box = np.nonzero(which)
        message.boxes[n, np.arange(len(n)) - np.searchsorted(n, n)] = self.boxes.codes[box]
        data, bits = encode(message, self.setup.spec)
        return Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits)

    def _speak_of_plans(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Propose what was chosen, repeat what is unanswered, answer, and now and then just be heard."""
        fresh = np.zeros(len(self.rows), bool)
        if sampled is not None:
            new, codes, table = self.choose(sampled)
            numbers = self._numbers(self.due[new])
            may = numbers >= 0
            rows, codes, table = self.due[new[may]], codes[may], table.take((may,))
            self.seq[rows] = table.seq[:] = numbers[may]
            self.spent[rows, table.seq % VERDICT_SEQS] = table.start
            self.pending.copy((rows,), table, (slice(None),))
            self.codes[rows] = codes
            self.asked[rows], self.granted[rows] = self.must_ask(rows), False
            self.first_sent[rows] = clock
            fresh[rows] = True
            np.add.at(self.counters.proposals, self.lane[rows], 1)
            np.add.at(self.counters.grants_asked, self.lane[rows], self.asked[rows].sum(1))
            alone = rows[~self.asked[rows].any(1)]
            self.commit(alone)
            self.news[alone] = False
        patience = self._patience()
        again = self.pending.valid & ~fresh & (clock - self.plan_sent >= patience)
        answers = np.concatenate(self._answers)
        answers = answers[self.negotiating[answers[:, 0]]]
        # The same verdict may be due as an answer and as a repeat of an earlier one.
        _, first = np.unique(answers[:, 0] * 1024 + answers[:, 1], return_index=True)
        answers = answers[first]
        showing = self.show_due & ~self.pending.valid & self.negotiating
        self.show_due &= ~showing
        notes = self.notes(clock, showing, patience)
        granting = np.zeros(len(self.rows), bool)
        granting[answers[:, 0]] = granting[notes[:, 0]] = True
        # Whoever is refused has missed a plan of the one who refuses: it is shown again.
        shown = np.zeros(len(self.rows), bool)
        shown[answers[answers[:, 3] == 0, 0]] = True
        heartbeat = self.variant.heartbeat_s / self.setup.world.dt * self.setup.rounds
        quiet = clock - self.last_sent >= heartbeat
        changed = (self.told != np.stack([self.role, self.own_priority], -1)).any(1)
        anchors = self.anchors(clock, quiet) & self.negotiating
        shown |= anchors & (quiet | changed | self.news)
        plan, intent = fresh | again, fresh | quiet | changed | self.unasked(clock)
        self.plan_sent[plan] = clock
        speaking = np.flatnonzero((plan | intent | granting | showing | self.news) & self.negotiating)
        if not len(speaking):
            return _nothing()
        self.told[speaking] = np.stack([self.role, self.own_priority], -1)[speaking]
        self.last_sent[speaking] = clock
        self.news[speaking] = False
        # Notes come behind the verdicts.
        answers = np.concatenate([answers[np.argsort(answers[:, 0], kind="stable")], notes])
        return self._packets(speaking, plan | shown | showing, intent, granting, answers, clock)

    def _numbers(self, rows: Ints) -> Ints:
        """Sequence numbers [n] that new proposals may have, −1 where there is none yet.

        However late a verdict comes, it must not be taken for one on a later proposal with the same
        last bits: those are free again when the earlier proposal's start has passed, because verdicts
        sent from then on are not about it. And a proposal is never called like the committed plan.
        """
        number = (self.seq[rows, None] + 1 + np.arange(VERDICT_SEQS)) & 255
        free = self.spent[rows[:, None], number % VERDICT_SEQS] < self.now
        free &= number != self.own.seq[rows, 1, None]
        first = number[np.arange(len(rows)), free.argmax(1)]
        return np.where(free.any(1), first, -1)

    def _packets(
        self, rows: Ints, plan: NDArray[np.bool_], intent: NDArray[np.bool_], granting: NDArray[np.bool_],
        answers: Ints, clock: int,
    ) -> Packets:  # fmt: skip
        answers = answers[np.argsort(answers[:, 0], kind="stable")]
        place = np.arange(len(answers)) - np.searchsorted(answers[:, 0], answers[:, 0])
        answers, place = answers[place < MAX_GRANTS], place[place < MAX_GRANTS]
        message = Message.blank(len(rows), self.setup.spec, int(place.max(initial=-1)) + 1)
        message.sections[:] = (
            INTENT * intent[rows] + STATUS + PLAN * plan[rows] + GRANTS * granting[rows]
        )
        message.id[:] = self.id[rows]
        message.clock[:] = clock & 0xFFFF
        for name, code in self.token(rows).items():
            getattr(message, name)[:] = code
        message.committed_seq[:] = self.own.seq[rows, 1]
        message.pending_seq[:] = np.where(self.pending.valid[rows], self.pending.seq[rows], self.own.seq[rows, 1])
        waiting = self.pending.valid[rows]
        start = np.where(waiting, self.pending.start[rows], self.own.start[rows, 1])
        message.plan[:] = np.where(waiting[:, None], self.codes[rows], self.committed_codes[rows])
        # Once it is over, a plan is a rest where it ended.
        over = start < self.now - T0_PAST
        rest = np.zeros_like(message.plan[over])
        rest[:, :2] = self.setup.spec.lattice(self.own.path[rows[over], 1, -1])
        message.plan[over] = rest
        message.t0_offset[:] = np.where(plan[rows], np.maximum(start - self.now, -T0_PAST) + T0_PAST, 0)
        at = np.searchsorted(rows, answers[:, 0])
        message.grant_peer[at, place] = answers[:, 1]
        message.grant_seq[at, place] = answers[:, 2]
        message.grant_verdict[at, place] = answers[:, 3]
        np.add.at(message.grant_count, at, 1)
        data, bits = encode(message, self.setup.spec)
        return Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits)


def row_and_packet(received: Received, which: Flags, width: int) -> tuple[Ints, Ints]:
    """Rows of a block ``width`` wide, and packets, of some deliveries."""
    return (received.lane * width + received.place)[which], received.packet[which]


def some_of(received: Received, which: Flags) -> Received:
    """Some deliveries."""
    return Received(received.message, *(column[which] for column in received[1:]))


def merged(said: Packets, mine: Packets) -> Packets:
    """Both, in the order (lane, sender); whoever is in both says ``mine``."""
    if not len(mine.lane):
        return said
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


def _nothing() -> Packets:
    none = np.zeros(0, np.int32)
    return Packets(none, none, np.zeros((0, 0), np.uint8), none)
