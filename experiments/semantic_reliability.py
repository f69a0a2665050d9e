"""Whether images are as wrong as several draws of them say: errors of pixels against those to be expected.

    python experiments/semantic_reliability.py      # some ten minutes of one core; keeps finished cells

256 bird's-eye scenes of 32 × 32 pixels that nothing was trained or tuned on, CBR 1/12, AWGN at 0 and 10 dB, means of
eight draws. A pixel's expected squared error is (1 + 1/8) times the variance of its draws (mean over colours). All
pixels are put into ten bins by it; drawn are root mean squares of every bin, intervals are 95 %, bootstrapped over
images. Of many draws of the posterior both are the same in every bin; with eight the variance is itself uncertain, so
that bins of little expected error err more, and those of much err less, even then.

Writes experiments/results/semantic-reliability/: bins.parquet (sums of every image and bin), reliability.png and
summary.md, and the table in docs/semantic.md.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pages
import polars

import agentsc
from agentsc.experiment.statistics import ratio_interval

OUT = Path(__file__).parent / "results" / "semantic-reliability"
PAGE = Path(__file__).parents[1] / "docs" / "semantic.md"
DECODERS = ("conditional-posterior", "conditional", "variance-aware:start=refined", "daps")
SNRS_DB = (0, 10)
SCENES, DRAWS, BINS = 256, 8, 10
SHOWN = (0, 4, 9)
"""Bins on the page: pixels of least expected error, of middling, and of most."""


def sums(decoder: str, snr_db: int) -> polars.DataFrame:
    """Pixels, expected and true squared errors of every image and bin: SCENES · BINS rows."""
    spec = decoder + ("," if ":" in decoder else ":") + f"samples={DRAWS}"
    result = agentsc.transmit(scene=0, images=SCENES, link=f"awgn:snr_db={snr_db}", decoder=spec)
    assert result.expected_error is not None
    expected = np.square(result.expected_error.astype(np.float64)).reshape(SCENES, -1)
    error = np.square(result.received - result.sent, dtype=np.float64).mean(axis=1).reshape(SCENES, -1)
    edges = np.quantile(expected, np.arange(1, BINS) / BINS)
    image, inside = np.arange(SCENES)[:, None], np.searchsorted(edges, expected)
    cell = (BINS * image + inside).ravel()
    summed = {
        name: np.bincount(cell, weights=values.ravel(), minlength=SCENES * BINS)
        for name, values in (("pixels", np.ones_like(expected)), ("expected", expected), ("error", error))
    }
    return polars.DataFrame(
        {"image": np.repeat(np.arange(SCENES), BINS), "bin": np.tile(np.arange(BINS), SCENES), **summed}
    ).with_columns(decoder=polars.lit(decoder), snr_db=polars.lit(snr_db))


def bins(frame: polars.DataFrame, decoder: str, snr_db: int) -> list[dict[str, Any]]:
    """Of every bin, and last of all pixels: expected and true root mean squared error, their ratio, its interval."""
    found = frame.filter(decoder=decoder, snr_db=snr_db).sort("image", "bin")
    pixels, expected, error = (found[name].to_numpy().reshape(-1, BINS) for name in ("pixels", "expected", "error"))
    rows = []
    for inside in (*range(BINS), slice(None)):
        count, top, bottom = (each[:, inside].reshape(len(each), -1).sum(axis=1) for each in (pixels, expected, error))
        low, high = ratio_interval(top, bottom)
        assert low is not None and high is not None
        rows.append(
            {
                "expected": np.sqrt(top.sum() / count.sum()), "error": np.sqrt(bottom.sum() / count.sum()),
                "ratio": np.sqrt(top.sum() / bottom.sum()), "interval": np.sqrt([low, high]),
            }
        )  # fmt: skip
    return rows


def table(frame: polars.DataFrame, shown: tuple[int, ...]) -> list[str]:
    """Lines: expected / true error of some bins, and of all pixels with spread/skill."""
    titles = [f"tenth {number + 1} of pixels" for number in shown]
    lines = [
        "| mean of eight | SNR, dB | " + " | ".join(titles) + " | spread/skill, all pixels |",
        "|---|---|" + "---|" * (len(shown) + 1),
    ]
    for snr_db, decoder in product(SNRS_DB, DECODERS):
        *each, whole = bins(frame, decoder, snr_db)
        cells = [f"{each[number]['expected']:.3f} / {each[number]['error']:.3f}" for number in shown]
        low, high = whole["interval"]
        cells.append(f"{whole['ratio']:.2f} [{low:.2f}, {high:.2f}]")
        lines.append(f"| `{decoder}` | {snr_db} | " + " | ".join(cells) + " |")
    return lines


def draw(frame: polars.DataFrame) -> None:
    """True against expected error, an axis for each SNR."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(SNRS_DB), figsize=(10.5, 4.4), sharey=True)
    for axis, snr_db in zip(axes, SNRS_DB, strict=True):
        for decoder in DECODERS:
            rows = bins(frame, decoder, snr_db)[:-1]
            x, y = (np.array([row[name] for row in rows]) for name in ("expected", "error"))
            ends = x[:, None] / np.array([row["interval"] for row in rows])[:, ::-1]
            bars = np.abs(ends.T - y)
            axis.errorbar(x, y, bars, marker="o", markersize=3, capsize=2, linewidth=1.4, elinewidth=0.7, label=decoder)
        axis.plot([0.004, 0.3], [0.004, 0.3], color="grey", linestyle=":", linewidth=1.0, label="as expected")
        axis.set(xscale="log", yscale="log", xlabel="expected error of a pixel", title=f"{snr_db} dB")
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("its error (root mean square, peak 1)")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(OUT / "reliability.png", dpi=130)
    plt.close(figure)


def summary(frame: polars.DataFrame) -> str:
    """The table of all bins."""
    return "\n".join(
        [
            "# Errors that draws make one expect",
            "",
            f"Made by `python experiments/semantic_reliability.py`: {SCENES} scenes, 32 × 32 pixels, CBR 1/12, AWGN,"
            f" means of {DRAWS} draws. Pixels in ten bins by their expected error: expected / true root mean squared"
            " error, peak 1. [95 % intervals] over images.",
            "",
            *table(frame, tuple(range(BINS))),
            "",
        ]
    )


def main() -> None:
    """Compute what is missing, then draw."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "bins.parquet"
    parts = [polars.read_parquet(path)] if path.is_file() else []
    done = set(parts[0].select("decoder", "snr_db").unique().iter_rows()) if parts else set()
    for snr_db, decoder in product(SNRS_DB, DECODERS):
        if (decoder, snr_db) not in done:
            parts.append(sums(decoder, snr_db))
            polars.concat(parts).write_parquet(path, compression="zstd")
            print(f"{decoder} at {snr_db} dB", flush=True)
    frame = polars.concat(parts)
    draw(frame)
    (OUT / "summary.md").write_text(summary(frame), encoding="utf-8")
    pages.fill(PAGE, {"semantic-reliability": table(frame, SHOWN)})


if __name__ == "__main__":
    main()
