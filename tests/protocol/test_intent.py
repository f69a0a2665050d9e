"""Courses: the order that routes impose, how far it lets everybody go, and agreeing on one under any schedule."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from air import Outcome, RandomChoice, Schedule, crowd, fly, schedules, setup_of
from hazards import ROUND_S, Giving, Hazards, brave
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import agentsc
from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import PROGRESS
from agentsc.links.medium import Deliveries
from agentsc.protocol import PROTOCOLS, Block
from agentsc.protocol.courses.phases import AGREED, FREE, GATHERING
from agentsc.protocol.joint.order import Course, Progress, needs
from agentsc.protocol.joint.search import Lead
from agentsc.protocol.joint.settle import Settler, digest
from agentsc.protocol.variants.intent import IntentBlock
from envs.geometry import segment_closest
from envs.scenarios import SCENARIOS

LANES = 24
DISTANCE = 0.105


# -- order -----------------------------------------------------------------------------------------


def set_distance(a: NDArray, b: NDArray, c: NDArray, d: NDArray) -> float:
    """Least distance of two segments, by brute force over both."""
    share = np.linspace(0.0, 1.0, 201)[:, None]
    one, two = a + (b - a) * share, c + (d - c) * share
    return float(np.linalg.norm(one[:, None] - two[None], axis=-1).min())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), agents=st.integers(2, 4), steps=st.integers(1, 12))
def test_needs_are_what_brute_force_finds(seed: int, agents: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    step = rng.uniform(0.0, 0.05, (steps, agents, 1)) * (rng.random((steps, agents, 1)) < 0.8)
    angle = np.cumsum(rng.normal(0.0, 0.7, (steps, agents)), 0)
    moves = step * np.stack([np.cos(angle), np.sin(angle)], -1)
    route = rng.uniform(-0.15, 0.15, (1, agents, 2)) + np.concatenate([np.zeros((1, agents, 2)), np.cumsum(moves, 0)])
    route = route.astype(np.float32)
    need, _ = needs(route, DISTANCE)
    for i in range(agents):
        for j in range(agents):
            for a in range(steps):
                gaps = [
                    set_distance(route[a, i], route[a + 1, i], route[b, j], route[b + 1, j]) if i != j else np.inf
                    for b in range(a)
                ]
                close = [b for b, gap in enumerate(gaps) if gap < DISTANCE - 2e-3]
                maybe = [b for b, gap in enumerate(gaps) if gap < DISTANCE + 2e-3]
                low, high = max(close, default=-1) + 1, max(maybe, default=-1) + 1
                assert low <= need[i, j, a] <= high or need[i, j, a] == a + 1, "the last one comes from a tie"


def crossing(gap: int) -> NDArray[np.float32]:
    """Two agents cross at right angles, the second one ``gap`` steps after the first."""
    along = np.linspace(-0.5, 0.5, 21, dtype=np.float32)
    wait = np.full(gap, -0.5, np.float32)
    first = np.stack([np.append(along, wait + 1.0), np.zeros(21 + gap)], -1)
    second = np.stack([np.zeros(21 + gap), np.append(wait, along)], -1)
    return np.stack([first, second], 1).astype(np.float32)


def test_who_crosses_later_waits_for_word() -> None:
    course = Course.of(crossing(6), DISTANCE)
    assert course is not None
    first, second = (Progress(course, np.array([k])) for k in (0, 1))
    may = np.ones(1, bool)
    first.extend(0, may), second.extend(0, may)
    assert first.steps[0] == course.steps, "nobody comes before it"
    assert 0 < second.steps[0] < course.steps
    stopped = course.route[second.steps[0], 1]
    assert stopped[1] <= -DISTANCE, "it stops before the crossing"
    told = np.zeros(1, np.int64)
    now, later, news = (part[0, 1] for part in first.awaited(told))
    assert later and news and not now, "the second one will need word"
    assert not first.awaited(first.steps)[2].any(), "nothing new to one who was told"
    first.hear(np.array([0]), np.array([1]), *map(np.int64, second.word(np.array([0]))))
    assert first.awaited(told)[0][0, 1], "and now it does"

    # Word that comes late holds it up; word of a later step tells about earlier ones, too.
    second.hear(np.array([0]), np.array([0]), np.array([course.steps]), np.array([60]))
    second.extend(20, may)
    assert second.steps[0] == course.steps
    starts = np.flatnonzero(np.diff(second.done[0]) > 1)
    assert len(starts) >= 1, "it had to wait for the first one, whose last step is made at tick 60"
    first.hear(np.array([0]), np.array([1]), second.steps, second.done[:, -1])
    assert not first.awaited(told)[1].any()


def test_routes_that_follow_closely_are_spaced_by_waiting() -> None:
    along = np.linspace(0.0, 1.0, 21, dtype=np.float32)
    lead = np.stack([along + 0.11, np.zeros(21)], -1)
    route = np.stack([lead, lead - np.float32([0.11, 0.0])], 1).astype(np.float32)
    need, (ties, stuck) = needs(route, DISTANCE)
    assert ties > 10 and stuck == 0
    course = Course.of(route, DISTANCE)
    assert course is not None and course.steps > 20
    assert needs(course.route, DISTANCE)[1] == (0, 0)
    assert (need[0, 1] == 0).all(), "the one in front waits for nobody"


def test_two_that_must_trade_places_in_one_step_have_no_course() -> None:
    route = np.float32([[[0.0, 0.0], [0.106, 0.0]], [[0.053, 0.092], [0.053, -0.092]], [[0.106, 0.0], [0.0, 0.0]]])
    assert Course.of(route, DISTANCE) is None


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), loss=st.sampled_from([0.0, 0.5, 0.9]))
def test_in_any_order_of_words_nobody_comes_too_close_and_all_arrive(seed: int, loss: float) -> None:
    course = bank(5)[seed % LANES]
    if course is None:
        return
    rng, agents = np.random.default_rng(seed), course.route.shape[1]
    progress = Progress(course, np.arange(agents))
    words: list[tuple[int, NDArray, NDArray, NDArray]] = []
    path = []
    for tick in range(4000):
        # Who may go on, when, and how far ahead is anybody's guess.
        progress.extend(tick, rng.random(agents) < 0.7, int(rng.integers(1, 40)))
        words.append((tick + int(rng.integers(1, 40)), *progress.word(np.arange(agents)), rng.random((agents, agents))))
        for due, steps, done, luck in words:
            if due == tick:
                row, peer = np.nonzero((luck >= loss) & ~np.eye(agents, dtype=bool))
                progress.hear(row, peer, steps[peer], done[peer].astype(np.int64))
        words = [word for word in words if word[0] > tick]
        path.append(course.route[(progress.done <= tick).sum(1) - 1, np.arange(agents)])
        if (progress.steps == course.steps).all() and (progress.done[:, -1] <= tick).all():
            break
    assert (progress.steps == course.steps).all()
    spots = np.stack(path)
    first, second = np.triu_indices(agents, 1)
    closest = segment_closest(spots[:-1, first], spots[1:, first], spots[:-1, second], spots[1:, second])
    assert closest.min() >= DISTANCE - 1e-6


# -- settling --------------------------------------------------------------------------------------


@cache
def bank(agents: int) -> list[Course | None]:
    """Courses of a crowd of small arenas; the wishes are those of the fuzzed fleet."""
    world = crowd(LANES, agents, 11)
    settler = Settler(world, DISTANCE, attempts=8, repairs=0)
    return [settler.course(world.starts[k], world.goals[k], (0, k)) for k in range(LANES)]


def test_who_wants_to_where_another_goes_makes_room() -> None:
    world = crowd(1, 3, 0, half=0.5)
    starts = np.float32([[-0.3, 0.0], [0.3, 0.0], [0.0, 0.3]])
    goals = np.float32([[0.0, 0.02], [0.0, -0.02], [0.3, 0.0]])
    found = Settler(world, DISTANCE, attempts=8, repairs=0).course(starts, goals, (0,))
    assert found is not None
    end = found.route[-1]
    np.testing.assert_allclose(end[[0, 2]], goals[[0, 2]], atol=1e-6)
    assert np.linalg.norm(end[1] - end[[0, 2]], axis=-1).min() >= DISTANCE
    assert np.linalg.norm(end[1] - goals[1]) < 0.2, "as near as it may be"


def test_everybody_works_out_the_same_course() -> None:
    world = crowd(2, 4, 11)
    one, two = (Settler(world, DISTANCE, attempts=8, repairs=0) for _ in range(2))
    course = one.course(world.starts[0], world.goals[0], (0, 0))
    again = two.course(world.starts[0], world.goals[0], (0, 0))
    assert course is not None and again is not None and digest(course) == digest(again)
    other = two.course(world.starts[0], world.goals[0] * np.float32(0.9), (0, 0))
    assert other is None or digest(other) != digest(course)
    np.testing.assert_array_equal(course.route[0], world.starts[0])
    np.testing.assert_allclose(course.route[-1], world.goals[0], atol=1e-6)


# -- the protocol ----------------------------------------------------------------------------------


class RandomCourse(RandomChoice, IntentBlock):
    """The real protocol; who has left it draws plans at random."""


def fleet(
    schedule: Schedule, agents: int, seed: int, weaken: object = None, patience_s: float = 6.0,
    silence_s: float | None = None,
) -> Outcome:  # fmt: skip
    """Lanes of the bank's crowd under a schedule; in some, no course is found. Nobody is left out, unless asked for."""

    courses = bank(agents)
    starts = crowd(LANES, agents, 11).starts

    def prepare(block: IntentBlock) -> None:
        def look_up(begin: NDArray, goals: NDArray, key: object, tick: int, lead: Lead) -> Course | None:
            first = np.flatnonzero((starts == begin).all((1, 2)))
            # Who had to make room will ask for another course; there is none.
            return courses[int(first[0])] if len(first) else block.settler.halt(begin, tick, lead)

        block.settler._work_out = look_up  # type: ignore[method-assign]
        if weaken is not None:
            weaken(block)  # type: ignore[operator]

    return fly(
        schedule, lanes=LANES, agents=agents, ticks=150, seed=11, planner=RandomCourse, prepare=prepare,
        variant=PROTOCOLS.create("intent", replan_ticks=2, patience_s=patience_s, silence_s=silence_s),
        air_seed=seed,
    )  # fmt: skip


def test_no_schedule_brings_agents_closer_than_touching(request: pytest.FixtureRequest) -> None:
    thorough = request.config.getoption("--long")
    flown = []

    @settings(
        max_examples=420 if thorough else 10, deadline=None, derandomize=not thorough, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(schedules, st.integers(3, 6), st.sampled_from([0.5, 6.0]), st.integers(0, 2**31))
    def any_schedule(schedule: Schedule, agents: int, patience_s: float, seed: int) -> None:
        outcome = fleet(schedule, agents, seed, patience_s=patience_s)
        assert not outcome.collided.any(), f"{outcome.closest.min():.4f} m"
        flown.append(LANES)

    any_schedule()
    assert sum(flown) >= (10_000 if thorough else 200)


def sets_out_at_once(block: IntentBlock) -> None:
    """Without waiting for all others to agree."""
    listen = block.listen

    def eager(inbox, clock) -> None:  # type: ignore[no-untyped-def]
        listen(inbox, clock)
        block._set_out(np.flatnonzero(block.phase == AGREED))

    block.listen = eager  # type: ignore[method-assign]


def ignores_the_order(block: IntentBlock) -> None:
    agree = block._agree

    def careless(row: int) -> None:
        agree(row)
        for progress in block.progress.values():
            progress.known[:] = progress.course.steps
            progress.known_at[:] = 0

    block._agree = careless  # type: ignore[method-assign]


def forgets_that_it_agreed(block: IntentBlock) -> None:
    """After a while without news it negotiates plan by plan, though others may have set out."""
    listen = block.listen

    def forgetful(inbox, clock) -> None:  # type: ignore[no-untyped-def]
        listen(inbox, clock)
        if clock == 12:
            block.phase[block.phase == AGREED] = FREE

    block.listen = forgetful  # type: ignore[method-assign]


@pytest.mark.parametrize("weaken", [sets_out_at_once, ignores_the_order, forgets_that_it_agreed])
def test_the_fuzzer_finds_what_a_weaker_rule_lets_through(weaken: object) -> None:
    rough = Schedule(loss=0.7, repeat=0.2, delay=8, stall=5, tail=0.05)
    assert sum(fleet(rough, 6, seed, weaken, 2.0).collided.sum() for seed in (2, 3)) >= 2


def test_words_of_a_course_that_one_has_not_agreed_to_mean_nothing() -> None:
    setup = setup_of(crowd(1, 3, 0))
    block = IntentBlock(PROTOCOLS.create("intent"), setup, [0, 1, 2])
    message = Message.blank(2, setup.spec)
    message.id[:], message.kind[:], message.course[:] = 1, PROGRESS, (0, 7)
    message.steps[:], message.done[:] = 9, 9
    data, bits = encode(message, setup.spec)
    zero, small = np.zeros(2, np.int64), np.zeros(2, np.int32)
    block.listen(Deliveries(zero, zero + 1, zero, zero, zero * 1.0, np.arange(2), data, bits, small, small > 0), 1)
    assert (block.phase == GATHERING).all() and (block.number == -1).all()


class SkewedCourse(Giving, RandomCourse):
    """The same, for fleets whose clocks differ."""


@pytest.mark.parametrize("waits", [True, False])
def test_clocks_may_differ_because_agents_wait_that_much_longer(waits: bool) -> None:
    hazards = Hazards(skew=16)
    blocks: list[SkewedCourse] = []

    def planner(*told: Any) -> SkewedCourse:
        blocks.append(SkewedCourse(*told))
        blocks[-1].slack *= waits
        return blocks[-1]

    variant = PROTOCOLS.create("intent", attempts=8, repairs=0, patience_s=60.0, clock_skew_s=hazards.skew * ROUND_S)
    schedule = Schedule(loss=0.3, delay=3)
    flown = brave(
        schedule, hazards, lanes=8, agents=5, ticks=100, seed=5, planner=planner, variant=variant, half=0.4, apart=0.14
    )
    assert flown.collided.any() == (not waits), flown.closest
    assert sum((block.number >= 0).sum() for block in blocks) > 20, "most set out"


def random_spots(count: int, half: float, *key: int) -> NDArray[np.float64]:
    """Places [count, 2] of a square that agents can rest at side by side."""
    rng, spots = np.random.default_rng(key), np.empty((count, 2))
    for k in range(count):
        while True:
            spots[k] = rng.uniform(0.06 - half, half - 0.06, 2)
            if (np.linalg.norm(spots[:k] - spots[k], axis=-1) > 0.14).all():
                break
    return spots


@pytest.mark.parametrize(
    "schedule", [Schedule(), Schedule(loss=0.4, repeat=0.3, delay=10, tail=0.1), Schedule(loss=0.6, delay=3, stall=7)],
    ids=["perfect", "rough", "lossy"],
)  # fmt: skip
def test_wishes_may_change_on_the_way(schedule: Schedule) -> None:
    blocks: list[IntentBlock] = []

    def meanwhile(block: IntentBlock, tick: int) -> None:
        if tick == 0:
            blocks.append(block)
        if tick % 30 != 12 or tick > 100:
            return
        for lane in range(block.lanes):
            luck = np.random.default_rng([tick, lane]).random(block.agents) < (0.5 if tick > 12 else 1.0)
            rows = lane * len(block.ids) + np.flatnonzero(luck[block.ids])
            spots = random_spots(3 * block.agents, 0.5, lane).reshape(block.agents, 3, 2)
            block.goal[rows] = spots[block.id[rows], tick // 30 % 3]
            block.restless[rows] = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("air.crowd", lambda lanes, agents, seed, **rest: crowd(lanes, agents, seed, half=0.5, **rest))
        outcome = fly(
            schedule, lanes=2, agents=4, ticks=400, seed=3, planner=RandomCourse, meanwhile=meanwhile,
            variant=PROTOCOLS.create("intent", attempts=8, repairs=0, patience_s=60.0, renew_s=0.3),
        )  # fmt: skip
    assert not outcome.collided.any(), outcome.closest
    number = np.concatenate([block.number.reshape(2, -1) for block in blocks], axis=1)
    assert (number >= 2).all() and (np.ptp(number, axis=1) <= 1).all()
    for block in blocks:
        resting = block.executed(block.rows, np.full((len(block.rows), 1), 500))[:, 0]
        away = np.linalg.norm(resting - block.goal, axis=-1)
        assert (away < 1e-3).all()


def test_a_fleet_arrives_by_its_course_and_says_little() -> None:
    weave = {"name": "weave", "agents": 8}
    result = agentsc.run(scenario=weave, protocol="intent", link="erasure:p=0.5", episodes=2)
    metrics = result.metrics
    assert metrics["success_rate"]["mean"] == 1.0 and metrics["collision_free_rate"]["mean"] == 1.0
    assert metrics["bits_per_agent_s"]["mean"] < 1000


def test_with_a_limit_on_acceleration_everybody_negotiates() -> None:
    world = SCENARIOS.create("weave", agents=4, a_max=2.0).build(seed=0, episodes=np.arange(1))
    block: Block = IntentBlock(PROTOCOLS.create("intent"), setup_of(world), range(4))
    assert isinstance(block, IntentBlock) and (block.phase == FREE).all()
