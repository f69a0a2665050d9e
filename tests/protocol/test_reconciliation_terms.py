"""The comparison of terms and variants: the page is that of the rows, and rows are those of the script."""

from __future__ import annotations

from pathlib import Path

import reconciliation_terms as script

from agentsc.protocol import PROTOCOLS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "reconciliation-terms"


def test_the_page_says_what_the_rows_say() -> None:
    rows = script.read(RESULTS / "rows.csv")
    assert script.summary(rows) == (RESULTS / "summary.md").read_text(encoding="utf-8")
    known = {script.key(one, side) for one in script.COMPARED.values() for side in (one.off, one.on)}
    runs = {row[:5] for row in rows}
    assert runs <= known and runs
    for run in runs:
        assert sorted(row.episode for row in rows if row[:5] == run) == list(range(20))


def test_every_comparison_is_of_options_that_exist() -> None:
    for one in script.COMPARED.values():
        for name, *options in (one.off, one.on):
            values = dict(option.split("=", 1) for option in options)
            PROTOCOLS.get(name)
            assert set(values) <= set(PROTOCOLS.get(name).model_fields), (name, values)
