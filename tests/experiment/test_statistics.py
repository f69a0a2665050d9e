"""Statistics against closed forms, textbook values and their own guarantees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsc.experiment.statistics import (
    holm,
    improvement_probability,
    interquartile_mean,
    mcnemar_p,
    paired_difference,
    performance_profile,
    resamples,
    sign_flip_p,
    stratified,
)

FINITE = st.floats(-1e3, 1e3)


def test_interquartile_mean_of_eight_is_the_mean_of_the_middle_four() -> None:
    assert interquartile_mean([100.0, 1, 2, 3, 4, -50, 0, 9]) == pytest.approx((1 + 2 + 3 + 4) / 4)


def test_interquartile_mean_cuts_by_weight_where_n_is_no_multiple_of_four() -> None:
    # n = 5: 1.25 elements are cut at each end, so weights are 0, 0.75, 1, 0.75, 0.
    assert interquartile_mean([0.0, 1, 2, 4, 100]) == pytest.approx((0.75 * 1 + 2 + 0.75 * 4) / 2.5)
    assert interquartile_mean([7.0]) == pytest.approx(7.0)


@given(st.lists(FINITE, min_size=1, max_size=30), FINITE)
def test_interquartile_mean_moves_with_the_values_and_stays_among_them(values: list[float], shift: float) -> None:
    found = float(interquartile_mean(values))
    assert min(values) - 1e-9 <= found <= max(values) + 1e-9
    assert float(interquartile_mean([v + shift for v in values])) == pytest.approx(found + shift, abs=1e-6)


def test_stratified_interval_of_a_mean_agrees_with_the_normal_one() -> None:
    rng = np.random.default_rng(3)
    strata = [rng.normal(0.0, 1.0, 200), rng.normal(5.0, 2.0, 200)]
    mean, (low, high) = stratified([part.tolist() for part in strata], lambda v: v.mean(-1))
    # Between-stratum spread does not count: only the two variances inside do.
    half = 1.96 * math.sqrt(sum(part.var(ddof=1) / 200 for part in strata)) / 2
    assert mean == pytest.approx(np.concatenate(strata).mean())
    assert low == pytest.approx(mean - half, abs=0.15 * half) and high == pytest.approx(mean + half, abs=0.15 * half)


def test_strata_are_resampled_apart_from_each_other() -> None:
    assert not np.array_equal(resamples(20, 0), resamples(20, 1))
    assert np.array_equal(resamples(20, 1), resamples(20, 1))


def test_performance_profile_counts_what_is_above() -> None:
    share, band = performance_profile([[0.0, 0.5], [0.5, 1.0]], [0.0, 0.5, 0.9, 1.0])
    assert share.tolist() == [0.75, 0.25, 0.25, 0.0]
    assert (band[:, 0] <= share).all() and (share <= band[:, 1]).all()


def test_improvement_probability_of_normals_is_the_closed_form() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(1.0, 1.0, 400), rng.normal(0.0, 1.0, 400)
    truth = 0.5 * (1 + math.erf(1 / math.sqrt(2) / math.sqrt(2)))  # Φ(1/√2)
    found, (low, high) = improvement_probability([x], [y])
    assert low is not None and high is not None
    assert abs(found - truth) < 0.04 and low < truth < high


def test_improvement_probability_of_ties_is_a_half() -> None:
    assert improvement_probability([[1.0, 1.0]], [[1.0, 1.0]])[0] == 0.5


def test_sign_flips_by_hand() -> None:
    # Three equal differences: 2 of the 8 sign patterns are as extreme.
    assert sign_flip_p([1.0, 1.0, 1.0]) == pytest.approx(2 / 8)
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([1.0, -1.0]) == 1.0


def test_sign_flips_hold_their_level_and_have_power() -> None:
    rng = np.random.default_rng(5)
    under_null = [sign_flip_p(rng.normal(0.0, 1.0, 10)) for _ in range(300)]
    assert np.mean(np.array(under_null) <= 0.05) <= 0.085
    assert sign_flip_p(rng.normal(1.0, 1.0, 20)) < 0.01


def test_mcnemar_is_the_binomial_test_of_discordant_pairs() -> None:
    first = [True] * 8 + [False] * 2 + [True] * 10
    second = [False] * 8 + [True] * 2 + [True] * 10
    # 8 against 2: 2 · P(X ≤ 2 | n = 10, ½) = 2 · 56 / 1024.
    assert mcnemar_p(first, second) == pytest.approx(112 / 1024)
    assert mcnemar_p(first, first) == 1.0


def test_holm_at_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_helps(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(a >= b - 1e-12 and a <= 1 for a, b in zip(adjusted, p, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= -1e-12).all()


def test_paired_difference_sees_what_unpaired_would_not() -> None:
    rng = np.random.default_rng(6)
    base = rng.normal(0.0, 10.0, 30)
    mean, (low, high), p = paired_difference(base + 1.0 + rng.normal(0, 0.5, 30), base)
    assert low is not None and high is not None and low > 0.5 and high < 1.5 and p < 0.001
    assert mean == pytest.approx(1.0, abs=0.3)


def test_one_pair_tells_nothing() -> None:
    assert paired_difference([2.0], [1.0]) == (1.0, [None, None], 1.0)
