"""Foresight: closed forms on a corridor and an open square, and against brute force in time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from agentsc.protocol.space_time import Foresight, foresee
from envs.geometry import Obstacles
from envs.navigation import NavigationGrid
from policies.trajectory.route import Guide

STEPS, STEP_S, SPEED = 10, 1.0, 1.0


def guide_of(blocked: list[str]) -> Guide:
    obstacles = Obstacles.from_grid(np.array([[c == "#" for c in row] for row in blocked]))
    grid = NavigationGrid(obstacles, 0.3, 1.0)
    return Guide(grid, obstacles, 0.42, 8.0)


CORRIDOR = ["########", "#......#", "########"]
PASSING = ["########", "#......#", "###.####", "########"]


def look(
    guide: Guide, start: tuple[float, float], goal: tuple[float, float], peers: NDArray, toll: float
) -> Foresight:
    index = guide.goal_index(np.float32([goal]))
    return foresee(
        guide, np.float32([start]), index, peers.astype(np.float32),
        np.full((1, peers.shape[1], STEPS + 1), toll, np.float32),
        0.7, STEPS, STEP_S, SPEED,
    )  # fmt: skip


def nobody() -> NDArray:
    return np.full((1, 1, 2 * STEPS + 1, 2), 50.0)


def test_an_empty_corridor_is_walked_straight() -> None:
    seen = look(guide_of(CORRIDOR), (1.5, 1.5), (6.5, 1.5), nobody(), 5.0)
    np.testing.assert_allclose(seen.way[0, :6, 0], np.arange(1.5, 7.0), atol=1e-5)
    np.testing.assert_allclose(seen.way[0, 6:], [[6.5, 1.5]] * (STEPS - 5), atol=1e-5)
    assert seen.toll[0] == 0.0
    half = seen.value.shape[2] // 2
    assert seen.value[0, 0, half, half] == pytest.approx(5.0, abs=0.2)


def test_it_steps_aside_for_who_comes_the_other_way() -> None:
    """A peer runs against us through a corridor with one niche: waiting there costs time, not a toll."""
    times = np.arange(2 * STEPS + 1) * 0.5
    peer = np.stack([6.5 - np.minimum(times, 5.0), np.full_like(times, 1.5)], -1)[None, None]
    seen = look(guide_of(PASSING), (2.5, 1.5), (6.5, 1.5), peer, 20.0)
    assert seen.toll[0] == 0.0
    at = np.minimum(2 * np.arange(STEPS + 1), 2 * STEPS)
    gap = np.linalg.norm(seen.way[0] - peer[0, 0, at], axis=-1)
    assert gap[1:].min() >= 0.7
    assert (np.abs(seen.way[0] - [3.5, 2.5]).max(-1) < 1e-5).any(), "into the niche"
    np.testing.assert_allclose(seen.way[0, -1], [6.5, 1.5], atol=1e-5)


def test_without_a_niche_the_toll_is_reported() -> None:
    peer = np.broadcast_to([4.5, 1.5], (1, 1, 2 * STEPS + 1, 2))
    cheap = look(guide_of(CORRIDOR), (3.5, 1.5), (6.5, 1.5), peer, 0.5)
    assert cheap.way[0, -1, 0] == pytest.approx(6.5) and cheap.toll[0] > 0.0
    dear = look(guide_of(CORRIDOR), (3.5, 1.5), (6.5, 1.5), peer, 50.0)
    assert dear.toll[0] == 0.0 and dear.way[0, :, 0].max() <= 3.5 + 1e-5, "waits instead"


def test_ways_are_legal_moves_and_values_are_consistent() -> None:
    """Ways keep to the grid and off the walls, and no value is worse than waiting a step."""
    guide = guide_of(PASSING)
    rng = np.random.default_rng(0)
    for _ in range(5):
        peer = np.cumsum(rng.uniform(-0.4, 0.4, (1, 2, 2 * STEPS + 1, 2)), axis=2) + [4.0, 1.5]
        seen = look(guide, (2.5, 1.5), (6.5, 1.5), peer, 3.0)
        hop = np.abs(np.diff(seen.way[0], axis=0)).max(-1)
        assert hop.max() <= 1.0 + 1e-5
        clearance = guide.obstacles.signed_distance(seen.way[0])
        assert clearance.min() >= 0.3
        half = seen.value.shape[2] // 2
        first = seen.value[0, 0, half, half]
        assert first <= seen.value[0, 1, half, half] + STEP_S + 2 * 3.0 + 1e-4, "never worse than waiting"


def test_time_to_go_reads_the_value_off_the_window() -> None:
    seen = look(guide_of(CORRIDOR), (1.5, 1.5), (6.5, 1.5), nobody(), 5.0)
    half = seen.value.shape[2] // 2
    seconds = np.float32([0.0, 2.0])
    got = seen.time_to_go(
        np.array([0]), np.float32([[[1.5, 1.5], [2.5, 1.5]]]), seconds, np.float32([[5.0, 4.0]])
    )
    assert got[0, 0] == pytest.approx(seen.value[0, 0, half, half], abs=1e-4)
    assert got[0, 1] == pytest.approx(seen.value[0, 2, half, half + 1], abs=1e-4)
    assert got[0, 0] > got[0, 1] > 3.0
