"""Locks: what a status releases, what a start promotes, what may be granted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from agentsc.protocol.grants import Knowledge, clear_of_peers, verdicts
from agentsc.protocol.plans import PlanTable

H = 4
ROW, PEER = np.array([0]), np.array([1])


def still(x: float, y: float = 0.0) -> NDArray[np.float32]:
    return np.broadcast_to(np.float32([x, y]), (1, H + 1, 2)).copy()


def line(x0: float, x1: float) -> NDArray[np.float32]:
    path = still(x0)
    path[0, :, 0] = np.linspace(x0, x1, H + 1)
    return path


@pytest.fixture
def known() -> Knowledge:
    """One row that knows two agents; agent 1 has the proposal number 5, to start at tick 10, locked."""
    roster = np.float32([[[0.0, 0.0], [1.0, 0.0]]])
    knowledge = Knowledge.of_roster(roster, H)
    assert knowledge.plans.valid[0, :, 0].all() and not knowledge.plans.valid[0, :, 1].any()
    knowledge.plans.put((ROW, PEER, np.array([1])), np.array([5]), np.array([10]), line(1.0, 2.0))
    return knowledge


def status(knowledge: Knowledge, clock: int, committed: int, pending: int) -> None:
    knowledge.status(ROW, PEER, np.array([clock]), np.array([committed]), np.array([pending]))


def locks(knowledge: Knowledge) -> list[int]:
    """Sequence numbers that are locked."""
    return [int(knowledge.plans.seq[0, 1, s]) for s in (0, 1) if knowledge.plans.valid[0, 1, s]]


def test_everybody_rests_at_the_start_until_heard_of(known: Knowledge) -> None:
    assert (known.clock == -1).all() and (known.heard == -1).all()
    np.testing.assert_array_equal(known.plans.take((0, 0, 0)).at(np.array([0, 99])), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("committed", "pending", "locked", "confirmed"),
    [
        (0, 5, [0, 5], False),  # still pending
        (0, 0, [0], False),  # given up
        (0, 6, [0], False),  # given up, and another is proposed
        (5, 5, [0, 5], True),  # committed, may not have started: both stay locked
        (5, 6, [5], False),  # a new proposal: the committed one has started
    ],
)
def test_a_status_releases_exactly_what_is_over(
    known: Knowledge, committed: int, pending: int, locked: list[int], confirmed: bool
) -> None:
    status(known, 3, committed, pending)
    assert locks(known) == locked and known.confirmed[0, 1] == confirmed and known.clock[0, 1] == 3
    assert locks(known) and known.plans.valid[0, 0, 0], "the other peer's lock is not touched"


def test_a_confirmed_plan_replaces_the_old_one_when_it_starts(known: Knowledge) -> None:
    status(known, 3, 5, 5)
    known.advance(9)
    assert locks(known) == [0, 5]
    known.advance(10)
    assert locks(known) == [5] and not known.confirmed[0, 1]


def test_an_unconfirmed_plan_is_never_promoted_by_time(known: Knowledge) -> None:
    known.advance(1000)
    assert locks(known) == [0, 5]


def ask(own: PlanTable, pending: PlanTable, path: NDArray, start: int) -> bool:
    return bool(verdicts(own, pending, ROW, path, np.array([start]), 0.5)[0])


@pytest.fixture
def mine() -> tuple[PlanTable, PlanTable]:
    """A grantor at rest at x = 0 that has committed to rest at x = 4 from tick 20 on; nothing pending."""
    own = PlanTable.resting(np.zeros((1, 2, 2), np.float32), H)
    own.put((ROW, np.array([1])), np.array([1]), np.array([20]), still(4.0))
    return own, PlanTable.resting(np.zeros((1, 2), np.float32), H, valid=False)


def test_a_grant_keeps_clear_of_both_committed_plans(mine: tuple[PlanTable, PlanTable]) -> None:
    own, pending = mine
    assert ask(own, pending, still(2.0), 5)
    assert not ask(own, pending, still(0.3), 5), "executed now"
    assert not ask(own, pending, still(4.3), 5), "committed for later, and a plan lasts for ever"
    assert not ask(own, pending, line(2.0, 4.0), 25)
    own.valid[0, 0] = False  # the later one has started: the place it left is free
    assert ask(own, pending, still(0.3), 25)


def test_a_grant_keeps_clear_of_a_pending_plan(mine: tuple[PlanTable, PlanTable]) -> None:
    own, pending = mine
    assert ask(own, pending, still(2.0), 5)
    pending.put((ROW,), np.array([2]), np.array([8]), still(2.0))
    assert not ask(own, pending, still(2.0), 5)
    pending.valid[:] = False
    assert ask(own, pending, still(2.0), 5)


def test_own_plans_keep_clear_of_every_lock_but_not_of_oneself(known: Knowledge) -> None:
    me, tick = np.array([0]), np.array([2])
    assert clear_of_peers(known, ROW, still(0.0), tick, me, 0.5)[0]
    assert not clear_of_peers(known, ROW, still(0.8), tick, me, 0.5)[0], "committed"
    assert not clear_of_peers(known, ROW, still(2.2), tick, me, 0.5)[0], "locked proposal"
    known.plans.valid[0, 1, 1] = False
    assert clear_of_peers(known, ROW, still(2.2), tick, me, 0.5)[0]
    both = clear_of_peers(
        known,
        np.array([0, 0]),
        np.concatenate([still(0.8), still(0.2)]),
        np.array([2, 2]),
        np.array([0, 0]),
        0.5,
    )
    assert both.tolist() == [False, True]
