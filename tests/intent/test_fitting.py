"""Fitting a plan code: better than its start, the same every time, and complete."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agentsc.intent.fitting import Examples, Sizes, cluster, fit, nearest, unit_spec
from agentsc.intent.learned import CONTEXTS, LearnedSpec
from policies.trajectory.spline import greville

SIZES = Sizes(symbols=16, stages=3, headings=32, rounds=8)


def swerves(count: int, seed: int) -> Examples:
    """Plans of any heading and speed that swerve to one side; goals lie ahead."""
    rng = np.random.default_rng(seed)
    angle, speed, swerve = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.3, 0.9, count), rng.normal(0, 0.08, count)
    time = np.minimum(greville(12), greville(12)[-2])
    x, y = speed[:, None] * time, swerve[:, None] * np.sin(np.pi * time)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    control = np.stack([x * cos - y * sin, x * sin + y * cos], -1)
    return Examples(control, control[:, -1] * 1.5, rng.random(count) < 0.3, np.ones(count, bool))


def test_more_stages_come_nearer_and_equal_seeds_give_equal_tables() -> None:
    examples, fresh = swerves(2000, 1), swerves(300, 2)
    misses = []
    for stages in (2, 3):
        book = fit(examples, replace(SIZES, stages=stages), 0.005, {}, lambda _: None)
        spec = LearnedSpec.like(unit_spec(12), book, tolerance=1e-9)
        codes = np.zeros((len(fresh), spec.columns), np.int32)
        codes = spec.quantise(fresh.control.astype(np.float32))
        assert (codes[:, 2] == 16).all(), "nothing is met that closely: all are spelled"
        near = LearnedSpec.like(unit_spec(12), book, tolerance=0.02)
        misses.append((near.quantise(fresh.control.astype(np.float32))[:, 2] == 16).mean())
    assert misses[1] < misses[0]
    again = fit(examples, SIZES, 0.005, {}, lambda _: None)
    for name in ("books", "kinds", "headings", "refinements", "spelled"):
        np.testing.assert_array_equal(getattr(again, name), getattr(book, name))
    assert book.kinds.shape == (CONTEXTS, 17) and book.headings.shape == (CONTEXTS, 32)
    # Goals lie straight ahead: with a token, headings are nearly free.
    assert book.headings[0].min() == 5 and book.headings[1:].min() <= 2


def test_clusters_find_the_points_and_keep_one_at_rest() -> None:
    rng = np.random.default_rng(3)
    spots = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [5.0, 5.0]])
    points = spots[rng.integers(0, 4, 4000)] + rng.normal(0, 0.05, (4000, 2))
    centres, count = cluster(points, 64, 1e-3, 20, rng)
    assert not centres[0].any() and count.sum() == 4000
    used = centres[count > 0]
    assert np.linalg.norm(spots[:, None] - used, axis=-1).min(1).max() < 0.1
    # Bits that are dear are saved: fewer centres share the points.
    dear = cluster(points, 64, 0.1, 20, rng)[1]
    entropy = [-(c[c > 0] / 4000 * np.log2(c[c > 0] / 4000)).sum() for c in (count, dear)]
    assert entropy[1] < entropy[0] - 0.5
    cheap = nearest(np.zeros((1, 2)), spots, np.array([9.5, 0.0, 0.0, 0.0]))
    assert cheap[0] == 1, "a price of 9.5 is more than a squared distance of 9"


def test_increments_are_cut_to_what_can_be_driven() -> None:
    examples = swerves(50, 4)
    fast = Examples(3.0 * examples.control, examples.goal, examples.role, examples.told)
    assert np.linalg.norm(fast.increments, axis=-1).max() == pytest.approx(1.0)
    np.testing.assert_allclose(np.linalg.norm(examples.increments, axis=-1).max(), 0.9, atol=0.1)
