"""Gains that nobody knows: blind-diffcom against receivers that know them, over four links.

    python experiments/blind_gains.py [--scenes 48]     # about two minutes of one core; keeps finished cells

Bird's-eye scenes of 32 × 32 pixels from number 0 on, CBR 1/12, no pilots. Figures are means over images with bootstrap
95 % intervals. The last column is the least squared error with known symbols, Σ p ν/(p + ν) over taps of power p with
ν = N0/256: no receiver can do better.

Writes experiments/results/blind-gains/: rows.csv and images.parquet (rows of every image), and the table in
docs/semantic.md.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pages
import polars

import agentsc
from agentsc.semantic.channel import SymbolChannel

OUT = Path(__file__).parent / "results" / "blind-gains"
PAGE = Path(__file__).parents[1] / "docs" / "semantic.md"
LINKS = (
    "rayleigh:snr_db=0", "rayleigh:snr_db=10", "rayleigh:snr_db=20", "ofdm:snr_db=10,taps=8,decay=4,subcarriers=64",
)  # fmt: skip
RECEIVERS = (("jscc", "known"), ("jscc", "unknown"), ("blind-diffcom", "unknown"))
SYMBOLS = 256
NAMES = ("link", "decoder", "csi", "scenes", "metric", "mean", "low", "high")


def known_symbols(link: str) -> float:
    """Least squared error of gains, mean over symbols, where all symbols are pilots."""
    belief = SymbolChannel(link, 0, csi="unknown").send(np.ones((1, SYMBOLS), np.complex128)).belief
    noise = 10.0 ** (-0.1 * SymbolChannel(link, 0).snr_db) / SYMBOLS
    return float((belief.variance[0] * noise / (belief.variance[0] + noise)).sum())


def main() -> None:
    """Compute what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=48)
    scenes = parser.parse_args().scenes
    OUT.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read() if row["scenes"] == str(scenes)]
    done = {(row["link"], row["decoder"], row["csi"]) for row in rows}
    path = OUT / "images.parquet"
    images = polars.read_parquet(path).filter(polars.col("scenes") == scenes) if done else polars.DataFrame()
    for link in LINKS:
        for decoder, csi in RECEIVERS:
            if (link, decoder, csi) in done:
                continue
            result = agentsc.transmit(scene=0, images=scenes, link=link, decoder=decoder, csi=csi)  # type: ignore[arg-type]
            about = {"link": link, "decoder": decoder, "csi": csi, "scenes": scenes}
            names = [name for name in ("psnr_db", "gain_nmse", "cpu_ms") if name in result.rows]
            frame = polars.DataFrame({"image": np.arange(scenes), **{name: result.rows[name] for name in names}})
            frame = frame.with_columns(**{name: polars.lit(value) for name, value in about.items()})
            images = polars.concat([images, frame], how="diagonal") if len(images) else frame
            for name in names[:2]:
                figure = result.metrics[name]
                low, high = figure["ci95"]
                ends = zip(NAMES[5:], (figure["mean"], low, high), strict=True)
                numbers = {key: f"{value:.6g}" for key, value in ends}
                rows.append({**about, "scenes": str(scenes), "metric": name, **numbers})
            with (OUT / "rows.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, NAMES)
                writer.writeheader()
                writer.writerows(rows)
            images.write_parquet(path)
            print(link, decoder, csi, f"{result.metrics['psnr_db']['mean']:.2f} dB", flush=True)
    pages.fill(PAGE, {"blind-gains": published()})


def read() -> list[dict[str, Any]]:
    """Finished rows, as text."""
    path = OUT / "rows.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def published() -> list[str]:
    """The lines of the table in docs/semantic.md."""
    rows = {(row["link"], row["decoder"], row["csi"], row["metric"]): row for row in read()}
    images = polars.read_parquet(OUT / "images.parquet")

    def cell(link: str, decoder: str, csi: str, metric: str, digits: int) -> str:
        row = rows[link, decoder, csi, metric]
        mean, low, high = (f"{float(row[name]):.{digits}f}" for name in ("mean", "low", "high"))
        return f"{mean} [{low}, {high}]"

    lines = [
        "| link | gains known | taken to be 1 | `blind-diffcom` | its gain NMSE | median | with known symbols |",
        "|---|---|---|---|---|---|---|",
    ]
    for link in LINKS:
        own = (polars.col("link") == link) & (polars.col("decoder") == "blind-diffcom")
        cells = [
            f"`{link}`", *(f"{cell(link, *receiver, 'psnr_db', 1)} dB" for receiver in RECEIVERS),
            cell(link, *RECEIVERS[2], "gain_nmse", 3), f"{images.filter(own)['gain_nmse'].median():.4f}",
            f"{known_symbols(link):.5f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
