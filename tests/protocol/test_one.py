"""The way of one agent around others: the compiled search finds what the readable one does."""

from __future__ import annotations

import numpy as np
import pytest
import waves

from agentsc.protocol.joint.lattice import UNREACHED, Claim, Lattice
from agentsc.protocol.joint.one import Trip, find
from envs.scenarios import SCENARIOS


@pytest.mark.parametrize("scenario", ["random", "highways", "conveyor", "corridor"])
def test_the_compiled_search_finds_the_same_ways(scenario: str) -> None:
    world = SCENARIOS.create(scenario, agents=8).build(seed=3, episodes=np.arange(3))
    lattice = Lattice.of(world)
    rng = np.random.default_rng(5)
    found = 0
    for starts, goals in zip(world.starts, world.goals, strict=True):
        others: list[Claim] = []
        for start, goal in zip(starts, goals, strict=True):
            trip = Trip.of(lattice, start, goal)
            np.testing.assert_array_equal(trip.to_go.reshape(lattice.shape), waves.steps_to(lattice, goal))
            if trip.least == UNREACHED:
                continue
            hold, ready = (rng.integers(0, 6, 2) * (rng.random(2) < 0.4)).tolist()
            latest = trip.least + int(rng.integers(2, 30))
            claim = find(lattice, trip, others, latest, hold, ready)
            path = waves.find(lattice, trip, others, latest, hold, ready)
            assert (claim is None) == (path is None)
            if claim is not None and path is not None:
                np.testing.assert_array_equal(claim.path, path)
                others.append(Claim(claim.path, promised=bool(rng.random() < 0.2)))
                found += 1
    assert found >= 12
    assert (lattice.scratch(1).cost == waves.PASS).all(), "it leaves its working memory as it found it"
