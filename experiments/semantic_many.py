"""FD-task is biased by the number of scenes: the decoders on up to 1024 of them, against what was sent.

    python experiments/semantic_many.py      # some ten minutes of one core; keeps finished cells

A Fréchet distance between finite sets is too large, as their means and covariances err, the more the fewer scenes there
are. So is that of what was sent, and the ratio of both is the nearer to 1 the fewer there are. Here scenes 0 to N − 1,
none of which was trained or tuned on, are compared with N others for N of 64, 256 and 1024. AWGN at 10, 15 and 20 dB,
CBR 1/12. Intervals are 95 %, jackknifed over scenes.

Writes experiments/results/semantic-many/: features.parquet (what the segmenter sees in every received image), rows.csv
and summary.md, and the table in docs/semantic.md.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pages
import polars

import agentsc
from agentsc.semantic import quality
from agentsc.semantic.receiver import segmented
from agentsc.semantic.source import REFERENCE_SEED, of_scenes
from envs import camera
from policies.core import DiffusionCore
from policies.scene.shipped import scene_core

OUT = Path(__file__).parent / "results" / "semantic-many"
PAGE = Path(__file__).parents[1] / "docs" / "semantic.md"
DECODERS = ("jscc", "conditional", "conditional-posterior", "variance-aware", "variance-aware:start=refined", "daps")
SNRS_DB = (10, 15, 20)
COUNTS = (64, 256, 1024)
SENT, OTHERS = "sent", "others"
"""Sets of scenes that no channel has been between: the same, and those that all are compared with."""


def framed(core: DiffusionCore, rgb: np.ndarray, decoder: str, snr_db: int) -> polars.DataFrame:
    """Features of images in [0, 1] as rows."""
    features = segmented(core, 2.0 * rgb - 1.0).features.astype(np.float32)
    return polars.DataFrame({"image": np.arange(len(rgb)), "features": features}).with_columns(
        decoder=polars.lit(decoder), snr_db=polars.lit(snr_db)
    )


def of(frame: polars.DataFrame, decoder: str, snr_db: int) -> np.ndarray:
    """Features of a set, [scenes, d]."""
    return frame.filter(decoder=decoder, snr_db=snr_db).sort("image")["features"].to_numpy()


def rows_of(frame: polars.DataFrame) -> polars.DataFrame:
    """FD-task of every set and number of scenes, with its interval."""
    others = of(frame, OTHERS, 0)
    rows = []
    for decoder, snr_db in [(SENT, 0), *((name, snr) for snr, name in product(SNRS_DB, DECODERS))]:
        features = of(frame, decoder, snr_db)
        for count in COUNTS:
            found = quality.frechet_metric(features[:count], others[:count])
            low, high = found["ci95"]
            rows.append((decoder, snr_db, count, *(round(float(each), 5) for each in (found["mean"], low, high))))
    return polars.DataFrame(rows, schema=["decoder", "snr_db", "scenes", "fd_task", "low", "high"], orient="row")


def table(rows: polars.DataFrame) -> list[str]:
    """The lines of the table: a column for each number of scenes."""
    lines = [
        "| image | SNR, dB | " + " | ".join(f"{count} scenes" for count in COUNTS) + " |",
        "|---|---|" + "---|" * len(COUNTS),
    ]
    for (decoder, snr_db), own in rows.group_by("decoder", "snr_db", maintain_order=True):
        cells = [f"{row['fd_task']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" for row in own.iter_rows(named=True)]
        name, snr = ("what was sent", "–") if decoder == SENT else (f"`{decoder}`", str(snr_db))
        lines.append(f"| {name} | {snr} | " + " | ".join(cells) + " |")
    return lines


def summary(rows: polars.DataFrame) -> str:
    """The table, and how it was made."""
    return "\n".join(
        [
            "# FD-task by the number of scenes",
            "",
            "Made by `python experiments/semantic_many.py`: scenes from number 0 on, 32 × 32 pixels, CBR 1/12, AWGN,"
            " against as many others. [95 % intervals], jackknife over scenes.",
            "",
            *table(rows),
            "",
        ]
    )


def main() -> None:
    """Compute what is missing, then write the tables."""
    OUT.mkdir(parents=True, exist_ok=True)
    path, most = OUT / "features.parquet", max(COUNTS)
    core, codec = scene_core()
    if path.is_file():
        frame = polars.read_parquet(path)
    else:
        sent, others = of_scenes(0, most, codec.shape[-1], "birds-eye").rgb, camera.bank(REFERENCE_SEED, most).rgb
        frame = polars.concat([framed(core, sent, SENT, 0), framed(core, others, OTHERS, 0)])
    done = set(frame.select("decoder", "snr_db").unique().iter_rows())
    for snr_db, decoder in product(SNRS_DB, DECODERS):
        if (decoder, snr_db) not in done:
            result = agentsc.transmit(scene=0, images=most, link=f"awgn:snr_db={snr_db}", decoder=decoder)
            frame = polars.concat([frame, framed(core, result.received, decoder, snr_db)])
            frame.write_parquet(path, compression="zstd")
            print(f"{decoder} at {snr_db} dB", flush=True)
    rows = rows_of(frame)
    rows.write_csv(OUT / "rows.csv")
    (OUT / "summary.md").write_text(summary(rows), encoding="utf-8")
    pages.fill(PAGE, {"semantic-many": table(rows)})


if __name__ == "__main__":
    main()
