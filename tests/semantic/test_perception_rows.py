"""The published tables of the machine scenario are those of the committed rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import semantic_perception

ROOT = Path(__file__).parents[2]


def test_the_page_and_the_summary_say_what_the_results_say() -> None:
    said = (semantic_perception.OUT / "summary.md").read_text()
    assert said == semantic_perception.summary(), "python experiments/semantic_perception.py"
    page = (ROOT / "docs" / "perceive.md").read_text()
    for name, lines in semantic_perception.sections().items():
        assert f"<!-- results:semantic-perception {name} -->\n" + "\n".join(lines) + "\n<!-- end -->" in page, name


def test_results_are_means_of_the_raw_rows() -> None:
    for cell in semantic_perception.CELLS:
        metrics, rows = semantic_perception.result_of(cell)["metrics"], semantic_perception.rows_of(cell)
        config = semantic_perception.result_of(cell)["config"]
        assert (config["decoder"], config["link"], config["bits"]) == (cell[0], cell[1], 8 * cell[2])
        for name in rows.columns:
            if name != "image":
                assert len(rows) == metrics[name]["n"] >= 32
                assert metrics[name]["mean"] == pytest.approx(float(rows[name].to_numpy().mean()))
        if "payload_bits" in rows.columns:
            assert rows["payload_bits"].max() <= config["bits"], "no packet is above its budget"


def test_every_path_had_the_same_uses() -> None:
    for snr in semantic_perception.SNRS:
        for size in semantic_perception.BYTES:
            uses = {
                semantic_perception.result_of((path, f"awgn:snr_db={snr}", size))["metrics"]["channel_uses"]["mean"]
                for path in semantic_perception.PATHS
            }
            assert len(uses) == 1
