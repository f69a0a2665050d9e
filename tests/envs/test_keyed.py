"""Keyed randomness: pure, order-free, and statistically sound."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from envs import keyed

N = 200_000


def test_a_draw_depends_on_its_key_only() -> None:
    episodes = np.arange(50)
    together = keyed.uniform(7, keyed.stream_id("noise"), episodes[:, None], np.arange(20))
    alone = np.array([keyed.uniform(7, keyed.stream_id("noise"), 31, tick) for tick in range(20)])
    np.testing.assert_array_equal(together[31], alone)
    np.testing.assert_array_equal(
        keyed.uniform(7, keyed.stream_id("noise"), episodes[::-1, None], np.arange(20))[::-1], together
    )


def test_values_are_the_same_on_every_machine() -> None:
    # Pinned: changing them changes every published result.
    assert keyed.stream_id("noise") == 4255749673
    assert int(keyed.hash_words(1, 2, 3)) == 0xD3A4C933D75A1325
    assert int(keyed.hash_words(-1)) == 0xD4F4CFE881DBA03E


def test_every_word_and_its_place_matter() -> None:
    key = (3, 1, 4, 1, 5)
    variants = {int(keyed.hash_words(*key))}
    for place in range(len(key)):
        for bit in range(0, 63, 7):
            changed = list(key)
            changed[place] ^= 1 << bit
            variants.add(int(keyed.hash_words(*changed)))
    assert len(variants) == 1 + 9 * len(key)
    assert keyed.hash_words(1, 2) != keyed.hash_words(2, 1)
    assert keyed.hash_words(1) != keyed.hash_words(1, 0)


def test_one_changed_bit_flips_half_of_the_output() -> None:
    words = np.arange(20_000)
    flips = keyed.hash_words(5, words) ^ keyed.hash_words(5, words ^ 1)
    ones = np.unpackbits(flips.view(np.uint8)).reshape(len(words), 64)
    assert ones.mean() == pytest.approx(0.5, abs=0.003)
    assert np.abs(ones.mean(axis=0) - 0.5).max() < 0.02  # each output bit, five standard errors


@pytest.mark.parametrize("axis", ["last word", "first word", "both"])
def test_uniform_is_uniform_and_uncorrelated_along_counters(axis: str) -> None:
    k = np.arange(N)
    draws = {
        "last word": lambda: keyed.uniform(11, k),
        "first word": lambda: keyed.uniform(k, 11),
        "both": lambda: keyed.uniform(k // 500, k % 500),
    }[axis]()
    assert draws.min() >= 0 and draws.max() < 1
    assert stats.kstest(draws, "uniform").pvalue > 1e-4
    for lag in (1, 2, 16, 500):
        assert abs(np.corrcoef(draws[:-lag], draws[lag:])[0, 1]) < 5 / np.sqrt(N)


def test_neighbouring_pairs_fill_the_square() -> None:
    draws = keyed.uniform(13, np.arange(2 * N)).reshape(N, 2)
    table, _, _ = np.histogram2d(*draws.T, bins=16)
    assert stats.chisquare(table.ravel()).pvalue > 1e-4


def test_normal_is_normal_with_independent_entries() -> None:
    keys = keyed.hash_words(3, np.arange(20_000))
    draws = keyed.normal(keys, (3, 3), 42)
    assert draws.shape == (20_000, 3, 3) and draws.dtype == np.float32
    assert np.isfinite(draws).all()
    assert stats.kstest(draws.ravel(), "norm").pvalue > 1e-4
    correlation = np.corrcoef(draws.reshape(len(draws), -1).T) - np.eye(9)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(draws))
    squares = np.corrcoef((draws.reshape(len(draws), -1) ** 2).T) - np.eye(9)
    assert np.abs(squares).max() < 6 / np.sqrt(len(draws))


def test_normal_of_one_key_does_not_depend_on_the_batch() -> None:
    keys = keyed.hash_words(3, np.arange(100))
    np.testing.assert_array_equal(keyed.normal(keys, (5,), 1)[40:41], keyed.normal(keys[40:41], (5,), 1))
    assert not np.array_equal(keyed.normal(keys, (5,), 1), keyed.normal(keys, (5,), 2))
