"""Clamped cubic B-splines: closed forms, scipy as oracle, and the fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from envs.errors import ConfigError
from policies.trajectory import spline

COUNTS = [4, 5, 8, 10, 12]


@pytest.mark.parametrize("count", COUNTS)
def test_basis_equals_scipys(count: int) -> None:
    u = np.linspace(0.0, 1.0, 33)
    oracle = BSpline(spline.knots(count), np.eye(count), 3)
    np.testing.assert_allclose(spline.basis(count, 33), oracle(u), atol=1e-6)
    np.testing.assert_allclose(spline.derivative_basis(count, 33), oracle.derivative()(u), atol=1e-4)


@pytest.mark.parametrize("count", COUNTS)
def test_basis_is_a_partition_of_unity_that_meets_both_ends(count: int) -> None:
    basis = spline.basis(count, 65)
    assert basis.dtype == np.float32 and (basis >= 0.0).all()
    np.testing.assert_allclose(basis.sum(1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(basis[0], np.eye(count)[0])
    np.testing.assert_array_equal(basis[-1], np.eye(count)[-1])
    np.testing.assert_allclose(spline.derivative_basis(count, 65).sum(1), 0.0, atol=1e-4)


def test_four_control_points_are_bernsteins_polynomials() -> None:
    u = np.linspace(0.0, 1.0, 9)
    bernstein = np.stack([(1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u**2 * (1 - u), u**3], axis=1)
    np.testing.assert_allclose(spline.basis(4, 9), bernstein, atol=1e-6)


@pytest.mark.parametrize("count", COUNTS)
def test_control_points_at_greville_times_give_straight_motion(count: int) -> None:
    np.testing.assert_allclose(
        spline.basis(count, 17) @ spline.greville(count), np.linspace(0.0, 1.0, 17), atol=1e-6
    )
    np.testing.assert_allclose(np.diff(spline.greville(count)), spline.spans(count), atol=1e-6)
    np.testing.assert_allclose(spline.derivative_basis(count, 17) @ spline.greville(count), 1.0, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(4, 14), seed=st.integers(0, 2**31))
def test_bounded_increments_bound_the_speed_everywhere(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, count - 1)
    step = spline.spans(count)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    control = np.concatenate([np.zeros((1, 2)), np.cumsum(step, 0)])
    velocity = spline.derivative_basis(count, 101) @ control
    assert np.linalg.norm(velocity, axis=-1).max() <= 1.0 + 1e-4


def test_fit_returns_a_plan_that_is_one_already() -> None:
    rng = np.random.default_rng(0)
    control = rng.uniform(-1, 1, (3, 2, 10, 2)).astype(np.float32)
    control[..., -1, :] = control[..., -2, :]
    np.testing.assert_allclose(spline.fit(spline.basis(10, 33) @ control, 10), control, atol=2e-5)


def test_fit_starts_where_it_must_ends_at_rest_and_is_the_least_squares_optimum() -> None:
    rng = np.random.default_rng(1)
    points = np.cumsum(rng.normal(0, 0.1, (33, 2)), 0).astype(np.float32) + 200.0
    first = np.array([200.3, 199.9], np.float32)
    control = spline.fit(points, 8, first)
    np.testing.assert_array_equal(control[0], first)
    np.testing.assert_array_equal(control[-1], control[-2])
    basis = spline.basis(8, 33).astype(np.float64)
    residual = basis @ control.astype(np.float64) - points
    free = basis[:, 1:-1].copy()
    free[:, -1] += basis[:, -1]
    np.testing.assert_allclose(free.T @ residual, 0.0, atol=1e-3)  # normal equations


def test_a_plan_with_equal_last_control_points_ends_at_rest() -> None:
    control = np.random.default_rng(2).normal(size=(10, 2))
    control[-1] = control[-2]
    np.testing.assert_allclose(spline.derivative_basis(10, 33)[-1] @ control, 0.0, atol=1e-5)
    np.testing.assert_array_equal(spline.basis_at(10, [1.0, 7.5])[1], spline.basis_at(10, [1.0])[0])


def test_shared_bases_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        spline.basis(10, 33)[0, 0] = 2.0


def test_too_few_control_points_are_refused() -> None:
    with pytest.raises(ConfigError, match="control_points must be at least 4, got 3"):
        spline.basis(3, 10)
