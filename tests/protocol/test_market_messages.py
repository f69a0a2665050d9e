"""The published count of an auction's messages: the page is that of the rows, and the rows are what the code counts."""

from __future__ import annotations

import csv
from pathlib import Path

import market_messages as module
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "market-messages"


def published() -> list:
    kinds = (int, int, int, str, str, int, lambda v: v == "True", lambda v: v == "True", float, int, int, int)
    with (RESULTS / "rows.csv").open(newline="") as file:
        rows = csv.reader(file)
        assert tuple(next(rows)) == module.Row._fields
        return [module.Row(*(kind(value) for kind, value in zip(kinds, row, strict=True))) for row in rows]


def test_the_page_is_of_the_rows_and_every_sale_ended_as_a_greedy_auction() -> None:
    rows = published()
    assert module.summary(rows) == (RESULTS / "summary.md").read_text()
    assert all(row.agreed and row.as_greedy for row in rows)
    counts = {len(group) for group in module.cells(rows).values()}
    assert counts == {100}


def test_over_a_perfect_radio_it_takes_less_than_48_percent_of_the_packets_at_the_same_worth() -> None:
    groups = module.cells(published())
    for size in module.SIZES:
        plain, event = (groups[(*size, "perfect", how)] for how in ("plain", "event-driven"))
        np.testing.assert_array_equal(module.column(plain, "worth"), module.column(event, "worth"))
        assert module.column(event, "packets").sum() < 0.48 * module.column(plain, "packets").sum()


@pytest.mark.parametrize("link", ["perfect", "erasure:p=0.5"])
def test_the_rows_are_what_the_code_counts(link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [row for row in published() if row[:4] == (5, 5, 1, link) and row.instance < 3]
    monkeypatch.setattr(module, "SIZES", ((5, 5, 1),))
    monkeypatch.setattr(module, "LINKS", (link,))
    # What becomes of an instance does not depend on those beside it.
    for row, old in zip(module.measure(3), kept, strict=True):
        assert row._replace(worth=0.0) == old._replace(worth=0.0) and row.worth == pytest.approx(old.worth, rel=1e-5)
