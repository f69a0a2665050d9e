"""Geodesic fields against closed forms and against plain relaxation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs import keyed
from envs.errors import ConfigError
from envs.geometry import Obstacles, segment_clearance
from envs.navigation import MOVES, NavigationGrid

ROOT2 = np.sqrt(2)


def grid_of(*rows: str, clearance: float = 0.3) -> NavigationGrid:
    blocked = np.array([[letter == "@" for letter in row] for row in rows])
    return NavigationGrid(Obstacles.from_grid(blocked), clearance, 1.0)


def random_blocked(key: int, shape: tuple[int, int], density: float) -> NDArray[np.bool_]:
    return keyed.uniform(key, np.arange(shape[0])[:, None], np.arange(shape[1])) < density


def relax(blocked: NDArray[np.bool_], goal: tuple[int, int]) -> NDArray[np.float64]:
    """Octile cost-to-go by Bellman-Ford sweeps, no corner cutting: an independent oracle."""
    rows, columns = blocked.shape
    free = np.pad(~blocked, 1)
    cost = np.full((rows + 2, columns + 2), np.inf)
    cost[goal[0] + 1, goal[1] + 1] = 0
    while True:
        before = cost.copy()
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):

                def moved(a: NDArray, dy: int = dy, dx: int = dx) -> NDArray:
                    return np.roll(a, (-dy, -dx), (0, 1))

                ok = free & moved(free)
                ok &= np.roll(free, -dy, 0) & np.roll(free, -dx, 1)
                cost = np.where(ok, np.minimum(cost, moved(cost) + np.hypot(dy, dx)), cost)
        if np.array_equal(before, cost):
            return cost[1:-1, 1:-1]


def test_open_map_gives_the_octile_distance() -> None:
    grid = grid_of(*["." * 12] * 9)
    field = grid.fields([(3.5, 2.5)])[0]
    dy, dx = np.abs(np.indices((9, 12)) - np.array([2, 3])[:, None, None])
    expected = np.maximum(dx, dy) + (ROOT2 - 1) * np.minimum(dx, dy)
    np.testing.assert_allclose(field, expected, atol=1e-5)


def test_nodes_are_the_cells_of_a_grid_map() -> None:
    grid = grid_of("..@", "@..")
    np.testing.assert_array_equal(grid.free, [[True, True, False], [False, True, True]])
    np.testing.assert_array_equal(grid.point(1, 2), [2.5, 1.5])
    assert [int(i) for i in grid.node((2.9, 1.1))] == [1, 2]
    assert [int(i) for i in grid.node((0.6, 1.4))] == [0, 0]  # blocked cell: the nearest free one
    assert [int(i) for i in grid.node((-40.0, -40.0))] == [0, 0]


def test_corners_are_not_cut() -> None:
    field = grid_of(".@", "..").fields([(1.5, 1.5)])[0]
    assert field[0, 0] == pytest.approx(2.0)
    assert np.isinf(grid_of(".@", "@.").fields([(1.5, 1.5)])[0][0, 0])
    # Not even by a point, for which the corner itself would be passable.
    assert grid_of(".@.", "...", clearance=0.0).fields([(2.5, 1.5)])[0][0, 0] == pytest.approx(3.0)


def test_a_wall_is_walked_around() -> None:
    grid = grid_of(".....", "@@@@.", ".....")
    start, goal = (0.5, 0.5), (0.5, 2.5)
    assert grid.fields([goal])[0][0, 0] == pytest.approx(4 + 2 + 4)
    assert grid.lengths([start], [goal])[0] == pytest.approx(4 + 2 + 4)
    way = grid.walk([start], grid.successors([goal]), 12)[0]
    assert (segment_clearance(grid.obstacles, way[:-1], way[1:], 0.3) >= 0.299).all()
    np.testing.assert_array_equal(way[-1], goal)
    np.testing.assert_array_equal(way[10], goal)


def test_unreachable_is_infinite_and_has_no_successor() -> None:
    grid = grid_of("..@..", "..@..")
    field, moves = grid.fields([(4.5, 0.5)])[0], grid.successors([(4.5, 0.5)])[0]
    assert np.isinf(field[:, :3]).all() and np.isfinite(field[:, 3:]).all()
    assert (moves[:, :3] == -1).all()
    assert np.isinf(grid.lengths([(0.5, 0.5)], [(4.5, 0.5)])[0])
    assert np.isinf(grid.fields([(2.5, 0.5)])).all()  # a goal inside a wall


def test_too_wide_for_the_gap() -> None:
    rows = ("...", "@.@", "...")
    assert np.isfinite(grid_of(*rows, clearance=0.5).fields([(0.5, 2.5)])[0][0, 0])
    assert np.isinf(grid_of(*rows, clearance=0.55).fields([(0.5, 2.5)])[0][0, 0])


@settings(max_examples=25, deadline=None)
@given(
    key=st.integers(0, 10_000),
    shape=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    density=st.sampled_from([0.0, 0.2, 0.4]),
)
def test_fields_equal_plain_relaxation_and_moves_explain_them(
    key: int, shape: tuple[int, int], density: float
) -> None:
    blocked = random_blocked(key, shape, density)
    blocked[0, 0] = False
    grid = NavigationGrid(Obstacles.from_grid(blocked), 0.3, 1.0)
    free = np.argwhere(~blocked)
    picks = free[:: max(1, len(free) // 4)]
    goals = grid.point(picks[:, 0], picks[:, 1])
    fields, moves = grid.fields(goals), grid.successors(goals)
    for pick, field, move in zip(picks, fields, moves, strict=True):
        np.testing.assert_allclose(field, relax(blocked, tuple(pick)), atol=1e-4)
        iy, ix = np.nonzero(move >= 0)
        step = MOVES[move[iy, ix]]
        after = field[iy + step[:, 0], ix + step[:, 1]] + np.hypot(*step.T)
        np.testing.assert_allclose(field[iy, ix], after, atol=1e-4)
        stopped = np.argwhere((move < 0) & np.isfinite(field))
        np.testing.assert_array_equal(stopped, [pick])
    # The same parts hang together as the fields say.
    label = grid.components()
    for pick, field in zip(picks, fields, strict=True):
        np.testing.assert_array_equal(np.isfinite(field), label == label[tuple(pick)])
    largest = grid.largest_component()
    assert largest.sum() == np.bincount(label[grid.free]).max()


def test_goals_between_nodes_are_reached_straight() -> None:
    grid = grid_of(*["." * 10] * 10)
    goal = np.array([6.9, 3.2], np.float32)
    field = grid.fields([goal])[0]
    assert field[3, 6] == pytest.approx(np.hypot(0.4, 0.3), abs=1e-5)
    assert field[3, 7] == pytest.approx(np.hypot(0.6, 0.3), abs=1e-5)
    iy, ix = np.indices((10, 10))
    straight = np.linalg.norm(grid.point(iy, ix) - goal, axis=-1)
    assert (field >= straight - 1e-5).all()
    assert (field <= straight * 1.09 + 0.5).all()
    assert grid.successors([goal])[0][3, 6] == -1


def test_a_goal_behind_a_wall_seeds_only_nodes_that_see_it() -> None:
    grid = grid_of("...", "@@.", "...")
    field = grid.fields([(0.5, 2.31)])[0]  # as near to the wall as it gets
    assert field[2, 0] == pytest.approx(0.19, abs=1e-5)
    assert field[0, 0] > 5


def test_moves_against_the_flow_cost_more() -> None:
    room = Obstacles(bounds=(0.0, 0.0, 9.0, 3.0))
    east = NavigationGrid(
        room, 0.3, 1.0, flow=lambda p: np.broadcast_to(np.float32([1, 0]), p.shape), flow_cost=2.0
    )
    field = east.fields([(4.5, 1.5)])[0]
    np.testing.assert_allclose(field[1, :5], [4, 3, 2, 1, 0], atol=1e-5)  # with it: metres
    np.testing.assert_allclose(field[1, 5:], [3, 6, 9, 12], atol=1e-4)  # against it: three times
    assert east.lengths([(8.5, 1.5)], [(4.5, 1.5)])[0] == pytest.approx(12)
    across = east.fields([(4.5, 2.5)])[0]
    assert across[0, 4] == pytest.approx(2.0)  # across it: metres


def test_cost_multiplier_diverts_and_is_not_cached() -> None:
    grid = grid_of(*["." * 7] * 7)
    goal = [(6.5, 3.5)]
    plain = grid.fields(goal)
    swamp = np.ones((7, 7), np.float32)
    swamp[1:6, 3] = 50.0
    costly = grid.fields(goal, cost=swamp)[0]
    assert costly[3, 0] > plain[0, 3, 0] + 1
    assert costly[3, 0] < 20  # around it, not through it
    np.testing.assert_allclose(
        grid.fields(goal, cost=np.full((7, 7), 2.0))[0], 2 * plain[0], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(grid.fields(goal), plain)


def test_cached_and_repeated_goals_give_the_same_fields() -> None:
    grid = grid_of("....", ".@@.", "....")
    goals = np.array([(0.5, 0.5), (3.5, 2.5), (0.5, 0.5), (2.5, 0.5)], np.float32)
    first = grid.fields(goals)
    np.testing.assert_array_equal(first[0], first[2])
    first += 1  # a caller's change must not reach the cache
    again = grid.fields(goals[::-1])[::-1]
    np.testing.assert_array_equal(again + 1, first)
    np.testing.assert_array_equal(grid_of("....", ".@@.", "....").fields(goals[1:2])[0], again[1])
    assert grid.fields(np.empty((0, 2))).shape == (0, 3, 4)


def test_planning_cells_of_a_scene_without_a_grid() -> None:
    scene = Obstacles([(0.0, 0.0, 0.25, 0.25, 0.075)], (-1.0, -1.0, 1.0, 1.0), 0.5)
    grid = NavigationGrid(scene, 0.05, 0.1)
    assert grid.shape == (20, 20)
    np.testing.assert_allclose(grid.point(0, 0), (-0.95, -0.95), atol=1e-6)
    assert not grid.free[9:11, 9:11].any() and grid.free[0].all()
    straight = grid.lengths([(-0.83, -0.71)], [(0.83, -0.71)])[0]
    assert straight == pytest.approx(1.66, abs=1e-6)
    around = grid.lengths([(-0.8, 0.0)], [(0.8, 0.0)])[0]
    assert 1.7 < around < 2.1


def test_arguments_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"navigation\.extent must be given"):
        NavigationGrid(Obstacles(), 0.3, 1.0)
    with pytest.raises(ConfigError, match=r"navigation\.clearance must be in"):
        NavigationGrid(Obstacles(bounds=(0, 0, 1, 1), cutoff=0.2), 0.3, 1.0)
