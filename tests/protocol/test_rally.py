"""Going on without those who are silent: where they may be, agreeing without them, restarts, and safety throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from air import ROUNDS, RandomChoice, Schedule, crowd, schedules, setup_of
from hazards import ROUND_S, Flown, Giving, Hazards, brave
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agentsc.baselines.weakened_courses import BLOCKS
from agentsc.protocol import PROTOCOLS
from agentsc.protocol.courses.phases import FREE, UNDER_WAY
from agentsc.protocol.joint.order import Course
from agentsc.protocol.joint.search import Lead
from agentsc.protocol.joint.settle import Settler
from agentsc.protocol.joint.shadows import Surveyor, clearance, covers
from agentsc.protocol.rally import NOTHING, Rally, Word, corners_of, span, whereabouts
from agentsc.protocol.variants.intent import IntentBlock
from envs import keyed
from envs.geometry import Obstacles

LANES = 20
Floats = NDArray[np.float32]


# -- a search that costs next to nothing -----------------------------------------------------------


class Dashes(Settler):
    """One agent after the other goes straight to a place near its goal, if nobody is in its way there."""

    lines: Floats = np.zeros((0, 2, 2), np.float32)
    clear = 0.0

    def _work_out(self, starts: Floats, goals: Floats, key: Any, tick: int, lead: Lead) -> Course | None:
        order = np.argsort(keyed.uniform(*key, 5, np.arange(len(starts))), kind="stable").tolist()
        here, stride = starts.copy(), self.world.v_max * self.world.dt / 1.001
        rows = [here.copy() for _ in range(int(lead.until.max()) + 1)]
        for agent in order:
            for share in (1.0, 0.6, 0.3):
                end = (starts[agent] + share * (goals[agent] - starts[agent])).astype(np.float32)
                line = np.stack([starts[agent], end])[:, None]
                others = np.delete(here, agent, axis=0)
                rests = np.stack([others, others], 1)
                zero = np.zeros(1, np.int64)
                taken = clearance(line, zero, rests) < 1.01 * self.distance
                if taken or clearance(line, zero, self.lines) < self.clear:
                    continue
                count = int(np.ceil(np.linalg.norm(end - starts[agent]) / stride))
                for step in range(1, count + 1):
                    here[agent] = starts[agent] + np.float32(step / count) * (end - starts[agent])
                    rows.append(here.copy())
                break
        rows.append(here.copy())
        return Course.of(np.stack(rows).astype(np.float32), self.distance, tick, lead) or self.halt(starts, tick, lead)


class Dashing(Surveyor):
    """The same around shadows."""

    def _around(self, lines: Floats, clear: float, distance: float) -> Settler:
        found = Dashes(self.settler.world, distance, 1, 0)
        found.lines, found.clear = lines, clear
        return found

    @staticmethod
    def _reachable(settler: Settler, starts: Floats, goals: Floats) -> Floats:
        return goals


class Restless(Giving, RandomChoice):
    """Everybody wants to be somewhere else now and then; courses are found without much ado."""

    every = 30

    def __init__(self, *told: Any) -> None:
        super().__init__(*told)
        self.settler = Dashes(self.setup.world, self.settler.distance, 1, 0)
        self.surveyor = Dashing(self.settler)

    def listen(self, inbox: Any, clock: int) -> None:
        if clock % self.every == 1:
            x0, y0, x1, y1 = self.setup.world.bounds
            wanted = np.flatnonzero(self.rng.random(len(self.rows)) < 0.5)
            spots = self.rng.uniform((x0 + 0.06, y0 + 0.06), (x1 - 0.06, y1 - 0.06), (len(wanted), 2))
            self.goal[wanted] = spots.astype(np.float32)
            self.restless[wanted] |= self.phase[wanted] == UNDER_WAY
        super().listen(inbox, clock)


class RestlessIntent(Restless, IntentBlock):
    """The real protocol."""


def flown(
    schedule: Schedule, hazards: Hazards, planner: Any = RestlessIntent, *, agents: int = 5, seed: int = 0,
    ticks: int = 100, lanes: int = LANES, silence_s: float | None = 0.6, ahead_ticks: int = 4,
    patience_s: float = 60.0, **rest: Any,
) -> tuple[Flown, list[IntentBlock]]:  # fmt: skip
    """What `brave` finds, and the blocks."""
    blocks: list[IntentBlock] = []

    def made(*told: Any) -> IntentBlock:
        blocks.append(planner(*told))
        return blocks[-1]

    variant = PROTOCOLS.create(
        "intent", patience_s=patience_s, renew_s=0.2, silence_s=silence_s, ahead_ticks=ahead_ticks,
        clock_skew_s=hazards.skew * ROUND_S,
    )  # fmt: skip
    outcome = brave(
        schedule, hazards, lanes=lanes, agents=agents, ticks=ticks, seed=seed, planner=made, variant=variant,
        apart=0.14, half=0.45, **rest,
    )  # fmt: skip
    return outcome, blocks


hazards = st.builds(
    Hazards,
    skew=st.sampled_from([0, 0, 1, 3]),
    crashes=st.sampled_from([0.0, 0.001, 0.005]),
    down=st.sampled_from([0, 10, 120, 2000]),
    late=st.sampled_from([0, 0, 1, 2]),
    parted=st.sampled_from([0.0, 0.2, 0.4]),
)
ROUGH = Schedule(loss=0.4, repeat=0.3, delay=12, stall=5, tail=0.1)


def test_nobody_comes_too_close_whoever_is_left_out(request: pytest.FixtureRequest) -> None:
    thorough = request.config.getoption("--long")
    seen = []

    @settings(
        max_examples=500 if thorough else 6, deadline=None, derandomize=not thorough, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(
        schedules, hazards, st.integers(3, 6), st.sampled_from([4, 32]), st.sampled_from([0.4, 1.0, 60.0]),
        st.integers(0, 2**31),
    )  # fmt: skip
    def anything(
        schedule: Schedule, hazard: Hazards, agents: int, ahead: int, patience: float, seed: int
    ) -> None:
        outcome, blocks = flown(
            schedule, hazard, agents=agents, seed=seed, ahead_ticks=ahead, patience_s=patience
        )
        assert not outcome.collided.any(), f"{outcome.closest.min():.4f} m"
        left_out = sum(int((~block.member).any(1).sum()) for block in blocks)
        anew = sum(int((block.root > 0).sum()) for block in blocks)
        seen.append((LANES, outcome.commits, outcome.crashes, anew, left_out))

    anything()
    lanes, commits, crashes, anew, left_out = map(sum, zip(*seen, strict=True))
    assert lanes >= (10_000 if thorough else 120) and anew > lanes / 4 and left_out > 0
    print(f"{lanes} schedules: {commits} agreements, {crashes} crashes, {anew} ended on a rally's course, no contact")


def weak(rule: str) -> Any:
    """A weakened rule, under the same circumstances."""
    return type("RestlessWeakened", (Restless, BLOCKS[rule]), {})  # type: ignore[index]


def muted(air: Any) -> None:
    """What agents 0 and 1 say is mostly lost; they hear the others."""
    air.loss[:, :2, :] = 0.93


def uneven(air: Any) -> None:
    """Some links are nearly dead."""
    air.loss[:] = np.where(air.rng.random(air.loss.shape) < 0.3, 0.97, 0.1)


@pytest.mark.parametrize(
    ("rule", "schedule", "hazard", "links", "least", "seed", "rest"),
    [
        ("no-majority", Schedule(loss=0.2), Hazards(parted=0.4), None, 3, 4, {}),
        ("no-shadows", Schedule(loss=0.2), Hazards(parted=0.4), None, 3, 4, {}),
        ("short-shadows", Schedule(), Hazards(), muted, 2, 5, {}),
        ("forgetful-votes", Schedule(), Hazards(crashes=0.01, down=10, parted=0.4), None, 2, 4, {}),
        ("hasty-rally", Schedule(), Hazards(), uneven, 1, 4, {}),
        ("turncoats", Schedule(), Hazards(), muted, 1, 5, {"lanes": 60, "agents": 3, "patience_s": 2.0}),
    ],
)
def test_the_fuzzer_finds_what_a_weaker_rule_lets_through(
    rule: str, schedule: Schedule, hazard: Hazards, links: Any, least: int, seed: int, rest: dict[str, Any]
) -> None:
    arguments: dict[str, Any] = {"lanes": 40, "seed": seed, "silence_s": 0.4, "links": links, **rest}
    assert flown(schedule, hazard, weak(rule), **arguments)[0].collided.sum() >= least
    assert not flown(schedule, hazard, **arguments)[0].collided.any()


# -- where those left out may be -------------------------------------------------------------------


def straight(agents: int, steps: int) -> Course:
    """Agents 0 and 2 go to the right; agent 1 goes down, across the way of agent 0 and before it."""
    along = np.linspace(0.0, 0.02 * steps, steps + 1)
    route = np.stack([np.stack([along, np.full(steps + 1, 0.3 * k)], -1) for k in range(agents)], 1)
    route[:, 1] = np.array([0.5, 0.2]) - np.array([0.0, 0.8 / steps]) * np.arange(steps + 1)[:, None]
    found = Course.of(route.astype(np.float32), 0.105)
    assert found is not None
    return found


def word(before: tuple[int, int] = (0, 1), steps: int = 0, low: int = 0, forgetful: bool = False) -> Word:
    return Word((0, 0), (0, 0), 5, before, steps, forgetful, (low,))


def test_whoever_is_left_out_goes_no_farther_than_members_let_it() -> None:
    course = straight(3, 40)
    waits, goes = 0, 1
    assert not course.need[goes, waits].any() and course.need[waits, goes].any()
    step = int(np.flatnonzero(course.need[waits, goes] > 0)[0])
    rally = Rally(9 << 8, (waits,), 3, 0, {goes: word(steps=0, low=2), 2: word(steps=40, low=4)})
    assert span(rally, course, 0) == (4, step), "no farther than where it waits for one that stands still"
    rally.words[goes] = word(steps=40, low=2)
    assert span(rally, course, 0) == (4, 40), "nobody keeps it from its goal"
    rally.words[2] = word(NOTHING)
    assert span(rally, course, 0)[1] == 2, "one has not agreed to the course, so nobody is on it"
    rally.words[2] = word(NOTHING, forgetful=True)
    assert span(rally, course, 0)[1] == 40, "it may have forgotten that it had"
    # A member that has made a step is proof of those that came before it.
    rally = Rally(9 << 8, (goes,), 3, 0, {waits: word(steps=40), 2: word(steps=40)})
    assert span(rally, course, 0)[0] == course.need[waits, goes].max() > 0


def test_shadows_are_polylines_within_the_tolerance() -> None:
    setup = setup_of(crowd(1, 3, 0, half=1.0))
    course, starts = straight(3, 40), setup.world.starts[0]
    rally = Rally(9 << 8, (2,), 3, 0, {0: word(steps=40), 1: word(steps=40)})
    corners = whereabouts(rally, course, starts, setup.spec, 1e-3)
    assert len(corners) == 2 and {corner[0] for corner in corners} == {2}
    ends = setup.spec.point(np.array([corner[1:] for corner in corners]))
    np.testing.assert_allclose(ends, course.route[[0, -1], 2], atol=2 * setup.spec.step)
    assert whereabouts(rally, None, starts, setup.spec, 1e-3) == ((2, *setup.spec.lattice(starts[2]).tolist()),)
    later = course.widened(np.arange(3), 3, corners)
    without = Course(later.route, later.need, 0.1, 0, later.covered, np.array([True, True, False]), corners)
    assert whereabouts(rally, without, starts, setup.spec, 1e-3) == corners, "where it was before, it still may be"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 40), st.sampled_from([1e-4, 1e-2, 0.1]))
def test_corners_keep_every_point_within_the_tolerance(seed: int, count: int, tolerance: float) -> None:
    way = np.cumsum(np.random.default_rng(seed).normal(0, 0.05, (count, 2)), 0)
    kept = corners_of(way, tolerance)
    assert kept[0] == 0 and kept[-1] == count - 1
    lines = np.stack([way[kept[:-1]], way[kept[1:]]], 1).astype(np.float32)
    spots = np.repeat(way[None].astype(np.float32), 2, axis=0)
    for k in range(count):
        assert clearance(spots[:, k : k + 1], np.zeros(1, np.int64), lines) <= tolerance + 1e-5


def test_courses_keep_clear_of_shadows_and_go_as_near_to_their_goals_as_they_can() -> None:
    world = crowd(1, 3, 0, half=0.6)
    starts = np.float32([[-0.4, 0.0], [-0.4, 0.3], [0.45, -0.4]])
    goals = np.float32([[0.4, 0.0], [0.1, 0.3], [0.45, 0.4]])
    wall = {7: np.float32([[0.1, -0.3], [0.1, 0.5]])}
    surveyor = Surveyor(Settler(world, 0.105, 8, 4))
    found = surveyor.course(starts, goals, (0, 1), 3, None, 0.105, wall)
    assert found is not None and found.tick == 3
    lines = np.float32([[[0.1, -0.3], [0.1, 0.5]]])
    assert clearance(found.route, found.covered, lines) >= 0.105 - 1e-3
    np.testing.assert_allclose(found.route[-1, [0, 2]], goals[[0, 2]], atol=1e-5)
    off = np.linalg.norm(found.route[-1, 1] - goals[1])
    assert 0.1 <= off < 0.2, "its goal is taken"
    # Who rests too close to leave stays.
    starts[0] = 0.1 - 0.101, 0.0
    found = surveyor.course(starts, goals, (0, 1), 3, None, 0.105, wall)
    assert found is not None and (found.route[:, 0] == starts[0]).all()


def test_lines_are_covered_by_boxes() -> None:
    lines = np.float32([[[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.6, 0.8]], [[2.0, 2.0], [2.0, 2.0]]])
    assert len(covers(lines[2:], 0.1, 0.05)) == 1
    along = np.linspace(0.0, 1.0, 333)[:, None]
    for k, (a, b) in enumerate(lines[:2]):
        solid = Obstacles(covers(lines[k : k + 1], 0.1, 0.05), (-1.0, -1.0, 3.0, 3.0))
        normal = np.float32([a[1] - b[1], b[0] - a[0]])
        gap = solid.signed_distance((a + along * (b - a) + 0.1 * normal).astype(np.float32))
        assert gap.min() > 0.05 - 6e-4 and gap.max() < 0.051


# -- the protocol ----------------------------------------------------------------------------------


class Dying(Restless, IntentBlock):
    """Agent 0 dies early, and wants change rarely."""

    every = 60

    def listen(self, inbox: Any, clock: int) -> None:
        if clock == 24:
            self.stop(np.flatnonzero(self.id == 0))
        super().listen(inbox, clock)


def test_the_others_go_on_without_one_that_died() -> None:
    outcome, blocks = flown(Schedule(), Hazards(), Dying, ticks=240, lanes=8)
    (block,) = blocks
    others = block.id != 0
    assert not outcome.collided.any()
    assert (block.root[others] > 0).all() and not block.member[others, 0].any()
    assert (block.phase[others] < FREE).all() and (block.number[others] >= 1).any()


class Waking(Dying):
    """Agent 0 is restarted after a while."""

    def listen(self, inbox: Any, clock: int) -> None:
        if clock == 140:
            self.restart(np.flatnonzero(self.id == 0))
        super().listen(inbox, clock)


def test_one_that_was_restarted_takes_part_again() -> None:
    outcome, blocks = flown(Schedule(), Hazards(), Waking, ticks=240, lanes=8)
    (block,) = blocks
    assert not outcome.collided.any()
    assert (block.phase < FREE).all() and block.member.all()
    root = block.root.reshape(8, -1)
    assert (root == root[:, :1]).all() and (root > 0).all() and not block.forgetful.any()


class Halved(Restless, IntentBlock):
    """Half of the fleet dies."""

    def listen(self, inbox: Any, clock: int) -> None:
        if clock == 24:
            self.stop(np.flatnonzero(self.id < 3))
        super().listen(inbox, clock)


def test_a_minority_rests() -> None:
    outcome, blocks = flown(Schedule(), Hazards(), Halved, agents=6, ticks=200, lanes=6)
    (block,) = blocks
    assert not outcome.collided.any() and block.member.all()
    last = block.executed(block.rows, np.tile([80, 100], (len(block.rows), 1)))
    np.testing.assert_array_equal(last[:, 0], last[:, 1])


def test_those_who_are_there_do_not_wait_for_one_that_comes_late() -> None:
    outcome, blocks = flown(Schedule(loss=0.2), Hazards(late=1), ticks=160, lanes=8)
    (block,) = blocks
    assert not outcome.collided.any() and (block.phase != FREE).all()
    assert (block.number.reshape(8, -1) >= 0).sum(1).min() >= 4
    assert outcome.commits > 8


def split(air: Any) -> None:
    """Nobody hears more than two others: there is no majority of which each hears all."""
    apart = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    air.loss[:] = np.where(apart > 2, 1.0, 0.0)


def test_where_no_majority_hears_each_other_the_fleet_negotiates() -> None:
    arguments: dict[str, Any] = {"agents": 6, "lanes": 6, "ticks": 120, "links": split}
    outcome, blocks = flown(Schedule(), Hazards(), patience_s=1.0, **arguments)
    (block,) = blocks
    assert not outcome.collided.any() and block.negotiating.all() and outcome.commits > 36
    (block,) = flown(Schedule(), Hazards(), patience_s=60.0, **arguments)[1]
    assert not block.negotiating.any() and not block.root.any()


def test_without_the_option_everybody_waits_for_ever() -> None:
    outcome, blocks = flown(Schedule(), Hazards(), Dying, ticks=160, lanes=4, silence_s=None)
    (block,) = blocks
    assert not outcome.collided.any() and not block.root.any() and block.member.all()
    assert not PROTOCOLS.create("intent", silence_s=None).restarts and PROTOCOLS.create("intent").restarts
    assert ROUNDS == 2
