"""The published table of decoders is that of the committed rows."""

from __future__ import annotations

import json
from pathlib import Path

import blind_gains
import polars
import pytest
import semantic_channel
import semantic_figures
import semantic_many
import semantic_reliability
import shared_seed
import training_seeds

from agentsc.semantic import quality

ROOT = Path(__file__).parents[2]




def test_the_summary_says_what_the_results_say() -> None:
    said = (semantic_channel.OUT / "summary.md").read_text()
    assert said == semantic_channel.summary(), "python experiments/semantic_channel.py"
    page = (ROOT / "docs" / "semantic.md").read_text()
    assert all(line in page for line in (*semantic_channel.published(), *semantic_channel.means())), "docs/semantic.md"


FINISHED = semantic_channel.finished(semantic_channel.ROWS)


@pytest.mark.parametrize("row", FINISHED, ids=lambda row: "_".join(row.values()))
def test_results_are_means_of_the_raw_rows(row: dict[str, str]) -> None:
    folder = semantic_channel.folder_of(row)
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
    rows = semantic_figures.read()
    assert {(r["figure"], r["decoder"], r["snr_db"]) for r in rows} == set(semantic_figures.CELLS)
    said = (semantic_figures.OUT / "summary.md").read_text()
    assert said == semantic_figures.summary(rows), "python experiments/semantic_figures.py"
    page = (ROOT / "docs" / "semantic.md").read_text()
    assert all(line in page for line in semantic_figures.published(rows)), "python experiments/semantic_figures.py"
    frame = polars.read_parquet(semantic_figures.OUT / "images.parquet").with_columns(polars.col("dial").fill_nan(-1.0))
    means = frame.group_by("figure", "decoder", "snr_db", "dial").agg(polars.col("psnr_db").mean(), polars.len())
    found = {tuple(row[:4]): row[4:] for row in means.iter_rows()}
    for row in rows:
        if row["metric"] == "psnr_db":
            dial = row["dial"] if row["dial"] == row["dial"] else -1.0
            mean, count = found[row["figure"], row["decoder"], row["snr_db"], dial]
            assert count == row["scenes"] >= 64 and mean == pytest.approx(row["mean"], rel=1e-5)
    for name in ("cliff.png", "distortion-perception.png"):
        assert (semantic_figures.OUT / name).stat().st_size > 10_000


def test_the_bins_of_pixels_are_whole_and_the_summary_says_what_they_say() -> None:
    own = semantic_reliability
    frame = polars.read_parquet(own.OUT / "bins.parquet")
    assert len(frame) == len(own.DECODERS) * len(own.SNRS_DB) * own.SCENES * own.BINS
    pixels = frame.group_by("decoder", "snr_db", "image").agg(polars.col("pixels").sum())["pixels"]
    assert (pixels == 32 * 32).all()
    assert (own.OUT / "summary.md").read_text() == own.summary(frame), "python experiments/semantic_reliability.py"
    page = (ROOT / "docs" / "semantic.md").read_text()
    assert all(line in page for line in own.table(frame, own.SHOWN)), "python experiments/semantic_reliability.py"
    # Where draws were taken of both, they spread alike whether they are four or eight.
    rows = own.bins(frame, "conditional-posterior", 10)
    four = semantic_channel.folder_of({"decoder": semantic_channel.SUREST, "link": "awgn:snr_db=10"})
    each = json.loads((four / "result.json").read_text())
    assert rows[-1]["ratio"] == pytest.approx(each["metrics"]["spread_skill"]["mean"], abs=0.03)


def test_distances_of_many_scenes_are_those_of_their_features() -> None:
    own = semantic_many
    frame, rows = polars.read_parquet(own.OUT / "features.parquet"), polars.read_csv(own.OUT / "rows.csv")
    assert len(rows) == (1 + len(own.DECODERS) * len(own.SNRS_DB)) * len(own.COUNTS)
    others = own.of(frame, own.OTHERS, 0)
    for row in rows.iter_rows(named=True):
        features = own.of(frame, row["decoder"], row["snr_db"])
        assert len(features) == len(others) == max(own.COUNTS)
        count = row["scenes"]
        assert quality.frechet(features[:count], others[:count]) == pytest.approx(row["fd_task"], abs=2e-5)
    assert (own.OUT / "summary.md").read_text() == own.summary(rows), "python experiments/semantic_many.py"
    page = (ROOT / "docs" / "semantic.md").read_text()
    assert all(line in page for line in own.table(rows)), "python experiments/semantic_many.py"
    # The first 256 scenes, received with the same noise, have the figures of the table of decoders.
    of_256 = rows.filter(decoder="jscc", snr_db=10, scenes=256)["fd_task"].item()
    folder = semantic_channel.folder_of({"decoder": "jscc", "link": "awgn:snr_db=10"})
    found = json.loads((folder / "result.json").read_text())["metrics"]["fd_task"]["mean"]
    assert of_256 == pytest.approx(found, abs=1e-3)


def test_the_table_of_blind_gains_is_that_of_its_rows() -> None:
    page = (ROOT / "docs" / "semantic.md").read_text()
    assert all(line in page for line in blind_gains.published()), "python experiments/blind_gains.py"
    frame = polars.read_parquet(blind_gains.OUT / "images.parquet")
    for row in blind_gains.read():
        own = frame.filter(*(polars.col(name) == row[name] for name in ("link", "decoder", "csi")))
        assert len(own) == int(row["scenes"])
        assert own[row["metric"]].mean() == pytest.approx(float(row["mean"]), rel=1e-5)


def test_the_table_of_trainings_is_that_of_their_rows() -> None:
    page = (ROOT / "docs" / "semantic.md").read_text()
    said = (training_seeds.OUT / "summary.md").read_text()
    assert said == training_seeds.summary(), "python experiments/training_seeds.py"
    for lines in training_seeds.published().values():
        assert all(line in page for line in lines), "python experiments/training_seeds.py"
    assert training_seeds.over_trainings([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.302653 / 3.0**0.5))
    for seed in training_seeds.SEEDS[1:]:
        frame = polars.read_parquet(training_seeds.OUT / str(seed) / "images.parquet")
        found = training_seeds.results_of(seed)
        assert ("jscc", "awgn:snr_db=10") in found
        for (decoder, link), metrics in found.items():
            own = frame.filter(polars.col("decoder") == decoder, polars.col("link") == link)
            assert len(own) == training_seeds.SCENES
            for name in ("psnr_db", "ssim", "miou"):
                assert own[name].mean() == pytest.approx(metrics[name]["mean"])


def test_the_tables_of_shared_seeds_are_those_of_their_rows() -> None:
    frame = polars.read_parquet(shared_seed.OUT / "images.parquet")
    page = (ROOT / "docs" / "shared-seed.md").read_text()
    said = (shared_seed.OUT / "summary.md").read_text()
    assert said == shared_seed.summary(frame), "python experiments/shared_seed.py"
    for name, lines in shared_seed.sections(frame).items():
        assert f"<!-- results:shared-seed {name} -->\n" + "\n".join(lines) + "\n<!-- end -->" in page, name
    rows = polars.read_csv(shared_seed.OUT / "rows.csv")
    for cell in shared_seed.CELLS:
        assert len(shared_seed.of(frame, cell)) >= 64
        for row in shared_seed.of(rows.with_columns(image=0), cell).iter_rows(named=True):
            found = shared_seed.figure_of(shared_seed.of(frame, cell), row["metric"])
            assert row["mean"] == pytest.approx(found["mean"], abs=1e-5) and row["n"] == found["n"]
    # A sender that looks first gains at equal bits, but for the seed's number.
    cells = [cell for cell in shared_seed.CELLS if cell.part == "seeds" and cell.cbr == "1/24"]
    miou = [shared_seed.of(frame, cell)["miou"].mean() for cell in cells]
    bits = [shared_seed.of(frame, cell)["coded_bits"].mean() for cell in cells]
    assert miou == sorted(miou) and max(bits) - min(bits) <= 4.0
