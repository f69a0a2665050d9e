"""Map, scenario and scene files, and the generators."""

from __future__ import annotations

import inspect
import json
import re
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import maps
from envs.errors import ConfigError
from envs.geometry import Obstacles
from envs.navigation import NavigationGrid

HEADER = "type octile\nheight 2\nwidth 3\nmap\n"
PUBLIC = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "movingai"
needs_public = pytest.mark.skipif(not PUBLIC.is_dir(), reason=f"public MovingAI maps are not at {PUBLIC}")


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def reachable(blocked: np.ndarray) -> np.ndarray:
    """Oracle: breadth-first search over four neighbours from the first free cell."""
    seen = np.zeros_like(blocked)
    queue = deque([tuple(np.argwhere(~blocked)[0])])
    while queue:
        y, x = queue.popleft()
        if 0 <= y < blocked.shape[0] and 0 <= x < blocked.shape[1] and not (blocked[y, x] or seen[y, x]):
            seen[y, x] = True
            queue.extend([(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)])
    return seen


# ------------------------------------------------------------------------------------------- .map


def test_every_terrain_letter_is_read_as_movingai_defines_it(tmp_path):
    path = written(tmp_path, "terrain.map", "type octile\nheight 1\nwidth 7\nmap\n.GS@OTW\n")
    assert maps.read_map(path).tolist() == [[False, False, False, True, True, True, True]]


def test_width_may_come_before_height_and_line_ends_may_be_dos(tmp_path):
    path = tmp_path / "dos.map"
    path.write_bytes(b"type octile\r\nwidth 3\r\nheight 2\r\nmap\r\n..@\r\n...\r\n\r\n")
    assert maps.read_map(path).tolist() == [[False, False, True], [False, False, False]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "header line 1, got 'nothing'"),
        ("type tile\nheight 2\nwidth 3\nmap\n...\n...\n", "header line 1, got 'type tile'"),
        ("type octile\nheight two\nwidth 3\nmap\n...\n...\n", "line 2"),
        ("type octile\nheight 2\nheight 3\nmap\n...\n...\n", "header line 3, got 'height 3'"),
        ("type octile\nheight 2\nwidth -3\nmap\n...\n...\n", "line 3"),
        ("type octile\nheight 0\nwidth 3\nmap\n", "line 2"),
        ("type octile\nheight 2\nwidth 3\n...\n...\n", "header line 4"),
        (HEADER + "...\n..\n", "rows of 3 cells, got 2 (PATH line 6"),
        (HEADER + "....\n...\n", "rows of 3 cells, got 4 (PATH line 5"),
        (HEADER + "...\n.x.\n", "got 'x' (PATH line 6 column 2"),
        (HEADER + "...\n", "2 rows, got 1 (PATH line 6"),
        (HEADER + "...\n...\n...\n", "2 rows, got 3 (PATH line 7"),
        (HEADER + "\n...\n...\n", "rows of 3 cells, got 0 (PATH line 5"),
    ],
)
def test_a_malformed_map_is_refused_with_its_line(tmp_path, text, says):
    path = written(tmp_path, "bad.map", text)
    with pytest.raises(ConfigError, match="^map must") as error:
        maps.read_map(path)
    assert says.replace("PATH", str(path)) in str(error.value)


READERS = [maps.read_map, maps.read_scene_json, lambda path: maps.read_scen(path, np.zeros((1, 1), bool))]


@pytest.mark.parametrize("read", READERS)
def test_files_that_cannot_be_read_are_refused(tmp_path, read):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    wrong = {tmp_path / "absent": "no such file", tmp_path: "directory", tmp_path / "binary": "not text"}
    for path, says in wrong.items():
        with pytest.raises(ConfigError, match=says):
            read(path)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_writing_and_reading_a_map_gives_it_back(tmp_path_factory, data):
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    cells = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    blocked = np.array(cells, bool).reshape(height, width)
    path = tmp_path_factory.mktemp("maps") / "any.map"
    maps.write_map(path, blocked)
    assert np.array_equal(maps.read_map(path), blocked)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="type octile\nheightwidmap 0123.@\t", max_size=120))
def test_any_text_is_a_map_or_a_config_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("maps") / "fuzz.map"
    path.write_text(HEADER[: len(text) // 2] + text)
    try:
        blocked = maps.read_map(path)
    except ConfigError as error:
        assert str(error).startswith("map must")
    else:
        assert blocked.dtype == bool and blocked.ndim == 2


def test_cell_centres_are_half_a_metre_in():
    assert maps.cell_centre([[0, 0], [3, 7]]).tolist() == [[0.5, 0.5], [3.5, 7.5]]


# ------------------------------------------------------------------------------------------ .scen

LINE = "4\tm.map\t3\t2\t0\t0\t2\t1\t2.41421356\n"


def test_pairs_are_read_in_order(tmp_path):
    path = written(tmp_path, "m.scen", "version 1\n" + LINE + "\n" + "5 with blank.map 3 2 1 0 0 0 1\n")
    pairs = maps.read_scen(path, np.zeros((2, 3), bool))
    assert pairs == [maps.ScenPair(4, (0, 0), (2, 1), 2.41421356), maps.ScenPair(5, (1, 0), (0, 0), 1.0)]


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ("", "start with 'version 1'", 1),
        ("version 2\n" + LINE, "start with 'version 1', got 'version 2'", 1),
        ("version 1\n" + LINE + "4\tm.map\t3\t2\t0\t0\n", "nine columns", 3),
        ("version 1\n4\tm.map\t3\t2\t0\tx\t2\t1\t2.4\n", "nine columns", 2),
        ("version 1\n4\tm.map\t3\t2\t0\t0\t2\t1\tnan\n", "nine columns", 2),
        ("version 1\n4\tm.map\t9\t2\t0\t0\t2\t1\t2.4\n", "3×2 map, got 9×2", 2),
        ("version 1\n4\tm.map\t3\t2\t0\t0\t3\t1\t2.4\n", "goal must be a free cell, got (3, 1)", 2),
        ("version 1\n" + LINE + "4\tm.map\t3\t2\t1\t1\t2\t1\t2.4\n", "start must be a free cell", 3),
    ],
)
def test_a_malformed_scen_is_refused_with_its_line(tmp_path, text, says, line):
    blocked = np.array([[False, False, False], [False, True, False]])
    path = written(tmp_path, "bad.scen", text)
    with pytest.raises(ConfigError, match=re.escape(says)) as error:
        maps.read_scen(path, blocked)
    assert f"{path} line {line}" in str(error.value)


def test_a_scen_without_pairs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least one"):
        maps.read_scen(written(tmp_path, "empty.scen", "version 1\n"), np.zeros((2, 3), bool))


# ------------------------------------------------------------------------------------- scene JSON


def boxes(*items) -> dict:
    return {"kind": "boxes", "items": list(items)}


def scene_text(**changes) -> str:
    data = {
        "starts": [[0, 0], [0.5, 0.5]],
        "goals": [[0.5, 0], [0, 0.5]],
        "radii": [0.05, 0.05],
        "workspace": [[-1, -1], [1, 1]],
        "obstacles": boxes({"center": [0.2, -0.5], "size": [0.4, 0.2], "corner_radius": 0.05}),
        "population": 2,
        "family": "highways",
        "trial": 3,
        "generation_seed": 11,
    }
    return json.dumps({key: value for key, value in (data | changes).items() if value is not None})


def test_a_scene_is_read_with_full_sizes_as_half_extents(tmp_path):
    scene = maps.read_scene_json(written(tmp_path, "s.json", scene_text()))
    assert np.allclose(scene.boxes, [[0.2, -0.5, 0.2, 0.1, 0.05]])
    assert scene.bounds == (-1, -1, 1, 1)
    assert (scene.family, scene.trial, scene.generation_seed) == ("highways", 3, 11)
    assert scene.starts.shape == scene.goals.shape == (2, 2)


def test_a_circle_is_a_box_that_is_all_corner(tmp_path):
    circles = {"kind": "circles", "items": [{"center": [0.1, 0.2], "radius": 0.3}]}
    scene = maps.read_scene_json(written(tmp_path, "s.json", scene_text(obstacles=circles)))
    point = np.float32([[1.1, 0.2], [0.1, 1.2], [0.1 + 0.5**0.5, 0.2 + 0.5**0.5]])
    assert np.allclose(Obstacles(scene.boxes).signed_distance(point), 0.7, atol=1e-6)


def test_a_scene_without_obstacles_is_open(tmp_path):
    scene = maps.read_scene_json(written(tmp_path, "s.json", scene_text(obstacles=boxes())))
    assert scene.boxes.shape == (0, 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "must be JSON"),
        ("[1, 2]", "must have the keys"),
        (scene_text(radii=None), "none for radii"),
        (scene_text(population=3), "got 2 starts and population 3"),
        (scene_text(starts=[]), "one point for each"),
        (scene_text(goals=[[0, 0]]), "scene.goals"),
        (scene_text(goals=[[0, 0], [0, "x"]]), "scene.goals"),
        (scene_text(goals=[[0, 0], [0, float("nan")]]), "scene.goals"),
        (scene_text(radii=[0.05, -1]), "radii must be positive"),
        (scene_text(workspace=[[1, 1], [-1, -1]]), "scene.workspace"),
        (scene_text(obstacles={"kind": "stars", "items": []}), "got kind 'stars'"),
        (scene_text(obstacles=boxes({"center": [0, 0]})), "items[0].size"),
        (scene_text(obstacles=boxes(3)), "items[0].center"),
        (
            scene_text(obstacles=boxes({"center": [0, 0], "size": [1, 1], "corner_radius": 0.6})),
            "corner radius of at most half",
        ),
    ],
)
def test_a_malformed_scene_is_refused(tmp_path, text, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        maps.read_scene_json(written(tmp_path, "bad.json", text))


def test_writing_and_reading_a_scene_gives_it_back(tmp_path):
    scene = maps.read_scene_json(written(tmp_path, "s.json", scene_text()))
    maps.write_scene_json(tmp_path / "again.json", scene)
    again = maps.read_scene_json(tmp_path / "again.json")
    for name in ("starts", "goals", "radii", "boxes"):
        assert np.allclose(getattr(scene, name), getattr(again, name), atol=1e-6), name
    assert (again.bounds, again.family) == (scene.bounds, scene.family)


# ------------------------------------------------------------------------------------- generators


def test_the_warehouse_that_ships_is_the_generators():
    assert np.array_equal(maps.read_map(maps.WAREHOUSE), maps.warehouse())


def test_the_command_writes_the_map_that_its_parameters_ask_for(tmp_path, capsys):
    maps.main(["warehouse", str(tmp_path / "w.map"), "rows=2", "missing=0.5", "seed=3"])
    assert np.array_equal(maps.read_map(tmp_path / "w.map"), maps.warehouse(rows=2, missing=0.5, seed=3))
    for bad in ("rows=0", "rows=two", "shelfs=2"):
        with pytest.raises(SystemExit) as stop:
            maps.main(["warehouse", str(tmp_path / "x.map"), bad])
        assert stop.value.code == 2 and not (tmp_path / "x.map").exists()
    assert "warehouse.rows must be at least 1, got 0" in capsys.readouterr().err


def test_a_warehouse_has_the_shelves_it_was_asked_for():
    blocked = maps.warehouse(rows=3, bays=2, shelf=5, depth=1, aisle=3, cross=2, margin=4)
    assert blocked.shape == (3 + 3 * 1 + 2 * 3 + 3, 4 + 2 * 5 + 2 + 4)
    assert blocked.sum() == 3 * 2 * 5
    assert maps.warehouse(missing=1.0).sum() == 0


@pytest.mark.parametrize("density", [0.0, 0.1, 0.37])
def test_random_cells_blocks_exactly_the_share(density):
    blocked = maps.random_cells(32, 20, density, seed=4)
    assert blocked.shape == (32, 20) and blocked.sum() == int(density * 640)


@pytest.mark.parametrize("make", [maps.maze, maps.rooms])
@pytest.mark.parametrize("seed", range(4))
def test_mazes_and_rooms_are_connected(make, seed):
    blocked = make(rows=5, columns=7, loops=0.0, seed=seed)
    assert np.array_equal(reachable(blocked), ~blocked)


def test_a_perfect_maze_has_one_opening_less_than_junctions():
    blocked = maps.maze(rows=6, columns=9, corridor=1, loops=0.0)
    assert (~blocked).sum() == 54 + 53
    assert (~maps.maze(rows=6, columns=9, corridor=1, loops=1.0)).sum() == 54 + 6 * 8 + 5 * 9


def test_corridors_and_doors_are_as_wide_as_asked():
    assert maps.maze(rows=3, columns=4, corridor=2).shape == (8, 11)
    blocked = maps.rooms(rows=1, columns=2, size=6, door=2)
    assert blocked[:, 6].sum() == 4 and not blocked[:, :6].any() and not blocked[:, 7:].any()


@pytest.mark.parametrize("name", sorted(maps.GENERATORS))
def test_generators_are_keyed_and_documented(name):
    make = maps.GENERATORS[name]
    assert np.array_equal(make(seed=5), make(seed=5))
    varied = {"missing": 0.5} if name == "warehouse" else {}
    assert not np.array_equal(make(seed=5, **varied), make(seed=6, **varied))
    assert make.__doc__ and inspect.signature(make).parameters["seed"].default == 0


# ----------------------------------------------------------------------------------- public maps


@needs_public
def test_every_public_map_is_read_with_the_size_in_its_header():
    paths = sorted(PUBLIC.glob("*.map"))
    assert paths
    for path in paths:
        blocked = maps.read_map(path)
        text = path.read_text()
        assert blocked.shape == (int(text.split()[3]), int(text.split()[5]))
        assert blocked.sum() == text.split("map\n", 1)[1].count("@")


@needs_public
def test_our_shortest_ways_have_the_lengths_that_movingai_publishes():
    blocked = maps.read_map(PUBLIC / "random-32-32-10.map")
    pairs = maps.read_scen(PUBLIC / "random-32-32-10-random-1.scen", blocked)
    assert len(pairs) == 461
    grid = NavigationGrid(Obstacles.from_grid(blocked), clearance=0.3, cell=1.0)
    goals = np.array([pair.goal for pair in pairs])
    starts = np.array([pair.start for pair in pairs])
    ours = grid.fields(maps.cell_centre(goals))[np.arange(len(pairs)), starts[:, 1], starts[:, 0]]
    assert np.allclose(ours, [pair.length for pair in pairs], atol=1e-3)
