"""Sharing a map: codes, fusion, the prior's chances, and agents and a hub under loss, delay and damage."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsc.links.framing import with_checksum
from agentsc.mapping.fusion import SURE, add_looks, decided, fused, weight_of
from agentsc.mapping.prior import fill, map_core
from agentsc.mapping.service import MapService, Sharing
from agentsc.mapping.tokens import (
    DOWN,
    EDGES,
    LEVELS,
    UP,
    Coding,
    Damaged,
    Part,
    block_count,
    block_of,
    decode,
    encode,
    level_of,
)
from envs.scenarios import SCENARIOS
from envs.unknown import HELD_OUT, TRAINED, draw, sight
from envs.world import World
from policies.scene.presets import SCENES
from policies.scene.tasks.filling import calibration_error, looks
from policies.scene.train import train

ROUNDS = 2


def part_of(rng: np.random.Generator, shape: tuple[int, int], levels: bool) -> Part:
    blocks = rng.random(block_count(shape)) < 0.6
    cells = np.where(rng.random(shape) < rng.random(), rng.integers(2, size=shape), -1).astype(np.int8)
    cells[~blocks[block_of(shape)]] = -1
    return Part(cells, blocks, rng.integers(8, size=shape).astype(np.int8) if levels else None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.sampled_from(get_args(Coding)))
def test_what_is_told_is_what_was_to_be_told(seed: int, rows: int, columns: int, coding: Coding) -> None:
    rng = np.random.default_rng(seed)
    part = part_of(rng, (rows, columns), coding == "tokens" and seed % 2 == 0)
    kind, sender, clock = [UP, DOWN][seed % 2], int(rng.integers(256)), int(rng.integers(1 << 16))
    data, bits = encode(part, kind, sender, clock, coding)
    heard = decode(data, bits, (rows, columns))
    assert (heard.kind, heard.sender, heard.clock) == (kind, sender, clock)
    assert np.array_equal(heard.part.cells, part.cells) and np.array_equal(heard.part.blocks, part.blocks)
    if part.level is not None:
        assert heard.part.level is not None
        hidden = part.blocks[block_of((rows, columns))] & (part.cells < 0)
        assert np.array_equal(heard.part.level[hidden], part.level[hidden])
    # Longer arrays, as a radio hands them over, say the same.
    longer = np.concatenate([data, rng.integers(256, size=5).astype(np.uint8)])
    assert np.array_equal(decode(longer, bits, (rows, columns)).part.cells, part.cells)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90))
def test_noise_with_a_checksum_that_holds_is_refused_or_read_but_never_more(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.integers(256, size=(1, length)).astype(np.uint8)
    noise[0, 0] = [UP, DOWN][seed % 2]
    data, bits = with_checksum(noise, np.array([8 * length - seed % 7]))
    try:
        heard = decode(data[0], int(bits[0]), (23, 23))
    except Damaged:
        return
    assert set(np.unique(heard.part.cells)) <= {-1, 0, 1}


def test_tokens_are_much_shorter_than_what_is_not_compressed() -> None:
    sums = dict.fromkeys(get_args(Coding), 0)
    for seed in range(12):
        filled = draw("rooms", seed)
        spot = np.argwhere(~filled)[7 * seed][::-1] + 0.5
        seen = sight(filled[None], spot[None, None].astype(np.float32), 4.0)[0, 0]
        blocks = np.zeros(block_count(filled.shape), bool)
        blocks[block_of(filled.shape)[seen]] = True
        part = Part(np.where(seen, filled, -1).astype(np.int8), blocks)
        for coding in sums:
            sums[coding] += encode(part, UP, 0, 0, coding)[1]
    assert sums["tokens"] < 0.5 * sums["occupancy"] < 0.1 * sums["picture"]


def test_levels_are_nearest_in_ratio() -> None:
    assert (level_of(LEVELS) == np.arange(len(LEVELS))).all()
    assert (np.diff(EDGES) > 0).all() and (LEVELS[:-1] < EDGES).all() and (LEVELS[1:] > EDGES).all()


def test_looks_add_up_as_bayes_says() -> None:
    error = 0.1
    log_odds = np.zeros((3, 1), np.float32)
    filled = np.array([[True], [False], [True]])
    for seen in (np.array([[True], [True], [False]]), np.array([[True], [True], [False]])):
        add_looks(log_odds, seen, seen & filled, weight_of(error))
    posterior = 1.0 / (1.0 + np.exp(-log_odds[:, 0]))
    assert posterior == pytest.approx([0.81 / 0.82, 0.01 / 0.82, 0.5], abs=1e-5)
    assert decided(log_odds)[:, 0].tolist() == [1, 0, -1] and 2 * weight_of(error) > SURE
    # One look that is never wrong is enough; one that may be wrong is not.
    assert weight_of(0.0) > SURE > weight_of(0.1)


def test_agents_who_disagree_leave_a_cell_undecided() -> None:
    reports = np.array([[[[1]], [[0]], [[-1]]], [[[1]], [[1]], [[0]]]], np.int8)
    assert decided(fused(reports))[:, 0, 0].tolist() == [-1, 1]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "occupancy-prior.safetensors"
    small = SCENES.create("occupancy-prior", width=12, steps=300, batch=8, learning_rate=8e-3, held_out=16)
    train("occupancy-prior", preset=small, out=path)
    return path


def test_chances_are_calibrated_and_better_than_not_looking(weights: Path) -> None:
    """Of a network trained for a moment: bounds are wide, the shipped one's figures are on its card."""
    core = map_core(weights)
    maps, seen = looks(1_500_000_000 + np.arange(96), TRAINED)
    chance = fill(core, np.where(seen, maps, -1).astype(np.int8)).astype(np.float64)
    assert chance.shape == maps.shape and (chance > 0).all() and (chance < 1).all()
    hidden, share = ~seen, maps[~seen].mean()

    def loss(said: np.ndarray) -> float:
        return float(-np.log(np.where(maps[hidden], said, 1.0 - said)).mean())

    assert loss(chance[hidden]) < 0.9 * loss(np.full(hidden.sum(), share))
    assert calibration_error(chance[hidden], maps[hidden]) < 0.08


def test_the_shipped_prior_is_calibrated_on_maps_of_kinds_that_it_knows() -> None:
    core = map_core()
    for families, most in ((TRAINED, 0.03), (HELD_OUT, 0.08)):
        maps, seen = looks(1_600_000_000 + np.arange(128), families)
        chance = fill(core, np.where(seen, maps, -1).astype(np.int8)).astype(np.float64)
        assert calibration_error(chance[~seen], maps[~seen]) < most


def service(
    sharing: Sharing, link: str, *, error: float = 0.0, weights: Path | None = None
) -> tuple[MapService, World]:
    world = SCENARIOS.create("unknown-map", agents=4, error=error).build(5, [0, 1])
    core = map_core(weights) if sharing == "prior" else None
    return MapService(world, sharing, link, 5, ROUNDS, core), world


def drive(shared: MapService, world: World, ticks: int, first: int = 0) -> None:
    """Agents glide from start to goal, through walls: only what they see and say matters here."""
    for tick in range(first, first + ticks):
        share = np.float32(min(tick / 60, 1.0))
        position = world.starts + share * (world.goals - world.starts)
        shared.look(position, tick)
        for number in range(ROUNDS):
            shared.exchange(position, ROUNDS * tick + number)


@pytest.mark.parametrize("sharing", ["tokens", "occupancy", "picture"])
@pytest.mark.parametrize("link", ["perfect", "erasure:p=0.5", "erasure:p=0.3+delay:ms=400"])
def test_all_learn_what_one_has_seen_whatever_is_lost(sharing: Sharing, link: str) -> None:
    shared, world = service(sharing, link)
    drive(shared, world, 60)
    drive(shared, world, 140, 60)  # time for what was lost to be said again
    view = shared.view()
    union = (shared.own >= 0).any(axis=1, keepdims=True)
    # What anybody has seen is known to all, but for what was lost every time, and all of it is true.
    reached = (view.cells[np.broadcast_to(union, view.cells.shape)] >= 0).mean()
    assert reached == 1.0 if link == "perfect" else reached > 0.9
    truth = np.broadcast_to(world.unknown.occupied[:, None], view.cells.shape)  # type: ignore[union-attr]
    known = view.cells >= 0
    assert (view.cells[known] == truth[known]).all()
    assert shared.up_bits.min() > 0 and shared.down_bits.min() > 0 and not shared.refused.any()


def test_nobody_knows_more_than_it_has_seen_where_nothing_is_shared_or_everything_is_lost() -> None:
    for sharing, link in (("none", "perfect"), ("tokens", "erasure:p=1.0")):
        shared, world = service(sharing, link)  # type: ignore[arg-type]
        drive(shared, world, 60)
        assert np.array_equal(shared.view().cells, shared.own)
        assert (shared.told == -1).all()
    assert not service("none", "perfect")[0].up_bits.any()


def test_who_is_quiet_has_nothing_to_say() -> None:
    shared, world = service("tokens", "perfect")
    drive(shared, world, 60)
    drive(shared, world, 120, 60)
    before = shared.up_bits + shared.down_bits
    drive(shared, world, 100, 180)
    assert np.array_equal(shared.up_bits + shared.down_bits, before)


def test_the_hub_tells_chances_of_what_nobody_has_seen(weights: Path) -> None:
    shared, world = service("prior", "perfect", weights=weights)
    drive(shared, world, 30)
    view = shared.view()
    unseen = (view.cells < 0) & (shared.level >= 0)
    assert unseen.any() and set(np.unique(view.chance[unseen])) <= set(LEVELS.tolist())
    assert (view.chance[view.cells >= 0][:] >= 0).all() and view.chance.max() < 1.0
    plain, _ = service("tokens", "perfect")
    drive(plain, world, 30)
    # What is known is the same; chances come on top, and cost something.
    assert np.array_equal(plain.view().cells, view.cells) and (plain.view().chance == 0).all()
    assert (shared.down_bits > plain.down_bits).all()


def test_wrong_looks_are_outvoted() -> None:
    shared, world = service("tokens", "perfect", error=0.08)
    drive(shared, world, 60)
    drive(shared, world, 60, 60)
    truth = np.broadcast_to(world.unknown.occupied[:, None], shared.own.shape)  # type: ignore[union-attr]
    known = shared.own >= 0
    assert (shared.own[known] != truth[known]).mean() < 0.03
    one_look = np.zeros_like(shared.log_odds)
    assert (decided(one_look + np.float32(shared.weight)) == -1).all()


def test_the_same_seed_gives_the_same_packets_whatever_lanes_run_beside() -> None:
    whole, world = service("tokens", "erasure:p=0.3")
    drive(whole, world, 40)
    alone = world.select([1])
    one = MapService(alone, "tokens", "erasure:p=0.3", 5, ROUNDS)
    drive(one, alone, 40)
    assert np.array_equal(one.view().cells[0], whole.view().cells[1]) and one.up_bits[0] == whole.up_bits[1]


def test_damaged_packets_are_lost_or_counted() -> None:
    shared, world = service("tokens", "bit-errors:p=0.01")
    drive(shared, world, 60)
    known = shared.view().cells >= 0
    truth = np.broadcast_to(world.unknown.occupied[:, None], known.shape)  # type: ignore[union-attr]
    assert (shared.view().cells[known] == truth[known]).mean() > 0.99
