"""Calibrated beliefs: departures as counted, ways that join on, certainties that are told, and no row minds another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import agentsc
from agentsc.protocol.outlook import CONTEXTS, FEATURES, LEVELS, STEPS, Known, Outlook, context, onward
from envs import keyed

H, K = 32, 8


def tables(stay: float, drift: float = 0.0) -> Outlook:
    """All peers stay with that probability, or leave in the first part of the horizon."""
    shares = np.zeros((CONTEXTS, STEPS + 1))
    shares[:, 0], shares[:, -1] = 1.0 - stay, stay
    return Outlook(np.zeros(FEATURES), shares, np.array([0.5, 0.5]), drift)


def straight(n: int) -> tuple[Known, np.ndarray, np.ndarray]:
    """Plans that go east, the prior's samples that go north at full speed, and keys."""
    time = np.arange(H + 1, dtype=np.float32) / H
    path = np.repeat(np.stack([0.8 * time, 0 * time], -1)[None], n, 0)
    free = np.broadcast_to(np.stack([0 * time, time], -1), (n, K, H + 1, 2)).astype(np.float32)
    known = Known(path, np.ones(n), path[:, -1], 1.0)
    return known, free, keyed.hash_words(7, np.arange(n))


def test_who_stays_drives_the_known_plan_and_who_leaves_goes_the_priors_way() -> None:
    known, free, keys = straight(400)
    level = np.full(400, 9)
    everybody = tables(1.0).foretell(known, free, level, keys)
    np.testing.assert_array_equal(everybody, np.broadcast_to(known.path[:, None], everybody.shape))
    most = tables(0.75).foretell(known, free, level, keys)
    left = most[:, :, -1, 1] > 0.3
    # One draw lies in each eighth, so exactly a quarter of every belief's samples leave.
    assert (left.sum(1) == 2).all()
    gone = most[left]
    assert (gone[:, -1, 0] <= 0.8 * 4 / H + 1e-6).all(), "they left in the first part"
    speed = np.linalg.norm(np.diff(gone, axis=1), axis=-1)[:, 5:]
    np.testing.assert_allclose(speed, 0.5 / H, atol=1e-5)
    step = np.linalg.norm(np.diff(most, axis=2), axis=-1)
    assert step.max() <= 0.8 / H + 1e-5, "nobody jumps when leaving"


def test_drift_grows_from_the_departure_on() -> None:
    known, free, keys = straight(2000)
    plain, blurred = (tables(0.0, drift).foretell(known, free, np.zeros(2000, int), keys) for drift in (0.0, 0.2))
    spread = (blurred - plain).std((0, 1))
    np.testing.assert_allclose(spread[-1], 0.2 * 30 / H, rtol=0.06)
    assert spread[0].max() == 0.0 and (np.diff(spread[:, 0]) > -1e-6).all()


def test_beliefs_do_not_depend_on_what_else_is_believed() -> None:
    known, free, keys = straight(20)
    free = free + np.random.default_rng(1).normal(0, 0.02, free.shape).astype(np.float32)
    outlook, level = tables(0.5, 0.1), np.arange(20) % 16
    whole = outlook.foretell(known, free, level, keys)
    for k in (0, 7, 19):
        one = Known(known.path[k : k + 1], known.left[k : k + 1], known.goal[k : k + 1], 1.0)
        alone = outlook.foretell(one, free[k : k + 1], level[k : k + 1], keys[k : k + 1])
        np.testing.assert_array_equal(alone[0], whole[k])


def test_ways_go_on_from_the_nearest_place_and_rest_at_their_ends() -> None:
    free = np.zeros((1, 1, 5, 2), np.float32)
    free[0, 0, :, 0] = [0, 1, 2, 3, 3]
    way = onward(free, np.float32([[[1.1, 0.5]]]), np.array([[[0.0, 0.5, 2.0, 9.0]]]))
    np.testing.assert_allclose(way[0, 0], [[1.1, 0.5], [1.6, 0.5], [3.1, 0.5], [3.1, 0.5]], atol=1e-6)


def test_contexts_tell_certainty_and_plans_apart() -> None:
    level, left, home = (
        np.repeat(np.arange(16), 6),
        np.tile([0.0, 0.0, 0.3, 0.3, 0.9, 0.9], 16),
        np.tile([0, 1] * 3, 16),
    )
    found = context(level, left, home.astype(bool))
    assert found.min() == 0 and found.max() == CONTEXTS - 1 and len(np.unique(found)) == CONTEXTS
    assert (found[:6] == found[6:12]).all() and len(np.unique(found.reshape(16, 6)[:, 0])) == LEVELS


def test_tables_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="an outlook must have 7 weights"):
        replace(tables(1.0), weights=np.zeros(3))
    with pytest.raises(ValueError, match="shares that sum to 1"):
        replace(tables(1.0), departures=np.ones((CONTEXTS, STEPS + 1)))


def test_the_shipped_tables_say_what_one_would_expect(tmp_path: Path) -> None:
    outlook = Outlook.load()
    stays = outlook.departures[:, -1].reshape(LEVELS, -1).mean(1)
    assert stays[-1] > stays[2] + 0.3, "who is sure stays more often"
    assert 0.0 < outlook.drift < 0.5 and (np.diff(outlook.tempo) >= 0).all()
    at_rest = Known(np.zeros((1, H + 1, 2), np.float32), np.zeros(1), np.zeros((1, 2), np.float32), 1.0)
    torn = Known(at_rest.path, np.ones(1), at_rest.goal + 1.0, 1.0)
    sure, unsure = (
        outlook.certainty(known.features(np.array([s]), np.array([0]), np.array([gap])))
        for known, s, gap in ((at_rest, 1.0, np.inf), (torn, 0.2, 0.1))
    )
    assert sure > 0.9 and unsure < 0.5
    outlook.save(tmp_path / "kept.safetensors", "test")
    np.testing.assert_array_equal(Outlook.load(tmp_path / "kept.safetensors").departures, outlook.departures)


def test_runs_with_calibrated_beliefs_cover_more_and_lanes_do_not_matter(tmp_path: Path) -> None:
    same = {"scenario": "circle", "agents": 6, "seed": 5, "ticks": 64, "link": "erasure:p=0.2"}
    same["protocol"] = "negotiated"
    cover = {}
    for kind in ("prior", "calibrated"):
        options = [f"protocol.beliefs={kind}"]
        result = agentsc.run(episodes=2, set=options, out=tmp_path / kind, **same)  # type: ignore[arg-type]
        cover[kind] = result.metrics["intent_coverage90"]["mean"]
        assert result.log.collision_free.all()
    assert cover["calibrated"] > 0.8 > cover["prior"] + 0.3
    options.append("first_episode=1")
    alone = agentsc.run(set=options, out=tmp_path / "alone", **same)  # type: ignore[arg-type]
    np.testing.assert_array_equal(alone.log.positions[0, :40], result.log.positions[1, :40])
