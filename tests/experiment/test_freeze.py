"""Frozen scenes: what is frozen runs as the original does, and a changed file is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agentsc
from agentsc.cli import main
from envs.errors import ConfigError
from envs.frozen import MANIFEST, SceneSet, differences, set_hash, sha256
from envs.maps import canonical_json, exact, read_scene_json, write_map
from envs.scenarios import SCENARIOS, Motion
from envs.scenarios._unit import UnitScenario
from envs.world import World

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "experiments" / "scenes").glob(f"*/{MANIFEST}"))


def freeze(folder: Path, **options: Any) -> SceneSet:
    return agentsc.freeze(**({"scenario": "highways", "agents": 3, "episodes": 3, "seed": 5, "out": folder} | options))


def digest(protocol: str = "orca", **options: Any) -> str:
    options = {"link": "erasure:p=0.3", "seed": 5, "set": ["record.episodes=[]"]} | options
    return agentsc.run(protocol=protocol, **options).digest


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # runs without --out go here


# --------------------------------------------------------------------- the same instances, the same digest


@pytest.mark.parametrize(
    ("protocol", "scenario"),
    [
        ("orca", {"name": "circle", "agents": 4}),
        ("orca", {"name": "weave", "agents": 5, "dynamics": "double"}),
        ("orca", {"name": "random", "agents": 5, "a_max": 3.0}),
        ("orca", {"name": "highways", "agents": 4, "max_ticks": 90}),
        ("orca", {"name": "conveyor", "agents": 3}),
        ("orca", {"name": "warehouse", "agents": 3, "keep_right": True, "radius": 0.25}),
        ("negotiated", {"name": "weave", "agents": 3}),
        ("negotiated", {"name": "highways", "agents": 2}),
        ("orca", {"name": "rmader-circle", "agents": 3}),
    ],
    ids=lambda value: value if isinstance(value, str) else value["name"],
)  # fmt: skip
def test_a_frozen_run_is_the_original_run(protocol: str, scenario: dict[str, Any], tmp_path: Path) -> None:
    scenes = freeze(tmp_path / "set", scenario=scenario, agents=None, episodes=2)
    original = digest(protocol, scenario=scenario, episodes=2)
    assert digest(protocol, scenario={"name": "scene", "path": str(scenes.folder)}, episodes=2) == original


def test_a_movingai_map_is_frozen_without_its_path(tmp_path: Path) -> None:
    blocked = np.zeros((8, 9), bool)
    blocked[3, 2:7] = True
    (tmp_path / "a").mkdir()
    write_map(tmp_path / "a" / "small.map", blocked)
    original = digest(map=tmp_path / "a" / "small.map", agents=3, episodes=2)
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a" / "small.map", tmp_path / "b")
    chart = "small.map"
    sets = [freeze(tmp_path / f"set-{at}", scenario=None, map=tmp_path / at / chart, episodes=2) for at in "ab"]
    assert sets[0].sha256 == sets[1].sha256
    text = "".join(file.read_text() for file in sets[0].folder.iterdir())
    assert str(tmp_path) not in text and '"small.map"' in text
    shutil.rmtree(tmp_path / "a")
    assert digest(scenario={"name": "scene", "path": str(sets[0].folder)}, episodes=2) == original


def test_one_file_is_one_episode_of_the_set(tmp_path: Path) -> None:
    scenes = freeze(tmp_path / "set")
    alone = {"name": "scene", "path": str(scenes.path(2))}
    quiet = "record.episodes=[]"
    assert digest(scenario=alone, episodes=1, set=[quiet, "first_episode=2"]) == digest(
        scenario="highways", agents=3, episodes=1, set=[quiet, "first_episode=2"]
    )


MORE = {
    "coverage": "sites", "formation": "shape", "lifelong-warehouse": "queue", "surprise": "events",
    "unknown-map": "unknown",
}  # fmt: skip
"""Scenarios whose worlds hold more than a scene file has a place for, and what that is."""


@pytest.mark.parametrize("name", sorted(MORE))
def test_a_world_with_tasks_or_events_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"got '{name}' with {MORE[name]}"):
        freeze(tmp_path / "set", scenario=name, agents=4)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - {"scene", *MORE}))
def test_every_number_of_a_world_survives(name: str, tmp_path: Path) -> None:
    scenes = freeze(tmp_path / "set", scenario=name, agents=4)
    world = SCENARIOS.create(name, agents=4).build(5, [0, 1, 2])
    again = SCENARIOS.create("scene", path=str(scenes.folder)).build(0, [0, 1, 2])
    assert differences(world, again) == []
    assert (again.flow is None, again.adherence) == (world.flow is None, world.adherence)
    third = SCENARIOS.create("scene", path=str(scenes.folder / MANIFEST)).build(0, [2])
    assert np.array_equal(third.starts, world.starts[2:])
    moved = dataclasses.replace(world, dt=world.dt + 1e-9, starts=world.starts + 1)
    assert differences(moved, again) == ["dt", "starts"]


def test_a_frozen_scene_keeps_all_that_a_world_has() -> None:
    known = {
        *("name", "obstacles", "radius", "v_max", "a_max", "dt", "dynamics", "goal_tolerance", "separation"),
        *("max_ticks", "cell", "starts", "goals", "episodes", "flow", "via", "adherence", "notes", "start_delay_s"),
        *("stops", "resources"),
        *MORE.values(),  # refused
    }
    new = {field.name for field in dataclasses.fields(World)} ^ known
    assert not new, f"World changed by {new}: say in envs.frozen.Facts and freeze_lane how a scene keeps it"


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8))
def test_float32_survives_as_text(values: list[float]) -> None:
    array = np.array(values, np.float32)
    read = np.array(json.loads(canonical_json(exact(array))), np.float32)
    assert np.array_equal(read.view(np.int32), array.view(np.int32))


# ----------------------------------------------------------------------------------- hashes and refusals


def test_equal_instances_have_equal_hashes_and_others_do_not(tmp_path: Path) -> None:
    first, again, other = (
        freeze(tmp_path / name, seed=seed) for name, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert [file.read_bytes() for file in sorted(first.folder.iterdir())] == [
        file.read_bytes() for file in sorted(again.folder.iterdir())
    ]
    hashes = {row["sha256"] for scenes in (first, other) for row in scenes.manifest["scenes"]}
    assert len(hashes) == 6 and first.sha256 != other.sha256


def test_the_manifests_command_makes_the_set_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--scenario", "circle", "--agents", "3", "--episodes", "2", "--seed", "9", "--set", "ticks=77"]
    options += ["--set", "scenario.phase=null", "--set", "scenario.dynamics=double", "--set", "first_episode=4"]
    with pytest.raises(SystemExit, match="0"):
        main(["freeze", *options, "--out", "first", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["command"].split()[0] == "agentsc" and len(printed["scenes"]) == 2
    with pytest.raises(SystemExit, match="0"):
        main([*printed["command"].split()[1:], "--out", "again"])
    assert printed["sha256"] in capsys.readouterr().out
    assert SceneSet.open(tmp_path / "again").manifest == SceneSet.open(tmp_path / "first").manifest


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: (folder / "episode-0001.json").write_text("{}"), "another SHA-256"),
        (lambda folder: (folder / "episode-0001.json").unlink(), "cannot be read"),
        (lambda folder: (folder / MANIFEST).unlink(), "without one"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "damaged or changed"),
        (lambda folder: swap(folder, '"sha256": "', '"sha256": "0'), "damaged or changed"),
        (lambda folder: swap(folder, "episode-0001", "../episode-0001"), "damaged or changed"),
    ],
)
def test_a_changed_set_is_refused(harm: Any, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = freeze(tmp_path / "set").folder
    with pytest.raises(SystemExit, match="0"):
        main(["freeze", "--check", str(folder)])
    assert "3 scenes" in capsys.readouterr().out
    harm(folder)
    with pytest.raises(SystemExit, match="2"):
        main(["freeze", "--check", str(folder)])
    shown = capsys.readouterr()
    assert shown.out == "" and says in shown.err and len(shown.err.splitlines()) == 1
    with pytest.raises(ConfigError, match=says):
        digest(scenario={"name": "scene", "path": str(folder)}, episodes=3)


def swap(folder: Path, old: str, new: str) -> None:
    path = folder / MANIFEST
    path.write_text(path.read_text().replace(old, new))


def test_asking_for_what_a_set_does_not_have(tmp_path: Path) -> None:
    path = str(freeze(tmp_path / "set").folder)
    for options, says in (
        ({"episodes": 4}, "episodes must be 0 to 2"),
        ({"scenario": {"name": "scene", "path": path, "dynamics": "double"}}, "dynamics must be left out"),
        ({"scenario": {"name": "scene", "path": path, "a_max": 2.0}}, "a_max must be left out"),
        ({"agents": 4}, "agents must be at most 3"),
    ):
        with pytest.raises(ConfigError, match=says):
            digest(**({"scenario": {"name": "scene", "path": path}} | options))
    fewer = SCENARIOS.create("scene", path=path, agents=2, max_ticks=7).build(0, [0, 1])
    assert fewer.starts.shape == (2, 2, 2) and fewer.max_ticks == 7


def tampered(folder: Path, name: str, **changes: Any) -> Path:
    """A scene of the folder with other facts, as a file of its own."""
    scene = json.loads((folder / "episode-0000.json").read_text())
    scene["agentsc"] = {k: v for k, v in (scene["agentsc"] | changes).items() if v != "drop"}
    path = folder.parent / name
    path.write_text(canonical_json(scene))
    return path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dt": 0.0}, "scene.agentsc.dt must be greater than 0"),
        ({"dt": "drop"}, "scene.agentsc.dt is missing"),
        ({"colour": 1}, "does not know, 'colour'"),
        ({"via": [[[0.0, 0.0]]]}, "scene.agentsc.via must be points"),
        ({"scenario": {"name": "roundabouts"}}, "'roundabouts' is not known"),
        ({"scenario": {"name": 5}}, "'5' is not known"),
        ({"scenario": {"name": "random"}}, "this version's 'random' has another"),
    ],
)
def test_facts_that_cannot_be_are_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = tampered(freeze(tmp_path / "set").folder, "odd.json", **changes)
    with pytest.raises(ConfigError, match=says):
        SCENARIOS.create("scene", path=str(path)).build(0, [0])


@pytest.mark.parametrize("changes", [{"v_max": 0.3}, {"via": [[[0.5, 0.6]]] * 3}], ids=["v_max", "via"])
def test_scenes_with_other_limits_do_not_run_beside_each_other(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = freeze(tmp_path / "set").folder
    tampered(folder, "odd.json", **changes).replace(folder / "episode-0001.json")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["scenes"][1]["sha256"] = sha256((folder / "episode-0001.json").read_bytes())
    manifest["sha256"] = set_hash([row["sha256"] for row in manifest["scenes"]])
    (folder / MANIFEST).write_text(json.dumps(manifest))
    scenario = SCENARIOS.create("scene", path=str(folder))
    alone = scenario.build(0, [1])
    assert alone.v_max == changes.get("v_max", 0.64) and (alone.via is None) == ("via" not in changes)
    with pytest.raises(ConfigError, match="must share map, agents and limits"):
        scenario.build(0, [0, 1])


def test_what_cannot_be_frozen_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="frozen already"):
        freeze(tmp_path / "set", scenario="scene")
    world = SCENARIOS.create("highways", agents=3).build(0, [0])
    monkeypatch.setattr(UnitScenario, "build", lambda self, seed, episodes: world)
    monkeypatch.setattr(UnitScenario, "motion", lambda self, obstacles: Motion())
    with pytest.raises(ConfigError, match="has another"):
        freeze(tmp_path / "set", episodes=1)
    assert not (tmp_path / "set").exists()


# --------------------------------------------------------------------------------------- what is committed


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_the_committed_sets_are_made_again_bit_for_bit(path: Path, tmp_path: Path) -> None:
    scenes = agentsc.check_scenes(path)
    again = freeze(
        tmp_path / "set",
        scenario=scenes.manifest["scenario"],
        agents=None,
        episodes=len(scenes),
        seed=scenes.manifest["seed"],
    )
    assert [row["sha256"] for row in again.manifest["scenes"]] == [row["sha256"] for row in scenes.manifest["scenes"]]
    page = (path.parents[1] / "README.md").read_text()
    assert path.parent.name in page and scenes.sha256 in page and scenes.manifest["command"] in page
    assert read_scene_json(scenes.path(0)).trial == 0


def test_the_committed_sets_are_there_and_small() -> None:
    assert {"weave-10", "weave-20", "highways-6"} <= {path.parent.name for path in SHIPPED}
    folder = ROOT / "experiments" / "scenes"
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 1_500_000
