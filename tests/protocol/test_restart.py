"""Processes that die, come back or come late: what they remember, what they ask for, and when they go on."""

from __future__ import annotations

import numpy as np
from air import ROUNDS, Air, RandomPlanner, Schedule, crowd, setup_of

from agentsc.intent.codec import Message, decode
from agentsc.intent.fields import PLAN
from agentsc.protocol import PROTOCOLS, Packets
from agentsc.protocol.notes import SHOW, entries, notes_to, verdicts_of
from agentsc.protocol.standing import MAX_LEAD


class Fleet:
    """One lane of random planners in one block, over a perfect radio."""

    def __init__(self, agents: int, **parameters: object) -> None:
        variant = PROTOCOLS.create("negotiated", replan_ticks=2, **parameters)
        self.block = RandomPlanner(variant, setup_of(crowd(1, agents, 3)), [*range(agents)])
        self.block.rng = np.random.default_rng(0)
        self.air, self.clock = Air(Schedule(), 1, agents, self.block.rng), 0

    def round(self) -> Message:
        """One round; what was said in it."""
        block, clock = self.block, self.clock
        block.listen(self.air.deliver(clock), clock)
        deciding = clock % ROUNDS == 0
        if deciding:
            block.imagine(clock)
        spoken: Packets = block.speak(block.propose(None, clock) if deciding else None, clock)
        self.air.send(spoken, clock)
        self.clock += 1
        return decode(spoken.data, spoken.bits, block.setup.spec)[0]

    def rounds(self, count: int) -> None:
        for _ in range(count):
            self.round()


def asked(message: Message, of: int) -> list[tuple[int, int]]:
    """Who asks agent ``of`` for what, in the packets of one round."""
    everyone = np.arange(len(message))
    notes = notes_to(message, verdicts_of(message), everyone, everyone, message.id.astype(np.int64), 0 * everyone + of)
    return [(int(peer), int(word)) for peer, word in zip(notes.peer, notes.word, strict=True)]


def test_notes_come_behind_the_verdicts_and_are_for_one_peer() -> None:
    message = Message.blank(2, setup_of(crowd(1, 2, 0)).spec, 4)
    message.id[:] = 5, 6
    message.grant_peer[0], message.grant_peer[1] = [1, 5, 2, 1], [1, 2, 0, 0]
    message.grant_seq[0], message.grant_verdict[0] = [3, 0, SHOW >> 1, 1], [1, 0, SHOW & 1, 1]
    message.grant_count[:] = 4, 2
    assert verdicts_of(message).tolist() == [1, 2]
    both = np.array([0, 1])
    found = notes_to(message, verdicts_of(message), both, both + 10, both + 5, np.array([2, 2]))
    assert [column.tolist() for column in found] == [[10], [5], [SHOW], [0]]
    assert notes_to(message, verdicts_of(message), both, both, both, np.array([1, 1])).word.tolist() == [3]
    made = entries(np.array([1, 0, 1]), np.array([3, 4, 2]), np.array([SHOW, 2, 1]), np.array([7, 8]))
    assert made.tolist() == [[0, 7, 0, 0], [0, 4, 1, 0], [1, 8, 0, 0], [1, 3, 4, 0], [1, 2, 0, 1]]


def test_a_restarted_process_has_its_vehicle_and_nothing_else() -> None:
    fleet = Fleet(3)
    fleet.rounds(31)
    block, row = fleet.block, np.array([0])
    assert block.own.seq[0, 1] > 0 and block.knowledge.plans.seq[0, 1:, 0].any()
    executes, number = block.own.path[0].copy(), block.own.seq[0, 1]
    block.restart(row)
    np.testing.assert_array_equal(block.own.path[0], executes)
    assert block.seq[0] == number == block.own.seq[0, 1]
    assert not block.knowledge.plans.valid[0].any() and not block.pending.valid[0]
    assert (block.knowledge.clock[0] == fleet.clock - 1).all(), "older packets do not count"
    np.testing.assert_array_equal(block.knowledge.plans.path[0, :, 0, 0], block.setup.world.starts[0])
    assert block.processes.recovering.tolist() == [True, False, False]


def test_a_restarted_grantor_asks_learns_and_goes_on_when_its_old_proposals_are_dead() -> None:
    fleet = Fleet(3)
    fleet.rounds(31)
    block = fleet.block
    block.restart(np.array([0]))
    began, commits = fleet.clock, block.own.seq[0, 1]
    first = fleet.round()
    assert asked(first, 1) == asked(first, 2) == [(0, SHOW)]
    while block.missing().any():
        fleet.round()
    assert fleet.clock - began < 6 * ROUNDS
    for peer in (1, 2):
        known = block.knowledge.plans.take((0, np.array([peer]), 0)).at(np.array([[fleet.clock // ROUNDS]]))
        true = block.executed(np.array([peer]), np.array([[fleet.clock // ROUNDS]]))
        np.testing.assert_allclose(known, true, atol=block.setup.spec.step)
    while block.processes.recovering[0]:
        assert block.own.seq[0, 1] == commits, "it rests"
        fleet.round()
    assert fleet.clock // ROUNDS > began // ROUNDS + MAX_LEAD
    fleet.rounds(40)
    assert block.own.seq[0, 1] != commits


def test_whoever_is_asked_shows_what_it_executes_with_nothing_pending() -> None:
    fleet = Fleet(2)
    fleet.rounds(31)
    fleet.block.restart(np.array([0]))
    shown = []
    for _ in range(12):
        message = fleet.round()
        mine = (message.id == 1) & ((message.sections & PLAN) > 0) & (message.committed_seq == message.pending_seq)
        shown += message.committed_seq[mine].tolist()
    assert shown and shown[0] == fleet.block.knowledge.plans.seq[0, 1, 0]


def test_a_dead_process_says_nothing_and_its_vehicle_goes_on() -> None:
    fleet = Fleet(3)
    fleet.rounds(31)
    block = fleet.block
    block.stop(np.array([1]))
    moved = block.executed(np.array([1]), np.array([[15, 60]]))
    for _ in range(40):
        assert 1 not in fleet.round().id
    np.testing.assert_array_equal(block.executed(np.array([1]), np.array([[15, 60]])), moved)
    assert not block.pending.valid[1]


def test_a_late_agent_stops_nobody_and_then_asks_everybody() -> None:
    fleet = Fleet(3)
    block = fleet.block
    block.late(np.array([[True, False, False]]))
    fleet.rounds(60)
    assert (block.own.seq[1:, 1] > 0).all() and block.own.seq[0, 1] == 0
    block.restart(np.array([0]))
    fleet.rounds(2 * (MAX_LEAD + 20))
    assert block.own.seq[0, 1] > 0
    assert block.must_ask(np.arange(3)).tolist() == [[False, True, True], [False, False, False], [False, True, False]]


def test_the_stuck_are_given_forks_by_those_who_are_not() -> None:
    fleet = Fleet(2, rank_changes=True)
    block = fleet.block
    fleet.rounds(20)
    assert block.must_ask(np.arange(2)).tolist() == [[False, False], [True, False]]
    block.intents.priority[0, 1] = 2
    for _ in range(12):
        block.intents.priority[0, 1] = 2
        fleet.round()
    assert block.must_ask(np.arange(2)).tolist() == [[False, True], [False, False]]
    assert block.forks.known.all()
    calm = Fleet(2)
    calm.block.intents.priority[0, 1] = 2
    calm.rounds(30)
    assert not calm.block.forks.version.any(), "only if asked for"
