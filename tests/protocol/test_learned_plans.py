"""The grant rule holds with plans in the learned code as with plain ones, under any packet schedule."""

from __future__ import annotations

import air
import pytest
from air import RandomPlanner, Schedule, fly

from agentsc.intent.codes import PLAN_CODES
from agentsc.protocol import Setup
from agentsc.protocol.variants.negotiated import NegotiatedBlock
from envs.world import World


@pytest.fixture(autouse=True)
def learned(monkeypatch: pytest.MonkeyPatch) -> None:
    code = PLAN_CODES.create("learned")

    def setup_of(world: World, seed: int = 0) -> Setup:
        return Setup.of(world, prior="edge-prior", rounds=air.ROUNDS, seed=seed, code=code)

    monkeypatch.setattr(air, "setup_of", setup_of)


@pytest.mark.parametrize(
    "schedule",
    [Schedule(), Schedule(loss=0.5, repeat=0.3), Schedule(loss=0.3, repeat=0.2, delay=20, stall=7, tail=0.1)],
    ids=["perfect", "lossy", "rough"],
)
def test_committed_plans_stay_apart(schedule: Schedule) -> None:
    outcome = fly(schedule, lanes=40, agents=5, ticks=60, seed=8, planner=RandomPlanner)
    assert not outcome.collided.any(), f"{outcome.closest.min():.4f} m"
    assert outcome.commits.mean() > 1, "somebody moved"


def test_the_whole_planner_is_safe_on_random_samples() -> None:
    outcome = fly(Schedule(loss=0.3, delay=6), lanes=6, agents=5, ticks=40, seed=3, planner=NegotiatedBlock)
    assert not outcome.collided.any() and outcome.commits.sum() > 60
