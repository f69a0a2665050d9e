"""ORCA: its half-planes keep pairs apart, its programme is optimal, and known failures are reproduced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import agentsc
from agentsc.baselines.orca import OrcaBlock, reciprocal, velocities
from agentsc.protocol import PROTOCOLS, Setup
from envs.scenarios import SCENARIOS

Doubles = NDArray[np.float64]
SEEDS = st.integers(0, 2**32 - 1)


def disc(count: int, radius: float, rng: np.random.Generator) -> Doubles:
    """Points evenly in a disc, and on its rim."""
    angle = rng.uniform(0, 2 * np.pi, count)
    length = radius * np.where(np.arange(count) % 8 == 0, 1.0, np.sqrt(rng.uniform(0, 1, count)))
    return np.stack([length * np.cos(angle), length * np.sin(angle)], -1)


def problems(
    rng: np.random.Generator, rows: int, planes: int, hard: int, tight: float
) -> tuple[Doubles, Doubles]:
    angle = rng.uniform(0, 2 * np.pi, (rows, planes))
    offset = rng.uniform(-1.0, tight, (rows, planes))
    offset[:, :hard] = -np.abs(offset[:, :hard])
    return np.stack([np.cos(angle), np.sin(angle)], -1), offset


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS, planes=st.integers(1, 9), hard=st.integers(0, 3), tight=st.sampled_from([-0.2, 0.3, 0.9, 1.5])
)
def test_no_sampled_velocity_beats_the_programme(seed: int, planes: int, hard: int, tight: float) -> None:
    rng = np.random.default_rng(seed)
    hard, v_max = min(hard, planes), 1.0
    normal, offset = problems(rng, 6, planes, hard, tight)
    wanted = 1.5 * disc(6, v_max, rng)
    result = velocities(normal, offset, hard, v_max, wanted)
    tries = disc(4000, v_max, rng)
    for row in range(6):
        violation = offset[row] - tries @ normal[row].T
        mine = offset[row] - normal[row] @ result[row]
        assert np.linalg.norm(result[row]) <= v_max + 1e-7
        assert mine[:hard].max(initial=-np.inf) <= 1e-7
        allowed = (violation[:, :hard] <= 0).all(1)
        best = violation[allowed][:, hard:].max(1, initial=-np.inf).min(initial=np.inf)
        if best <= 0:  # something is permitted, so the nearest permitted velocity is asked for
            assert mine.max() <= 1e-7
            permitted = tries[(violation <= 0).all(1)]
            away = np.linalg.norm(permitted - wanted[row], axis=1).min()
            assert np.linalg.norm(result[row] - wanted[row]) <= away + 1e-7
        elif mine.max() > 1e-7:
            assert mine[hard:].max() <= best + 1e-6


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, planes=st.integers(1, 9))
def test_a_row_does_not_depend_on_the_others(seed: int, planes: int) -> None:
    rng = np.random.default_rng(seed)
    normal, offset = problems(rng, 7, planes, 1, 1.0)
    wanted = disc(7, 1.0, rng)
    every = velocities(normal, offset, 1, 1.0, wanted)
    for row in range(7):
        alone = velocities(normal[row : row + 1], offset[row : row + 1], 1, 1.0, wanted[row : row + 1])
        np.testing.assert_array_equal(alone[0], every[row])


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, gap=st.floats(1.05, 20.0), horizon=st.floats(0.2, 5.0))
def test_pairs_that_obey_their_half_planes_keep_apart(seed: int, gap: float, horizon: float) -> None:
    rng = np.random.default_rng(seed)
    offset = disc(1, 1.0, rng)[0]
    offset *= gap / max(np.linalg.norm(offset), 1e-9)
    own, other = disc(2, 1.0, rng)
    mine, my_offset = reciprocal(offset, own, other, 1.0, horizon, 0.1)
    theirs, their_offset = reciprocal(-offset, other, own, 1.0, horizon, 0.1)
    a, b = disc(400, 3.0, rng), disc(400, 3.0, rng)
    relative = (a[a @ mine >= my_offset][:, None] - b[b @ theirs >= their_offset]).reshape(-1, 2)
    when = np.clip((relative @ offset) / np.maximum((relative**2).sum(1), 1e-12), 0.0, horizon)
    assert np.linalg.norm(offset - when[:, None] * relative, axis=1).min(initial=np.inf) >= 1.0 - 1e-6
    assert abs(np.linalg.norm(mine) - 1.0) < 1e-9


def test_head_on_agents_share_the_evasion() -> None:
    """Closed form: towards each other at speed 1 from distance 4, with horizon 1, nobody need give way;
    with horizon 4 each gives up half of the excess over (4 − 1) / 4."""
    offset, own = np.array([4.0, 0.0]), np.array([1.0, 0.0])
    normal, limit = reciprocal(offset, own, -own, 1.0, 1.0, 0.1)
    assert normal @ own >= limit
    normal, limit = reciprocal(offset, 0.4 * own, -0.4 * own, 1.0, 4.0, 0.1)
    np.testing.assert_allclose(normal, [-1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(limit, -0.75 / 2)


@pytest.mark.parametrize("name", ["highways", "warehouse"])
def test_walls_allow_to_stand_and_forbid_to_run_into_them(name: str) -> None:
    world = SCENARIOS.create(name, agents=4).build(0, [0])
    block = PROTOCOLS.create("orca").block(Setup.of(world, prior="edge-prior", rounds=2, seed=0), range(4))
    assert isinstance(block, OrcaBlock)
    x0, y0, x1, y1 = world.bounds
    spots = np.random.default_rng(0).uniform((x0, y0), (x1, y1), (4000, 2)).astype(np.float32)
    spots = spots[world.obstacles.signed_distance(spots) >= world.radius]
    normal, offset = block._walls(spots)
    assert (offset <= 0).all()
    rng = np.random.default_rng(1)
    wild = disc(len(spots), world.v_max, rng)
    tamed = velocities(normal, offset, offset.shape[1], world.v_max, wild)
    after = spots + (tamed * world.dt).astype(np.float32)
    assert world.obstacles.signed_distance(after).min() >= 0.99 * world.radius
    untamed = spots + (wild * world.dt).astype(np.float32)
    assert world.obstacles.signed_distance(untamed).min() < 0.5 * world.radius


def run(tmp_path: Path, **options: Any) -> agentsc.RunResult:
    return agentsc.run(protocol="orca", seed=2, set=["record.episodes=[]"], out=tmp_path / "run", **options)


def test_ten_agents_weave_through_each_other(tmp_path: Path) -> None:
    log = run(tmp_path, scenario="weave", agents=10, episodes=20).log
    assert log.success.all() and log.finish_tick.max() <= 64
    # 20 header bits, 4 for the kind, 32 for the position, 24 for the velocity, 16 for the checksum.
    assert log.bits is not None and log.packets is not None
    np.testing.assert_array_equal(log.bits, 96 * log.packets)
    np.testing.assert_array_equal(log.packets, np.repeat(log.last_tick[:, None], 10, axis=1))


def test_a_perfectly_symmetric_circle_is_a_deadlock(tmp_path: Path) -> None:
    log = run(tmp_path, scenario="circle", agents=10, episodes=1).log
    assert not log.success.any() and log.collision_free.all()


def test_lost_states_cost_collisions(tmp_path: Path) -> None:
    log = run(tmp_path, scenario="weave", agents=10, episodes=20, link="erasure:p=0.95").log
    assert log.collision_free.sum() <= 2


@pytest.mark.parametrize("dynamics", ["single", "double"])
def test_limits_on_acceleration_are_kept_and_goals_reached(tmp_path: Path, dynamics: str) -> None:
    scenario = {"name": "random", "agents": 3, "dynamics": dynamics, "a_max": 2.0}
    log = run(tmp_path, scenario=scenario, episodes=3).log
    bend = np.linalg.norm(np.diff(log.positions, 2, axis=1), axis=-1)
    assert bend.max() <= 2.0 * log.dt**2 * 1.01 and log.at_goal.all()
