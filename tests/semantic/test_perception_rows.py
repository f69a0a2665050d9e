"""The published tables of the machine scenario are those of the committed rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    path = ROOT / "experiments" / "semantic_perception.py"
    spec = importlib.util.spec_from_file_location("semantic_perception", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()


def test_the_page_and_the_summary_say_what_the_results_say() -> None:
    assert (SCRIPT.OUT / "summary.md").read_text() == SCRIPT.summary(), "python experiments/semantic_perception.py"
    page = (ROOT / "docs" / "perceive.md").read_text()
    for name, lines in SCRIPT.sections().items():
        assert f"<!-- results:semantic-perception {name} -->\n" + "\n".join(lines) + "\n<!-- end -->" in page, name


def test_results_are_means_of_the_raw_rows() -> None:
    for cell in SCRIPT.CELLS:
        metrics, rows = SCRIPT.result_of(cell)["metrics"], SCRIPT.rows_of(cell)
        config = SCRIPT.result_of(cell)["config"]
        assert (config["decoder"], config["link"], config["bits"]) == (cell[0], cell[1], 8 * cell[2])
        for name in rows.columns:
            if name != "image":
                assert len(rows) == metrics[name]["n"] >= 32
                assert metrics[name]["mean"] == pytest.approx(float(rows[name].to_numpy().mean()))
        if "payload_bits" in rows.columns:
            assert rows["payload_bits"].max() <= config["bits"], "no packet is above its budget"


def test_every_path_had_the_same_uses() -> None:
    for snr in SCRIPT.SNRS:
        for size in SCRIPT.BYTES:
            uses = {
                SCRIPT.result_of((path, f"awgn:snr_db={snr}", size))["metrics"]["channel_uses"]["mean"]
                for path in SCRIPT.PATHS
            }
            assert len(uses) == 1
