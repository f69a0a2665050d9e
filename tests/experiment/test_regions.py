"""Regions cover what they say, exactly, for any number of samples and any law that truths and samples share."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from agentsc.experiment.regions import inside_region

LAWS = {
    "one cluster": lambda rng, *shape: rng.normal(size=(*shape, 2)),
    "two clusters": lambda rng, *shape: 0.1 * rng.normal(size=(*shape, 2)) + rng.choice([-1, 1], (*shape, 1)),
    "a line": lambda rng, *shape: rng.normal(size=(*shape, 1)) * [1.0, 0.02],
    "two places": lambda rng, *shape: rng.choice([0.0, 1.0], (*shape, 1), p=[0.7, 0.3]) * [1.0, 2.0],
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("count", [4, 8, 20])
def test_coverage_is_nominal_when_truths_are_drawn_as_samples_are(law: str, count: int) -> None:
    rng = np.random.default_rng(count)
    draws = LAWS[law](rng, 3_000, count + 1).astype(np.float32)
    for share in (0.3, 0.5, 0.9):
        inside = inside_region(draws[:, 1:], draws[:, 0], share)
        error = inside.std() / np.sqrt(len(inside))
        assert abs(inside.mean() - share) < 4.5 * error + 1e-9, (law, count, share)


def test_whichever_of_the_points_is_the_truth_the_shares_add_up_exactly() -> None:
    """Not on average: the region of one set of points holds exactly its share of them."""
    points = np.random.default_rng(1).normal(size=(9, 2)).astype(np.float32)
    points[7] = points[8]
    for share in (0.05, 0.37, 0.9):
        held = [
            float(inside_region(np.delete(points, k, 0)[None], points[k][None], share)[0]) for k in range(len(points))
        ]
        assert sum(held) == pytest.approx(9 * share)


def test_what_is_far_off_is_outside_and_what_is_in_the_middle_inside() -> None:
    samples = np.random.default_rng(2).normal(size=(50, 32, 2)).astype(np.float32)
    assert inside_region(samples, np.full((50, 2), 20.0, np.float32)).sum() == 0
    assert inside_region(samples, np.zeros((50, 2), np.float32)).mean() > 0.99
    for count, share in itertools.product((8, 9), (0.5, 0.9)):
        shares = inside_region(samples[:, :count], samples[:, 0] + 30.0, share)
        # One rank of count + 1 cannot be left out in part: the rest of it counts.
        np.testing.assert_allclose(shares, np.clip(1.0 - (1.0 - share) * (count + 1), 0.0, 1.0), atol=1e-9)
