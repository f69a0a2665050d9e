"""Leaders and followers, and agents that draw their roles: who leads, who switches, and that nobody touches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from air import RandomChoice, Schedule, fly, schedules
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agentsc.experiment.config import resolve
from agentsc.experiment.run import prepare
from agentsc.experiment.runner import run_lanes
from agentsc.intent.codec import decode
from agentsc.intent.fields import PLAN
from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.terms.anchor import AnchorTerm
from agentsc.protocol.variants.leader_follower import LeaderFollowerBlock
from agentsc.protocol.variants.role_switching import INSISTING, PASSES, YIELDS, RoleSwitchingBlock
from envs.scenarios import SCENARIOS

VARIANTS = ["leader-follower", "role-switching"]


class RandomFollowers(RandomChoice, LeaderFollowerBlock):
    """Leaders and followers around random plans."""


class RandomRoles(RandomChoice, RoleSwitchingBlock):
    """Roles around random plans, taken up at every chance."""

    def imagine(self, clock: int) -> None:
        super().imagine(clock)
        self.own_priority = self.priority(self.now)


def block_of(protocol: str, scenario: str, options: dict[str, Any] | None = None, **own: Any) -> Any:
    world = SCENARIOS.create(scenario, **own).build(3, [0])
    setup = Setup.of(world, prior="edge-prior", rounds=2, seed=3)
    block: Any = PROTOCOLS.create(protocol, **(options or {})).block(setup, list(range(world.agents)))
    block.advance(0)
    block.clock = 0
    return block


# -- safety ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", [RandomFollowers, RandomRoles])
def test_no_schedule_brings_agents_closer_than_touching(planner: Any, request: pytest.FixtureRequest) -> None:
    thorough = request.config.getoption("--long")
    protocol = VARIANTS[planner is RandomRoles]
    options = {"blocked_s": 0.2, "dwell_s": 0.3} if planner is RandomRoles else {"silence_s": 0.3}
    variant = PROTOCOLS.create(protocol, replan_ticks=2, **options)

    @settings(
        max_examples=150 if thorough else 5, deadline=None, derandomize=not thorough, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(schedules, st.integers(3, 6), st.integers(0, 2**31))
    def any_schedule(schedule: Schedule, agents: int, seed: int) -> None:
        outcome = fly(schedule, lanes=30, agents=agents, ticks=50, seed=seed, planner=planner, variant=variant)
        assert not outcome.collided.any(), f"{outcome.closest.min():.4f} m"
        assert outcome.commits.mean() > 1, "somebody moved"

    any_schedule()


@pytest.mark.parametrize("protocol", VARIANTS)
def test_the_whole_planner_is_safe_on_random_samples(protocol: str) -> None:
    variant = PROTOCOLS.create(protocol)
    make = lambda variant, setup, ids: variant.block(setup, ids)  # noqa: E731
    rough = Schedule(loss=0.3, repeat=0.2, delay=8, stall=5, tail=0.05)
    outcome = fly(rough, lanes=5, agents=5, ticks=40, seed=3, planner=make, variant=variant)
    assert not outcome.collided.any() and outcome.commits.sum() > 30


# -- leaders -----------------------------------------------------------------------------------------


def test_the_lowest_number_leads_until_it_is_silent_and_then_the_next_does() -> None:
    block = block_of("leader-follower", "weave", {"silence_s": 1.0}, agents=4)
    assert block.leader().tolist() == [0, 0, 0, 0]
    block.clock = 1000
    block.knowledge.heard[:] = 995
    assert block.leader().tolist() == [0, 0, 0, 0]
    block.knowledge.heard[:, 0] = 900  # silent for more than a second
    assert block.leader().tolist() == [0, 1, 1, 1], "the others have the next rank lead; the silent one knows no better"
    block.knowledge.heard[3, 1] = 900  # who does not hear that one either has another view, and that is fine
    assert block.leader().tolist() == [0, 1, 1, 2]
    block.knowledge.heard[:, 0] = 999
    assert block.leader().tolist() == [0, 0, 0, 0], "it is back"


def test_who_is_left_behind_at_the_gap_has_another_leader() -> None:
    block = block_of("leader-follower", "formation", agents=4)
    assert block.leader().tolist() == [0, 0, 0, 0]
    block.knowledge.plans.path[:, 0] = block.own.path[0] = block.setup.world.goals[0, 0]
    assert block.leader().tolist() == [0, 1, 1, 1]


def test_leaders_show_their_plans_and_followers_do_not() -> None:
    block = block_of("leader-follower", "weave", agents=3)
    shown = {}
    for clock in range(2 * 26):
        block.listen(block_inbox(), clock)
        packets = block.speak(None, clock)
        message, _ = decode(packets.data, packets.bits, block.setup.spec)
        for sender, sections in zip(message.id.tolist(), message.sections.tolist(), strict=True):
            shown.setdefault(sender, set()).add(bool(sections & PLAN))
    assert shown == {0: {True}, 1: {False}, 2: {False}}


def block_inbox() -> Any:
    from agentsc.links.medium import Medium

    return Medium("perfect", 1, np.arange(1), 3, 5 / 128).deliver(0)


def test_followers_belong_to_their_slots_of_the_leaders_plan() -> None:
    block = block_of("leader-follower", "formation", march=8)
    assert isinstance(block.terms[0], AnchorTerm)
    block.due, block._start = block.rows, np.zeros(len(block.rows), np.int64)
    step = np.linspace(0.0, 2.0, block.horizon + 1)[:, None] * np.float32([[1.0, 0.0]])
    for table in (block.knowledge.plans.path[:, 0, 0], block.own.path[:1, 1]):
        table[:] = block.setup.world.starts[0, 0] + step
    block.reconcile()
    (_, charge), starts = block._charges[0], block.setup.world.starts[0]
    assert (charge.decay[0] == 0).all(), "the leader has no slot"
    for follower in range(1, len(block.rows)):
        kept = charge.decay[follower] > 0
        assert kept[:4].all()
        expected = (starts[follower] + step)[::2].astype(np.float32)
        np.testing.assert_allclose(charge.place[follower][kept], expected[kept], atol=1e-4)


def test_without_a_slot_it_is_negotiated_but_for_what_leaders_show() -> None:
    tree = {"scenario": {"name": "weave", "agents": 4}, "episodes": 1, "seed": 3, "device": "cpu", "ticks": 30}
    digests = []
    for protocol in ({"name": "negotiated"}, {"name": "leader-follower", "follow": 0.0}):
        job = prepare(resolve(None, {**tree, "protocol": protocol}))
        digests.append(run_lanes(job.config, job.world).digest())
    assert digests[0] == digests[1]


# -- roles -------------------------------------------------------------------------------------------


def test_roles_are_drawn_from_the_softmax_and_keyed() -> None:
    block = block_of("role-switching", "weave", {"temperature_s": 2.0}, agents=2)
    cost = np.array([[1.0, 3.0, np.inf]])
    drawn = []
    for now in range(3000):
        block.now = now
        drawn.append(int(block.draw(cost, np.array([1]), "place")[0]))
    share = np.bincount(drawn, minlength=3) / len(drawn)
    expected = 1.0 / (1.0 + np.exp(-1.0))
    assert share[0] == pytest.approx(expected, abs=0.03) and share[2] == 0.0
    block.now = 7
    again = [int(block.draw(cost, np.array([1]), "place")[0]) for _ in range(3)]
    assert again == [drawn[7]] * 3
    cold = block_of("role-switching", "weave", {"temperature_s": 0.0}, agents=2)
    assert cold.draw(np.array([[2.0, 1.0]]), np.array([0]), "turn").tolist() == [1]


def test_a_queue_makes_some_switch_and_an_empty_place_nobody() -> None:
    def switched(waiting: int) -> int:
        block = block_of("role-switching", "lifelong-warehouse", {"service_s": 20.0}, agents=8, any_station=True)
        centre = block.setup.world.resources.centre
        block._newly[:] = False
        block.own.path[:] = centre[0] + np.float32([4.0, 0.0])
        block.goal[0] = centre[0]
        for peer in range(1, 1 + waiting):
            block.intents.goal[0, peer], block.intents.clock[0, peer] = centre[0], 1
            block.knowledge.plans.path[0, peer] = centre[0] + np.float32([1.0, 0.0])
        block.rethink()
        return int(block.switches[0])

    assert switched(0) == 0 and switched(6) == 1


def test_who_is_blocked_draws_and_says_so_and_goes_on_after_that() -> None:
    block = block_of("role-switching", "corridor", {"temperature_s": 0.0, "dwell_s": 2.0}, agents=2)
    spot = np.float32([6.5, 2.5])  # just inside
    block.own.path[0] = spot
    block.priority(0)
    assert block.priority(2)[0] == 1, "not blocked yet"
    tick = 20
    block.now = tick
    block.intents.goal[0, 1], block.intents.clock[0, 1] = np.float32([2.5, 2.5]), 1
    block.knowledge.plans.path[0, 1] = np.float32([8.0, 2.5])
    assert block.setup.world.goals[0, 0, 0] > 15.0
    first = block.priority(tick)[0]
    assert block.stance_now[0] in (PASSES, YIELDS)
    fields = block.token(np.array([0]))
    assert fields["mode"][0] == 1 and fields["role"][0] == (block.stance_now[0] == YIELDS)
    if block.stance_now[0] == YIELDS:
        assert first == 0 and (block.goal[0] != block.given[0]).any()
    else:
        assert first == INSISTING
    block.now = tick + block.dwell
    block.progress_tick[:] = block.now
    block.priority(block.now)
    np.testing.assert_array_equal(block.goal[0], block.given[0])


def test_yielding_is_the_cheaper_the_nearer_a_wide_place_is() -> None:
    block = block_of("role-switching", "corridor", agents=2)
    deep, shallow = np.float32([11.0, 2.5]), np.float32([5.5, 2.5])
    block.own.path[0], block.own.path[1] = deep, shallow
    far, near = block._aside_s(np.array([0, 1]))
    assert far > 3.0 * near > 0.0
