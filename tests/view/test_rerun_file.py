"""Recordings as Rerun files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from fake import fake_recording

from agentsc.view.film import check_output, record
from agentsc.view.recording import Recording
from envs.errors import ConfigError

needs_rerun = pytest.mark.skipif(
    importlib.util.find_spec("rerun") is None, reason="the Rerun SDK is not installed (pip install 'agentsc[rerun]')"
)


@pytest.fixture(scope="module")
def recording() -> Recording:
    return fake_recording(4, most_ticks=12)


@needs_rerun
def test_a_rerun_file_holds_every_tick(recording: Recording, tmp_path: Path) -> None:
    from rerun.chunk import RrdReader

    counted: list[tuple[int, int]] = []
    path = record(recording, tmp_path / "run.rrd", progress=lambda done, total: counted.append((done, total)))
    assert counted[-1] == (len(recording), len(recording))
    assert [file.name for file in tmp_path.iterdir()] == ["run.rrd"]
    rows: dict[str, int] = {}
    spots: dict[int, list[list[float]]] = {}
    for chunk in RrdReader(path).stream():
        name = str(chunk.entity_path)
        batch = chunk.to_record_batch()
        rows[name] = rows.get(name, 0) + batch.num_rows
        if name == "/world/agents":
            columns = batch.to_pydict()
            for tick, row in zip(columns["tick"], columns["Points2D:positions"], strict=True):
                spots[int(tick)] = row
    for entity in ("plans", "proposals", "beliefs", "packets", "lost", "trails"):
        assert rows[f"/world/{entity}"] == len(recording), entity
    assert rows["/plots/closest_m"] == rows["/plots/bits/sent"] - 1 == len(recording)
    assert {"/world/goals", "/world/obstacles", "/world/bounds", "/about/link"} <= set(rows)
    assert sorted(spots) == list(range(len(recording) + 1))
    assert np.array_equal(np.array([spots[tick] for tick in sorted(spots)], np.float32), recording.positions)


def test_without_the_library_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "rerun" else find(name, *rest))
    with pytest.raises(ConfigError, match=r"pip install 'agentsc\[rerun\]'"):
        check_output(tmp_path / "run.rrd")
