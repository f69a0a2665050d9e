"""How much of the table of decoders is the luck of a training: its networks from three seeds.

    python experiments/training_seeds.py --train 2    # makes the networks of a seed; about four CPU-hours, resumes
    python experiments/training_seeds.py              # missing rows of networks that are there, then the tables

Seed 1 ships, and its rows are those of `semantic_channel.py`. The other seeds differ in the order of scenes, all noise
and the initial weights; their networks stay in runs/training-seeds/SEED/, their cards are kept. The segmenter, which
mIoU and FD-task are measured with, is the shipped one throughout, and so are the 256 scenes and the channel's noise.

Means over trainings have 95 % intervals by Student's t, with two degrees of freedom for three trainings.

Writes experiments/results/training-seeds/: SEED/results.json and SEED/images.parquet (raw rows), cards, summary.md, and
the table in docs/semantic.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pages
import polars
from scipy import stats

import agentsc
from policies.scene import files
from policies.training import train

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "results" / "training-seeds"
SHIPPED = Path(__file__).parent / "results" / "semantic-channel"
NETWORKS = ROOT / "runs" / "training-seeds"
PAGE = ROOT / "docs" / "semantic.md"
SCENES = 256
MODELS = ("jscc", "ntc", "scene-prior", "conditional")
"""What is trained again, each after those that it learns from."""
SEEDS = (1, 2, 3)
FEW_STEPS, REFINED = ("jscc", "conditional"), ("jscc", "scene-prior", "conditional")
DECODERS = {
    "jscc": ("jscc",), "separation": ("ntc",), "conditional": FEW_STEPS, "conditional-posterior": FEW_STEPS,
    **dict.fromkeys(
        ("sdedit", "variance-aware", "moment", "daps", "blind-diffcom", "hifi-diffcom", "diffcom"),
        ("jscc", "scene-prior"),
    ),
    "variance-aware:start=refined": REFINED,
}  # fmt: skip
"""Those whose networks are trained again, and which ones these are; a decoder waits until its own are there."""
SEVERAL = {
    "conditional:samples=4": FEW_STEPS, "conditional-posterior:samples=4": FEW_STEPS,
    "variance-aware:start=refined,samples=4": REFINED,
}  # fmt: skip
"""Means of four draws, and theirs."""
LINKS = (*(f"awgn:snr_db={snr}" for snr in (0, 5, 10, 15, 20)), "rayleigh:snr_db=10",
         "ofdm:snr_db=10,taps=8,decay=4,subcarriers=64")  # fmt: skip
SHOWN = ("awgn:snr_db=0", "awgn:snr_db=10", "awgn:snr_db=20", "rayleigh:snr_db=10")
SURE = SHOWN[:3]
"""Links over which several draws are taken."""
CELLS = {
    **{(decoder, link): needs for link in LINKS for decoder, needs in DECODERS.items()},
    **{(decoder, link): needs for link in SURE for decoder, needs in SEVERAL.items()},
}
METRICS = {"psnr_db": ("PSNR, dB", 2), "fd_task": ("FD-task", 2), "miou": ("mIoU", 3)}
SPREAD = {"psnr_db": ("PSNR, dB", 2), "spread_skill": ("spread/skill", 2)}
Results = dict[tuple[str, str], dict[str, Any]]
"""(decoder, link) → metrics."""


def make(seed: int) -> None:
    """Train the networks of a seed that are missing, as the shipped ones were."""
    folder = NETWORKS / str(seed)
    for name in MODELS:
        target = folder / f"{name}.safetensors"
        if not target.is_file():
            steps = files.load(name)[2]["preset"]["steps"]

            def told(stage: str, done: int, total: int, facts: dict[str, float], name: str = name) -> None:
                if done % 200 == 0:
                    print(f"{name} {stage} {done}/{total} {facts}", file=sys.stderr, flush=True)

            codec = (folder / "jscc.safetensors").relative_to(ROOT)
            spec = f"{name}:seed={seed}" + (f",codec={codec}" if name == "conditional" else "")
            train(spec, out=target, steps=steps, resume=True, progress=told)


def compute(seed: int) -> None:
    """The rows of a seed that are missing, as far as its networks are made."""
    every = {name: NETWORKS / str(seed) / f"{name}.safetensors" for name in MODELS}
    there = {name: file for name, file in every.items() if file.is_file()}
    folder = OUT / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in there.items():
        shutil.copy(file.with_suffix(".md"), folder / f"{name}.md")
    found = results_of(seed)
    path = folder / "images.parquet"
    for (decoder, link), needs in CELLS.items():
        if (decoder, link) in found or not set(needs) <= set(there):
            continue
        weights = {name: there[name] for name in needs}
        result = agentsc.transmit(scene=0, images=SCENES, link=link, decoder=decoder, weights=weights)
        frame = polars.DataFrame({"image": np.arange(SCENES), **result.rows}).with_columns(
            decoder=polars.lit(decoder), link=polars.lit(link)
        )
        if path.is_file():
            frame = polars.concat([polars.read_parquet(path), frame], how="diagonal_relaxed")
        frame.write_parquet(path, compression="zstd")
        found[decoder, link] = result.metrics
        kept = [{"decoder": d, "link": a, "metrics": metrics} for (d, a), metrics in found.items()]
        (folder / "results.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(f"seed {seed}: {decoder} over {link}: {result.metrics['psnr_db']['mean']:.2f} dB", flush=True)


def results_of(seed: int) -> Results:
    """What there is of a seed."""
    if seed == SEEDS[0]:
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(SHIPPED.glob("*/result.json"))]
        return {
            (row["config"]["decoder"], row["config"]["link"]): row["metrics"]
            for row in rows
            if row["config"]["csi"] == "known" and row["config"]["symbols_per_image"] == 256
        }
    path = OUT / str(seed) / "results.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return {(row["decoder"], row["link"]): row["metrics"] for row in rows}


def over_trainings(values: list[float]) -> tuple[float, float]:
    """Mean, and half the width of its interval."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1)) * error


def table(links: Iterable[str], decoders: Iterable[str], metrics: dict[str, tuple[str, int]]) -> list[str]:
    """Lines: decoders that have all trainings over some links, mean over trainings and the trainings themselves.

    Args:
        metrics: name → title and digits.
    """
    every = [results_of(seed) for seed in SEEDS]
    lines = [
        "| decoder | link | " + " | ".join(f"{title} | each" for title, _ in metrics.values()) + " |",
        "|---|---|" + "---|---|" * len(metrics),
    ]
    for link in links:
        for decoder in decoders:
            if any((decoder, link) not in found for found in every):
                continue
            cells = []
            for metric, (_, digits) in metrics.items():
                values = [found[decoder, link][metric]["mean"] for found in every]
                middle, half = over_trainings(values)
                each = ", ".join(f"{value:.{digits}f}" for value in values)
                cells.append(f"{middle:.{digits}f} ± {half:.{digits}f} | {each}")
            lines.append(f"| `{decoder}` | `{link}` | " + " | ".join(cells) + " |")
    return lines


def summary() -> str:
    """The table of all links."""
    return "\n".join(
        [
            "# Decoders over trainings",
            "",
            "Made by `python experiments/training_seeds.py`: networks trained three times, with"
            f" seeds {', '.join(map(str, SEEDS))}; {SCENES} scenes each, 32 × 32 pixels, CBR 1/12, complex symbols of"
            " mean energy 1 per image, N0 = 10^(−SNR/10). Mean over trainings ± half its 95 % interval (Student's t,"
            " two degrees of freedom), and every training.",
            "",
            *table(LINKS, DECODERS, METRICS),
            "",
            "Means of four draws:",
            "",
            *table(SURE, SEVERAL, SPREAD),
            "",
        ]
    )


def published() -> dict[str, list[str]]:
    """The tables in docs/semantic.md."""
    several = table(SURE, SEVERAL, SPREAD)
    return {"training-seeds": table(SHOWN, DECODERS, METRICS), "training-seeds means": several}


def main() -> None:
    """Train, or compute what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, metavar="SEED", help="make the networks of a seed, and stop")
    seed = parser.parse_args().train
    if seed is not None:
        make(seed)
        return
    for number in SEEDS[1:]:
        compute(number)
    (OUT / "summary.md").write_text(summary(), encoding="utf-8")
    pages.fill(PAGE, published())


if __name__ == "__main__":
    main()
