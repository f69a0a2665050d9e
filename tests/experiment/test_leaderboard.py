"""The leaderboard is made from rows: it ranks by them, links to them, and needs some."""

from __future__ import annotations

from pathlib import Path

import pytest

import agentsc
from envs.errors import ConfigError


def test_protocols_are_ranked_by_their_rows(tmp_path: Path) -> None:
    suite = {"title": "Two speeds", "question": "Who wins?", "seeds": 3, "matrix": [{"axes": {
        "scenario": [{"name": "circle", "phase": 0.3}], "agents": [3],
        "protocol": ["silent", {"name": "orca"}],
    }}]}  # fmt: skip
    agentsc.bench(suite, out=tmp_path / "two", workers=0)
    page = agentsc.leaderboard(tmp_path).read_text()
    lines = [line for line in page.splitlines() if line.startswith("| ") and "protocol" not in line]
    assert [line.split(" | ")[0] for line in lines] == ["| orca", "| silent"]
    assert "[all tables and figures](two/summary.md)" in page and "agentsc bench suite --seeds 3" in page
    assert "Who wins?" in page and lines[0].endswith("| 3 |")


def test_a_folder_without_benchmarks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="benchmark folders"):
        agentsc.leaderboard(tmp_path)
    with pytest.raises(ConfigError, match="benchmark folders"):
        agentsc.leaderboard(tmp_path / "absent")
