"""Statistics for comparing protocols: intervals, robust averages, paired tests. Pure functions.

All resampling is keyed, so equal rows give equal intervals. Failures are never dropped here: the
caller gives every attempt a value (a score of zero, an outcome of False).

References: B. Efron and R. Tibshirani, *An introduction to the bootstrap*, 1993 (percentile
intervals); E. B. Wilson, JASA 22, 1927; R. Agarwal et al., "Deep reinforcement learning at the
edge of the statistical precipice", NeurIPS 2021 (interquartile mean, performance profiles,
probability of improvement, stratified resampling); S. Holm, Scand. J. Statist. 6, 1979.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.keyed import stream_id, uniform

Doubles = NDArray[np.float64]
Interval = list[float | None]

Z95 = 1.959963984540054
RESAMPLES = 2000
PERMUTATIONS = 100_000


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share; ``n`` must be at least 1."""
    share = successes / n
    centre = share + Z95**2 / (2 * n)
    spread = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    scale = 1 + Z95**2 / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


@lru_cache(maxsize=64)
def resamples(n: int, stream: int = 0, count: int = RESAMPLES) -> NDArray[np.int64]:
    """``count`` draws of n out of n with replacement, int64 [count, n], the same for equal arguments."""
    draws = uniform(stream_id("bootstrap"), *([stream] if stream else []), np.arange(count)[:, None], np.arange(n))
    chosen = (draws * n).astype(np.int64)
    chosen.setflags(write=False)
    return chosen


def percentile_interval(values: Doubles) -> Interval:
    """The middle 95 % of bootstrap values [count]."""
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def ratio_interval(top: ArrayLike, bottom: ArrayLike) -> Interval:
    """Percentile bootstrap over the n rows of Σ top / Σ bottom; ``[None, None]`` for fewer than two."""
    numerator, denominator = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    if len(numerator) < 2:
        return [None, None]
    rows = resamples(len(numerator))
    return percentile_interval(numerator[rows].sum(axis=1) / denominator[rows].sum(axis=1))


def interquartile_mean(values: ArrayLike, axis: int = -1) -> Doubles:
    """Mean of the middle half: the quarter at each end is cut, the boundary elements by their share.

    Exact for any n (elements cut by weight), so n need not be a multiple of four.

    Args:
        values: [..., n, ...]. axis: along which to average; n ≥ 1.
    """
    ordered = np.sort(np.moveaxis(np.asarray(values, np.float64), axis, -1), axis=-1)
    n = ordered.shape[-1]
    edge = np.arange(n + 1) / n
    weight = np.clip(np.minimum(edge[1:], 0.75) - np.maximum(edge[:-1], 0.25), 0.0, None)
    return np.asarray((ordered * weight).sum(-1) / weight.sum())


def stratified(strata: Sequence[Sequence[float]], statistic: Callable[[Doubles], Doubles]) -> tuple[float, Interval]:
    """A statistic of all values together, with an interval from resampling inside each stratum.

    Args:
        strata: values of each stratum (a scenario, say), [n_s].
        statistic: [..., n] to [...], along the last axis.

    Returns:
        The statistic, and its 95 % interval (``[None, None]`` when no stratum has two values).
    """
    arrays = [np.asarray(part, np.float64) for part in strata if len(part)]
    whole = float(statistic(np.concatenate(arrays)))
    if all(len(part) < 2 for part in arrays):
        return whole, [None, None]
    drawn = [part[resamples(len(part), stream)] for stream, part in enumerate(arrays)]
    return whole, percentile_interval(statistic(np.concatenate(drawn, axis=-1)))


def performance_profile(strata: Sequence[Sequence[float]], levels: ArrayLike) -> tuple[Doubles, Doubles]:
    """Share of attempts that score above each level, with a pointwise 95 % band.

    Args:
        strata: scores of each stratum, [n_s]; failures score 0. levels: [k].

    Returns:
        float64 [k], and float64 [k, 2].
    """
    arrays, at = [np.asarray(part, np.float64) for part in strata if len(part)], np.asarray(levels, np.float64)
    share = (np.concatenate(arrays)[:, None] > at).mean(axis=0)
    total = sum(len(part) for part in arrays)
    drawn = np.zeros((RESAMPLES, len(at)))
    for stream, part in enumerate(arrays):
        above = (part[:, None] > at).astype(np.float64)
        rows = resamples(len(part), stream)
        for k in range(len(at)):
            drawn[:, k] += above[rows, k].sum(axis=1)
    low, high = np.percentile(drawn / total, [2.5, 97.5], axis=0)
    return share, np.stack([low, high], axis=-1)


def improvement_probability(better: Sequence[ArrayLike], worse: Sequence[ArrayLike]) -> tuple[float, Interval]:
    """P(X > Y) + ½ P(X = Y) for a random attempt of each, averaged over strata (Mann–Whitney).

    Args:
        better, worse: scores of two protocols, stratum by stratum, [n_s] and [m_s].
    """
    wins: Doubles = np.zeros(RESAMPLES)
    point, used = 0.0, 0
    for stream, (left, right) in enumerate(zip(better, worse, strict=True)):
        x, y = np.asarray(left, np.float64), np.asarray(right, np.float64)
        if not len(x) or not len(y):
            continue
        beats = (x[:, None] > y).astype(np.float64) + 0.5 * (x[:, None] == y)
        point, used = point + beats.mean(), used + 1
        rows, columns = resamples(len(x), 2 * stream), resamples(len(y), 2 * stream + 1)
        wins += np.array([beats[r[:, None], c].mean() for r, c in zip(rows, columns, strict=True)])
    if not used:
        return math.nan, [None, None]
    return point / used, percentile_interval(wins / used)


def paired_difference(first: ArrayLike, second: ArrayLike) -> tuple[float, Interval, float]:
    """Mean of first − second over pairs, its interval, and a two-sided p-value.

    Args:
        first, second: [n], the same episodes under two protocols.

    Returns:
        The mean, its percentile bootstrap interval, and p of the sign-flip permutation test (which
        assumes only that the two are exchangeable under the null); p is 1 for fewer than two pairs.
    """
    change = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    if len(change) == 0:
        return math.nan, [None, None], 1.0
    observed = float(change.mean())
    if len(change) < 2:
        return observed, [None, None], 1.0
    interval = percentile_interval(change[resamples(len(change))].mean(axis=1))
    return observed, interval, sign_flip_p(change)


def sign_flip_p(change: ArrayLike) -> float:
    """Two-sided p of mean ≠ 0 by flipping signs: exact up to 13 values, keyed draws beyond.

    Values that are zero change nothing under any flip and are left out.
    """
    values = np.asarray(change, np.float64)
    values = values[values != 0]
    n = len(values)
    if n == 0:
        return 1.0
    observed = abs(values.sum()) * (1 - 1e-12)
    if n <= 13:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((abs(signs @ values) >= observed).mean())
    extreme = int((abs(_signs(n) @ values) >= observed).sum())
    return (1 + extreme) / (1 + PERMUTATIONS)


@lru_cache(maxsize=4)
def _signs(n: int) -> Doubles:
    """Random signs, float64 [PERMUTATIONS, n], the same for equal n."""
    draws = uniform(stream_id("sign-flip"), np.arange(PERMUTATIONS)[:, None], np.arange(n))
    return np.where(draws < 0.5, 1.0, -1.0)


def mcnemar_p(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided exact McNemar test of paired outcomes bool [n]: a binomial test of the discordant pairs."""
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n, least = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
    return min(1.0, 2 * tail)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: reject where the result is below the family-wise level."""
    order = np.argsort(p_values, kind="stable")
    adjusted, running = np.ones(len(p_values)), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted.tolist()
