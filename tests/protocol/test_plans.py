"""Plans in time: where they are, and whether two keep apart, against dense sampling."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agentsc.protocol.plans import PlanTable, at, separated

H = 6
DENSE = 64


def dense(path: NDArray, start: int, ticks: NDArray) -> NDArray:
    """Positions at real-valued ticks, at rest before and after."""
    own = start + np.arange(H + 1)
    return np.stack([np.interp(ticks, own, path[:, k]) for k in (0, 1)], axis=-1)


@st.composite
def walks(draw: st.DrawFn) -> NDArray[np.float32]:
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    step = rng.uniform(-0.3, 0.3, (H, 2)) * draw(st.sampled_from([0.0, 0.5, 1.0]))
    first = rng.uniform(-0.6, 0.6, (1, 2))
    return np.concatenate([first, first + np.cumsum(step, 0)]).astype(np.float32)


@settings(max_examples=300, deadline=None)
@given(walks(), walks(), st.integers(0, 9), st.integers(0, 12), st.booleans(), st.floats(0.05, 0.6))
def test_separated_agrees_with_dense_sampling(
    path: NDArray, other: NDArray, start: int, other_start: int, since_start: bool, distance: float
) -> None:
    said = separated(
        path[None], np.array([start]), other[None], np.array([other_start]), distance, np.array([since_start])
    )[0]
    first = max(start, other_start) if since_start else start
    ticks = np.linspace(first, 40, DENSE * (40 - first) + 1)
    gap = np.linalg.norm(dense(path, start, ticks) - dense(other, other_start, ticks), axis=-1).min()
    # Sampling misses at most half a step of the fastest approach.
    slack = 0.6 * np.sqrt(2) * 0.5 / DENSE + 1e-5
    if said:
        assert gap >= distance - 1e-5
    else:
        assert gap < distance + slack


def test_head_on_and_rest_in_closed_form() -> None:
    """Two that swap places pass through each other between ticks; a plan that has ended still counts."""
    there = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    tick, always = np.zeros(1, np.int64), np.zeros(1, bool)
    assert not separated(there[None], tick, there[None, ::-1], tick, 0.9, always)[0]
    aside = there + np.float32([0.0, 0.5])
    assert separated(there[None], tick, aside[None, ::-1], tick, 0.499, always)[0]
    assert not separated(there[None], tick, aside[None, ::-1], tick, 0.501, always)[0]
    # The other one arrives at (1, 0) long after this plan has come to rest there.
    late = np.array([[5.0, 0.0], [1.0, 0.0]], np.float32)
    assert not separated(there[None], tick, late[None], tick + 30, 0.5, always)[0]


def test_a_pending_counterpart_exists_from_its_start_only() -> None:
    still = np.zeros((1, H + 1, 2), np.float32)
    leaving = np.zeros((1, H + 1, 2), np.float32)
    leaving[0, :, 0] = np.arange(H + 1)
    zero, five = np.zeros(1, np.int64), np.full(1, 5)
    # Its first way-point is where ours is gone from by then.
    assert separated(leaving, zero, still, five, 0.5, np.array([True]))[0]
    assert not separated(leaving, zero, still, five, 0.5, np.array([False]))[0]


def test_verdicts_are_per_row_and_an_empty_batch_is_fine() -> None:
    near, far = np.zeros((H + 1, 2), np.float32), np.full((H + 1, 2), 3.0, np.float32)
    tick = np.zeros(2, np.int64)
    said = separated(np.stack([near, near]), tick, np.stack([near, far]), tick, 0.1, np.zeros(2, bool))
    assert said.tolist() == [False, True]
    none = np.zeros((0, H + 1, 2), np.float32)
    assert separated(none, tick[:0], none, tick[:0], 0.1, np.zeros(0, bool)).shape == (0,)


def test_table_rests_before_and_after_and_copies_entries() -> None:
    table = PlanTable.resting(np.zeros((2, 3, 2), np.float32), H, valid=False)
    assert table.path.shape == (2, 3, H + 1, 2) and not table.valid.any()
    path = np.linspace(0, 1, H + 1, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    table.put((np.array([1]), np.array([2])), np.array([7]), np.array([10]), path[None])
    assert table.valid.sum() == 1 and table.valid[1, 2] and table.seq[1, 2] == 7
    spots = table.take((1, 2)).at(np.array([0, 10, 13, 99]))
    np.testing.assert_allclose(spots[:, 0], [0.0, 0.0, 0.5, 1.0], atol=1e-6)
    np.testing.assert_array_equal(at(path[None], np.array([10]), np.array([13]))[0, 0], path[3])
    table.copy((np.array([0]), np.array([0])), table, (np.array([1]), np.array([2])))
    np.testing.assert_array_equal(table.path[0, 0], path)
    assert table.start[0, 0] == 10 and table.valid[0, 0]
