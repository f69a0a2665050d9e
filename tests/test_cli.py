"""The command line: speed, exit codes, and what goes to stdout and to stderr."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import agentsc.cli
from agentsc.catalog import KINDS
from agentsc.cli import main
from envs.errors import ConfigError

COMMANDS = ("list", "run", "freeze", "record", "export", "view", "train", "doctor")


def cli(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user starts it."""
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "agentsc.cli", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment, cwd=cwd)


def call(*arguments: object) -> int:
    """Exit status of the command in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def test_help_is_quick_and_names_every_command() -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = cli("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout
    assert min(seconds) <= 0.3, f"agentsc --help took {min(seconds):.2f} CPU-s: find the heavy import"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "--help") == 0
    assert len(capsys.readouterr().out.splitlines()) > 4


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out == "0.1.0\n"


@pytest.mark.parametrize("kind", KINDS)
def test_list_prints_an_array_of_name_description_parameters(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call("list", kind, "--json")
    out = capsys.readouterr().out
    rows = json.loads(out)
    assert isinstance(rows, list)
    assert rows, f"{kind} should be part of this version"
    for row in rows:
        assert set(row) == {"name", "description", "parameters"} and row["description"]
        for name, facts in row["parameters"].items():
            assert facts.get("description"), f"describe {kind} {row['name']}.{name} with Field(description=…)"


def test_list_names_what_the_readme_promises(capsys: pytest.CaptureFixture[str]) -> None:
    call("list", "--json")
    found = {
        kind: {row["name"] for row in rows} for kind, rows in json.loads(capsys.readouterr().out).items()
    }
    assert found["scenarios"] >= {
        "circle",
        "weave",
        "random",
        "highways",
        "conveyor",
        "drop-region",
        "movingai",
    }
    assert found["links"] >= {"perfect", "erasure", "gilbert-elliott", "delay"}
    ours = {"intent", "negotiated", "market", "perfect-link"}
    assert found["protocols"] >= ours | {"silent", "orca", "full-trajectory", "mader", "rmader"}
    assert found["presets"] >= {"edge-prior", "jscc", "scene-prior", "segmenter"}
    assert found["presets"] >= {"map-coder", "soft-map", "map-prior", "map-to-scene"}
    assert found["decoders"] >= {"jscc", "sdedit", "diffcom", "hifi-diffcom", "variance-aware", "moment", "daps"}
    assert found["decoders"] >= {"map", "soft-map", "gesco", "q-gesco", "gated", "hybrid", "latent"}


def test_list_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list", "links") == 0
    out = capsys.readouterr().out
    assert "erasure" in out and "erasure probability" not in out
    assert call("list", "solvers") == 0  # brackets in a formula are not markup
    assert "[f x − g² ∇log p_t]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--no-such-option"],
        ["run", "--seed", "many"],
        ["no-such-command"],
        ["list", "scenaros"],
        ["run", "--scenario", "nowhere"],
        ["run", "--scenario", "circle", "--agents", "0"],
        ["run", "--scenario", "circle", "--link", "erasure:p=1.4"],
        ["run", "--scenario", "circle", "--protocol", "none-such"],
        ["run", "--scenario", "circle", "--set", "nope.key=3"],
        ["run", "--scenario", "circle", "--out", "/proc/denied"],
        ["run", "--scenario", "circle", "--set", "prior.weights=absent.safetensors"],
        ["run", "--map", "absent.map"],
        ["run", "absent.yaml"],
        ["record", "absent", "film.gif"],
        ["export", "absent", "--tensorboard", "events"],
        ["freeze", "--scenario", "nowhere"],
        ["freeze", "--scenario", "circle", "--agents", "500"],
        ["freeze", "--check", "absent"],
        ["view", "absent.yaml"],
        ["train", "no-such-preset"],
    ],
)
def test_bad_input_exits_2_with_one_clear_message(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.strip()
    assert list(tmp_path.iterdir()) == []


def test_a_process_exits_2_without_a_traceback(tmp_path: Path) -> None:
    done = cli("run", "--scenario", "nowhere", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1


def test_a_config_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConfigError("field must be 1, got 2 (a number)")

    monkeypatch.setattr(agentsc.cli, "app", refuse)
    assert call("run") == 2
    assert capsys.readouterr() == ("", "agentsc: field must be 1, got 2 (a number)\n")


def test_doctor_reports_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status = call("doctor", "--json")
    report = json.loads(capsys.readouterr().out)
    assert status == (0 if report["ok"] else 1)
    rows = {row["name"]: row for row in report["checks"]}
    assert rows["python"]["ok"] and rows["torch"]["ok"] and rows["maps"]["ok"]
    assert all(row["detail"] for row in rows.values())
    assert report["versions"]["numpy"]
