"""Pacing: whatever is asked of it, the vehicle keeps its limits, starts as it moves, and ends at rest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.trajectory.pacing import paced
from policies.trajectory.spline import basis, fit

P, HORIZON_S, TICKS = 10, 1.6, 32
DT = HORIZON_S / TICKS
V_MAX, A_MAX = 10.0, 20.0


def motion(control: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Velocities and accelerations at a fine grid of times."""
    samples = 40 * TICKS + 1
    points = basis(P, samples).astype(np.float64) @ control.astype(np.float64)
    velocity = np.diff(points, axis=-2) / (HORIZON_S / (samples - 1))
    return velocity, np.diff(velocity, axis=-2) / (HORIZON_S / (samples - 1))


def straight(length: float) -> np.ndarray:
    """Control points [1, 1, P, 2] of a plan along x at full speed from the start."""
    x = np.minimum(np.linspace(0.0, 16.0, TICKS + 1), length)
    return fit(np.stack([x, np.zeros_like(x)], -1).astype(np.float32)[None, None], P)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), speed=st.floats(0.0, 10.0), a_max=st.floats(13.0, 60.0))
def test_limits_hold_at_all_times_from_any_velocity(seed: int, speed: float, a_max: float) -> None:
    rng = np.random.default_rng(seed)
    control = rng.uniform(-20, 20, (3, 4, P, 2)).astype(np.float32)
    control[..., -1, :] = control[..., -2, :]
    control[:, :, 0] = control[:, :1, 0]
    angle = rng.uniform(0, 2 * np.pi, 3)
    velocity = (speed * np.stack([np.cos(angle), np.sin(angle)], -1)).astype(np.float32)
    found = paced(control, velocity, HORIZON_S, V_MAX, a_max)
    np.testing.assert_array_equal(found[..., 0, :], control[..., 0, :])
    np.testing.assert_array_equal(found[..., -1, :], found[..., -2, :])
    speeds, accelerations = motion(found)
    assert np.linalg.norm(speeds, axis=-1).max() <= V_MAX + 0.01
    # A turn of the pace into the cone of what can still be stopped may cost up to √2 of the limit.
    assert np.linalg.norm(accelerations, axis=-1).max() <= np.sqrt(2) * a_max + 0.5
    np.testing.assert_allclose(speeds[:, :, 0], np.broadcast_to(velocity[:, None], (3, 4, 2)), atol=0.1)
    np.testing.assert_allclose(speeds[:, :, -1], 0.0, atol=0.2)


@pytest.mark.parametrize("length", [0.4, 1.0, 3.0, 6.0])
def test_it_stops_at_an_end_that_it_can_stop_at(length: float) -> None:
    found = paced(straight(length), np.zeros((1, 2), np.float32), HORIZON_S, V_MAX, A_MAX)
    points = basis(P, TICKS + 1) @ found[0, 0]
    assert points[:, 0].max() <= length + 0.03
    assert points[-1, 0] >= 0.9 * length
    # The plan asked for, a spline through a corner, swings by two centimetres itself.
    assert (np.diff(points[:, 0]) >= -0.02).all() and np.abs(points[:, 1]).max() < 1e-5


def test_from_a_standstill_it_is_as_fast_as_the_limit_allows() -> None:
    found = paced(straight(16.0), np.zeros((1, 2), np.float32), HORIZON_S, V_MAX, A_MAX)
    points = basis(P, TICKS + 1) @ found[0, 0]
    # Half a second to 10 m/s and half a second to stop within 1.6 s: 11 m with corners, less with a smooth spline.
    assert 8.0 < points[-1, 0] < 11.0


def test_without_an_effective_limit_a_plan_that_starts_as_it_moves_is_left_alone() -> None:
    x = 5.0 * np.linspace(0.0, 1.0, TICKS + 1) ** 2 * (3 - 2 * np.linspace(0.0, 1.0, TICKS + 1))
    plan = fit(np.stack([x, 0 * x], -1).astype(np.float32)[None, None], P)
    found = paced(plan, np.zeros((1, 2), np.float32), HORIZON_S, V_MAX, 1e4)
    assert np.abs(basis(P, TICKS + 1) @ (found - plan)).max() < 0.3
