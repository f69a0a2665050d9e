"""Dynamics and collision checks of the arena against closed forms and dense sampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import keyed
from envs.arena import Arena
from envs.errors import ConfigError
from envs.geometry import Obstacles
from envs.world import World

INF = float("inf")


def make_world(starts: Any, **changes: Any) -> World:
    """Agents of radius 0.3 m and 1 m/s on an open plane, ticks of 0.5 s; starts [agent, 2] or with lanes."""
    array = np.asarray(starts, dtype=np.float32)
    array = array.reshape(-1, *array.shape[-2:])
    world = World(
        name="test",
        obstacles=Obstacles(),
        radius=0.3,
        v_max=1.0,
        a_max=INF,
        dt=0.5,
        dynamics="single",
        goal_tolerance=0.2,
        separation=0.6,
        max_ticks=100,
        cell=1.0,
        starts=array,
        goals=array,
        episodes=np.arange(len(array)),
    )
    return replace(world, **changes)


def commands(*vectors: Any) -> Any:
    return np.array([vectors], dtype=np.float32)


def test_single_integrator_moves_at_the_command_within_the_speed_limit() -> None:
    arena = Arena(make_world([(0, 0), (5, 5)]))
    arena.step(commands((0.5, 0.25), (6.0, -8.0)))
    np.testing.assert_allclose(arena.velocity[0], [(0.5, 0.25), (0.6, -0.8)], atol=1e-6)
    np.testing.assert_allclose(arena.position[0], [(0.25, 0.125), (5.3, 4.6)], atol=1e-6)
    assert arena.tick == 1


def test_single_integrator_with_an_acceleration_limit_ramps_up() -> None:
    arena = Arena(make_world([(0, 0)], a_max=0.8))
    speeds = []
    for _ in range(4):
        arena.step(commands((1.0, 0.0)))
        speeds.append(float(arena.velocity[0, 0, 0]))
    np.testing.assert_allclose(speeds, [0.4, 0.8, 1.0, 1.0], atol=1e-6)
    assert arena.position[0, 0, 0] == pytest.approx(0.5 * sum(speeds))


def test_double_integrator_limits_acceleration_then_speed() -> None:
    arena = Arena(make_world([(0, 0)], dynamics="double", a_max=1.0))
    for expected in (0.5, 1.0, 1.0):
        arena.step(commands((0.0, 9.0)))
        np.testing.assert_allclose(arena.velocity[0, 0], (0.0, expected), atol=1e-6)
    arena.step(commands((0.0, 0.0)))
    np.testing.assert_allclose(arena.position[0, 0], (0.0, 1.75), atol=1e-6)  # it coasts


def test_agents_that_swap_places_within_a_tick_collide() -> None:
    arena = Arena(make_world([(0, 0), (0.8, 0), (5, 5)], v_max=4.0))
    step = arena.step(commands((1.6, 0), (-1.6, 0), (0, 0)))
    assert step.closest[0] == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(step.pair, [[0, 1]])
    np.testing.assert_array_equal(step.hit, [[True, True, False]])
    assert np.linalg.norm(arena.position[0, 0] - arena.position[0, 1]) == pytest.approx(0.8)


def test_closest_approach_of_a_crossing_has_its_closed_form() -> None:
    # Relative motion along (-1, 1) from (1, 0): it passes the origin at 1 / sqrt(2).
    step = Arena(make_world([(0, 0), (1, 0)], v_max=2.0)).step(commands((1, 0), (0, 1)))
    assert step.closest[0] == pytest.approx(np.sqrt(0.5), abs=1e-6)
    assert not step.hit.any()


def test_contact_begins_below_the_separation() -> None:
    step = Arena(make_world([(0, 0), (1, 0)])).step(commands((0.79, 0), (0, 0)))
    assert not step.hit.any() and step.closest[0] == pytest.approx(0.605)
    step = Arena(make_world([(0, 0), (1, 0)])).step(commands((0.81, 0), (0, 0)))
    assert step.hit.all() and step.closest[0] == pytest.approx(0.595)


def test_one_agent_has_no_pairs() -> None:
    step = Arena(make_world([(0, 0)])).step(commands((1, 0)))
    assert step.closest[0] == INF
    np.testing.assert_array_equal(step.pair, [[-1, -1]])
    assert not step.hit.any()


def test_a_thin_obstacle_is_not_tunnelled_through() -> None:
    post = Obstacles([(1.0, 0.0, 0.01, 0.01, 0.01)])
    arena = Arena(make_world([(0, 0), (0, 3)], obstacles=post, v_max=4.0))
    step = arena.step(commands((4, 0), (4, 0)))
    np.testing.assert_array_equal(step.crashed, [[True, False]])
    assert step.clearance[0] < 0
    # Passing with a hair of room is not a crash, with a hair too little it is.
    for offset, crash in ((0.3105, False), (0.3095, True)):
        step = Arena(make_world([(0, offset)], obstacles=post, v_max=4.0)).step(commands((4, 0)))
        assert bool(step.crashed[0, 0]) is crash


def test_touching_a_wall_is_not_a_crash_and_leaving_the_arena_is() -> None:
    room = Obstacles(bounds=(0.0, 0.0, 4.0, 4.0))
    arena = Arena(make_world([(1.0, 0.3), (2.0, 2.0), (0.5, 3.0)], obstacles=room))
    step = arena.step(commands((1, 0), (0, 1), (-1, 0)))
    np.testing.assert_array_equal(step.crashed, [[False, False, True]])
    step = arena.step(commands((0, 0), (0, 0), (1, 0)))
    np.testing.assert_array_equal(step.crashed, [[False, False, True]])  # it starts the tick inside
    step = arena.step(commands((0, 0), (0, 0), (0, 0)))
    assert not step.crashed.any()
    assert step.clearance[0] == pytest.approx(0, abs=1e-6)


def test_at_goal_is_within_the_tolerance() -> None:
    world = make_world([(0, 0), (0, 5)], goals=np.array([[(0.69, 0), (0.71, 5)]], np.float32))
    np.testing.assert_array_equal(Arena(world).step(commands((1, 0), (1, 0))).at_goal, [[True, False]])


@pytest.mark.parametrize("bad", [np.zeros((1, 3, 2)), np.full((1, 2, 2), np.nan), np.full((1, 2, 2), INF)])
def test_a_bad_command_is_refused_before_anything_moves(bad: Any) -> None:
    arena = Arena(make_world([(0, 0), (5, 5)]))
    with pytest.raises(ValueError, match="command must be finite with shape"):
        arena.step(bad)
    assert arena.tick == 0 and not arena.position[0, 0].any()


def test_arrays_handed_out_or_in_stay_as_they_were() -> None:
    arena = Arena(make_world([(0, 0), (5, 5)]))
    command = commands((1, 0), (0, 1))
    arena.step(command)
    position, velocity = arena.position, arena.velocity
    command[:] = 9
    arena.step(commands((0, 0), (0, 0)))
    np.testing.assert_array_equal(position, [[(0.5, 0), (5, 5.5)]])
    np.testing.assert_array_equal(velocity, [[(1, 0), (0, 1)]])


@settings(max_examples=15, deadline=None)
@given(
    key=st.integers(0, 10_000),
    agents=st.integers(1, 9),
    dynamics=st.sampled_from(["single", "double"]),
    a_max=st.sampled_from([INF, 2.0]),
)
def test_lanes_never_influence_each_other(key: int, agents: int, dynamics: Any, a_max: float) -> None:
    lanes, ticks = 70, 4
    obstacles = Obstacles([(2.0, 2.0, 0.5, 0.5, 0.1), (4, 4, 0.4, 0.4, 0.4)], (0.0, 0.0, 6.0, 6.0))
    starts = 6 * keyed.uniform(key, np.arange(lanes)[:, None, None], np.arange(agents)[:, None], np.arange(2))
    world = make_world(starts, obstacles=obstacles, dynamics=dynamics, a_max=a_max)
    draws = 4 * keyed.uniform(key, 1, *np.ogrid[0:ticks, 0:lanes, 0:agents, 0:2]) - 2
    together = Arena(world)
    chosen = [3, 69]
    apart = [Arena(world.select([lane])) for lane in chosen]
    for tick in range(ticks):
        step = together.step(draws[tick])
        for lane, arena in zip(chosen, apart, strict=True):
            alone = arena.step(draws[tick, lane : lane + 1])
            for mine, theirs in zip(step, alone, strict=True):
                np.testing.assert_array_equal(mine[lane], theirs[0])
            np.testing.assert_array_equal(together.position[lane], arena.position[0])


def test_many_lanes_are_checked_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = 3 * keyed.uniform(1, *np.ogrid[0:50, 0:6, 0:2])
    motion = 2 * keyed.uniform(2, *np.ogrid[0:50, 0:6, 0:2]) - 1
    whole = Arena(make_world(starts)).step(motion)
    monkeypatch.setattr("envs.arena._PAIRS", 100)  # six lanes of fifteen pairs at a time
    blocks = Arena(make_world(starts)).step(motion)
    assert whole.hit.any() and not whole.hit.all()
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=25, deadline=None)
@given(key=st.integers(0, 10_000), agents=st.integers(2, 7))
def test_collisions_equal_dense_sampling_of_the_tick(key: int, agents: int) -> None:
    lanes = 20
    obstacles = Obstacles([(2.0, 2.0, 0.5, 0.5, 0.1)], (0.0, 0.0, 4.0, 4.0))
    shape = np.ogrid[0:lanes, 0:agents, 0:2]
    world = make_world(4 * keyed.uniform(key, 1, *shape), obstacles=obstacles, v_max=3.0)
    arena = Arena(world)
    before = arena.position
    step = arena.step(6 * keyed.uniform(key, 2, *shape) - 3)
    time = np.linspace(0, 1, 801)[:, None, None, None]
    way = before + time * (arena.position - before)
    gaps = np.linalg.norm(way[:, :, :, None] - way[:, :, None], axis=-1)
    gaps[..., np.eye(agents, dtype=bool)] = INF
    spacing = 3.0 * world.dt / 800
    np.testing.assert_allclose(step.closest, gaps.min(axis=(0, 2, 3)), atol=spacing)
    rows = np.arange(lanes)
    np.testing.assert_allclose(
        gaps[:, rows, step.pair[:, 0], step.pair[:, 1]].min(axis=0), step.closest, atol=spacing
    )
    nearest = gaps.min(axis=(0, 3))
    decided = np.abs(nearest - world.separation) > spacing
    np.testing.assert_array_equal(step.hit[decided], (nearest < world.separation)[decided])
    rim = obstacles.signed_distance(way).min(axis=0) - world.radius
    decided = np.abs(rim) > spacing
    np.testing.assert_array_equal(step.crashed[decided], (rim < 0)[decided])
    assert (step.clearance <= rim.min(axis=1) + 1e-5).all()
    assert (step.clearance >= rim.min(axis=1) - 3.0 * world.dt / 2 - 1e-5).all()
    calm = ~step.crashed.any(axis=1)
    assert (step.clearance[calm] >= -1e-3 * world.radius - 1e-6).all()


def test_world_checks_its_shapes_and_selects_lanes() -> None:
    starts = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    world = make_world(starts)
    assert (world.lanes, world.agents) == (4, 3)
    part = world.select([2, 0])
    np.testing.assert_array_equal(part.starts, starts[[2, 0]])
    np.testing.assert_array_equal(part.episodes, [2, 0])
    np.testing.assert_allclose(world.bounds, (-1.2, -0.2, 23.2, 24.2), atol=1e-5)
    with pytest.raises(ValueError, match="must both be"):
        replace(world, goals=starts[:2])


def test_nobody_moves_before_its_time() -> None:
    start = [[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]
    world = make_world(start, dt=0.1, start_delay_s=np.float32([0.0, 0.3, 0.25]))
    assert world.release.tolist() == [0, 3, 3]
    arena = Arena(world)
    for tick in range(5):
        arena.step(np.full((1, 3, 2), 0.1))
        moved = np.abs(arena.position[0] - np.float32(start)).max(-1) > 0
        assert moved.tolist() == [True, tick >= 3, tick >= 3] and (arena.velocity[0].any(-1) == moved).all()
    assert world.select([0]).release.tolist() == [0, 3, 3]


@pytest.mark.parametrize("delay", [[0.0, 1.0], [0.0, -0.1, 0.0], [INF, 0.0, 0.0]])
def test_delays_that_cannot_be_are_refused(delay: list[float]) -> None:
    with pytest.raises(ConfigError, match="start_delay_s must be 3 finite seconds"):
        make_world([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]], start_delay_s=np.float32(delay))
