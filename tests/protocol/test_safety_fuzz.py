"""Committed plans stay apart whatever the radio does: no loss, delay, repetition or order breaks the rule.

Every example flies many lanes at once, each with its own packet schedule. The same fuzzer is
turned on deliberately broken rules, where it has to find collisions, so it cannot pass blindly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from air import Air, Schedule, fly
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agentsc.protocol.variants.intent import IntentBlock

LANES = 40
schedules = st.builds(
    Schedule,
    loss=st.sampled_from([0.0, 0.2, 0.5, 0.9]),
    repeat=st.sampled_from([0.0, 0.3, 1.0]),
    delay=st.sampled_from([1, 4, 20, 120]),
    stall=st.sampled_from([1, 7, 40]),
    tail=st.sampled_from([0.0, 0.1]),
    jitter=st.sampled_from([0.0, 0.3, 1.0]),
)
ROUGH = Schedule(loss=0.3, repeat=0.2, delay=8, stall=5, tail=0.05)


def test_no_schedule_brings_agents_closer_than_touching(request: pytest.FixtureRequest) -> None:
    thorough = request.config.getoption("--long")
    flown = []

    @settings(
        max_examples=300 if thorough else 12, deadline=None, derandomize=not thorough, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],  # an example is small as it is
    )  # fmt: skip
    @given(schedules, st.integers(3, 6), st.sampled_from([0, 120, 255]), st.integers(0, 2**31))
    def any_schedule(schedule: Schedule, agents: int, first_seq: int, seed: int) -> None:
        outcome = fly(schedule, lanes=LANES, agents=agents, ticks=60, seed=seed, first_seq=first_seq)
        assert not outcome.collided.any(), f"{outcome.closest.min():.4f} m"
        assert (outcome.commits > 0).all()
        flown.append(LANES)

    any_schedule()
    assert sum(flown) >= (10_000 if thorough else 400)


@pytest.mark.parametrize("schedule", [Schedule(), ROUGH], ids=["perfect", "rough"])
def test_the_whole_planner_is_safe_on_random_samples(schedule: Schedule) -> None:
    outcome = fly(schedule, lanes=6, agents=5, ticks=40, seed=3, planner=IntentBlock)
    assert not outcome.collided.any() and outcome.commits.sum() > 60


def test_late_verdicts_do_not_speak_for_later_proposals() -> None:
    """A grantor far away answers a proposal when the same last bits already name another."""

    def one_way_slow(air: Air) -> None:
        air.delay[:] = 1
        air.delay[:, 1, 0] = np.linspace(20, 300, len(air.delay))

    outcome = fly(Schedule(jitter=0.0), lanes=64, agents=2, ticks=400, seed=1, hosts=1, links=one_way_slow)
    assert not outcome.collided.any() and (outcome.proposals > outcome.commits + 8).any()


def never_asks(block: IntentBlock) -> None:
    block.asked_of[:] = False


def releases_locks_early(block: IntentBlock) -> None:
    status, plans = block.knowledge.status, block.knowledge.plans

    def forgetful(row, peer, *news) -> None:  # type: ignore[no-untyped-def]
        status(row, peer, *news)
        plans.valid[row, peer, 1] = False

    block.knowledge.status = forgetful  # type: ignore[method-assign]


def takes_no_for_yes(block: IntentBlock) -> None:
    count = block._count_verdict

    def deaf(row, sender, sent, seq, verdict) -> None:  # type: ignore[no-untyped-def]
        count(row, sender, sent, seq, np.ones_like(verdict))

    block._count_verdict = deaf  # type: ignore[method-assign]


def keeps_grants(block: IntentBlock) -> None:
    """A grant of an earlier proposal is taken for one of any later."""
    count = block._count_verdict

    def sticky(row, sender, sent, seq, verdict) -> None:  # type: ignore[no-untyped-def]
        count(row, sender, sent + 10**6, block.pending.seq[row] % 8, verdict)

    block._count_verdict = sticky  # type: ignore[method-assign]


def numbers_without_care(block: IntentBlock) -> None:
    """After 256 proposals in vain, a new one has the number of the committed plan."""
    block._numbers = lambda rows: (block.seq[rows] + 1) & 255  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("weaken", "first_seq"),
    [(never_asks, 0), (releases_locks_early, 0), (takes_no_for_yes, 0), (keeps_grants, 0), (numbers_without_care, 255)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_fuzzer_finds_what_a_weaker_rule_lets_through(
    weaken: Callable[[IntentBlock], None], first_seq: int
) -> None:
    collided = [
        fly(schedule, lanes=LANES, agents=5, ticks=60, seed=2, weaken=weaken, first_seq=first_seq).collided.sum()
        for schedule in (Schedule(), ROUGH, Schedule(delay=30, jitter=0.2))
    ]
    assert sum(collided) >= 3
