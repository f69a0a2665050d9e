"""Committed plans stay apart under hazards beyond the radio, and each hazard is one without the rule made for it."""

from __future__ import annotations

import pytest
from air import Air, RandomChoice, Schedule, schedules
from hazards import ROUND_S, Giving, Hazards, brave
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agentsc.baselines.weakened import BLOCKS
from agentsc.protocol import PROTOCOLS
from agentsc.protocol.variants.negotiated import NegotiatedBlock

LANES = 40
hazards = st.builds(
    Hazards,
    skew=st.sampled_from([0, 0, 1, 3]),
    crashes=st.sampled_from([0.0, 0.003, 0.02]),
    down=st.sampled_from([0, 3, 40]),
    late=st.sampled_from([0, 1, 3]),
    gifts=st.sampled_from([0.0, 0.02, 0.3]),
    parted=st.sampled_from([0.0, 0.3]),
)
ROUGH = Schedule(loss=0.3, repeat=0.2, delay=8, stall=5, tail=0.05)


def weakened(rule: str, **parameters: object) -> dict:
    """Arguments of `brave` for a weakened rule."""
    planner = type("RandomWeakened", (Giving, RandomChoice, BLOCKS[rule]), {})  # type: ignore[index]
    return {"planner": planner, "variant": PROTOCOLS.create("weakened", rule=rule, replan_ticks=2, **parameters)}


class GivingIntent(Giving, NegotiatedBlock):
    """The real planner, which gives forks away at random besides."""


def test_nothing_that_can_happen_brings_agents_closer_than_touching(request: pytest.FixtureRequest) -> None:
    """Loss, delay, repetition, disorder, partitions, differing clocks, crashes, late arrivals, forks: all at once."""
    thorough = request.config.getoption("--long")
    flown = []

    @settings(
        max_examples=300 if thorough else 10, deadline=None, derandomize=not thorough, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(schedules, hazards, st.integers(3, 6), st.sampled_from([0, 255]), st.integers(0, 2**31))
    def anything(schedule: Schedule, hazard: Hazards, agents: int, first_seq: int, seed: int) -> None:
        # Where clocks differ, agents that stand closer than the widened distance could never move.
        apart, half = 0.12 + 0.026 * hazard.skew, 0.38 + 0.04 * hazard.skew
        outcome = brave(
            schedule, hazard, lanes=LANES, agents=agents, ticks=80, seed=seed, apart=apart, half=half,
            first_seq=first_seq,
        )  # fmt: skip
        assert not outcome.collided.any(), f"{outcome.closest.min():.4f} m"
        flown.append((LANES, outcome.commits, outcome.crashes, outcome.gifts, outcome.refused))

    anything()
    lanes, commits, crashes, gifts, refused = map(sum, zip(*flown, strict=True))
    assert lanes >= (10_000 if thorough else 400)
    assert commits > 5 * lanes and crashes > lanes and gifts > lanes and refused == 0
    print(f"{lanes} schedules: {commits} commits, {crashes} crashes, {gifts} forks given and taken, no contact")


@pytest.mark.parametrize("schedule", [Schedule(), ROUGH], ids=["perfect", "rough"])
def test_the_whole_planner_is_safe_under_all_hazards(schedule: Schedule) -> None:
    hazard = Hazards(skew=2, crashes=0.003, down=20, late=1, gifts=0.02, parted=0.3)
    outcome = brave(schedule, hazard, lanes=6, seed=3, planner=GivingIntent, apart=0.17, half=0.46)
    assert not outcome.collided.any() and outcome.commits > 60 and outcome.crashes > 3


def test_restarted_processes_move_again() -> None:
    """A crash each, early on; those who die are those who move later."""
    once = Hazards(crashes=0.01, down=4)
    moving = brave(ROUGH, once, ticks=160, seed=1).commits
    dying = brave(ROUGH, once, ticks=80, seed=1).commits
    assert moving > 1.5 * dying


@pytest.mark.parametrize("skew", [1, 3, 8])
@pytest.mark.parametrize("schedule", [Schedule(), ROUGH], ids=["perfect", "rough"])
def test_clocks_that_differ_by_what_is_allowed_for_do_no_harm(skew: int, schedule: Schedule) -> None:
    flown = brave(schedule, Hazards(skew=skew), apart=0.12 + 0.026 * skew, half=0.5)
    assert not flown.collided.any(), f"{flown.closest.min():.4f} m"
    assert flown.commits > 200 and flown.refused == 0


def test_clocks_that_differ_more_than_that_do() -> None:
    """Nobody notices, because every packet takes longer than the clocks differ."""

    def slow(air: Air) -> None:
        air.delay[:] = 9

    unaware = PROTOCOLS.create("negotiated", replan_ticks=2)
    flown = brave(Schedule(jitter=0.0), Hazards(skew=8), variant=unaware, lanes=120, half=0.5, links=slow)
    assert flown.refused == 0 and flown.collided.sum() >= 2


def test_waiting_for_early_packets_is_not_enough_where_plans_are_not_widened() -> None:
    arguments = weakened("narrow-checks", clock_skew_s=8 * ROUND_S)
    assert brave(Schedule(), Hazards(skew=8), half=0.5, **arguments).collided.sum() >= 5


@pytest.mark.parametrize(
    ("rule", "hazard", "least"),
    [
        ("amnesia", Hazards(crashes=0.01, down=4), 20),
        ("hasty-forks", Hazards(gifts=0.05), 10),
        ("blind-forks", Hazards(gifts=0.05), 3),
    ],
)
def test_the_fuzzer_finds_what_a_weaker_rule_lets_through(rule: str, hazard: Hazards, least: int) -> None:
    schedules = Schedule(), ROUGH, Schedule(delay=30, jitter=0.2), Schedule(delay=60, loss=0.3, repeat=0.3)
    found = [brave(schedule, hazard, ticks=100, **weakened(rule)).collided.sum() for schedule in schedules]
    assert sum(found) >= least, found


def test_a_restart_without_a_wait_takes_a_verdict_on_an_earlier_proposal_for_its_own() -> None:
    """Proposals take long enough to be answered after the restart, and verdicts short enough to be in time."""

    def upwards(air: Air) -> None:
        air.delay[:] = 1
        air.delay[:, 1, 0] = 3

    hazard = Hazards(crashes=0.1, down=0)
    flight = {"lanes": 150, "agents": 2, "half": 0.25, "links": upwards}
    assert brave(Schedule(jitter=0.0), hazard, **flight, **weakened("hasty-restart")).collided.sum() >= 3
    assert not brave(Schedule(jitter=0.0), hazard, **flight).collided.any()
