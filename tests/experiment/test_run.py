"""The run folder, the result object, and refusing bad input before anything starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest
import yaml

import agentsc
from agentsc.experiment.config import resolve
from agentsc.experiment.log import Progress
from agentsc.experiment.metrics import DESCRIPTIONS
from agentsc.experiment.store import RunFolder, claim
from envs.errors import ConfigError

SMALL: dict[str, Any] = {
    "scenario": "circle", "agents": 3, "protocol": "walk", "episodes": 2, "ticks": 4, "seed": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walking: Callable[[Any], None]) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_folder_explains_itself(tmp_path: Path) -> None:
    result = agentsc.run(**SMALL, out=tmp_path / "run")
    names = {path.name for path in result.folder.iterdir()}
    assert names == {
        "config.yaml", "versions.json", "result.json", "episodes.parquet", "summary.txt", "recording-0.npz",
    }  # fmt: skip
    stored = json.loads((result.folder / "result.json").read_text())
    assert stored == json.loads(json.dumps(result.data)) == RunFolder.open(result.folder).result()
    assert {"schema", "config", "digest", "metrics", "timing"} <= set(stored)
    assert list(stored["metrics"]) == list(DESCRIPTIONS)
    config = yaml.safe_load((result.folder / "config.yaml").read_text())
    assert config == stored["config"]
    assert config["scenario"]["agents"] == 3 and config["protocol"] == {
        "name": "walk", "speed": 1.0, "needs_network": False,
    }  # fmt: skip
    assert (
        config["ticks"] == 4 and config["device"] in ("cpu", "cuda") and config["record"]["episodes"] == [0]
    )
    rows = polars.read_parquet(result.folder / "episodes.parquet")
    assert rows["episode"].to_list() == [0, 1] and rows["bits"].to_list() == [216, 216]
    assert rows["digest"].to_list() == [lane["digest"] for lane in stored["lanes"]]
    summary = (result.folder / "summary.txt").read_text()
    assert "circle, 3 agents · walk" in summary and result.digest in summary
    assert json.loads((result.folder / "versions.json").read_text())["torch"]


def test_the_stored_configuration_repeats_the_run(tmp_path: Path) -> None:
    first = agentsc.run(**SMALL, out=tmp_path / "a")
    again = agentsc.run(tmp_path / "a" / "config.yaml", out=tmp_path / "b")
    assert again.digest == first.digest and again.data["config"] == first.data["config"]
    other = agentsc.run(tmp_path / "a" / "config.yaml", seed=2, scenario="random", out=tmp_path / "c")
    assert other.digest != first.digest


def test_a_lane_alone_is_the_lane_beside_others(tmp_path: Path) -> None:
    options = SMALL | {"scenario": "random", "episodes": 3}
    lanes = agentsc.run(**options, out=tmp_path / "a").data["lanes"]
    alone = agentsc.run(**options | {"episodes": 1}, set=["first_episode=1"], out=tmp_path / "b").data[
        "lanes"
    ]
    assert alone == [lanes[1]]


def test_lanes_are_recorded_as_asked(tmp_path: Path) -> None:
    none = agentsc.run(**SMALL, set=["record.episodes=[]"], out=tmp_path / "a").folder
    assert not list(none.glob("recording-*"))
    with pytest.raises(ConfigError, match="holds no recording"):
        agentsc.record(none, tmp_path / "a.png")
    two = agentsc.run(**SMALL, set=["record.episodes=[0, 1]"], out=tmp_path / "b").folder
    assert len(list(two.glob("recording-*"))) == 2
    assert agentsc.record(two, tmp_path / "b.png", episode=1).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="recording-7.npz"):
        agentsc.record(two, tmp_path / "a.png", episode=7)


def test_a_still_is_made_of_a_run_and_of_its_folder(tmp_path: Path) -> None:
    result = agentsc.run(**SMALL, out=tmp_path / "run", record=tmp_path / "run" / "still.png")
    assert result.film == tmp_path / "run" / "still.png"
    again = agentsc.record(result.folder, tmp_path / "again.png")
    for path in (result.film, again):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_progress_is_told_of_every_tick(tmp_path: Path) -> None:
    seen: list[Progress] = []
    agentsc.run(**SMALL, out=tmp_path / "run", progress=seen.append)
    assert [moment.tick for moment in seen] == [1, 2, 3, 4]


def test_runs_without_a_folder_get_one_each(tmp_path: Path) -> None:
    first, second = agentsc.run(**SMALL), agentsc.run(**SMALL)
    assert first.folder != second.folder and first.folder.parent == Path("runs")
    assert first.folder.name.endswith("-circle-walk")


def test_a_failed_run_leaves_no_result(tmp_path: Path, walking: Callable[[Any], None]) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("radio on fire")

    walking(fail)
    with pytest.raises(RuntimeError, match="on fire"):
        agentsc.run(**SMALL, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="run must be finished"):
        RunFolder.open(tmp_path / "run").result()
    assert not list((tmp_path / "run").glob(".*"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scenario": "nowhere"}, "scenario 'nowhere' is not known"),
        (
            {"scenario": "circle", "agents": 0},
            "scenario.circle.agents must be greater than or equal to 1, got 0",
        ),
        ({"scenario": "circle", "agents": 500}, "agents"),
        ({"protocol": "wlak"}, "did you mean 'walk'"),
        ({"link": "erasure:p=1.4"}, "link.erasure.p must be less than or equal to 1, got 1.4"),
        ({"link": "erasure:q=0.1"}, "does not know, 'q'"),
        ({"link": "erasure"}, "link.erasure.p is missing"),
        ({"link": "pigeon"}, "link 'pigeon' is not known"),
        ({"set": ["scenario.colour=red"]}, "colour"),
        (
            {"set": ["prior.weights=absent.safetensors"]},
            "prior.weights must be a safetensors file, got 'absent",
        ),
        ({"set": ["prior.weights=bad.safetensors"]}, "prior.weights must be an intact checkpoint"),
        ({"set": ["record.episodes=[2]"]}, "record.episodes must be lanes of the run, 0 to 1, got 2"),
        ({"set": ["record.episodes=[]"], "record": "a.png"}, "record.episodes must name a lane"),
        ({"backend": "ray", "hosts": 4}, "hosts must be at most the number of agents, 3, got 4"),
        ({"ticks": 40000}, "ticks must be below 32768 with 2 rounds per tick, got 40000"),
        ({"map": "absent.map", "scenario": None, "agents": None}, "absent.map"),
        ({"record": "film.txt"}, "must end in .mp4, .gif, .png or .rrd"),
        ({"record": "absent/film.png"}, "record must be a file in a folder that exists"),
        ({"out": "full"}, "out must be a new or empty folder"),
        ({"out": "file"}, "out must be a folder that can be written"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    tmp_path: Path, walking: Callable[[Any], None], options: dict[str, Any], words: str
) -> None:
    walking(lambda *_, **__: pytest.fail("the run was started"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    (tmp_path / "bad.safetensors").write_bytes(b"not a checkpoint at all")
    with pytest.raises(ConfigError) as caught:
        agentsc.run(**SMALL | {"out": "new"} | options)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(ConfigError, match="out must be a folder that can be written, got '/proc/denied'"):
        claim("/proc/denied", "x")


def test_weights_are_checked_even_when_the_protocol_needs_none(tmp_path: Path) -> None:
    config = resolve(None, {"prior": {"name": "nothing"}, "protocol": "walk", "scenario": "circle"})
    assert config.prior.name == "nothing"
    with pytest.raises(ConfigError, match="prior 'nothing' is not known"):
        agentsc.run(SMALL_TREE, set=["prior.name=nothing", "prior.weights=x"], out=tmp_path / "run")


SMALL_TREE = {"scenario": {"name": "circle", "agents": 3}, "protocol": "walk", "ticks": 4}


def test_watching_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("PYTHONPATH", str(Path(agentsc.__file__).parents[1]))  # the window is a new process
    watched = agentsc.run(**SMALL, out=tmp_path / "a", view=True)
    plain = agentsc.run(**SMALL, out=tmp_path / "b")
    assert watched.digest == plain.digest and watched.metrics == plain.metrics


def test_a_run_that_cannot_be_watched_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walking: Callable[[Any], None]
) -> None:
    def no_window(scene: Any) -> None:
        raise ConfigError("view needs a display")

    monkeypatch.setattr("agentsc.view.live.LiveView", no_window)
    walking(lambda *_, **__: pytest.fail("the run was started"))
    with pytest.raises(ConfigError, match="view needs a display"):
        agentsc.run(**SMALL, out=tmp_path / "run", view=True)
    assert not (tmp_path / "run").exists()


def test_watch_replays_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("agentsc.view.live.replay", shown.append)
    folder = agentsc.run(**SMALL, out=tmp_path / "run").folder
    assert agentsc.watch(folder) is None
    assert len(shown[0]) == 4 and shown[0].scene.agents == 3
