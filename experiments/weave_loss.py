"""Weave with ten agents at packet loss 0, 0.2 and 0.5: our protocol beside three baselines.

    python experiments/weave_loss.py [--seeds 20] [--out experiments/results]

Writes the raw rows (one per episode) as ``weave-loss.csv``, the table as ``weave-loss.md`` and the
figure as ``weave-loss.png``. The seed was used for nothing else; every episode is in the denominator.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import agentsc

PROTOCOLS = ("intent", "full-trajectory", "orca", "silent")
LOSSES = (0.0, 0.2, 0.5)
SEED = 2026
COLUMNS = {
    "success_rate": ("success", 2, 1.0),
    "collision_free_rate": ("collision-free", 2, 1.0),
    "makespan_s": ("makespan, steps", 1, 64 / 5.0),
    "path_length_ratio": ("length ratio", 3, 1.0),
    "bits_per_agent_s": ("bit/s per agent", 0, 1.0),
    "min_separation_m": ("closest pair", 4, 1.0),
}
"""Metric → column title, digits, factor (a step is 5/64 s)."""


def main() -> None:
    """Run all cells and write the three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="episodes per cell")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows, cells = [], {}
    for protocol in PROTOCOLS:
        for loss in LOSSES:
            link = f"erasure:p={loss}" if loss else "perfect"
            with tempfile.TemporaryDirectory() as folder:
                result = agentsc.run(
                    scenario="weave", agents=10, protocol=protocol, link=link, episodes=options.seeds, seed=SEED,
                    set=["record.episodes=[]"], out=Path(folder) / "run",
                )  # fmt: skip
                frame = pl.read_parquet(result.folder / "episodes.parquet")
            keep = [c for c in frame.columns if frame[c].dtype.is_numeric() or frame[c].dtype in (pl.Boolean, pl.Utf8)]
            rows.append(
                frame.select(keep).with_columns(protocol=pl.lit(protocol), loss=pl.lit(loss), seed=pl.lit(SEED))
            )
            cells[protocol, loss] = result.metrics
            print(protocol, loss, {k: result.metrics[k]["mean"] for k in COLUMNS}, flush=True)
    pl.concat(rows, how="diagonal_relaxed").write_csv(options.out / "weave-loss.csv")
    (options.out / "weave-loss.md").write_text(table(cells, options.seeds))
    draw(cells, options.out / "weave-loss.png")


def entry(value: dict, digits: int, factor: float) -> str:
    """Mean and interval, or why there is none."""
    if value["mean"] is None:
        return "–"
    low, high = value["ci95"]
    shown = f"{value['mean'] * factor:.{digits}f}"
    if low is None or high is None:
        return f"{shown} (n={value['n']})"
    return f"{shown} [{low * factor:.{digits}f}, {high * factor:.{digits}f}] (n={value['n']})"


def table(cells: dict, seeds: int) -> str:
    """The results as Markdown."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = [
        "# Weave, ten agents, against packet loss",
        "",
        f"Regenerate with `python experiments/weave_loss.py --seeds {seeds}` (seed {SEED}, {seeds} episodes per cell,",
        f"commit {commit or 'unknown'}, Python {platform.python_version()}, one CPU thread).",
        "Raw rows: `weave-loss.csv`.",
        "Means with 95 % intervals (Wilson for rates, bootstrap over episodes otherwise); makespan and length over",
        "successful episodes, everything else over all. An episode counts as a success when all ten agents rest at",
        "their goals within 256 steps and no pair ever came closer than 0.10 in continuous time.",
        "",
        "| protocol | loss | " + " | ".join(title for title, _, _ in COLUMNS.values()) + " |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for (protocol, loss), metrics in cells.items():
        entries = [entry(metrics[name], digits, factor) for name, (_, digits, factor) in COLUMNS.items()]
        lines.append(f"| {protocol} | {loss} | " + " | ".join(entries) + " |")
    lines += ["", "![success, collisions and bits against loss](weave-loss.png)", ""]
    return "\n".join(lines)


def draw(cells: dict, path: Path) -> None:
    """Three panels over loss: success, collision-free, bits."""
    panels = (
        ("success_rate", "success rate"),
        ("collision_free_rate", "collision-free rate"),
        ("bits_per_agent_s", "bit/s per agent"),
    )
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), constrained_layout=True)
    colours = dict(zip(PROTOCOLS, ("#0072B2", "#E69F00", "#009E73", "#999999"), strict=True))
    for axis, (name, title) in zip(axes, panels, strict=True):
        for k, protocol in enumerate(PROTOCOLS):
            values = [cells[protocol, loss][name] for loss in LOSSES]
            if any(v["mean"] is None for v in values):
                continue
            mean = np.array([v["mean"] for v in values])
            span = np.abs(np.array([v["ci95"] for v in values], float).T - mean)
            at = np.array(LOSSES) + 0.008 * (k - 1.5)
            axis.errorbar(at, mean, span, marker="o", capsize=3, color=colours[protocol], label=protocol)
        axis.set(xlabel="packet loss", title=title, xticks=LOSSES)
        axis.grid(alpha=0.3)
    axes[2].set_yscale("symlog", linthresh=100)
    axes[2].set_ylim(bottom=-20)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
