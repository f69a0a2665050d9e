"""Committed plans stay apart under hazards beyond the radio, and each hazard is one without the rule made for it."""

from __future__ import annotations

import pytest
from air import Air, RandomChoice, Schedule
from hazards import ROUND_S, Hazards, brave

from agentsc.baselines.weakened import BLOCKS
from agentsc.protocol import PROTOCOLS

ROUGH = Schedule(loss=0.3, repeat=0.2, delay=8, stall=5, tail=0.05)


def weakened(rule: str, **parameters: object) -> dict:
    """Arguments of `brave` for a weakened rule."""
    planner = type("RandomWeakened", (RandomChoice, BLOCKS[rule]), {})  # type: ignore[index]
    return {"planner": planner, "variant": PROTOCOLS.create("weakened", rule=rule, replan_ticks=2, **parameters)}


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

    unaware = PROTOCOLS.create("intent", replan_ticks=2)
    flown = brave(Schedule(jitter=0.0), Hazards(skew=8), variant=unaware, lanes=120, half=0.5, links=slow)
    assert flown.refused == 0 and flown.collided.sum() >= 2


def test_waiting_for_early_packets_is_not_enough_where_plans_are_not_widened() -> None:
    arguments = weakened("narrow-checks", clock_skew_s=8 * ROUND_S)
    assert brave(Schedule(), Hazards(skew=8), half=0.5, **arguments).collided.sum() >= 5
