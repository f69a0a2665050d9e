"""Runs as data frames."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import agentsc
from agentsc.view.recording import open_recording
from envs.errors import ConfigError

LEAD = ["run", "scenario", "agents", "protocol", "link", "seed", "episode"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two protocols on the same lossy episodes, both of them recorded."""
    place = tmp_path_factory.mktemp("runs")
    for protocol in ("orca", "silent"):
        agentsc.run(
            scenario="circle", agents=3, protocol=protocol, link="erasure:p=0.4+delay:ms=50", episodes=2, seed=4,
            ticks=30, set=["record.episodes=[0, 1]"], out=place / protocol,
        )  # fmt: skip
    return [place / "orca", place / "silent"]


def test_a_row_per_episode_says_what_was_run(runs: list[Path]) -> None:
    table = agentsc.frame(runs)
    assert table.columns[:7] == LEAD and len(table) == 4
    assert table["protocol"].to_list() == ["orca"] * 2 + ["silent"] * 2
    assert table["episode"].to_list() == [0, 1, 0, 1] and set(table["seed"]) == {4}
    assert set(table["link"]) == {"erasure:p=0.4+delay:ms=50"} and set(table["agents"]) == {3}
    stored = pl.read_parquet(runs[0] / "episodes.parquet")
    assert agentsc.frame(runs[0]).select(stored.columns).equals(stored)


def test_trajectories_are_the_recordings(runs: list[Path]) -> None:
    table = agentsc.frame(str(runs[0]), kind="trajectories")
    assert table.columns[:7] == LEAD and set(table["episode"]) == {0, 1}
    mine = table.filter(pl.col("episode") == 0)
    recording = open_recording(runs[0])
    positions = np.stack([mine["x_m"], mine["y_m"]], axis=-1).reshape(-1, 3, 2)
    assert np.array_equal(positions, recording.positions)
    assert mine["agent"].to_list()[:4] == [0, 1, 2, 0] and mine["tick"].to_list()[:4] == [0, 0, 0, 1]
    assert mine["time_s"].to_list() == pytest.approx((mine["tick"] * recording.scene.dt).to_list())
    way = np.linalg.norm(positions - recording.scene.goals, axis=-1)
    assert np.allclose(mine["goal_distance_m"], way.ravel())
    assert mine["bits"].sum() == sum(int(tick.bits.sum()) for tick in recording.ticks)
    assert mine["at_goal"].to_list()[:3] == [None] * 3


def test_packets_add_up_to_what_the_episode_counted(runs: list[Path]) -> None:
    table, episodes = (agentsc.frame(runs[0], kind=kind) for kind in ("packets", "episodes"))
    for row in episodes.to_dicts():
        mine = table.filter(pl.col("episode") == row["episode"])
        assert len(mine) == row["decisions"] and mine["lost"].sum() == row["lost"] > 0
        assert mine["arrival_s"].null_count() == mine["delay_s"].null_count() == row["lost"]
        assert mine["delay_s"].drop_nulls().to_numpy() == pytest.approx(0.05, abs=0.02)
        assert (mine["sender"] != mine["receiver"]).all()


def test_nobody_spoke_is_an_empty_table_of_the_same_columns(runs: list[Path]) -> None:
    silent, orca = (agentsc.frame(run, kind="packets") for run in reversed(runs))
    assert silent.columns == orca.columns and len(silent) == 0
    assert len(agentsc.frame(runs, kind="packets")) == len(orca)


def test_a_benchmarks_rows(runs: list[Path], tmp_path: Path) -> None:
    rows = pl.DataFrame({"schema": [1, 1], "scenario": ["a", "b"], "protocol": ["x", "y"], "episode": [0, 1]})
    rows.write_parquet(tmp_path / "rows.parquet")
    table = agentsc.frame(tmp_path)
    assert table.columns == ["run", "scenario", "protocol", "episode", "schema"]
    assert agentsc.frame([tmp_path, runs[0]])["scenario"].to_list() == ["a", "b", "circle", "circle"]
    with pytest.raises(ConfigError, match="benchmarks keep no recordings"):
        agentsc.frame(tmp_path, kind="packets")


@pytest.mark.parametrize("kind", ["episodes", "trajectories", "packets"])
def test_pandas_gets_the_same_values_without_pyarrow(
    kind: str, runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    table, same = agentsc.frame(runs, kind=kind), agentsc.frame(runs, kind=kind, library="pandas")
    assert list(same.columns) == table.columns and len(same) == len(table)
    for name in table.columns:
        values, others = table[name].to_list(), same[name].tolist()
        assert [None if v != v else v for v in others] == values, name


def test_what_cannot_be_read_is_refused(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text((runs[0] / "config.yaml").read_text())
    for call, says in (
        (lambda: agentsc.frame(tmp_path / "absent"), "run must be a run folder"),
        (lambda: agentsc.frame(tmp_path), "run must be finished"),
        (lambda: agentsc.frame(tmp_path, kind="trajectories"), "run must hold recordings"),
        (lambda: agentsc.frame([]), "at least one run"),
        (lambda: agentsc.frame(runs, kind="tracks"), "kind 'tracks' is not known"),
        (lambda: agentsc.frame(runs, library="dask"), "library 'dask' is not known"),
    ):
        with pytest.raises(ConfigError, match=says):
            call()
    (tmp_path / "episodes.parquet").write_text("damaged")
    with pytest.raises(ConfigError, match="intact"):
        agentsc.frame(tmp_path)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        agentsc.frame(runs, library="pandas")
