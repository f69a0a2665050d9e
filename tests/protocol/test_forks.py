"""Forks: every way in which a handshake can go, and what the two sides make of it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from agentsc.protocol.forks import Forks
from agentsc.protocol.notes import FORKS

ME, ZERO = np.array([0]), np.array([0])
State = tuple[int, int, bool, bool, int, int]
"""Versions of the lower and the higher id, whether each knows the other's, and which each last heard of the other."""


def side(version: int, known: bool, above: bool) -> Forks:
    """One agent's view of its only peer."""
    one = np.ones((1, 1), bool)
    return Forks(np.full((1, 1), version, np.int64), one & known, one & above, one)


def steps(state: State, most: int) -> set[State]:
    """Everything that may happen next: a gift, or a note heard that was sent at any time since the last one heard."""
    after = set()
    for who in (0, 1):
        versions, knows, heard = list(state[:2]), list(state[2:4]), list(state[4:])
        forks = side(versions[who], knows[who], bool(who))
        if forks.holds(ME, ZERO)[0] and forks.known[0, 0] and versions[who] < most:
            forks.give(ME, ZERO)
            new = [*versions], [*knows]
            new[0][who], new[1][who] = int(forks.version[0, 0]), bool(forks.known[0, 0])
            after.add((*new[0], *new[1], *heard))
        for said in range(heard[who], versions[1 - who] + 1):
            forks = side(versions[who], knows[who], bool(who))
            word = np.array([said % FORKS])
            assert forks.offered(ME, ZERO, word)[0] == (said == versions[who] + 1), "two bits are enough"
            if forks.offered(ME, ZERO, word)[0]:
                forks.take(ME, ZERO)
            forks.hear(ME, ZERO, word)
            new = [*versions], [*knows]
            new[0][who], new[1][who] = int(forks.version[0, 0]), bool(forks.known[0, 0])
            last = [*heard]
            last[who] = said
            after.add((*new[0], *new[1], *last))
    return after


def reachable(most: int) -> set[State]:
    start: State = (0, 0, True, True, 0, 0)
    seen, waiting = {start}, [start]
    while waiting:
        for state in steps(waiting.pop(), most):
            if state not in seen:
                seen.add(state)
                waiting.append(state)
    return seen


def test_in_no_order_of_gifts_and_notes_does_neither_ask() -> None:
    states = reachable(9)
    asking = {True: 0, False: 0}
    for low, high, low_knows, high_knows, _, _ in states:
        lower, higher = side(low, low_knows, False), side(high, high_knows, True)
        asks = [not forks.holds(ME, ZERO)[0] for forks in (lower, higher)]
        answers = [forks.guards(ME, ZERO)[0] for forks in (lower, higher)]
        assert any(asks), "somebody asks"
        assert all(answers[1 - who] for who in (0, 1) if asks[who] and not asks[1 - who]), "and is answered"
        asking[all(asks)] += 1
    assert asking[True] > 10 and asking[False] > 10
    assert max(state[0] for state in states) == 9


def test_a_gift_that_is_not_taken_makes_both_ask_and_both_answer() -> None:
    giver, taker = side(0, True, False), side(0, True, True)
    giver.give(ME, ZERO)
    assert not giver.holds(ME, ZERO)[0] and giver.guards(ME, ZERO)[0]
    assert not taker.holds(ME, ZERO)[0]
    word = giver.version[ME, ZERO] % FORKS
    assert taker.offered(ME, ZERO, word)[0]
    taker.take(ME, ZERO)
    assert taker.holds(ME, ZERO)[0]
    giver.hear(ME, ZERO, taker.version[ME, ZERO] % FORKS)
    assert not giver.guards(ME, ZERO)[0] and giver.known.all()


@pytest.mark.parametrize(("mine", "theirs"), [*product([False, True], repeat=2)])
def test_who_comes_late_asks_everybody_who_is_there(mine: bool, theirs: bool) -> None:
    late = np.array([[mine, theirs]] * 2)
    forks = Forks.at_the_start(np.array([0, 1]), late)
    low_holds = not mine or theirs
    assert forks.holds(np.array([0]), np.array([1]))[0] == low_holds
    assert forks.holds(np.array([1]), np.array([0]))[0] != low_holds
    assert forks.holds(np.arange(2))[[0, 1], [0, 1]].all() and not forks.guards(np.arange(2))[[0, 1], [0, 1]].any()
