"""The configuration tree: layers, strictness, and what its errors say."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from agentsc.experiment.config import RunConfig, assign, defaults, merge, resolve
from agentsc.experiment.run import options
from envs.errors import ConfigError


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys of the tree."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_defaults_are_complete_and_valid() -> None:
    assert resolve().tree() == defaults()


@pytest.mark.parametrize("key", list(leaves(RunConfig)))
def test_every_key_is_described_and_commented(key: str) -> None:
    value: Any = defaults()
    model: Any = RunConfig
    for part in key.split("."):
        assert part in value, f"add {key} to defaults.yaml"
        value = value[part]
        assert model.model_fields[part].description, f"describe {key} in config.py"
        assert model.model_fields[part].is_required(), (
            f"{key} has a default in code: move it to defaults.yaml"
        )
        model = model.model_fields[part].annotation
    lines = (files("agentsc.experiment") / "defaults.yaml").read_text().splitlines()
    top = key.split(".")[0]
    at = next(i for i, line in enumerate(lines) if line.startswith(f"{top}:"))
    assert lines[at - 1].startswith("#"), f"comment {top} in defaults.yaml"


def test_later_layers_win(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("seed: 3\nepisodes: 2\nlink: erasure:p=0.1\n")
    config = resolve(path, {"episodes": 5, "seed": 4}, ["seed=6"])
    assert (config.seed, config.episodes, config.link) == (6, 5, "erasure:p=0.1")


def test_a_resolved_configuration_resolves_to_itself(tmp_path: Path) -> None:
    config = resolve(None, {"scenario": {"name": "circle", "agents": 3}}, ["record.episodes=[0]"])
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.tree()))
    assert resolve(path) == config


def test_another_plugin_drops_the_parameters_of_the_previous_one() -> None:
    base = merge(defaults(), {"scenario": {"name": "movingai", "map": "a.map", "agents": 4}})
    assert merge(base, {"scenario": "circle"})["scenario"] == {"name": "circle"}
    assert merge(base, {"scenario": {"agents": 9}})["scenario"] == {
        "name": "movingai",
        "map": "a.map",
        "agents": 9,
    }
    assert merge(base, {"scenario": "movingai"})["scenario"]["map"] == "a.map"
    assert merge(defaults(), {"prior": "other"})["prior"] == {**defaults()["prior"], "name": "other"}


def test_merging_changes_neither_side() -> None:
    base, overlay = defaults(), {"scenario": {"agents": 2}, "seed": 9}
    merge(base, overlay)
    assert base == defaults() and overlay == {"scenario": {"agents": 2}, "seed": 9}


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("seed=7", "seed", 7),
        ("ticks=null", "ticks", None),
        ("link=erasure:p=0.2", "link", "erasure:p=0.2"),
        ("scenario=weave", "scenario", {"name": "weave"}),
        (
            "record.episodes=[0, 2]",
            "record",
            {"episodes": [0, 2], "samples": defaults()["record"]["samples"]},
        ),
    ],
)
def test_assignments_parse_yaml(text: str, key: str, value: Any) -> None:
    assert assign(defaults(), text)[key] == value


@pytest.mark.parametrize(
    ("config", "assignments", "words"),
    [
        ({"scenaro": "circle"}, [], ["scenaro", "did you mean 'scenario'"]),
        ({"record": {"sample": 3}}, [], ["record.sample", "did you mean 'record.samples'"]),
        ({"prior": {"name": "edge-prior", "weight": "x"}}, [], ["prior.weight", "prior.weights"]),
        (None, ["nope.key=3"], ["'nope'", "choose one of"]),
        (None, ["episodes=0"], ["episodes must be greater than or equal to 1", "got 0", "lanes"]),
        (None, ["episodes=two"], ["episodes must be a valid integer", "'two'"]),
        (None, ["seed=true"], ["seed must be a valid integer", "True"]),
        (None, ["seed=-1"], ["seed", "-1"]),
        (None, ["backend=mpi"], ["backend must be 'local' or 'ray'", "'mpi'"]),
        (None, ["seed.x=1"], ["seed.x", "seed is one already"]),
        (None, ["seed"], ["key=value", "'seed'"]),
        (None, ["=3"], ["key=value"]),
        (None, ["link=[1"], ["YAML", "'[1'"]),
        ({"scenario": None}, [], ["scenario must be a mapping", "None"]),
        ({"record": {"episodes": ["a"]}}, [], ["record.episodes.0", "'a'"]),
    ],
)
def test_errors_name_field_value_and_fix(
    config: dict[str, Any] | None, assignments: list[str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(config, None, assignments)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "valid YAML"),
        ("- 1\n- 2\n", "mapping"),
        ("3: 4\n", "mapping of names"),
        ("!!python/object/apply:os.system ['true']\n", "valid YAML"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        resolve(path)


def test_absent_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="readable YAML file"):
        resolve(tmp_path / "absent.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file"):
        resolve(tmp_path / "b.yaml")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert resolve(tmp_path / "empty.yaml") == resolve()


def test_options_choose_the_map_scenario() -> None:
    tree = options(map=Path("a.map"), scen=Path("b.scen"), agents=4, seed=None)
    assert tree == {"scenario": {"name": "movingai", "map": "a.map", "scen": "b.scen", "agents": 4}}
    assert options(agents=3) == {"scenario": {"agents": 3}}
    assert options(seed=1, protocol="silent") == {"seed": 1, "protocol": {"name": "silent"}}


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="scenario must be movingai"):
        options(scenario="circle", map="a.map")
    with pytest.raises(ConfigError, match="scen must come with a map"):
        options(scen="a.scen")


def test_recorded_lanes_default_to_the_first() -> None:
    assert resolve(None, {"first_episode": 4}).recorded == [4]
    assert resolve(None, {"record": {"episodes": []}}).recorded == []
    assert list(resolve(None, {"first_episode": 4, "episodes": 2}).episode_numbers) == [4, 5]
