"""The centralised bound: its plans are exactly apart, possible to drive, and arrive; or nobody moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentsc
from agentsc.protocol.joint.lattice import UNREACHED, Claim, Lattice
from agentsc.protocol.joint.one import Trip, find
from agentsc.protocol.joint.search import at_ticks, plan, sound, straighten
from agentsc.protocol.plans import separated
from envs.errors import ConfigError
from envs.geometry import segment_clearance, segment_closest
from envs.maps import write_map
from envs.scenarios import SCENARIOS
from envs.world import World


def world_of(name: str, agents: int, **parameters: Any) -> World:
    return SCENARIOS.create(name, agents=agents, **parameters).build(7, range(2))


def drawn(tmp_path: Path, picture: list[str], starts: list[tuple[int, int]], goals: list[tuple[int, int]]) -> World:
    """A grid map, # is blocked, and agents that go from cell to cell (column, row)."""
    write_map(tmp_path / "drawn.map", np.array([[c == "#" for c in row] for row in picture]))
    world = SCENARIOS.create("movingai", map=str(tmp_path / "drawn.map"), agents=len(starts)).build(0, [0])
    cells = np.float32([starts, goals])[:, None] + np.float32(0.5)
    return replace(world, starts=cells[0], goals=cells[1])


def planned(world: World, lane: int = 0, repairs: int = 10) -> np.ndarray:
    return plan(Lattice.of(world), world.starts[lane], world.goals[lane], (0, lane), 20, repairs)


@pytest.mark.parametrize(
    ("scenario", "agents"),
    [
        ("random", 8), ("weave", 12), ("circle", 9), ("highways", 7), ("conveyor", 8), ("drop-region", 9),
        ("warehouse", 8),
    ],
)
def test_plans_are_apart_possible_and_arrive(scenario: str, agents: int) -> None:
    world = world_of(scenario, agents)
    for lane in range(world.lanes):
        paths = planned(world, lane)
        np.testing.assert_array_equal(paths[0], world.starts[lane])
        np.testing.assert_array_equal(paths[-1], world.goals[lane])
        step = np.linalg.norm(np.diff(paths, axis=0), axis=-1)
        assert step.max() <= world.v_max * world.dt * (1 + 1e-5)
        first, second = np.triu_indices(agents, 1)
        path, zero = paths.swapaxes(0, 1), np.zeros(len(first), np.int64)
        assert separated(path[first], zero, path[second], zero, world.separation, zero > 0).all()
        room = segment_clearance(world.obstacles, paths[:-1], paths[1:], world.radius, 1e-4 * world.radius)
        assert room.min() >= 0.999 * world.radius


@pytest.mark.parametrize(("scenario", "agents"), [("weave", 10), ("warehouse", 10)])
def test_a_run_succeeds_without_a_bit_and_no_faster_than_a_straight_line(
    tmp_path: Path, scenario: str, agents: int
) -> None:
    log = agentsc.run(
        scenario=scenario, agents=agents, protocol="central-search", link="erasure:p=1.0", episodes=2, seed=3,
        set=["record.episodes=[]", "protocol.repairs=5"], out=tmp_path / "run",
    ).log  # fmt: skip
    assert log.success.all() and log.bits is not None and not log.bits.any()
    world = SCENARIOS.create(scenario, agents=agents).build(3, range(2))
    straight = np.linalg.norm(world.goals - world.starts, axis=-1) - world.goal_tolerance
    assert (log.arrival_tick * world.dt >= straight / world.v_max - 1e-4).all()


def test_a_lone_agent_goes_nearly_straight_at_nearly_full_speed() -> None:
    world = world_of("random", 1)
    for lane in range(2):
        paths = planned(world, lane)
        gap = float(np.linalg.norm(world.goals[lane] - world.starts[lane]))
        length = float(np.linalg.norm(np.diff(paths, axis=0), axis=-1).sum())
        assert length <= 1.001 * gap
        assert len(paths) - 1 <= gap / (world.v_max * world.dt) + 3


def test_two_in_a_corridor_change_places_in_the_only_bay(tmp_path: Path) -> None:
    world = drawn(
        tmp_path, ["##########", "#........#", "####.#####", "##########"], [(1, 1), (8, 1)], [(8, 1), (1, 1)]
    )
    paths = planned(world)
    np.testing.assert_array_equal(paths[-1], world.goals[0])
    assert sound(world, paths)
    assert (paths[:, :, 1].max(0) > 2.0).sum() == 1, "one of the two lets the other pass in the bay"


def test_where_there_is_no_solution_everybody_stays(tmp_path: Path) -> None:
    world = drawn(tmp_path, ["######", "#....#", "######"], [(1, 1), (4, 1)], [(4, 1), (1, 1)])
    np.testing.assert_array_equal(planned(world), world.starts[0][None])


def test_a_goal_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    world = drawn(tmp_path, ["#####", "#.#.#", "#####"], [(1, 1)], [(3, 1)])
    lattice = Lattice.of(world)
    assert Trip.of(lattice, world.starts[0, 0], world.goals[0, 0]).least == UNREACHED
    np.testing.assert_array_equal(planned(world), world.starts[0][None])


def test_the_way_found_is_the_earliest_around_others() -> None:
    """A peer crosses the goal late: arrival is exactly when it has gone; without it, the least possible."""
    world = world_of("random", 2)
    lattice = Lattice.of(world)
    start, goal = np.float32([-0.5, 0.0]), np.float32([0.5, 0.0])
    trip = Trip.of(lattice, start, goal)
    alone = find(lattice, trip, [], 60)
    assert alone is not None and alone.steps == trip.least
    np.testing.assert_array_equal(alone.path[[0, -1]], [start, goal])
    # The peer comes down through the goal between steps 25 and 35.
    y = np.interp(np.arange(41), [25, 35], [0.5, -0.5])
    peer = Claim(np.stack([np.full(41, 0.5), y], axis=-1))
    late = find(lattice, trip, [peer], 60)
    assert late is not None
    inside = np.abs(peer.at(np.arange(82))[:, 1]) < lattice.distance
    assert late.steps == np.flatnonzero(inside)[-1] // 2 + 1
    gap = np.linalg.norm(late.at(np.arange(82)) - peer.at(np.arange(82)), axis=-1)
    assert gap.min() >= lattice.distance


UNIT = (unit := world_of("random", 2)), Lattice.of(unit)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_distance_at_half_steps_keeps_the_separation_in_between(seed: int) -> None:
    world, lattice = UNIT
    rng = np.random.default_rng(seed)
    begin = rng.uniform(-0.1, 0.1, (400, 2, 2))
    angle, length = rng.uniform(0, 2 * np.pi, (400, 2)), lattice.step_m / 2 * rng.uniform(0.9, 1, (400, 2))
    end = begin + length[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    kept = np.ones(400, bool)
    for spot in (begin, end):
        kept &= np.linalg.norm(spot[:, 0] - spot[:, 1], axis=-1) >= lattice.distance
    closest = segment_closest(begin[:, 0], end[:, 0], begin[:, 1], end[:, 1])
    assert (closest[kept] >= world.separation).all()


def test_straightening_keeps_ends_and_only_shortens() -> None:
    world = world_of("random", 3)
    lattice = Lattice.of(world)
    zigzag = np.stack([np.linspace(-0.6, 0.6, 21), 0.03 * (np.arange(21) % 2)], axis=-1)
    lower = zigzag * [1, 0] - [0, 0.2]
    before = at_ticks([Claim(zigzag), Claim(lower[::-1])], lattice.ticks)
    after = straighten(world, before.copy())
    np.testing.assert_array_equal(after[[0, -1]], before[[0, -1]])
    lengths = [np.linalg.norm(np.diff(paths, axis=0), axis=-1).sum(0) for paths in (after, before)]
    assert lengths[0][0] < lengths[1][0] - 0.005 and sound(world, after)
    # A third one in the way makes some of it impossible, and what is left is still sound.
    parked = np.repeat(np.float32([[0.0, -0.09]]), 21, axis=0)
    tight = at_ticks([Claim(zigzag + [0, 0.02]), Claim(parked)], lattice.ticks)
    assert sound(world, straighten(world, tight))


def test_limited_acceleration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a_max"):
        agentsc.run(
            scenario={"name": "weave", "dynamics": "double"}, protocol="central-search", agents=3, out=tmp_path / "run"
        )
