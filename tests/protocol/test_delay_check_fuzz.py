"""Robust MADER's promise, under random plans and an adversary's packets: safe while its bound holds, not beyond."""

from __future__ import annotations

import numpy as np
import pytest
from air import ROUNDS, Air, RandomChoice, Schedule, crowd, fly, setup_of

from agentsc.baselines.mader import MaderBlock
from agentsc.baselines.rmader import RmaderBlock
from agentsc.protocol import PROTOCOLS

DT = 5 / 64


class RandomMader(RandomChoice, MaderBlock):
    """MADER's checks around plans drawn at random."""


class RandomRmader(RandomChoice, RmaderBlock):
    """RMADER's checks around plans drawn at random."""


def collided(schedule: Schedule, window: int | None, seeds: int = 2, delay: int | None = None) -> int:
    """Lanes of 48 · seeds with a contact.

    Args:
        window: the delay check in rounds, None for MADER. delay: rounds that every packet takes; as the
            schedule says if not given.
    """

    def all_late(air: Air) -> None:
        if delay is not None:
            air.delay[:] = delay

    total = 0
    for seed in range(seeds):
        if window is None:
            variant, planner = PROTOCOLS.create("mader", replan_ticks=2), RandomMader
        else:
            seconds = window * DT / ROUNDS
            variant, planner = PROTOCOLS.create("rmader", replan_ticks=2, delay_check_s=seconds), RandomRmader
        found = fly(schedule, agents=4, ticks=60, seed=seed, planner=planner, variant=variant, links=all_late)
        assert found.commits.mean() > 10, "everybody moves"
        assert (found.proposals > found.commits).any(), "some plans are given up"
        total += int(found.collided.sum())
    return total


@pytest.mark.parametrize("window", [1, 4, 8])
def test_packets_within_the_delay_check_keep_plans_apart(window: int) -> None:
    assert collided(Schedule(delay=window, repeat=0.3), window) == 0, "in any order"
    assert collided(Schedule(jitter=0.0), window, delay=window) == 0, "as late as can be"


@pytest.mark.parametrize("window", [1, 4])
def test_packets_one_round_beyond_the_delay_check_do_not(window: int) -> None:
    assert collided(Schedule(jitter=0.0), window, delay=window + 1) > 0


def test_neither_do_lost_packets() -> None:
    assert collided(Schedule(loss=0.4), 4) > 0


def test_mader_commits_what_rmader_gives_up() -> None:
    late = Schedule(jitter=0.0)
    assert collided(late, None, delay=4) > 10 and collided(late, 4, delay=4) == 0


def test_a_default_delay_check_is_two_ticks() -> None:
    setup = setup_of(crowd(1, 2, 0))
    block = PROTOCOLS.create("rmader").block(setup, [0, 1])
    assert isinstance(block, RmaderBlock) and block.span == 2 * ROUNDS
    exact = PROTOCOLS.create("rmader", delay_check_s=3 * DT / ROUNDS).block(setup, [0, 1])
    assert isinstance(exact, RmaderBlock) and exact.span == 3
    np.testing.assert_array_equal(exact.lead, (ROUNDS + 3) // ROUNDS)
