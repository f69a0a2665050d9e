"""The published table of decoders is that of the committed rows."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import polars
import pytest

ROOT = Path(__file__).parents[2]


def _script(name: str = "semantic_channel") -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()
FIGURES, BLIND, SEEDS = _script("semantic_figures"), _script("blind_gains"), _script("shared_seed")
TRAININGS = _script("training_seeds")


def test_the_summary_says_what_the_results_say() -> None:
    text = SCRIPT.summary()
    assert (SCRIPT.OUT / "summary.md").read_text() == text, "python experiments/semantic_channel.py"
    page = (ROOT / "docs" / "semantic.md").read_text()
    assert all(line in page for line in (*SCRIPT.published(), *SCRIPT.means())), "docs/semantic.md"


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
            kind = row["decoder"].partition(":")[0]
            assert name == "residual" and kind in ("separation", "prompted", "shared-seed")
            continue
        assert len(frame) == figure["n"] >= 256
        assert frame[name].mean() == pytest.approx(figure["mean"])


def test_the_figures_have_all_their_rows_and_the_summary_says_what_they_say() -> None:
    rows = FIGURES.read()
    assert {(r["figure"], r["decoder"], r["snr_db"]) for r in rows} == set(FIGURES.CELLS)
    assert (FIGURES.OUT / "summary.md").read_text() == FIGURES.summary(rows), "python experiments/semantic_figures.py"
    page = (ROOT / "docs" / "semantic.md").read_text()
    assert all(line in page for line in FIGURES.published(rows)), "python experiments/semantic_figures.py"
    frame = polars.read_parquet(FIGURES.OUT / "images.parquet").with_columns(polars.col("dial").fill_nan(-1.0))
    means = frame.group_by("figure", "decoder", "snr_db", "dial").agg(polars.col("psnr_db").mean(), polars.len())
    found = {tuple(row[:4]): row[4:] for row in means.iter_rows()}
    for row in rows:
        if row["metric"] == "psnr_db":
            dial = row["dial"] if row["dial"] == row["dial"] else -1.0
            mean, count = found[row["figure"], row["decoder"], row["snr_db"], dial]
            assert count == row["scenes"] >= 64 and mean == pytest.approx(row["mean"], rel=1e-5)
    for name in ("cliff.png", "distortion-perception.png"):
        assert (FIGURES.OUT / name).stat().st_size > 10_000


def test_the_table_of_blind_gains_is_that_of_its_rows() -> None:
    page = (ROOT / "docs" / "semantic.md").read_text()
    assert all(line in page for line in BLIND.published()), "python experiments/blind_gains.py"
    frame = polars.read_parquet(BLIND.OUT / "images.parquet")
    for row in BLIND.read():
        own = frame.filter(*(polars.col(name) == row[name] for name in ("link", "decoder", "csi")))
        assert len(own) == int(row["scenes"])
        assert own[row["metric"]].mean() == pytest.approx(float(row["mean"]), rel=1e-5)


def test_the_table_of_trainings_is_that_of_their_rows() -> None:
    page = (ROOT / "docs" / "semantic.md").read_text()
    assert (TRAININGS.OUT / "summary.md").read_text() == TRAININGS.summary(), "python experiments/training_seeds.py"
    assert all(line in page for line in TRAININGS.table(TRAININGS.SHOWN)), "python experiments/training_seeds.py"
    assert TRAININGS.over_trainings([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.302653 / 3.0**0.5))
    for seed in TRAININGS.SEEDS[1:]:
        frame = polars.read_parquet(TRAININGS.OUT / str(seed) / "images.parquet")
        found = TRAININGS.results_of(seed)
        assert ("jscc", "awgn:snr_db=10") in found
        for (decoder, link), metrics in found.items():
            own = frame.filter(polars.col("decoder") == decoder, polars.col("link") == link)
            assert len(own) == TRAININGS.SCENES
            for name in ("psnr_db", "ssim", "miou"):
                assert own[name].mean() == pytest.approx(metrics[name]["mean"])


def test_the_tables_of_shared_seeds_are_those_of_their_rows() -> None:
    frame = polars.read_parquet(SEEDS.OUT / "images.parquet")
    page = (ROOT / "docs" / "shared-seed.md").read_text()
    assert (SEEDS.OUT / "summary.md").read_text() == SEEDS.summary(frame), "python experiments/shared_seed.py"
    for name, lines in SEEDS.sections(frame).items():
        assert f"<!-- results:shared-seed {name} -->\n" + "\n".join(lines) + "\n<!-- end -->" in page, name
    rows = polars.read_csv(SEEDS.OUT / "rows.csv")
    for cell in SEEDS.CELLS:
        assert len(SEEDS.of(frame, cell)) >= 64
        for row in SEEDS.of(rows.with_columns(image=0), cell).iter_rows(named=True):
            found = SEEDS.figure_of(SEEDS.of(frame, cell), row["metric"])
            assert row["mean"] == pytest.approx(found["mean"], abs=1e-5) and row["n"] == found["n"]
    # A sender that looks first gains at equal bits, but for the seed's number.
    cells = [cell for cell in SEEDS.CELLS if cell.part == "seeds" and cell.cbr == "1/24"]
    miou = [SEEDS.of(frame, cell)["miou"].mean() for cell in cells]
    bits = [SEEDS.of(frame, cell)["coded_bits"].mean() for cell in cells]
    assert miou == sorted(miou) and max(bits) - min(bits) <= 4.0
