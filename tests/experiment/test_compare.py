"""Comparing runs: paired where episodes are the same, and saying why where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import agentsc
from agentsc.cli import main
from envs.errors import ConfigError


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    common = {"scenario": "weave", "agents": 6, "protocol": "orca", "episodes": 5, "set": ["record.episodes=[]"]}
    agentsc.run(**common, seed=1, out=folder / "clear")
    agentsc.run(**common, seed=1, link="erasure:p=0.9", out=folder / "lossy")
    agentsc.run(**common, seed=2, out=folder / "elsewhere")
    return {path.name: path for path in folder.iterdir()}


def test_equal_episodes_are_paired(runs: dict[str, Path]) -> None:
    data = agentsc.compare(runs["clear"], runs["lossy"])
    assert [side["name"] for side in data["sides"]] == ["clear", "lossy"]
    (pair,) = data["paired"]
    assert pair["episodes"] == 5 and pair["differences"]["bits"]["n"] == 5
    success = pair["differences"]["success"]
    rates = [side["metrics"]["success_rate"]["mean"] for side in data["sides"]]
    assert success["mean"] == pytest.approx(rates[1] - rates[0]) and success["mean"] < 0
    assert all(found["p_holm"] >= found["p"] for found in pair["differences"].values())


def test_other_episodes_are_not(runs: dict[str, Path]) -> None:
    (pair,) = agentsc.compare(runs["clear"], runs["elsewhere"])["paired"]
    assert "differences" not in pair and "seeds differ" in pair["reason"]


def test_the_cells_of_a_benchmark_are_compared(tmp_path: Path) -> None:
    suite = {"title": "t", "question": "q", "seeds": 3, "matrix": [{"axes": {
        "scenario": ["circle"], "agents": [3], "protocol": ["orca"],
        "loss": {0: {"link": "perfect"}, 0.5: {"link": "erasure:p=0.5"}},
    }}]}  # fmt: skip
    agentsc.bench(suite, out=tmp_path / "b", workers=0)
    data = agentsc.compare(tmp_path / "b")
    assert len(data["sides"]) == 2 and data["paired"][0]["episodes"] == 3


def test_one_run_is_too_few_and_a_folder_without_results_is_named(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two"):
        agentsc.compare(runs["clear"])
    with pytest.raises(ConfigError, match="run folder"):
        agentsc.compare(runs["clear"], tmp_path)


def test_the_command_prints_tables_or_json(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(runs["clear"]), str(runs["lossy"])]
    with pytest.raises(SystemExit) as done:
        main(["compare", *folders])
    assert done.value.code == 0
    said = capsys.readouterr().out
    assert "success_rate" in said and "lossy minus clear, same 5 episodes" in said and "p (Holm)" in said
    with pytest.raises(SystemExit):
        main(["compare", *folders, "--json"])
    assert json.loads(capsys.readouterr().out)["schema"] == 1
