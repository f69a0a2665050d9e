"""Plans as integers: exact, idempotent, drivable, near the plan that was meant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsc.intent.plan import PlanSpec
from envs.errors import ConfigError
from policies.trajectory.spline import spans

WORLDS = [
    PlanSpec((0.0, 0.0, 32.0, 32.0), 1.0, 0.25),
    PlanSpec((-1.0, -1.0, 1.0, 1.0), 0.64, 5 / 64),
    PlanSpec((-10.0, 5.0, 246.0, 205.0), 1.0, 0.25, control_points=12, delta_bits=8),
    PlanSpec((0.0, 0.0, 4.0, 4.0), 1.0, 0.1, horizon_ticks=16, control_points=5, delta_bits=3),
]


def plans(spec: PlanSpec, count: int, speed: float, seed: int) -> np.ndarray:
    """Wandering control points whose increments use ``speed`` of what v_max allows."""
    rng = np.random.default_rng(seed)
    low, high = np.array(spec.bounds[:2]), np.array(spec.bounds[2:])
    turns = rng.normal(0, 0.4, (count, spec.control_points - 1))
    angle = rng.uniform(0, 2 * np.pi, (count, 1)) + np.cumsum(turns, 1)
    length = spans(spec.control_points) * spec.v_max * spec.horizon_s * speed
    step = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    start = low + rng.uniform(0.1, 0.9, (count, 1, 2)) * (high - low)
    control = np.concatenate([start, start + np.cumsum(step, 1)], 1).astype(np.float32)
    control[:, -1] = control[:, -2]
    return control


@settings(max_examples=40, deadline=None)
@given(spec=st.sampled_from(WORLDS), speed=st.floats(0.0, 2.0), seed=st.integers(0, 2**31))
def test_quantising_is_idempotent_and_within_the_codes(spec: PlanSpec, speed: float, seed: int) -> None:
    codes = spec.quantise(plans(spec, 20, speed, seed))
    np.testing.assert_array_equal(spec.quantise(spec.dequantise(codes)), codes)
    assert np.abs(codes[:, 2:]).max() <= (1 << (spec.delta_bits - 1)) - 1


@settings(max_examples=40, deadline=None)
@given(spec=st.sampled_from(WORLDS), speed=st.floats(0.0, 2.0), seed=st.integers(0, 2**31))
def test_dequantised_plans_can_be_driven_and_end_at_rest(spec: PlanSpec, speed: float, seed: int) -> None:
    control = spec.dequantise(spec.quantise(plans(spec, 20, speed, seed))).astype(np.float64)
    length = np.linalg.norm(np.diff(control, axis=1), axis=-1)
    limit = spans(spec.control_points) * spec.v_max * spec.horizon_s
    assert (length <= limit + 4e-5).all()  # float32 positions on a 250 m map
    np.testing.assert_array_equal(control[:, -1], control[:, -2])


@pytest.mark.parametrize("spec", WORLDS)
def test_each_increment_is_the_nearest_code_within_reach(spec: PlanSpec) -> None:
    """Increment by increment over arrays: cut to the reach, round, and where that is too long, the best corner."""
    control = plans(spec, 300, 1.1, 2)
    codes = spec.quantise(control)
    top = (1 << (spec.delta_bits - 1)) - 1
    reached = spec.lattice(control[:, 0]).astype(np.float64)
    np.testing.assert_array_equal(codes[:, :2], reached)
    target = (control.astype(np.float64) - np.array(spec.bounds[:2])) / spec.step
    corrected = 0
    for i, (scale, reach) in enumerate(zip(spec.scale, spec.reach / spec.scale, strict=True)):
        wanted = (target[:, i + 1] - reached) / scale
        length = np.maximum(np.linalg.norm(wanted, axis=-1, keepdims=True), 1e-12)
        wanted = np.clip(wanted * np.minimum(1.0, reach / length), -top, top)
        code = np.rint(wanted)
        over = np.linalg.norm(code, axis=-1) > reach
        corrected += over.sum()
        corners = np.floor(wanted[over])[:, None] + [[0, 0], [0, 1], [1, 0], [1, 1]]
        miss = np.linalg.norm(corners - wanted[over][:, None], axis=-1)
        miss[np.linalg.norm(corners, axis=-1) > reach * (1.0 + 1e-9)] = np.inf
        code[over] = np.take_along_axis(corners, miss.argmin(-1)[:, None, None], 1)[:, 0]
        np.testing.assert_array_equal(codes[:, 2 * i + 2 : 2 * i + 4], code)
        reached += code * scale
    assert corrected > 0


@pytest.mark.parametrize("spec", WORLDS)
def test_rounding_does_not_add_up(spec: PlanSpec) -> None:
    """Below the speed limit every control point is within half a unit of its own increment."""
    control = plans(spec, 500, 0.5, 1)
    miss = np.abs(spec.dequantise(spec.quantise(control)) - control)[:, 1:-1]
    unit = spec.scale * spec.step
    if spec.delta_bits > 3:
        assert (miss <= 0.5 * unit[:, None] + 4e-5).all()
    np.testing.assert_allclose(control[:, 0], spec.point(spec.quantise(control)[:, :2]), atol=spec.step)


def test_full_speed_costs_a_small_part_of_the_way() -> None:
    """A straight plan at v_max lags by the coarsest code at most, not by one per increment."""
    spec = WORLDS[0]
    along = np.concatenate([[0.0], np.cumsum(spans(10))]) * spec.v_max * spec.horizon_s
    control = np.stack([along, np.zeros(10)], -1).astype(np.float32)[None] + np.float32(5.0)
    control[:, -1] = control[:, -2]
    miss = np.linalg.norm(spec.dequantise(spec.quantise(control)) - control, axis=-1)
    assert miss.max() <= 2 * spec.scale.max() * spec.step


def test_given_start_is_kept_and_the_plan_bends_back() -> None:
    spec = WORLDS[0]
    control = plans(spec, 50, 0.5, 2)
    start = spec.lattice(control[:, 0]) + 40
    codes = spec.quantise(control, start)
    np.testing.assert_array_equal(codes[:, :2], start)
    miss = np.abs(spec.dequantise(codes) - control)[:, 3:-1]
    assert miss.max() <= 0.5 * spec.scale.max() * spec.step + 1e-4


@given(spec=st.sampled_from(WORLDS), x=st.integers(0, 65535), y=st.integers(0, 65535))
def test_lattice_round_trip(spec: PlanSpec, x: int, y: int) -> None:
    there = np.array([x, y], np.int32)
    np.testing.assert_array_equal(spec.lattice(spec.point(there)), np.minimum(there, 65535))


def test_batch_shapes_and_batch_independence() -> None:
    spec = WORLDS[0]
    control = plans(spec, 12, 1.0, 3)
    codes = spec.quantise(control)
    np.testing.assert_array_equal(spec.quantise(control.reshape(3, 4, 10, 2)), codes.reshape(3, 4, -1))
    np.testing.assert_array_equal(spec.quantise(control[7]), codes[7])
    assert spec.dequantise(codes).dtype == np.float32 and codes.dtype == np.int32
    assert spec.bits == 6 + 32 + 16 * 6 and spec.columns == 18


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"bounds": (0.0, 0.0, 0.0, 1.0)}, "plan.bounds"),
        ({"bounds": (0.0, 0.0, np.inf, 1.0)}, "plan.bounds"),
        ({"delta_bits": 1}, "plan.delta_bits"),
        ({"v_max": 0.0}, "plan.v_max"),
        ({"control_points": 3}, "control_points"),
    ],
)
def test_impossible_specs_are_refused(change: dict, field: str) -> None:
    values = {"bounds": (0.0, 0.0, 1.0, 1.0), "v_max": 1.0, "dt": 0.1} | change
    with pytest.raises(ConfigError, match=f"{field}.*got"):
        PlanSpec(**values)
