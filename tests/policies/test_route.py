"""Routes: they reach their goals, keep clear of the map, are taut, and do not depend on each other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from envs import maps
from envs.geometry import Obstacles, segment_clearance
from envs.navigation import NavigationGrid
from policies.trajectory.route import CLEARANCE, Guide

RADIUS = 0.3


def guide_on(blocked: NDArray[np.bool_], vertices: int = 40) -> Guide:
    obstacles = Obstacles.from_grid(blocked)
    grid = NavigationGrid(obstacles, RADIUS, 1.0)
    return Guide(grid, obstacles, RADIUS * CLEARANCE, 60.0, vertices)


def ends(guide: Guide, count: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    free = np.argwhere(guide.grid.largest_component())
    pick = free[rng.integers(0, len(free), (2, count))]
    start, goal = (guide.grid.point(p[:, 0], p[:, 1]).astype(np.float32) for p in pick)
    return start, goal


@pytest.fixture(
    params=["cells", "maze", "rooms"],
)
def guide(request: pytest.FixtureRequest) -> Guide:
    return guide_on(
        {
            "cells": lambda: maps.random_cells(20, 20, density=0.15, seed=3),
            "maze": lambda: maps.maze(8, 8, 1, loops=0.2, seed=3),
            "rooms": lambda: maps.rooms(3, 3, 5, 1, loops=0.5, seed=3),
        }[request.param]()
    )


def test_routes_reach_their_goals_clear_of_the_map(guide: Guide) -> None:
    start, goal = ends(guide, 40)
    routes = guide.routes(start, guide.goal_index(goal))
    assert routes.complete.all() and np.isfinite(routes.remaining).all()
    np.testing.assert_array_equal(routes.vertices[:, 0], start)
    np.testing.assert_allclose(routes.vertices[:, -1], goal, atol=1e-6)
    clearance = segment_clearance(guide.obstacles, routes.vertices[:, :-1], routes.vertices[:, 1:])
    assert clearance.min() >= RADIUS - 2e-3


def test_routes_are_taut(guide: Guide) -> None:
    """Never longer than the way from node to node, and no longer than that way is from Dijkstra's."""
    start, goal = ends(guide, 40, 1)
    index = guide.goal_index(goal)
    routes, walks = guide.routes(start, index), guide.walks(start, index, 400.0)
    assert (routes.arc[:, -1] <= walks.arc[:, -1] + 1e-3).all()
    np.testing.assert_allclose(walks.arc[:, -1], guide.cost_to_go(start, index), rtol=1e-4, atol=1e-3)
    assert (routes.arc[:, -1] >= np.linalg.norm(goal - start, axis=-1) - 1e-3).all()
    moves = np.abs(np.diff(walks.vertices, axis=1)).max(-1)
    assert moves.max() <= 1.0 + 1e-4


def test_a_free_way_is_one_straight_line() -> None:
    guide = guide_on(np.zeros((12, 12), bool), vertices=6)
    start, goal = np.float32([[1.5, 1.5], [10.2, 3.3]]), np.float32([[10.5, 7.5], [1.5, 10.5]])
    routes = guide.routes(start, guide.goal_index(goal))
    np.testing.assert_allclose(routes.vertices[:, 1], goal, atol=1e-5)
    np.testing.assert_allclose(routes.arc[:, -1], np.linalg.norm(goal - start, axis=-1), rtol=1e-5)
    halfway = routes.at(routes.arc[:, -1:] / 2)
    np.testing.assert_allclose(halfway[:, 0], (start + goal) / 2, atol=1e-4)
    np.testing.assert_allclose(routes.at(routes.arc[:, -1:] + 5.0)[:, 0], goal, atol=1e-5)


def test_around_one_corner_the_taut_route_turns_once() -> None:
    blocked = np.zeros((12, 12), bool)
    blocked[:8, 5:7] = True
    guide = guide_on(blocked)
    start, goal = np.float32([[2.5, 2.5]]), np.float32([[9.5, 2.5]])
    routes = guide.routes(start, guide.goal_index(goal))
    corners = np.array([[5.0, 8.0], [7.0, 8.0]])
    shortest = 2 * np.linalg.norm(corners[0] - start[0]) + 2.0
    assert shortest < routes.arc[0, -1] < shortest + 2.0
    distinct = np.unique(routes.vertices[0], axis=0)
    assert 3 <= len(distinct) <= 6


def test_routes_do_not_depend_on_who_else_asks(guide: Guide) -> None:
    start, goal = ends(guide, 12, 2)
    together = guide.routes(start, guide.goal_index(goal))
    fresh = guide_on(maps.random_cells(20, 20, density=0.15, seed=3))
    if fresh.grid.shape != guide.grid.shape or (fresh.grid.free != guide.grid.free).any():
        fresh = Guide(guide.grid, guide.obstacles, guide.clearance, guide.reach, guide.vertices)
    for row in (7, 2, 11):
        alone = fresh.routes(start[row : row + 1], fresh.goal_index(goal[row : row + 1]))
        np.testing.assert_array_equal(alone.vertices[0], together.vertices[row])
        np.testing.assert_array_equal(alone.arc[0], together.arc[row])


def test_goals_are_tabled_once_and_unreachable_ones_are_infinite() -> None:
    blocked = np.zeros((8, 9), bool)
    blocked[:, 4] = True
    guide = guide_on(blocked)
    goal = np.float32([[7.5, 3.5], [1.5, 3.5], [7.5, 3.5]])
    assert guide.goal_index(goal).tolist() == [0, 1, 0] and len(guide.goals) == 2
    routes = guide.routes(np.float32([[1.5, 1.5], [1.5, 1.5]]), np.array([0, 1]))
    assert np.isinf(routes.remaining[0]) and routes.remaining[1] == pytest.approx(2.0)
