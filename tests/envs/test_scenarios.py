"""Every registered scenario, and each one's own geometry."""

from __future__ import annotations

import json
import pickle
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs.scenarios
from envs.arena import Arena
from envs.errors import ConfigError
from envs.geometry import Obstacles
from envs.maps import Scene, read_map, read_scen, write_map, write_scene_json
from envs.navigation import NavigationGrid
from envs.scenarios import SCENARIOS
from envs.scenarios._grid import KeepRight, load, longest
from envs.scenarios._unit import straightness
from envs.scenarios.conveyor import BELTS, belt_direction, conveyance
from envs.scenarios.drop_region import DROPS, delivery
from envs.scenarios.highways import circulation, counter_clockwise

NAMES = sorted(SCENARIOS)
UNIT = ["circle", "conveyor", "coverage", "drop-region", "highways", "mission", "random", "weave"]
PUBLIC = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "movingai"
needs_public = pytest.mark.skipif(not PUBLIC.is_dir(), reason=f"public MovingAI maps are not at {PUBLIC}")


def apart(points: np.ndarray) -> float:
    """Least distance between two points of any lane, metres."""
    gap = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    return float((gap + np.where(np.eye(points.shape[1]), np.inf, 0)).min())


def along(*points: tuple[float, float], samples: int = 64) -> np.ndarray:
    """One agent's positions on the polyline through these points, float32 [samples, 1, 2]."""
    corner = np.array(points, float)
    at = np.concatenate([[0], np.linalg.norm(np.diff(corner, axis=0), axis=1).cumsum()])
    where = np.linspace(0, at[-1], samples)
    return np.stack([np.interp(where, at, corner[:, k]) for k in (0, 1)], -1).astype(np.float32)[:, None]


# ------------------------------------------------------------------------- all scenarios, conformance


def test_files_on_disk_are_the_registry():
    files = {module.name.replace("_", "-") for module in pkgutil.iter_modules(envs.scenarios.__path__)}
    assert {name for name in files if not name.startswith("-")} == set(NAMES)
    grids = {"corridor", "formation", "intersection", "lifelong-warehouse", "movingai", "surprise", "warehouse"}
    assert set(NAMES) == {*UNIT, *grids, "field", "rmader-circle", "scene", "unknown-map"}


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_builds_a_sound_world(name):
    scenario = SCENARIOS.create(name)
    world = scenario.build(3, [0, 4, 9])
    assert world.name == scenario.name == name
    assert world.starts.shape == world.goals.shape == (3, world.agents, 2)
    assert world.starts.dtype == world.goals.dtype == np.float32
    assert world.episodes.tolist() == [0, 4, 9]
    assert world.separation == pytest.approx(2 * world.radius)
    for points in (world.starts, world.goals):
        assert apart(points) >= world.separation
        assert world.obstacles.signed_distance(points).min() >= world.radius
    # Every goal can be reached by a disc of the agents' radius.
    ways = NavigationGrid(world.obstacles, world.radius, world.cell, world.flow)
    for lane in range(3):
        assert np.isfinite(ways.lengths(world.starts[lane], world.goals[lane])).all()
    # The time limit leaves room for the straight way at top speed, and more.
    straight = np.linalg.norm(world.goals - world.starts, axis=-1).max()
    assert world.max_ticks * world.dt > 1.5 * straight / world.v_max


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_does_not_depend_on_those_beside_it(name):
    scenario = SCENARIOS.create(name)
    together, alone = scenario.build(5, [7, 2, 11]), scenario.build(5, [2])
    for field in ("starts", "goals", "via"):
        left, right = getattr(together, field), getattr(alone, field)
        assert (left is None and right is None) or np.array_equal(left[1:2], right), field
    assert together.max_ticks == alone.max_ticks


@pytest.mark.parametrize("name", NAMES)
def test_seed_and_episode_key_what_is_drawn(name):
    scenario = SCENARIOS.create(name)
    first, again, seed, episode = (scenario.build(s, [e]) for s, e in ((1, 0), (1, 0), (2, 0), (1, 1)))
    assert np.array_equal(first.starts, again.starts) and np.array_equal(first.goals, again.goals)
    fixed = name in ("circle", "rmader-circle", "scene")
    assert np.array_equal(first.starts, seed.starts) == np.array_equal(first.starts, episode.starts) == fixed


@pytest.mark.parametrize("name", NAMES)
def test_motion_patterns_have_their_shapes_and_travel_to_other_processes(name):
    world = SCENARIOS.create(name).build(0, [0, 1])
    world = pickle.loads(pickle.dumps(world))
    points = np.random.default_rng(0).uniform(-1, 1, (5, 7, 2)).astype(np.float32)
    if world.flow is not None:
        length = np.linalg.norm(world.flow(points), axis=-1)
        assert length.shape == (5, 7) and (np.isclose(length, 1, atol=1e-5) | (length == 0)).all()
    if world.via is not None:
        assert world.via.shape[:2] == world.starts.shape[:2] and world.via.shape[3:] == (2,)
        assert world.obstacles.signed_distance(world.via).min() > world.radius
    assert (world.stops is None) == (world.via is None)
    if world.stops is not None and world.via is not None:
        for lane in range(world.lanes):
            np.testing.assert_array_equal(world.stops.points(world.starts[lane], world.goals[lane]), world.via[lane])
    if world.adherence is not None:
        share = world.adherence(np.linspace(world.starts[0], world.goals[0], 65, dtype=np.float32))
        assert share.shape == (world.agents,) and (share >= 0).all() and (share <= 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_dynamics_and_limits_are_passed_on(name):
    free = SCENARIOS.create(name).build(0, [0])
    double = SCENARIOS.create(name, dynamics="double").build(0, [0])
    limited = SCENARIOS.create(name, a_max=0.3).build(0, [0])
    assert (free.dynamics, free.a_max) == ("single", 20.0 if name == "rmader-circle" else np.inf)
    assert (double.dynamics, double.a_max) == ("double", pytest.approx(2 * double.v_max))
    assert (limited.dynamics, limited.a_max) == ("single", 0.3)
    Arena(double).step(np.ones_like(double.starts))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "wrong",
    [
        {"agents": -1},
        {"agents": "many"},
        {"dynamics": "triple"},
        {"a_max": 0},
        {"a_max": np.inf},
        {"max_ticks": 0},
        {"wings": 2},
    ],
)
def test_bad_parameters_are_refused_by_name(name, wrong):
    with pytest.raises(ConfigError, match=f"scenario.{name}.*{next(iter(wrong))}"):
        SCENARIOS.create(name, **wrong)


@pytest.mark.parametrize("name", NAMES)
def test_agents_that_do_not_fit_are_refused(name):
    with pytest.raises(ConfigError, match=f"scenario.{name}.agents must .* got 2000"):
        SCENARIOS.create(name, agents=2000).build(0, [0])


def test_every_scenario_describes_its_parameters():
    rows = SCENARIOS.describe()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    for row in rows:
        assert row["description"].endswith(".")
        assert all(p["description"] for p in row["parameters"].values()), row["name"]


# --------------------------------------------------------------------------------- the unit world


def test_rmaders_circle_is_the_published_one():
    world = SCENARIOS.create("rmader-circle").build(0, [0, 5])
    assert world.agents == 10 and world.radius == 0.125 and world.goal_tolerance == 0.15
    assert (world.v_max, world.a_max, world.max_ticks * world.dt) == (10.0, 20.0, pytest.approx(40.0))
    np.testing.assert_allclose(np.linalg.norm(world.starts, axis=-1), 10.0, rtol=1e-6)
    np.testing.assert_array_equal(world.goals, -world.starts)
    np.testing.assert_allclose(world.start_delay_s, 0.25 * np.arange(10))
    assert SCENARIOS.create("rmader-circle", stagger_s=0).build(0, [0]).start_delay_s is None
    with pytest.raises(ConfigError, match="max_ticks|agents"):
        SCENARIOS.create("rmader-circle", agents=101)


@pytest.mark.parametrize("name", UNIT)
def test_the_unit_world_has_the_benchmarks_constants(name):
    world = SCENARIOS.create(name).build(0, [0])
    assert world.obstacles.bounds == (-1, -1, 1, 1)
    assert (world.radius, world.dt, world.v_max) == (0.05, 5 / 64, 0.64)
    assert (world.goal_tolerance, world.separation, world.cell, world.max_ticks) == (0.05, 0.1, 0.1, 256)


def test_circle_is_the_closed_form():
    world = SCENARIOS.create("circle", agents=6).build(0, [0])
    angle = 2 * np.pi * np.arange(6) / 6
    assert np.allclose(world.starts[0], 0.8 * np.stack([np.cos(angle), np.sin(angle)], -1), atol=1e-6)
    assert np.allclose(world.goals, -world.starts)


def test_weave_without_phase_is_the_closed_form():
    world = SCENARIOS.create("weave", agents=8, phase=0.1, jitter=0).build(0, [0])
    angles = 0.1 + np.pi / 4 * np.arange(8)
    for start, goal, angle in zip(world.starts[0], world.goals[0], angles, strict=True):
        x, y = np.cos(angle), np.sin(angle)
        if abs(x) > abs(y):
            assert np.allclose([start, goal], [(np.sign(x) * 0.87, 0.8 * y), (-np.sign(x) * 0.87, 0.8 * y)])
        else:
            assert np.allclose([start, goal], [(0.8 * x, np.sign(y) * 0.87), (0.8 * x, -np.sign(y) * 0.87)])


@pytest.mark.parametrize("agents", [10, 20, 28])
def test_weave_keeps_its_distances_in_every_episode_of_the_published_fleets(agents):
    world = SCENARIOS.create("weave", agents=agents).build(0, range(30))
    assert min(apart(world.starts), apart(world.goals)) >= 0.15
    assert len(np.unique(world.starts[:, 0].round(5), axis=0)) == 30


def test_rings_refuse_the_first_fleet_that_does_not_fit():
    assert SCENARIOS.create("circle", agents=33).build(0, [0]).agents == 33
    for name, agents in (("circle", 34), ("weave", 29)):
        with pytest.raises(ConfigError, match=f"scenario.{name}.agents"):
            SCENARIOS.create(name, agents=agents).build(0, [0])


@pytest.mark.parametrize("name", ["random", "highways", "conveyor", "drop-region"])
@pytest.mark.parametrize("agents", [3, 20])
def test_drawn_points_keep_the_benchmarks_distances(name, agents):
    world = SCENARIOS.create(name, agents=agents).build(1, range(10))
    obstacles = Obstacles(world.obstacles.boxes, cutoff=0.5)
    for points in (world.starts, world.goals):
        assert np.abs(points).max() <= 0.95
        assert apart(points) > 0.15
        if name != "random":
            assert obstacles.signed_distance(points).min() > 0.16


def test_random_points_fill_the_square_evenly():
    points = SCENARIOS.create("random", agents=3).build(0, range(2000)).starts[:, 0] / 0.95
    # The first point of each episode is uniform: mean 0, variance 1/3, each within five deviations.
    assert np.abs(points.mean(axis=0)).max() < 5 * (1 / 3 / 2000) ** 0.5
    assert np.abs((points**2).mean(axis=0) - 1 / 3).max() < 5 * (4 / 45 / 2000) ** 0.5


@pytest.mark.parametrize(
    ("name", "solid", "free"),
    [
        (
            "highways",
            [(0, 0.24), (0.24, 0), (0, 0.76), (0.9, 0.9), (-0.76, 0.2)],
            [(0, 0.26), (0.26, 0.2), (0.5, 0.9), (0.249, 0.249)],
        ),
        (
            "conveyor",
            [(0.39, 0.04), (0.49, 0.31), (-0.49, -0.39)],
            [(0.41, 0), (0, 0.06), (0.51, 0.35), (0, 0.41)],
        ),
        (
            "drop-region",
            [(0.21, 0.21), (-0.59, 0.59), (0.4, -0.21)],
            [(0, 0), (0.19, 0.4), (0.61, 0.61)],
        ),
    ],
)
def test_boxes_are_where_the_benchmark_has_them(name, solid, free):
    obstacles = SCENARIOS.create(name).build(0, [0]).obstacles
    assert (obstacles.signed_distance(np.float32(solid)) < 0).all()
    assert (obstacles.signed_distance(np.float32(free)) > 0).all()


# ----------------------------------------------------------------------------- patterns, adherence


@settings(max_examples=50, deadline=None)
@given(st.floats(-3.1, 3.1), st.floats(0.1, 0.74), st.floats(0.1, 3.0))
def test_circling_is_adherent_one_way_round_only(angle, radius, sweep):
    turn = np.linspace(angle, angle + sweep, 64)
    way = (radius * np.stack([np.cos(turn), np.sin(turn)], -1)).astype(np.float32)[:, None]
    assert circulation(way).tolist() == [1.0] and circulation(way[::-1]).tolist() == [0.0]
    flow = counter_clockwise(way[:-1, 0])
    step = np.diff(way[:, 0], axis=0)
    inside = np.abs(way[:-1, 0]).max(axis=-1) <= 0.75
    assert ((flow * step).sum(-1)[inside] > 0).all()


def test_side_roads_of_the_highways_have_no_direction():
    assert counter_clockwise(np.float32([[0.5, 0.9], [0.9, 0.5], [0, 0]])).tolist() == [[0, 0]] * 3


def test_conveyance_asks_for_a_whole_belt_in_its_direction():
    up = along((0.9, 0.6), *map(tuple, BELTS[0]), (-0.9, 0.6))
    down = along((-0.9, -0.6), *map(tuple, BELTS[1]), (0.9, -0.6))
    half = along((0.9, 0.6), (0.6, 0.2), (0.0, 0.2), (0.6, 0.2), (0.9, 0.6))
    aside = along((0.9, 0.9), (-0.9, 0.9))
    ways = np.concatenate([up, down, up[::-1], down[::-1], half, aside], axis=1)
    assert conveyance(ways).tolist() == [1, 1, 0, 0, 0, 0]


def test_belts_run_leftwards_above_and_rightwards_below():
    middle = np.float32([[0, 0.2], [0, -0.2], [0.6, 0.2], [0, 0.6]])
    assert belt_direction(middle).tolist() == [[-1, 0], [1, 0], [0, 0], [0, 0]]


def test_each_trip_takes_the_belt_that_makes_it_shorter():
    world = SCENARIOS.create("conveyor").build(0, range(5))

    def length(via: np.ndarray) -> np.ndarray:
        way = np.concatenate([world.starts[:, :, None], via, world.goals[:, :, None]], axis=2)
        return np.linalg.norm(np.diff(way, axis=2), axis=-1).sum(axis=-1)

    upper = world.via[..., :1, 1:] > 0
    assert upper.any() and not upper.all()
    assert (length(world.via) <= length(np.where(upper, BELTS[1], BELTS[0])) + 1e-5).all()


@pytest.mark.parametrize(("samples", "adherent"), [(15, 0.0), (16, 1.0)])
def test_delivery_asks_for_sixteen_successive_samples(samples, adherent):
    way = along((0.9, 0.9), (-0.9, 0.9))
    way[20 : 20 + samples, 0] = DROPS[3]
    assert delivery(way).tolist() == [adherent]
    way[20:36:2, 0] = (0.9, 0.9)
    assert delivery(way).tolist() == [0.0]


def test_drops_touch_the_stations_and_are_shared_out_evenly():
    world = SCENARIOS.create("drop-region", agents=16).build(0, [0, 1])
    assert len(DROPS) == 16 and np.allclose(world.obstacles.signed_distance(DROPS), 0.15, atol=1e-6)
    for lane in world.via:
        assert len(np.unique(lane[:, 0].round(4), axis=0)) == 16


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 0.5), st.floats(0.3, 2.0), st.floats(-3.1, 3.1))
def test_straightness_counts_the_points_within_a_tenth(height, length, angle):
    # A triangle wave of this height: the share of it below a tenth of the length is known.
    across = np.linspace(0, length, 2001)
    up = height * length * (1 - np.abs(2 * across / length - 1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    way = (np.stack([across, up], -1) @ turn.T).astype(np.float32)[:, None]
    share = 1.0 if height <= 0.1 else 0.1 / height
    assert straightness(way)[0] == pytest.approx(share, abs=2e-3)


# -------------------------------------------------------------------------------------- grid maps


def test_a_grid_world_has_the_documented_constants():
    world = SCENARIOS.create("movingai").build(0, [0])
    assert (world.radius, world.v_max, world.dt, world.goal_tolerance) == (0.3, 1.0, 0.25, 0.2)
    assert (world.separation, world.cell) == (0.6, 1.0)
    assert world.obstacles.bounds == (0, 0, 36, 26)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 10**6), st.integers(1, 40))
def test_drawn_cells_are_distinct_free_and_joined(tmp_path_factory, seed, episode, agents):
    blocked = np.random.default_rng(seed).random((10, 10)) < 0.35
    blocked[4, 4:6] = False
    path = tmp_path_factory.mktemp("grid") / "any.map"
    write_map(path, blocked)
    scenario = SCENARIOS.create("movingai", map=str(path), agents=agents)
    room = len(load(path).largest)
    if room < agents:
        with pytest.raises(ConfigError, match=f"at most {room} "):
            scenario.build(seed, [episode])
        return
    world = scenario.build(seed, [episode])
    cells = [np.floor(points[0]).astype(int) for points in (world.starts, world.goals)]
    for cell in cells:
        assert len({tuple(c) for c in cell}) == agents
        assert not blocked[cell[:, 1], cell[:, 0]].any()
    labels = NavigationGrid(world.obstacles, 0.3, 1.0).components()
    assert len({labels[y, x] for cell in cells for x, y in cell}) == 1
    if agents >= 2:
        assert (cells[0] != cells[1]).any(axis=1).all()


def test_a_map_without_room_is_refused(tmp_path):
    write_map(tmp_path / "walls.map", np.ones((2, 2), bool))
    with pytest.raises(ConfigError, match=r"agents must be at most 0 .*walls\.map"):
        SCENARIOS.create("movingai", map=str(tmp_path / "walls.map"), agents=1).build(0, [0])


def test_a_map_that_changed_is_read_again(tmp_path):
    path = tmp_path / "m.map"
    write_map(path, np.zeros((3, 3), bool))
    assert load(path) is load(path) and len(load(path).largest) == 9
    write_map(path, np.zeros((3, 4), bool))
    assert len(load(path).largest) == 12


def test_the_longest_trip_of_a_corridor_is_its_length(tmp_path):
    write_map(tmp_path / "m.map", np.zeros((1, 9), bool))
    assert longest(load(tmp_path / "m.map"), 0.3) == pytest.approx(8.0)
    options = {"map": str(tmp_path / "m.map"), "agents": 1}
    assert SCENARIOS.create("movingai", **options).build(0, [0]).max_ticks == (4 * 8 + 60) * 4
    assert SCENARIOS.create("movingai", max_ticks=5, **options).build(0, [0]).max_ticks == 5


def scen_file(folder: Path, *pairs: tuple[int, int, int, int]) -> str:
    lines = [f"0\tm.map\t4\t3\t{a}\t{b}\t{c}\t{d}\t1.0" for a, b, c, d in pairs]
    (folder / "m.scen").write_text("\n".join(["version 1", *lines, ""]))
    return str(folder / "m.scen")


def test_scen_pairs_keep_their_order_and_clashing_ones_are_left_out(tmp_path):
    blocked = np.zeros((3, 4), bool)
    blocked[:, 2] = True  # the fourth column is another area
    write_map(tmp_path / "m.map", blocked)
    pairs = [
        (0, 0, 1, 0),
        (0, 0, 1, 1),  # start taken
        (0, 1, 1, 0),  # goal taken
        (0, 1, 3, 1),  # no way
        (0, 1, 0, 1),  # already there
        (0, 1, 1, 1),
    ]
    options = {"map": str(tmp_path / "m.map"), "scen": scen_file(tmp_path, *pairs)}
    world = SCENARIOS.create("movingai", agents=2, first=0, **options).build(0, [0, 3])
    assert world.starts.tolist() == [[[0.5, 0.5], [0.5, 1.5]]] * 2
    assert world.goals.tolist() == [[[1.5, 0.5], [1.5, 1.5]]] * 2
    with pytest.raises(ConfigError, match=r"agents must be at most 2 .*m\.scen"):
        SCENARIOS.create("movingai", agents=3, first=0, **options).build(0, [0])
    # Without a first pair every episode begins somewhere else in the file.
    begins = SCENARIOS.create("movingai", agents=1, **options).build(0, range(40)).goals[:, 0]
    assert len(np.unique(begins, axis=0)) == 2


def test_keep_right_has_two_sides_in_a_wide_passage_and_none_in_a_narrow_one(tmp_path):
    blocked = np.ones((7, 9), bool)
    blocked[1:3] = blocked[5] = False
    flow = KeepRight(Obstacles.from_grid(blocked))
    assert flow(np.float32([[4.5, 1.5], [4.5, 2.5]])).tolist() == [[1, 0], [-1, 0]]
    assert flow(np.float32([[4.5, 5.5]])).tolist() == [[0, 0]]
    # Going along the flow has the nearest wall to the right: clockwise a quarter turn from the heading.
    heading = flow(np.float32([[4.5, 1.4]]))[0]
    assert np.allclose([heading[1], -heading[0]], [0, -1])
    assert isinstance(SCENARIOS.create("warehouse", keep_right=True).build(0, [0]).flow, KeepRight)


# ----------------------------------------------------------------------------- corridor, intersection


@pytest.mark.parametrize(("room", "length", "bays"), [(5, 12, 2), (3, 3, 1), (7, 20, 5)])
def test_a_corridor_has_one_way_through_and_bays_beside_it(room, length, bays):
    scenario = SCENARIOS.create("corridor", room=room, length=length, bays=bays)
    free = ~scenario.grid().blocked
    narrow = free[:, room : room + length]
    assert narrow[room // 2].all() and narrow.sum() == length + bays
    for column in np.flatnonzero(narrow.sum(0) > 1):
        assert narrow[:, column].sum() == 2 and 0 < column < length - 1
    world = scenario.build(2, range(3))
    left = np.arange(6) % 2 == 0
    far = room + length
    assert (world.starts[:, left, 0] < room).all() and (world.goals[:, left, 0] > far).all()
    assert (world.starts[:, ~left, 0] > far).all() and (world.goals[:, ~left, 0] < room).all()
    assert 4 * world.radius > 1.0  # two do not fit side by side


def test_ways_through_a_crossing_have_their_sides():
    scenario = SCENARIOS.create("intersection", agents=20, straight=0.4)
    world, centre = scenario.build(1, range(40)), 9.0
    came, left = world.starts - centre, world.goals - centre
    arm_in, arm_out = (
        np.where(np.abs(d[..., 0]) > 1, np.where(d[..., 0] > 0, 0, 2), np.where(d[..., 1] > 0, 1, 3))
        for d in (came, left)
    )
    outward = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
    for offset, arm, sign in ((came, arm_in, -1), (left, arm_out, 1)):
        heading = sign * outward[arm]
        right = np.stack([heading[..., 1], -heading[..., 0]], -1)
        assert np.allclose((offset * right).sum(-1), 0.5)
    turn = (arm_out - arm_in) % 4
    shares = np.bincount(turn.ravel(), minlength=4) / turn.size
    # 800 draws; the arms are wide enough that hardly anybody has to give up its way.
    assert shares[0] < 0.01 and shares[2] == pytest.approx(0.4, abs=0.06)
    assert shares[1] == pytest.approx(0.3, abs=0.06) and shares[3] == pytest.approx(0.3, abs=0.06)
    straight = SCENARIOS.create("intersection", straight=1.0, agents=4).build(0, [0])
    assert np.allclose(np.abs(straight.starts - centre).min(-1), 0.5)


def test_a_crossing_takes_as_many_as_there_are_places():
    assert SCENARIOS.create("intersection", arm=3, agents=12).build(0, range(5)).agents == 12
    with pytest.raises(ConfigError, match="intersection.agents must be at most 12"):
        SCENARIOS.create("intersection", arm=3, agents=13).build(0, [0])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"room": 4}, "corridor.room must be odd"), ({"bays": 6}, "corridor.bays must be fewer"), ({"bays": 0}, "bays")],
)
def test_corridors_that_cannot_be_are_refused(wrong, says):
    with pytest.raises(ConfigError, match=says):
        SCENARIOS.create("corridor", **wrong).build(0, [0])


# ------------------------------------------------------------------------------------------ scenes


def scene(starts, goals, boxes=(), radii=0.05, family="") -> Scene:
    starts = np.asarray(starts, np.float32)
    return Scene(
        starts,
        np.asarray(goals, np.float32),
        np.broadcast_to(np.float32(radii), len(starts)),
        np.asarray(boxes, np.float32).reshape(-1, 5),
        (-1, -1, 1, 1),
        family,
    )


def test_a_scene_file_is_taken_as_it_is(tmp_path):
    world = SCENARIOS.create("highways", agents=5).build(9, [0])
    frozen = scene(world.starts[0], world.goals[0], world.obstacles.boxes, family="highways")
    write_scene_json(tmp_path / "s.json", frozen)
    loaded = SCENARIOS.create("scene", path=str(tmp_path / "s.json")).build(0, [0, 1])
    assert np.allclose(loaded.starts, world.starts, atol=1e-6) and loaded.starts.shape == (2, 5, 2)
    assert np.allclose(loaded.obstacles.boxes, world.obstacles.boxes)
    assert loaded.adherence is circulation and loaded.flow is counter_clockwise
    assert SCENARIOS.create("scene", path=str(tmp_path / "s.json"), agents=2).build(0, [0]).agents == 2


@pytest.mark.parametrize("family", ["conveyor", "drop_region", "weave", "somewhere-else"])
def test_a_scene_has_its_familys_pattern(tmp_path, family):
    points = [[0.8, 0.8], [-0.8, -0.8]]
    write_scene_json(tmp_path / "s.json", scene(points, points[::-1], family=family))
    world = SCENARIOS.create("scene", path=str(tmp_path / "s.json")).build(0, [0])
    known = {"conveyor": conveyance, "drop_region": delivery, "weave": straightness}
    assert world.adherence is known.get(family)
    assert (world.via is not None) == (family in ("conveyor", "drop_region"))


@pytest.mark.parametrize(
    ("starts", "radii", "says"),
    [
        ([[0, 0], [0, 0.09]], 0.05, "scene.starts must keep"),
        ([[0, 0], [0.97, 0]], 0.05, "scene.starts must keep"),
        ([[0, 0], [0.5, 0]], [0.05, 0.04], "scene.radii must all be equal"),
    ],
)
def test_scenes_that_cannot_begin_are_refused(tmp_path, starts, radii, says):
    write_scene_json(tmp_path / "s.json", scene(starts, [[0, 0.5], [0.5, 0.5]], radii=radii))
    with pytest.raises(ConfigError, match=says):
        SCENARIOS.create("scene", path=str(tmp_path / "s.json")).build(0, [0])


# -------------------------------------------------------------------------------------- public maps


@needs_public
@pytest.mark.parametrize("path", sorted(PUBLIC.glob("*.map")), ids=lambda path: path.stem)
def test_public_maps_take_a_fleet(path):
    agents = 2 if path.stem.startswith("puzzle") else 6 if path.stem.startswith("empty") else 12
    world = SCENARIOS.create("movingai", map=str(path), agents=agents).build(5, [0, 1])
    assert min(apart(world.starts), apart(world.goals)) >= 1
    assert world.obstacles.signed_distance(np.concatenate([world.starts, world.goals])).min() >= 0.5 - 1e-6
    ways = NavigationGrid(world.obstacles, world.radius, world.cell)
    lengths = np.array([ways.lengths(s, g) for s, g in zip(world.starts, world.goals, strict=True)])
    assert np.isfinite(lengths).all() and world.max_ticks * world.dt > 2 * lengths.max() / world.v_max


@needs_public
def test_the_public_scen_gives_its_own_pairs():
    chart, scen = PUBLIC / "random-32-32-10.map", PUBLIC / "random-32-32-10-random-1.scen"
    pairs = read_scen(scen, read_map(chart))
    scenario = SCENARIOS.create("movingai", map=str(chart), scen=str(scen), agents=16)
    world = scenario.build(7, range(4))
    known = {(pair.start, pair.goal) for pair in pairs}
    for starts, goals in zip(world.starts, world.goals, strict=True):
        cells = zip(np.floor(starts).astype(int).tolist(), np.floor(goals).astype(int).tolist(), strict=True)
        assert {(tuple(s), tuple(g)) for s, g in cells} <= known
    assert len(np.unique(world.starts[:, 0], axis=0)) > 1
    first = SCENARIOS.create("movingai", map=str(chart), scen=str(scen), agents=1, first=0).build(0, [0])
    assert first.starts[0, 0].tolist() == [pairs[0].start[0] + 0.5, pairs[0].start[1] + 0.5]


@pytest.mark.parametrize("agents", [8, 64, 256])
def test_a_field_grows_with_its_fleet(agents: int) -> None:
    world = SCENARIOS.create("field", agents=agents, density=4.0).build(0, range(2))
    x0, y0, x1, y1 = world.bounds
    assert (x1 - x0) * (y1 - y0) == pytest.approx(agents / 4.0, rel=1e-4)
    assert world.max_ticks == max(256, int(np.ceil(256 * (x1 - x0) / 2)))
    for spots in (world.starts, world.goals):
        assert (np.abs(spots) <= x1 - world.radius + 1e-6).all()
        gap = np.linalg.norm(spots[:, :, None] - spots[:, None], axis=-1) + 9 * np.eye(agents)
        assert gap.min() > 0.15
    assert np.abs(world.starts).max() > 0.8 * x1, "they are drawn all over it"
