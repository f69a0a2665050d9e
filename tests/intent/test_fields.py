"""What codes mean: goals, margins, confidence, counters."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agentsc.intent import fields
from agentsc.intent.codec import BASE_BITS

BOUNDS = (-3.0, 5.0, 61.0, 37.0)


def test_token_is_64_bits() -> None:
    assert BASE_BITS + sum(f.bits for f in fields.INTENT_FIELDS) == 64
    assert sum(f.bits for f in fields.STATUS_FIELDS) == 24


def test_goals_are_known_to_half_a_cell() -> None:
    points = np.random.default_rng(0).uniform(BOUNDS[:2], BOUNDS[2:], (1000, 2)).astype(np.float32)
    back = fields.goal_point(fields.goal_code(points, BOUNDS), BOUNDS)
    assert (np.abs(back - points) <= np.array([64.0, 32.0]) / 512 + 1e-5).all()


def test_goals_outside_take_the_edge() -> None:
    codes = fields.goal_code(np.array([[-100.0, 100.0]]), BOUNDS)
    np.testing.assert_array_equal(codes, [[0, 255]])


@given(margin=st.floats(0.0, 1.2), radius=st.floats(0.05, 0.3))
def test_margins_are_never_rounded_down_below_the_top(margin: float, radius: float) -> None:
    code = int(fields.margin_code(margin, radius))
    assert 0 <= code <= 7
    assert fields.margin_m(code, radius) >= min(margin, 4 * radius) * (1 - 1e-6)
    if code:
        assert fields.margin_m(code - 1, radius) < margin
    assert int(fields.margin_code(fields.margin_m(code, radius), radius)) == code


@given(level=st.integers(0, 15))
def test_confidence_round_trip(level: int) -> None:
    assert int(fields.confidence_code(fields.confidence(level))) == level


@given(now=st.integers(0, 100_000), age=st.integers(0, 255))
def test_unwrap_restores_any_counter_younger_than_its_period(now: int, age: int) -> None:
    then = max(now - age, 0)
    assert int(fields.unwrap(then & 0xFF, now)) == then
    assert int(fields.unwrap(then & 0x7, now, bits=3)) == now - (now - then) % 8
