"""Maps that nobody is told: their families, what is seen of them, and what they may not come together with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import agentsc
from envs.arena import Arena
from envs.errors import ConfigError
from envs.events import Events
from envs.scenarios import SCENARIOS
from envs.unknown import FAMILIES, SIDE, Unknown, draw, sight


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_has_room_and_walls_and_is_drawn_anew(family: str) -> None:
    maps = np.array([draw(family, seed) for seed in range(40)])
    assert maps.shape == (40, SIDE, SIDE) and 0.02 < maps.mean() < 0.4
    assert np.array_equal(maps[3], draw(family, 3)) and len({m.tobytes() for m in maps}) > 30


def test_walls_hide_what_is_behind_them() -> None:
    filled = np.zeros((1, 9, 9), bool)
    filled[0, :, 4] = True
    filled[0, 0, 4] = False  # a gap far from the eye
    seen = sight(filled, np.array([[[2.5, 6.5]]], np.float32), 20.0)[0, 0]
    assert seen[:, :4].all() and seen[1:, 4].all()
    assert not seen[3:, 5:].any()
    near = sight(filled, np.array([[[2.5, 6.5]]], np.float32), 2.1)[0, 0]
    away = np.hypot(*np.meshgrid(np.arange(9) + 0.5 - 2.5, np.arange(9) + 0.5 - 6.5))
    assert np.array_equal(near, seen & (away <= 2.1))


def test_an_agent_sees_the_cells_around_it_from_anywhere_in_its_own() -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        filled = draw("rooms", seed)
        free = np.argwhere(~filled)
        row, column = free[rng.integers(len(free))]
        spot = np.array([[[column, row]]], np.float32) + rng.uniform(0.05, 0.95, 2).astype(np.float32)
        seen = sight(filled[None], spot, 2.0)[0, 0]
        for dr, dc in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)):
            if 0 <= row + dr < SIDE and 0 <= column + dc < SIDE:
                assert seen[row + dr, column + dc]


def test_what_stands_there_stops_who_does_not_know() -> None:
    world = SCENARIOS.create("unknown-map", agents=1).build(0, [0])
    arena = Arena(world)
    hit = False
    for _ in range(200):
        hit |= bool(arena.step(world.goals - arena.position).crashed.any())
    assert hit  # a straight line through walls that no agent was told of still meets them


def test_lanes_have_maps_of_their_own_and_can_be_selected() -> None:
    scenario = SCENARIOS.create("unknown-map", agents=3, family="bars")
    world = scenario.build(4, [7, 8, 9])
    assert world.unknown is not None and world.unknown.occupied.shape[0] == 3
    alone, picked = scenario.build(4, [9]), world.select([2])
    assert picked.unknown is not None and alone.unknown is not None
    assert np.array_equal(picked.unknown.occupied, alone.unknown.occupied)
    assert np.array_equal(alone.starts, picked.starts)
    truth = world.truth(2)
    assert len(truth.boxes) and not len(world.obstacles.boxes)


def test_looks_err_as_often_as_they_say() -> None:
    world = SCENARIOS.create("unknown-map", agents=8, error=0.2).build(0, [0])
    unknown = world.unknown
    assert unknown is not None
    wrong, count = 0, 0
    for tick in range(30):
        seen, filled = unknown.look(world.starts, world.episodes, 0, tick)
        wrong += int((filled != (seen & unknown.occupied[:, None])).sum())
        count += int(seen.sum())
    assert wrong / count == pytest.approx(0.2, abs=0.02)
    again = unknown.look(world.starts, world.episodes, 0, 3)
    assert np.array_equal(again[1], unknown.look(world.starts, world.episodes, 0, 3)[1])


def test_what_does_not_fit_is_refused() -> None:
    world = SCENARIOS.create("unknown-map", agents=2).build(0, [0])
    assert world.unknown is not None
    for change, sentence in (
        ({"sight_m": 1.0}, "sight_m must be at least 1.5"),
        ({"error": 0.5}, r"error must be in \[0, 0.5\)"),
        ({"cell": 0.0}, "cell must be positive"),
        ({"occupied": np.zeros((23, 23), bool)}, r"occupied must be \[lane, row, column\]"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            replace(world.unknown, **change)
    full = np.ones_like(world.unknown.occupied)
    with pytest.raises(ConfigError, match="must keep 0.3 m from starts and goals"):
        replace(world, unknown=replace(world.unknown, occupied=full))
    with pytest.raises(ConfigError, match="must cover the arena"):
        replace(world, unknown=Unknown(np.zeros((1, 5, 5), bool), 1.0, 3.0))
    with pytest.raises(ConfigError, match="without a queue, sites and events"):
        replace(world, events=Events(boxes=np.zeros((1, 0, 5), np.float32)))
    with pytest.raises(ConfigError, match="family must be one of"):
        draw("caves", 1)


@pytest.mark.parametrize("protocol", ["intent", "silent", "orca", "market", "prioritised", "leader-follower"])
def test_protocols_that_need_the_map_say_so(protocol: str) -> None:
    with pytest.raises(ConfigError, match="must have a map that all know with protocol"):
        agentsc.run(scenario="unknown-map", protocol=protocol, ticks=2)


def test_hubs_that_decide_need_the_map_too() -> None:
    with pytest.raises(ConfigError, match="machines at hubs"):
        agentsc.run(scenario="unknown-map", protocol={"name": "negotiated", "architecture": "centralised"}, ticks=2)
