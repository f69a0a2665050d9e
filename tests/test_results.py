"""Published numbers are those of the committed rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import published_tables as tables
import pytest

from agentsc.experiment.leaderboard import page_text
from agentsc.experiment.suite import plan
from agentsc.experiment.suites import SUITES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PUBLISHED = sorted(path.parent.name for path in RESULTS.glob("*/suite.yaml"))


FEWER = {"architectures-large": 2}
"""Episodes of suites whose fleets are too large for twenty."""


def test_pages_say_what_the_rows_say() -> None:
    shown = ""
    for name in tables.PAGES:
        page = (ROOT / name).read_text()
        assert tables.rewritten(page) == page, f"{name}: python experiments/published_tables.py"
        shown += page
    assert all(f"<!-- results:{name} -->" in shown for name in tables.TABLES)


def test_the_leaderboard_says_what_the_rows_say() -> None:
    folders = [RESULTS / name for name in PUBLISHED]
    assert page_text(folders, RESULTS) == (RESULTS / "README.md").read_text(), "agentsc leaderboard experiments/results"


def test_every_suite_but_the_smoke_test_is_published() -> None:
    assert set(PUBLISHED) == set(SUITES) - {"smoke"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rows_are_whole_and_of_the_suite_as_it_is(name: str) -> None:
    todo = plan(name)
    frame = pl.read_parquet(RESULTS / name / "rows.parquet")
    cells = frame.group_by("cell").len()
    assert set(cells["cell"]) == {cell.key for cell in todo.cells}, "a default changed: run the suite again"
    assert todo.suite.seeds >= FEWER.get(name, 20) and (cells["len"] == todo.suite.seeds).all()
    assert (RESULTS / name / "summary.md").is_file() and (RESULTS / name / "bench.json").is_file()
