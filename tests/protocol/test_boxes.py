"""Late boxes: how they cross the air, what they leave free, who tells them how often, and plans around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_conformance import TwoBlocks

import agentsc
import agentsc.experiment.runner as runner
from agentsc.intent.plan import PlanSpec
from agentsc.protocol import Setup, Variant
from agentsc.protocol.boxes import PAUSES, Boxes, Seen, box_code, box_of, clear_of_boxes, least_distance, with_boxes
from agentsc.protocol.joint.late import LateMaps
from agentsc.protocol.joint.order import Course
from agentsc.protocol.joint.settle import Settler, digest
from envs.geometry import Obstacles, box_distance
from envs.navigation import NavigationGrid
from envs.scenarios import SCENARIOS
from policies.trajectory.route import Guide

SPEC = PlanSpec((0.0, 0.0, 24.0, 20.0), 1.0, 0.25)
CALM: dict[str, Any] = {"name": "surprise", "agents": 5, "failures": 0, "joins": 0, "role_changes": 0}


def codes_of(*boxes: tuple[float, ...]) -> NDArray[np.int64]:
    return box_code(np.array(boxes, np.float32), SPEC, 1.0)


# -- on the air ------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_what_is_told_covers_the_box_and_is_hardly_larger(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = np.array([[*rng.uniform(2, 18, 2), *rng.uniform(0.1, 2.0, 2), 0.0]], np.float32)
    told = box_of(box_code(box, SPEC, 1.0), SPEC, 1.0)
    (centre, half), (told_centre, told_half) = ((each[0, :2], each[0, 2:4]) for each in (box, told))
    assert (told_centre - told_half <= centre - half + 1e-5).all()
    assert (told_centre + told_half >= centre + half - 1e-5).all()
    assert (told_half - half <= 1 / 32 + 1e-3).all()


# -- what is free ----------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_plans_that_pass_are_clear_by_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.array([[[5.0, 5.0, 0.5, 0.5, 0.0], [7.0, 4.0, 1.0, 0.5, 0.0]]], np.float32).repeat(20, 0)
    path = rng.uniform(3, 8, (20, 1, 2)) + np.cumsum(rng.normal(0.1, 0.15, (20, 16, 2)), 1)
    path = path.astype(np.float32)
    fine = clear_of_boxes(path, boxes, 0.3)
    share = np.linspace(0, 1, 101, dtype=np.float32)[:, None]
    line = (path[:, :-1, None] * (1 - share) + path[:, 1:, None] * share).reshape(20, -1, 2)
    for n in range(20):
        gap = box_distance(line[n, :, None], boxes[n])
        for each in gap.T:
            # Who begins inside is free until it has left; bounds between samples are cautious by a part of a step.
            first = int((each >= 0.4).argmax()) if each[0] < 0.3 else 0
            left = each[first] >= 0.3 or each[0] >= 0.3
            assert not fine[n] or not left or each[first:].min() >= 0.3 - 1e-3
            assert not fine[n] or each[-1] >= 0.3
        assert fine[n] or gap.min() < 0.4, "well clear of both"


def test_who_is_in_a_box_may_leave_it_and_not_come_back() -> None:
    boxes = np.array([[[5.0, 5.0, 0.5, 0.5, 0.0]]], np.float32)
    x = np.arange(5.0, 9.0, 0.2, dtype=np.float32)
    out = np.stack([x, np.full_like(x, 5.0)], -1)[None]
    there_and_back = np.concatenate([out, out[:, ::-1]], axis=1)
    assert clear_of_boxes(out, boxes, 0.3).all()
    assert not clear_of_boxes(there_and_back, boxes, 0.3).any()
    assert not clear_of_boxes(out[:, :2], boxes, 0.3).any(), "it stays inside"


def test_seen_boxes_are_solid_for_those_who_know_them() -> None:
    room = Obstacles((), (0.0, 0.0, 24.0, 20.0))
    codes = codes_of((5.0, 5.0, 0.5, 0.5, 0.0), (9.0, 5.0, 0.5, 0.5, 0.0))
    boxes = Boxes(np.arange(3, dtype=np.uint64), SPEC, 1.0)
    assert boxes.note(np.array([0, 1, 1]), codes[[0, 0, 1]]).tolist() == [0, 1]
    assert boxes.note(np.array([1]), codes[:1]).tolist() == [], "it knew that"
    spots = np.array([[[5.0, 5.0], [9.0, 5.0]]], np.float32).repeat(3, 0)
    inside = Seen(room, boxes.shapes).signed_distance(spots) < 0
    assert inside.tolist() == [[True, False], [True, True], [False, False]]
    assert boxes.key[2] == 0 and len(set(boxes.key.tolist())) == 3
    assert boxes.of(1) == tuple(sorted(map(tuple, codes.tolist())))
    whole = with_boxes(room, box_of(codes, SPEC, 1.0))
    rng = np.random.default_rng(4)
    points = rng.uniform(4, 10, (1, 50, 2)).astype(np.float32)
    np.testing.assert_allclose(
        np.minimum(room.signed_distance(points), least_distance(points, boxes.shapes[1:2])),
        whole.signed_distance(points), atol=1e-5,
    )  # fmt: skip


# -- telling ---------------------------------------------------------------------------------------


def told_by(heard_at: set[int], rounds: int = 200) -> list[int]:
    """Rounds in which a row tells a box that it learns of in round 0; others are heard in some."""
    boxes = Boxes(np.array([77], np.uint64), SPEC, 1.0)
    code = codes_of((5.0, 5.0, 0.5, 0.5, 0.0))
    boxes.note(np.array([0]), code)
    boxes.start_telling(np.array([0]), 0)
    told = []
    for clock in range(1, rounds):
        if clock in heard_at:
            boxes.hear(np.array([0, 0]), code[[0, 0]])
        due = boxes.due(clock)
        if due.any():
            told.append(clock)
            boxes.tell(due, clock)
    return told


def test_a_box_is_told_a_few_times_with_growing_pauses() -> None:
    told = told_by(set())
    assert len(told) == len(PAUSES)
    assert (np.diff(told) >= np.array(PAUSES[1:])).all() and told[-1] <= 2 * sum(PAUSES) + 8


def test_who_has_heard_it_told_often_enough_is_silent() -> None:
    assert told_by(set(range(1, 200))) == []
    first = told_by(set())[0]
    assert told_by({first + 1})[:1] == [first] and len(told_by({first + 1})) == len(PAUSES) - 1


# -- ways and courses around them ------------------------------------------------------------------


def test_ways_on_another_map_of_a_guide_go_around_its_box_and_others_do_not() -> None:
    room = Obstacles((), (0.0, 0.0, 12.0, 12.0))
    guide = Guide(NavigationGrid(room, 0.3, 1.0), room, 0.42, 20.0)
    wall = with_boxes(room, np.array([[6.0, 4.0, 0.5, 4.0, 0.0]], np.float32))
    number = guide.add_map(NavigationGrid(wall, 0.3, 1.0), wall)
    goal = np.array([[10.5, 2.5]], np.float32).repeat(2, 0)
    rows = guide.goal_index(goal, np.array([0, number]))
    assert rows[0] != rows[1]
    start = np.array([[2.5, 2.5]], np.float32).repeat(2, 0)
    length = guide.cost_to_go(start, rows)
    assert length[0] == pytest.approx(8.0, abs=0.1) and length[1] > 13.0
    routes = guide.routes(start, rows)
    line = routes.at(np.linspace(0, 14, 200, dtype=np.float32)[None].repeat(2, 0))
    gap = wall.signed_distance(line)
    assert gap[0].min() < 0.0 and gap[1].min() > 0.25
    with pytest.raises(ValueError, match="nodes of the first"):
        guide.add_map(NavigationGrid(room, 0.3, 0.5), room)


def straight(x: NDArray[np.float32], y: float) -> NDArray[np.float32]:
    return np.stack([x, np.full_like(x, y)], -1)


def test_steps_through_boxes_are_found_and_those_that_begin_in_one_are_free() -> None:
    world = SCENARIOS.create("surprise", agents=5).build(3, [0])
    spec = Setup.of(world, prior="edge-prior", rounds=2, seed=3).spec
    x = np.arange(2.0, 8.0, 0.25, dtype=np.float32)
    course = Course.of(np.stack([straight(x, 2.5), straight(x[::-1].copy(), 4.5)], 1), 0.66)
    assert course is not None
    maps = LateMaps(world, spec, lambda each: Settler(each, 0.66, 4, 0))
    code = tuple(box_code(np.array([[5.0, 2.5, 0.5, 0.5, 0.0]], np.float32), spec, 1.0)[0].tolist())
    through = maps.through(course, [code])
    assert not through[:, 1].any()
    into = np.flatnonzero(through[:, 0])
    assert len(into) == 1 and course.route[into[0], 0, 0] <= 4.21 <= course.route[into[0] + 1, 0, 0] + 0.02
    assert maps.around({code}, np.array([[1.0, 1.0]], np.float32)) == (code,)
    assert maps.around({code}, np.array([[1.0, 1.0], [5.2, 2.6]], np.float32)) == (), "somebody rests in it"
    assert maps.settler((code,)) is maps.settler((code,))
    assert digest(course, b"a") != digest(course)


# -- whole runs ------------------------------------------------------------------------------------


BAD = "erasure:p=0.6+delay:ms=200,jitter_ms=400"


def run(
    protocol: dict[str, Any], seed: int, out: Path | None = None, link: str = "erasure:p=0.2", **late: Any
) -> agentsc.RunResult:
    return agentsc.run(
        scenario=CALM | late, protocol=protocol, link=link, episodes=2, ticks=320, seed=seed, out=out,
        set=["record.episodes=[]"],
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["intent", "negotiated"])
def test_fleets_get_home_around_obstacles_and_closed_doors(protocol: str) -> None:
    done = run({"name": protocol}, 31, obstacles=5, doors=6)
    assert done.metrics["collision_free_rate"]["mean"] == 1.0
    assert done.metrics["success_rate"]["mean"] == 1.0


@pytest.mark.parametrize("protocol", ["intent", "negotiated"])
def test_nobody_touches_anything_whatever_becomes_of_packets(protocol: str) -> None:
    done = run({"name": protocol}, 35, link=BAD, obstacles=6, doors=6, role_changes=1)
    assert done.metrics["collision_free_rate"]["mean"] == 1.0
    assert done.metrics["brake_activations"]["mean"] == 0.0


def test_without_telling_some_cannot_go_on_but_nobody_crashes() -> None:
    done = run({"name": "intent", "tells_boxes": False}, 7, obstacles=0, doors=8)
    assert done.metrics["collision_free_rate"]["mean"] == 1.0
    assert done.metrics["success_rate"]["mean"] < 1.0


@pytest.mark.parametrize("protocol", ["intent", "negotiated"])
def test_two_blocks_see_and_tell_as_one(protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = run({"name": protocol}, 33, tmp_path / "one", obstacles=3, doors=3)

    def two_blocks(config: Any, variant: Variant, setup: Setup) -> TwoBlocks:
        return TwoBlocks(variant, setup, config.prior.weights, config.device)

    monkeypatch.setattr(runner, "make_fleet", two_blocks)
    two = run({"name": protocol}, 33, tmp_path / "two", obstacles=3, doors=3)
    assert two.digest == one.digest
    np.testing.assert_array_equal(two.log.bits, one.log.bits)
