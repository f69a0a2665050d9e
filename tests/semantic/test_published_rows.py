"""The published table of decoders is that of the committed rows."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import polars
import pytest

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("semantic_channel", ROOT / "experiments" / "semantic_channel.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()


def test_the_summary_says_what_the_results_say() -> None:
    text = SCRIPT.summary()
    assert (SCRIPT.OUT / "summary.md").read_text() == text, "python experiments/semantic_channel.py"
    assert all(line in (ROOT / "docs" / "semantic.md").read_text() for line in SCRIPT.published()), "docs/semantic.md"


@pytest.mark.parametrize("row", SCRIPT.finished(SCRIPT.ROWS), ids=lambda row: "_".join(row.values()))
def test_results_are_means_of_the_raw_rows(row: dict[str, str]) -> None:
    folder = SCRIPT.folder_of(row)
    result = json.loads((folder / "result.json").read_text())
    frame = polars.read_parquet(folder / "images.parquet")
    assert {name: result["config"][name] for name in row if name != "cbr"} == {
        name: value for name, value in row.items() if name != "cbr"
    }
    for name in ("psnr_db", "ssim", "miou", "residual", "cpu_ms", "channel_uses", "bytes_equivalent"):
        figure = result["metrics"][name]
        if figure["mean"] is None:
            assert name == "residual" and row["decoder"].startswith("separation")
            continue
        assert len(frame) == figure["n"] >= 64
        assert frame[name].mean() == pytest.approx(figure["mean"])
