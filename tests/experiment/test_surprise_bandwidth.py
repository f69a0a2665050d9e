"""The experiment on bandwidth: worlds of equal density and rate, and slopes that find what was put in."""

from __future__ import annotations

import numpy as np
import pytest
import surprise_bandwidth as script

from envs.events import GOAL


def test_fleets_of_all_sizes_are_as_dense_and_as_surprising() -> None:
    for agents, episodes in ((4, 40), (32, 5)):
        world = script.world_of(agents, 6.0, episodes)
        low_x, low_y, high_x, high_y = world.bounds
        assert (high_x - low_x) * (high_y - low_y) == pytest.approx(0.25 * agents, rel=1e-5)
        events = world.events
        assert events is not None and (events.kind == GOAL).all()
        rate = (len(events.tick) - episodes) / (episodes * agents * script.TICKS * script.DT / 60.0)
        assert rate == pytest.approx(6.0, abs=1.0)
        assert (events.last(episodes) == script.TICKS - 1).all(), "lanes last to the end"


def test_slopes_are_those_put_in() -> None:
    rng = np.random.default_rng(1)
    noise = rng.lognormal(0.0, 0.05, (5, 12))
    sizes, rates = np.array([4.0, 8.0, 16.0, 32.0, 64.0]), np.array([0.0, 3.0, 6.0, 12.0, 24.0])
    _, (slope, low, high) = script.fitted(sizes, 30.0 * sizes[:, None] ** 0.7 * noise, power=True)
    assert low < 0.7 < high and abs(slope - 0.7) < 0.05
    (offset, *_), (slope, low, high) = script.fitted(rates, (40.0 + 5.0 * rates[:, None]) * noise, power=False)
    assert low < 5.0 < high and abs(offset - 40.0) < 5.0


def test_every_cell_is_there_once() -> None:
    cells = script.cells()
    assert len(cells) == len(set(cells)) == 30
    assert {cell.agents for cell in cells} == set(script.SIZES)
