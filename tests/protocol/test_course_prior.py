"""What is published about the prior in courses is what its rows say, and rows can be measured again."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "course-prior"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("course_prior", ROOT / "experiments" / "course_prior.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def published(script: ModuleType) -> list:
    kinds = (str, int, str, int, lambda text: text == "True", float, int, float, float, float, float)
    with (RESULTS / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        assert tuple(next(rows)) == script.Row._fields
        return [script.Row(*(kind(value) for kind, value in zip(kinds, row, strict=True))) for row in rows]


def test_the_page_says_what_the_rows_say(script: ModuleType) -> None:
    rows = published(script)
    assert script.summary(rows) == (RESULTS / "summary.md").read_text(encoding="utf-8")
    cells = {row[:3] for row in rows}
    assert len(rows) == 10 * len(cells) and {cell[:2] for cell in cells} == set(script.CELLS)


def test_a_cell_measured_again_gives_the_same_rows(script: ModuleType) -> None:
    def plain(rows: list) -> list:
        return [row._replace(cpu_s=0.0) for row in rows]

    again = script.measured("conveyor", 6, "joint", 2)
    wanted = [row for row in published(script) if row[:3] == ("conveyor", 6, "joint") and row.episode < 2]
    assert plain(again) == plain(wanted)
