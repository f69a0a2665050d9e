"""Experts: their plans can be driven, and what is learnt from them names no map."""

from __future__ import annotations

import numpy as np
import pytest

from envs.geometry import segment_clearance
from policies.trajectory.context import feature_count
from policies.trajectory.demonstrations import FAMILIES, PER_MAP, Demonstrations, Problem, generate, pose
from policies.trajectory.spline import basis, derivative_basis

P, H = 12, 32


@pytest.fixture(scope="module", params=FAMILIES)
def posed(request: pytest.FixtureRequest) -> Problem:
    return pose(7, FAMILIES.index(request.param), request.param, P, H)


def test_expert_plans_are_driveable(posed: Problem) -> None:
    vehicle, control = posed.vehicle, posed.control
    assert 30 <= len(control) <= PER_MAP and control.dtype == np.float32
    points = (basis(P, H + 1) @ control).astype(np.float32)
    clear = segment_clearance(posed.obstacles, points[:, :-1], points[:, 1:])
    assert clear.min() >= vehicle.radius - 1e-6
    speed = np.linalg.norm(np.diff(points, axis=1), axis=-1) * H / vehicle.horizon_s
    assert speed.max() <= 1.03 * vehicle.v_max
    np.testing.assert_allclose((derivative_basis(P, 2) @ control)[:, -1], 0.0, atol=1e-3)
    np.testing.assert_allclose(control[:, 0], posed.context.origin, atol=1e-5)


def test_experts_make_their_way(posed: Problem) -> None:
    """The median plan ends nearer to where its route leads than it began."""
    tip = posed.context.nominal[:, -1]
    before = np.linalg.norm(tip - posed.control[:, 0], axis=-1)
    after = np.linalg.norm(tip - posed.control[:, -1], axis=-1)
    moving = before > 0.2 * posed.vehicle.reach
    assert np.median(after[moving] / before[moving]) < 0.5


def test_contexts_are_local_and_nothing_else(posed: Problem) -> None:
    features = posed.context.features
    assert features.shape == (len(posed.control), feature_count(P)) and np.isfinite(features).all()
    # A map's name or seed would be a column that is the same in all rows of one map and differs
    # between maps; only the vehicle's size in its horizon's reach is such a one.
    vehicle = posed.vehicle
    constant = np.flatnonzero(features.std(0) == 0.0)
    size = vehicle.radius / vehicle.reach * 20.0
    for column in constant:
        value = features[0, column]
        assert np.isclose(value, size, rtol=1e-5) or abs(value) in (0.0, 1.0), (column, value)


def test_generation_is_keyed_and_complete() -> None:
    first = Demonstrations.join(list(generate(3, 3, P, H)))
    again = Demonstrations.join(list(generate(3, 3, P, H)))
    for name in ("features", "residual", "family"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert set(first.family) == {0, 1, 2} and len(first.features) == len(first.residual) == len(first.family)
    other = next(iter(generate(4, 1, P, H)))
    assert not np.array_equal(other.residual[:20], first.residual[:20])
