"""What is published about the prior in courses is what its rows say, and rows can be measured again."""

from __future__ import annotations

import csv
from pathlib import Path

import course_prior as script

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "course-prior"


def published() -> list:
    kinds = (str, int, str, int, lambda text: text == "True", float, int, float, float, float, float)
    with (RESULTS / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        assert tuple(next(rows)) == script.Row._fields
        return [script.Row(*(kind(value) for kind, value in zip(kinds, row, strict=True))) for row in rows]


def test_the_page_says_what_the_rows_say() -> None:
    rows = published()
    assert script.summary(rows) == (RESULTS / "summary.md").read_text(encoding="utf-8")
    cells = {row[:3] for row in rows}
    assert len(rows) == 10 * len(cells) and {cell[:2] for cell in cells} == set(script.CELLS)


def test_a_cell_measured_again_gives_the_same_rows() -> None:
    def plain(rows: list) -> list:
        return [row._replace(cpu_s=0.0) for row in rows]

    again = script.measured("conveyor", 6, "joint", 2)
    wanted = [row for row in published() if row[:3] == ("conveyor", 6, "joint") and row.episode < 2]
    assert plain(again) == plain(wanted)
