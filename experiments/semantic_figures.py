"""Two figures of the human scenario: the cliff, and distortion against perception.

    python experiments/semantic_figures.py [--scenes 256]     # about 15 minutes of one core; keeps finished cells

Cliff: AWGN from 0 to 20 dB, senders that expect 10 dB (rate of separation, SNR told to the codec), CBR 1/12. Analog
decoders degrade with the channel; separation is right or gone, over the capacity bound and with measured block errors
of 5G LDPC codes.

Distortion and perception: every drawing decoder at 10 dB from its ``dial`` 0 (least error) to 1 (a draw), PSNR against
FD-task; 0 and 1 are run, what lies between is their mixture, as `dial` has it.

Scenes are bird's-eye, 32 × 32 pixels, from number 0 on; nothing was trained or tuned on them. Intervals are 95 %:
bootstrap over images for PSNR, jackknife for FD-task.

Writes experiments/results/semantic-figures/: rows.csv, images.parquet (PSNR of every image), cliff.png,
distortion-perception.png and summary.md, and the table in docs/semantic.md.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pages
import polars
from rich.console import Console

import agentsc
from agentsc.experiment.metrics import mean
from agentsc.experiment.progress import Display
from agentsc.experiment.statistics import paired_difference
from agentsc.semantic import quality
from agentsc.semantic.receiver import segmented
from agentsc.semantic.source import REFERENCE_SEED
from envs import camera
from policies.scene.shipped import scene_core

OUT = Path(__file__).parent / "results" / "semantic-figures"
PAGE = Path(__file__).parents[1] / "docs" / "semantic.md"
PUBLISHED_DB = (0.0, 6.0, 10.0, 20.0)
DESIGN_DB = 10.0
SNRS_DB = (0.0, 3.0, 6.0, 8.0, 9.0, 9.5, 10.0, 11.0, 13.0, 16.0, 20.0)
SLOW_SNRS_DB = (0.0, 6.0, 10.0, 13.0, 20.0)
"""Where decoders that differentiate through the encoder are measured."""
REFINED = "variance-aware:start=refined"
CLIFF = {
    "jscc": SNRS_DB, "conditional": SNRS_DB, "sdedit": SLOW_SNRS_DB, "variance-aware": SLOW_SNRS_DB,
    REFINED: SLOW_SNRS_DB, "separation": SNRS_DB, "separation:code=ldpc": SNRS_DB,
}  # fmt: skip
DIALS = (0.0, 0.25, 0.5, 0.75, 1.0)
DRAWING = (
    "sdedit", "hifi-diffcom", "variance-aware", REFINED, "conditional", "conditional:steps=1", "conditional:steps=4",
    "conditional-posterior",
)  # fmt: skip
POINTS = ("jscc", "separation")
COLUMNS = ("figure", "decoder", "snr_db", "dial", "scenes", "metric", "mean", "low", "high")


class Cell(NamedTuple):
    """One run: a decoder at an SNR for the cliff, or at 10 dB for its dial."""

    figure: str
    decoder: str
    snr_db: float


CELLS = [
    *(Cell("cliff", decoder, snr) for decoder, levels in CLIFF.items() for snr in levels),
    *(Cell("dial", decoder, DESIGN_DB) for decoder in (*POINTS, *DRAWING)),
]


class Judge:
    """PSNR and FD-task of received images."""

    def __init__(self, scenes: int) -> None:
        self._core, codec = scene_core()
        self._real = self._features(camera.bank(REFERENCE_SEED, scenes, codec.shape[-1], "birds-eye").rgb)

    def __call__(self, received: np.ndarray, sent: np.ndarray) -> tuple[np.ndarray, dict[str, dict[str, Any]]]:
        """PSNR of every image, and metrics."""
        each = quality.psnr_db(received, sent)
        return each, {
            "psnr_db": mean(each, "no images"),
            "fd_task": quality.frechet_metric(self._features(received), self._real),
        }

    def _features(self, rgb: np.ndarray) -> np.ndarray:
        found: np.ndarray = segmented(self._core, 2.0 * rgb - 1.0).features
        return found


def run(cell: Cell, scenes: int, judge: Judge) -> Iterator[tuple[float, np.ndarray, dict[str, dict[str, Any]]]]:
    """(dial, PSNR of every image, metrics) of a cell; the dial is NaN where there is none."""
    options: dict[str, Any] = {
        "scene": 0, "images": scenes, "link": f"awgn:snr_db={cell.snr_db:g}", "design_snr_db": DESIGN_DB,
    }  # fmt: skip
    result = agentsc.transmit(decoder=cell.decoder, **options)
    if cell.figure == "cliff" or cell.decoder in POINTS:
        yield np.nan, *judge(result.received, result.sent)
        return
    # Dial 0 with one draw is the codec's image.
    least = agentsc.transmit(decoder="jscc", **options).received
    for dial in DIALS:
        yield dial, *judge(least + dial * (result.received - least), result.sent)


def main() -> None:
    """Compute what is missing, then draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=256, help="images of a cell, 64 or more")
    scenes = max(parser.parse_args().scenes, quality.FEWEST)
    OUT.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read() if row["scenes"] == scenes]
    path = OUT / "images.parquet"
    images = polars.read_parquet(path).filter(polars.col("scenes") == scenes) if path.is_file() else polars.DataFrame()
    done = {(row["figure"], row["decoder"], row["snr_db"]) for row in rows}
    judge = Judge(scenes)
    with Display(Console(stderr=True)) as display:
        for number, cell in enumerate(CELLS):
            if cell not in done:
                for dial, each, metrics in run(cell, scenes, judge):
                    about = {**cell._asdict(), "dial": dial, "scenes": scenes}
                    frame = polars.DataFrame({"image": np.arange(scenes), "psnr_db": each})
                    frame = frame.with_columns(**{name: polars.lit(value) for name, value in about.items()})
                    images = polars.concat([images, frame], how="diagonal") if len(images) else frame
                    for name, figure in metrics.items():
                        low, high = figure["ci95"]
                        rows.append({**about, "metric": name, "mean": figure["mean"], "low": low, "high": high})
                write(rows)
                images.write_parquet(path)
            display.stage("cells", number + 1, len(CELLS), {})
    rows = read()  # rounded, as whoever reads them sees them
    cliff(rows)
    dials(rows)
    (OUT / "summary.md").write_text(summary(rows), encoding="utf-8")
    pages.fill(PAGE, {"semantic-figures": published(rows)})


def read() -> list[dict[str, Any]]:
    """Finished rows."""
    path = OUT / "rows.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        texts = ("figure", "decoder", "metric")
        return [{k: v if k in texts else float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def write(rows: list[dict[str, Any]]) -> None:
    """All rows; the file is replaced only when complete."""
    partial = OUT / "rows.partial"
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    partial.replace(OUT / "rows.csv")


def line(rows: list[dict[str, Any]], figure: str, decoder: str, metric: str) -> list[dict[str, Any]]:
    """Rows of one line of a figure, in order."""
    found = [r for r in rows if (r["figure"], r["decoder"], r["metric"]) == (figure, decoder, metric)]
    return sorted(found, key=lambda r: (r["snr_db"], r["dial"]))


def bars(rows: list[dict[str, Any]]) -> np.ndarray:
    """Distances to the ends of intervals, [2, rows]."""
    return np.array([[r["mean"] - r["low"] for r in rows], [r["high"] - r["mean"] for r in rows]]).clip(0.0)


def _plots() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def cliff(rows: list[dict[str, Any]]) -> None:
    """PSNR and FD-task against SNR."""
    plt = _plots()
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.2))
    for axis, metric, name in zip(axes, ("psnr_db", "fd_task"), ("PSNR, dB", "FD-task, less is better"), strict=True):
        for decoder in CLIFF:
            found = line(rows, "cliff", decoder, metric)
            style = {"linestyle": "--" if decoder.startswith("separation") else "-", "marker": "o", "markersize": 3}
            x, y = [r["snr_db"] for r in found], [r["mean"] for r in found]
            axis.errorbar(x, y, bars(found), label=decoder, capsize=2, linewidth=1.4, elinewidth=0.7, **style)
        axis.axvline(DESIGN_DB, color="grey", linewidth=0.8, linestyle=":")
        axis.set_xlabel("SNR of the channel, dB (senders expect 10)")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[1].set_yscale("log")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(OUT / "cliff.png", dpi=130)
    plt.close(figure)


def dials(rows: list[dict[str, Any]]) -> None:
    """FD-task against PSNR at 10 dB."""
    plt = _plots()
    figure, axis = plt.subplots(figsize=(6.6, 4.6))
    for decoder in (*DRAWING, *POINTS):
        first, second = (line(rows, "dial", decoder, metric) for metric in ("psnr_db", "fd_task"))
        x, y = [r["mean"] for r in first], [r["mean"] for r in second]
        if decoder in POINTS:
            axis.errorbar(x, y, bars(second), bars(first), fmt="s", label=decoder, capsize=2, elinewidth=0.7)
            continue
        drawn = axis.plot(x, y, marker="o", markersize=3, label=f"{decoder}, dial 0 to 1")
        axis.errorbar(x[-1:], y[-1:], bars(second)[:, -1:], fmt="none", ecolor=drawn[0].get_color(), elinewidth=0.7)
    axis.set_xlabel("PSNR, dB (distortion falls to the right)")
    axis.set_ylabel("FD-task (perception betters downwards)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(OUT / "distortion-perception.png", dpi=130)
    plt.close(figure)


def summary(rows: list[dict[str, Any]]) -> str:
    """Both figures as tables."""
    scenes = int(rows[0]["scenes"])
    lines = [
        "# Cliff, distortion and perception",
        "",
        f"Made by `python experiments/semantic_figures.py --scenes {scenes}`: scenes from number 0, 32 × 32 pixels, CBR"
        " 1/12, AWGN, senders that expect 10 dB. [95 % intervals], over images (PSNR: bootstrap; FD-task: jackknife).",
        "",
        "| decoder | SNR, dB | dial | PSNR, dB | FD-task |",
        "|---|---|---|---|---|",
    ]
    for figure, decoders in (("cliff", tuple(CLIFF)), ("dial", (*POINTS, *DRAWING))):
        for decoder in decoders:
            pairs = zip(*(line(rows, figure, decoder, metric) for metric in ("psnr_db", "fd_task")), strict=True)
            for first, second in pairs:
                dial = "–" if np.isnan(first["dial"]) else f"{first['dial']:g}"
                cells = " | ".join(f"{r['mean']:.2f} [{r['low']:.2f}, {r['high']:.2f}]" for r in (first, second))
                lines.append(f"| `{decoder}` | {first['snr_db']:g} | {dial} | {cells} |")
    lines += ["", "PSNR at 10 dB less that of `jscc`, image by image:", ""]
    lines += ["| decoder | dial | difference, dB |", "|---|---|---|"]
    codec = drawn("jscc", None)
    for decoder in DRAWING:
        for dial in DIALS[1:]:
            gained, (low, high), _ = paired_difference(drawn(decoder, dial), codec)
            lines.append(f"| `{decoder}` | {dial:g} | {gained:+.3f} [{low:+.3f}, {high:+.3f}] |")
    return "\n".join([*lines, ""])


def drawn(decoder: str, dial: float | None) -> np.ndarray:
    """PSNR of every image at 10 dB, in their order; without a dial where there is none."""
    frame = polars.read_parquet(OUT / "images.parquet").filter(figure="dial", decoder=decoder)
    at = polars.col("dial").is_nan() if dial is None else (polars.col("dial") - dial).abs() < 1e-6
    return frame.filter(at).sort("image")["psnr_db"].to_numpy()


def published(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of the table in docs/semantic.md: PSNR at some SNRs, FD-task where senders expect to be."""
    lines = [
        "| decoder | " + " | ".join(f"PSNR at {snr:g} dB" for snr in PUBLISHED_DB) + " | FD-task at 10 dB |",
        "|---|" + "---|" * (len(PUBLISHED_DB) + 1),
    ]
    for decoder in CLIFF:
        found = {r["snr_db"]: r for r in line(rows, "cliff", decoder, "psnr_db")}
        (fd,) = (r for r in line(rows, "cliff", decoder, "fd_task") if r["snr_db"] == DESIGN_DB)
        cells = [f"{r['mean']:.2f} [{r['low']:.2f}, {r['high']:.2f}]" for r in (*(found[s] for s in PUBLISHED_DB), fd)]
        lines.append(f"| `{decoder}` | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
