"""Committed plans stay apart whatever the radio does: no loss, delay, repetition or order breaks the rule.

Every example flies many lanes at once, each with its own packet schedule. The same fuzzer is turned on the
weakened rules that `agentsc.baselines.weakened` names, where it has to find collisions, so it cannot pass blindly.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from air import Air, RandomChoice, RandomPlanner, Schedule, crowd, fly, schedules, setup_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agentsc.baselines.weakened import BLOCKS, Rule
from agentsc.intent.codec import decode
from agentsc.links.medium import Packets
from agentsc.protocol import PROTOCOLS
from agentsc.protocol.variants.negotiated import NegotiatedBlock
from envs.errors import ConfigError

LANES = 40
HAZARDOUS = {"narrow-checks", "amnesia", "hasty-restart", "hasty-forks", "blind-forks"}
"""Weakened rules that only matter when more than packets goes wrong: see `test_hazards_fuzz`."""
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
        assert outcome.commits.mean() > 1, "somebody moved"
        flown.append(LANES)

    any_schedule()
    assert sum(flown) >= (10_000 if thorough else 400)


@pytest.mark.parametrize("schedule", [Schedule(), ROUGH], ids=["perfect", "rough"])
def test_the_whole_planner_is_safe_on_random_samples(schedule: Schedule) -> None:
    outcome = fly(schedule, lanes=6, agents=5, ticks=40, seed=3, planner=NegotiatedBlock)
    assert not outcome.collided.any() and outcome.commits.sum() > 60


def test_late_verdicts_do_not_speak_for_later_proposals() -> None:
    """A grantor far away answers a proposal when the same last bits already name another."""

    def one_way_slow(air: Air) -> None:
        air.delay[:] = 1
        air.delay[:, 1, 0] = np.linspace(20, 300, len(air.delay))

    outcome = fly(Schedule(jitter=0.0), lanes=64, agents=2, ticks=400, seed=1, hosts=1, links=one_way_slow)
    assert not outcome.collided.any() and (outcome.proposals > outcome.commits + 8).any()


@pytest.mark.parametrize("rule", [rule for rule in BLOCKS if rule not in HAZARDOUS])
def test_the_fuzzer_finds_what_a_weaker_rule_lets_through(rule: Rule) -> None:
    planner = type("RandomWeakened", (RandomChoice, BLOCKS[rule]), {})
    variant = PROTOCOLS.create("weakened", rule=rule, replan_ticks=2)
    collided = [
        fly(schedule, lanes=LANES, agents=5, ticks=60, seed=2, planner=planner, variant=variant).collided.sum()
        for schedule in (Schedule(), ROUGH, Schedule(delay=30, jitter=0.2))
    ]
    assert sum(collided) >= 3


def test_every_weaker_rule_can_be_chosen_by_name() -> None:
    setup = setup_of(crowd(1, 2, 0))
    assert set(BLOCKS) == set(get_args(Rule))
    for rule, block in BLOCKS.items():
        assert type(PROTOCOLS.create("weakened", rule=rule).block(setup, [0, 1])) is block
    with pytest.raises(ConfigError, match="rule"):
        PROTOCOLS.create("weakened", rule="none")


def test_packets_that_reach_a_lane_after_its_end_change_no_other_lane() -> None:
    def second_round(ended: int) -> tuple[Packets, NegotiatedBlock]:
        """All agents propose; then verdicts are due, and a lane may have ended in between."""
        setup = setup_of(crowd(6, 2, 0))
        block = RandomPlanner(PROTOCOLS.create("negotiated", replan_ticks=1), setup, [0, 1])
        block.rng = np.random.default_rng(1)
        air = Air(Schedule(), 6, 2, block.rng)
        block.listen(air.deliver(0), 0)
        block.imagine(0)
        air.send(block.speak(block.propose(None, 0), 0), 0)
        block.active = np.arange(6) != ended
        inbox = air.deliver(1)
        block.listen(inbox, 1)
        return block.speak(None, 1), block

    before, all_lanes = second_round(ended=-1)
    message, _ = decode(before.data, before.bits, all_lanes.setup.spec)
    gone = int(before.lane[np.flatnonzero(message.grant_count)[0]])
    after, _ = second_round(ended=gone)
    others = before.lane != gone
    for name in ("lane", "sender", "bits"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name)[others])
    width = after.data.shape[1]
    np.testing.assert_array_equal(after.data, before.data[others][:, :width])
