"""Benchmarks as whole: equal rows however they are computed, killed and resumed; failures that stay visible."""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import agentsc
from agentsc.experiment import bench as bench_module
from agentsc.experiment.bench import Moment, bench
from agentsc.experiment.bench_store import TIMING
from envs.errors import ConfigError, RunError

SUITE: dict[str, Any] = {
    "title": "small", "question": "does it work?", "seeds": 4, "lanes": 2,
    "base": {"seed": 3, "ticks": 60},
    "matrix": [{"axes": {
        "scenario": ["circle", "weave"], "agents": [4], "protocol": ["orca", {"name": "orca", "inflation": 1.3}],
        "loss": {0: {"link": "perfect"}, 0.5: {"link": "erasure:p=0.5"}},
    }}],
    "views": [
        {"kind": "table", "title": "T", "rows": ["scenario", "protocol"], "columns": "loss",
         "metrics": ["success_rate"]},
        {"kind": "lines", "title": "L", "x": "loss", "y": ["success_rate", "makespan_s"], "panels": "scenario"},
        {"kind": "scatter", "title": "S", "x": "bits_per_agent_s", "y": "success_rate", "points": ["loss"]},
        {"kind": "surface", "title": "F", "x": "loss", "y": "protocol", "metric": "success_rate", "panels": "scenario"},
        {"kind": "profile", "title": "P", "strata": ["scenario"]},
        {"kind": "aggregate", "title": "A", "strata": ["scenario"]},
        {"kind": "comparison", "title": "C", "reference": "orca", "strata": ["scenario"]},
    ],
}  # fmt: skip


def rows(folder: Path) -> pl.DataFrame:
    """What must be the same whatever happened on the way."""
    return pl.read_parquet(folder / "rows.parquet").drop(TIMING)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "whole"
    bench(SUITE, out=folder, workers=0)
    return folder


def test_a_benchmark_leaves_rows_figures_tables_and_a_report(undisturbed: Path) -> None:
    frame = rows(undisturbed)
    assert len(frame) == 8 * 4 and (frame["status"] == "done").all() and frame["episode"].to_list()[:4] == [0, 1, 2, 3]
    own = {"schema", "cell", "scenario", "agents", "protocol", "architecture", "link", "loss", "seed"}
    assert own <= set(frame.columns)
    cells = pl.read_parquet(undisturbed / "aggregates.parquet")
    assert len(cells) == 8 and (cells["success_rate_n"] == 4).all()
    assert {path.suffix for path in (undisturbed / "figures").iterdir()} == {".png", ".svg"}
    assert len(list((undisturbed / "tables").iterdir())) == 4
    page = (undisturbed / "report.html").read_text()
    assert page.count("<svg") == 5 and "does it work?" in page
    fetched = r"""(src|href)\s*=\s*["']?(https?:)?//|url\(\s*["']?https?:|@import"""
    assert not re.search(fetched, page), "needs a network"
    assert "do not simulate" in page and "agentsc bench suite --seeds 4" in page
    assert not (undisturbed / "shards").exists()


def test_a_row_is_what_a_run_of_its_own_gives(undisturbed: Path, tmp_path: Path) -> None:
    alone = agentsc.run(
        scenario="weave", agents=4, protocol={"name": "orca", "inflation": 1.3}, link="erasure:p=0.5", episodes=4,
        seed=3, ticks=60, out=tmp_path / "run", set=["record.episodes=[]"],
    )  # fmt: skip
    frame = rows(undisturbed)
    mine = frame.filter((frame["scenario"] == "weave") & (frame["protocol"] != "orca") & (frame["loss"] == 0.5))
    assert mine["digest"].to_list() == [lane["digest"] for lane in alone.data["lanes"]]
    cells = pl.read_parquet(undisturbed / "aggregates.parquet")
    cell = cells.filter(cells["cell"] == mine["cell"][0])
    for name in ("success_rate", "bits_per_agent_s", "min_separation_m"):
        assert cell[name][0] == alone.metrics[name]["mean"]
        assert [cell[f"{name}_low"][0], cell[f"{name}_high"][0]] == alone.metrics[name]["ci95"]


def test_workers_blocks_and_sittings_change_nothing(undisturbed: Path, tmp_path: Path) -> None:
    bench(SUITE | {"lanes": 4}, out=tmp_path / "ray", workers=2)
    assert rows(tmp_path / "ray").equals(rows(undisturbed))
    few = bench(SUITE, out=tmp_path / "more", workers=0, seeds=1)
    assert few.data["episodes"] == 8
    bench(SUITE, out=tmp_path / "more", workers=0, resume=True)
    assert rows(tmp_path / "more").equals(rows(undisturbed))


def test_resuming_repeats_nothing(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(task: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(bench_module, "run_task", never)
    again = bench(SUITE, out=undisturbed, workers=0, resume=True)
    assert again.data["failed"] == 0 and again.data["episodes"] == 32
    fewer = bench(SUITE, out=undisturbed, workers=0, resume=True, seeds=2)
    assert fewer.data["episodes"] == 32, "what has been computed stays"


def test_kill_and_resume_give_the_rows_of_an_undisturbed_run(
    undisturbed: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """SIGKILL at random moments; ``--long`` does it twenty times, on Ray."""
    long = request.config.getoption("--long")
    file, out, draw = tmp_path / "suite.yaml", tmp_path / "out", random.Random(7)
    file.write_text(yaml.safe_dump(SUITE, sort_keys=False))
    command = [sys.executable, "-m", "agentsc.cli", "bench", str(file), "--out", str(out), "--resume", "--workers"]
    for _ in range(20 if long else 3):
        process = subprocess.Popen([*command, "2" if long else "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(draw.uniform(0.5, 14.0 if long else 3.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, "0"], check=True, capture_output=True)
    assert rows(out).equals(rows(undisturbed))


def test_what_is_half_written_is_not_there(undisturbed: Path, tmp_path: Path) -> None:
    bench(SUITE, out=tmp_path / "b", workers=0, seeds=1)
    (tmp_path / "b" / "shards").mkdir()
    (tmp_path / "b" / "shards" / ".x-0.parquet.partial").write_bytes(b"PAR1 half a file")
    bench(SUITE, out=tmp_path / "b", workers=0, resume=True)
    assert rows(tmp_path / "b").equals(rows(undisturbed))


def with_cell(**axes: Any) -> dict[str, Any]:
    extra = {"axes": {"scenario": ["circle"], "agents": [4], "protocol": ["orca"], "loss": {0: {}}} | axes}
    return SUITE | {"seeds": 2, "matrix": [SUITE["matrix"][0], extra]}


def test_an_impossible_cell_is_a_row_with_its_reason_and_the_others_finish(tmp_path: Path) -> None:
    result = bench(with_cell(agents=[200]), out=tmp_path / "b", workers=0)
    frame = rows(tmp_path / "b")
    failed = frame.filter(frame["status"] == "failed")
    assert len(frame) == 18 and len(failed) == 2 and not failed["success"].any()
    assert all("agents" in reason and "impossible" in reason for reason in failed["reason"])
    assert result.data["failed"] == 2 and "agents" in result.data["failures"][0]["reason"]
    page = (tmp_path / "b" / "report.html").read_text()
    assert "could not be run" in page and "200" in page
    cells = pl.read_parquet(tmp_path / "b" / "aggregates.parquet")
    bad = cells.filter(cells["failed"] > 0)
    assert bad["success_rate"].to_list() == [0.0] and bad["makespan_s"].to_list() == [None]


def test_a_cell_that_crashes_leaves_its_traceback_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path
) -> None:
    whole = bench_module.run_task

    def crash(task: Any) -> Any:
        if task.cell == 1 and task.first == 2:
            raise ZeroDivisionError("the planner divided by nothing")
        return whole(task)

    monkeypatch.setattr(bench_module, "run_task", crash)
    result = bench(SUITE, out=tmp_path / "b", workers=0)
    assert result.data["failed"] == 2 and "ZeroDivisionError" in result.data["failures"][0]["reason"]
    notes = list((tmp_path / "b" / "failures").iterdir())
    assert len(notes) == 1 and "the planner divided by nothing" in notes[0].read_text()
    kept = bench(SUITE, out=tmp_path / "b", workers=0, resume=True)
    assert kept.data["failed"] == 2  # what is known is not computed again …
    monkeypatch.setattr(bench_module, "run_task", whole)
    bench(SUITE, out=tmp_path / "b", workers=0, resume=True, retry_failed=True)
    assert rows(tmp_path / "b").equals(rows(undisturbed))  # … unless one asks for it


def test_a_full_disk_ends_with_one_sentence_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path
) -> None:
    keep, count = bench_module.BenchStore.keep, 0

    def full(self: Any, *rest: Any) -> None:
        nonlocal count
        count += 1
        if count > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        keep(self, *rest)

    monkeypatch.setattr(bench_module.BenchStore, "keep", full)
    with pytest.raises(RunError, match="No space left on device.*10 of 32 episodes are kept.*--resume"):
        bench(SUITE, out=tmp_path / "b", workers=0)
    monkeypatch.setattr(bench_module.BenchStore, "keep", keep)
    bench(SUITE, out=tmp_path / "b", workers=0, resume=True)
    assert rows(tmp_path / "b").equals(rows(undisturbed))


def test_the_folder_must_fit(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty folder.*--resume"):
        bench(SUITE, out=undisturbed, workers=0)
    with pytest.raises(ConfigError, match="another folder"):
        bench(SUITE | {"base": {"seed": 4}}, out=undisturbed, workers=0, resume=True)
    with pytest.raises(ConfigError, match="--out"):
        bench(SUITE, workers=0, resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").touch()
    with pytest.raises(ConfigError, match="benchmark's folder"):
        bench(SUITE, out=tmp_path / "other", workers=0, resume=True)
    with pytest.raises(ConfigError, match="workers"):
        bench(SUITE, out=tmp_path / "new", workers=-1)
    with pytest.raises(ConfigError, match="seeds"):
        bench(SUITE, out=tmp_path / "new", workers=0, seeds=0)


def test_a_dry_run_says_what_and_how_long_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = bench(with_cell(agents=[200]), dry_run=True, workers=2).data
    assert data["cells"] == 9 and data["episodes"] == 18 and data["tasks"] == 9 and len(data["list"]) == 9
    assert 0.0 < data["estimate"]["wall_s"] < data["estimate"]["cpu_s"] < 60.0
    assert not list(tmp_path.iterdir())


def test_progress_counts_up_to_everything(tmp_path: Path) -> None:
    moments: list[Moment] = []
    bench(SUITE, out=tmp_path / "b", workers=0, progress=moments.append)
    assert moments[0].episodes_done == 0 and moments[0].left_s is None
    last = moments[-1]
    assert last.cells_done == last.cells == 8 and last.episodes_done == last.episodes == 32 and last.left_s == 0.0
    assert [m.episodes_done for m in moments] == sorted(m.episodes_done for m in moments)
