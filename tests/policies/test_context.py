"""What a prior is told: an invertible frame, and features that know neither place, heading nor size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs.geometry import Obstacles
from envs.navigation import NavigationGrid
from policies.trajectory.context import Context, Vehicle, build, feature_count, nominal_plan
from policies.trajectory.route import CLEARANCE, Guide, Routes
from policies.trajectory.spline import derivative_basis

P = 10
VEHICLE = Vehicle(0.05, 0.64, 2.5, P)


def straight(start: NDArray, goal: NDArray) -> Routes:
    """Routes over an open plane."""
    line = np.stack([start, goal, goal], axis=1).astype(np.float32)
    length = np.linalg.norm(goal - start, axis=-1).astype(np.float32)
    arc = np.stack([np.zeros_like(length), length, length], axis=1)
    return Routes(line, arc, length, np.ones(len(start), bool))


def context_of(
    start: NDArray,
    goal: NDArray,
    velocity: NDArray,
    vehicle: Vehicle = VEHICLE,
    obstacles: Obstacles | None = None,
) -> Context:
    count = len(start)
    some = np.arange(count) % 2
    return build(
        obstacles or Obstacles(cutoff=50.0), vehicle, velocity.astype(np.float32), straight(start, goal),
        np.full(count, 0.1 * vehicle.radius, np.float32), some, 1 - some,
    )  # fmt: skip


def turned(vectors: NDArray, angle: float) -> NDArray:
    c, s = np.cos(angle), np.sin(angle)
    return vectors @ np.array([[c, s], [-s, c]])


seeds = st.integers(0, 2**31)


def problem(seed: int, count: int = 5) -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    start, goal = rng.uniform(-1, 1, (2, count, 2))
    return start, goal, rng.uniform(-0.4, 0.4, (count, 2))


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_decode_undoes_encode(seed: int) -> None:
    context = context_of(*problem(seed))
    rng = np.random.default_rng(seed)
    control = rng.uniform(-2, 2, (5, 3, P, 2)).astype(np.float32)
    control[:, :, 0], control[:, :, -1] = context.origin[:, None], control[:, :, -2]
    residual = context.encode(control)
    assert residual.shape == (5, 3, (P - 2) * 2)
    np.testing.assert_allclose(context.decode(residual), control, atol=2e-6)
    np.testing.assert_allclose(context.encode(context.decode(residual)), residual, atol=2e-6)
    np.testing.assert_allclose(context.decode(residual[:, 0]), control[:, 0], atol=2e-6)
    vectors = rng.normal(size=(5, 7, 2)).astype(np.float32)
    np.testing.assert_allclose(context.to_world(context.to_frame(vectors)), vectors, atol=2e-6)


def test_the_nominal_plan_is_the_zero_residual_and_the_frame_is_its_own() -> None:
    start = np.zeros((1, 2))
    context = context_of(start, np.array([[0.0, 3.0]]), start)
    np.testing.assert_allclose(context.encode(context.nominal[:, None]), 0.0, atol=1e-7)
    np.testing.assert_allclose(context.axis, [[0.0, 1.0]], atol=1e-6)
    # One metre ahead is 1 / reach along x; one metre to the left is along y.
    np.testing.assert_allclose(context.to_frame(np.float32([[0.0, VEHICLE.reach]])), [[1.0, 0.0]], atol=1e-6)
    np.testing.assert_allclose(context.to_frame(np.float32([[-VEHICLE.reach, 0.0]])), [[0.0, 1.0]], atol=1e-6)
    speed = np.linalg.norm(derivative_basis(P, 200) @ context.nominal[0], axis=-1) / VEHICLE.horizon_s
    assert speed.max() <= VEHICLE.v_max


@settings(max_examples=50, deadline=None)
@given(seeds, st.floats(-np.pi, np.pi), st.floats(-20, 20), st.floats(-20, 20))
def test_features_know_neither_place_nor_heading(seed: int, angle: float, x: float, y: float) -> None:
    start, goal, velocity = problem(seed)
    here = context_of(start, goal, velocity)
    moved = context_of(turned(start, angle) + [x, y], turned(goal, angle) + [x, y], turned(velocity, angle))
    assert here.features.shape == (5, feature_count(P))
    np.testing.assert_allclose(moved.features, here.features, atol=2e-4)


@settings(max_examples=50, deadline=None)
@given(seeds, st.floats(0.2, 8.0))
def test_features_know_no_units_of_length(seed: int, scale: float) -> None:
    start, goal, velocity = problem(seed)
    boxes = np.array([[0.3, 0.1, 0.2, 0.1, 0.05], [-0.5, -0.4, 0.1, 0.3, 0.0]])
    here = context_of(start, goal, velocity, obstacles=Obstacles(boxes, (-1.5, -1.5, 1.5, 1.5)))
    vehicle = Vehicle(VEHICLE.radius * scale, VEHICLE.v_max * scale, VEHICLE.horizon_s, P)
    bounds = (-1.5 * scale, -1.5 * scale, 1.5 * scale, 1.5 * scale)
    larger = Obstacles(boxes * scale, bounds, cutoff=2.0 * scale)
    grown = context_of(start * scale, goal * scale, velocity * scale, vehicle, larger)
    np.testing.assert_allclose(grown.features, here.features, atol=2e-3)
    # So is time: half the horizon at twice the speed is the same plan.
    quick = Vehicle(VEHICLE.radius, 2 * VEHICLE.v_max, VEHICLE.horizon_s / 2, P)
    hurried = context_of(start, goal, 2 * velocity, quick, Obstacles(boxes, (-1.5, -1.5, 1.5, 1.5)))
    np.testing.assert_allclose(hurried.features, here.features, atol=2e-4)


def test_features_see_obstacles_and_rows_stand_alone() -> None:
    start, goal, velocity = problem(3)
    boxes = Obstacles([(0.0, 0.0, 0.3, 0.3, 0.0)], (-1.5, -1.5, 1.5, 1.5))
    here = context_of(start, goal, velocity, obstacles=boxes)
    assert np.abs(here.features - context_of(start, goal, velocity).features).max() > 0.1
    # Roles depend on the row number in `context_of`, so keep an even one.
    alone = context_of(start[2:3], goal[2:3], velocity[2:3], obstacles=boxes)
    np.testing.assert_array_equal(alone.features, here.take(np.array([2])).features)
    assert np.isfinite(here.features).all() and np.abs(here.features).max() < 20


def test_an_agent_at_its_goal_has_a_finite_context() -> None:
    spot = np.array([[0.2, 0.3]])
    context = context_of(spot, spot, np.zeros((1, 2)))
    assert np.isfinite(context.features).all()
    np.testing.assert_allclose(np.linalg.norm(context.axis, axis=-1), 1.0)
    np.testing.assert_allclose(context.nominal, np.broadcast_to(spot[:, None], (1, P, 2)), atol=1e-6)


@pytest.mark.parametrize("tempo", [0.94, 0.5])
def test_a_nominal_plan_keeps_its_pace_and_rests_at_the_end(tempo: float) -> None:
    blocked = np.zeros((9, 20), bool)
    blocked[2:7, 8:10] = True
    obstacles = Obstacles.from_grid(blocked)
    guide = Guide(NavigationGrid(obstacles, 0.3, 1.0), obstacles, 0.3 * CLEARANCE, 8.0)
    routes = guide.routes(np.float32([[2.5, 4.5]]), guide.goal_index(np.float32([[16.5, 4.5]])))
    vehicle = Vehicle(0.3, 1.0, 8.0, P)
    control = nominal_plan(routes, vehicle, tempo)
    speed = np.linalg.norm(derivative_basis(P, 300) @ control[0], axis=-1) / 8.0
    assert speed.max() <= tempo * 1.01 and speed[-1] < 1e-6 and speed[100] > 0.8 * tempo
    np.testing.assert_array_equal(control[:, -1], control[:, -2])
