"""Every decoder of the human scenario over noise, fading and echoes, on scenes that nothing was trained or tuned on.

    python experiments/semantic_channel.py            # about an hour on an idle core; keeps finished rows

256 bird's-eye scenes of 32 × 32 pixels, CBR 1/12 (256 complex symbols of mean energy 1 per image): AWGN at 0 to 20 dB
(N0 from 1 to 0.01 per complex symbol), and Rayleigh and OFDM channels at 10 dB with gains known, estimated and unknown.
Figures are means over images with bootstrap 95 % intervals (FD-task: jackknife).

Writes experiments/results/semantic-channel/: a folder per row with result.json and images.parquet (raw rows),
summary.md and side-by-side.png, and the table in docs/semantic.md. Step sizes and starts of decoders were chosen on
other scenes.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import pages
import polars

import agentsc
from agentsc.experiment.metrics import mean
from agentsc.semantic import DECODERS

OUT = Path(__file__).parent / "results" / "semantic-channel"
PAGE = Path(__file__).parents[1] / "docs" / "semantic.md"
ECHOES = "ofdm:snr_db=10,taps=8,decay=4,subcarriers=64"
RAYLEIGH = "rayleigh:snr_db=10"
SHOWN = (0, 10)
"""SNRs on the page, dB."""
REFINED = "variance-aware:start=refined"
NAMES = (*DECODERS, REFINED)
"""Decoders that are measured over every channel."""
ONCE = ("sdedit", "conditional", "conditional-posterior", "variance-aware", "moment", "daps")
SEVERAL = [*(f"{name}:samples=4" for name in ONCE), f"{REFINED},samples=4"]
"""Means of four draws."""
SURE = (0, 10, 20)
"""SNRs at which they are taken."""
SUREST = "conditional-posterior:samples=4"
"""Of these, over fading and echoes as well."""
FILES = "separation:source=webp"
ROWS: list[dict[str, Any]] = [
    *({"decoder": name, "link": f"awgn:snr_db={snr}"} for snr in SHOWN for name in NAMES),
    *({"decoder": name, "link": link} for link in (RAYLEIGH, ECHOES) for name in NAMES),
    *({"decoder": name, "link": ECHOES, "csi": "mmse"} for name in NAMES),
    *({"decoder": name, "link": link, "csi": "unknown"} for link in (RAYLEIGH, ECHOES) for name in NAMES),
    *({"decoder": name, "link": f"awgn:snr_db={snr}"} for snr in (5, 15, 20) for name in NAMES),
    *({"decoder": "jscc", "link": "awgn:snr_db=10", "cbr": f"{planes}/48"} for planes in (1, 2, 8)),
    *({"decoder": name, "link": f"awgn:snr_db={snr}"} for snr in SURE for name in SEVERAL),
    *({"decoder": SUREST, "link": link} for link in ("awgn:snr_db=5", "awgn:snr_db=15", RAYLEIGH, ECHOES)),
    *({"decoder": FILES, "link": f"awgn:snr_db={snr}"} for snr in (0, 5, 10, 15, 20)),
]
COLUMNS = {
    "psnr_db": ("PSNR, dB", 2), "ssim": ("SSIM", 3), "fd_task": ("FD-task", 3), "miou": ("mIoU", 3),
    "residual": ("residual", 2), "network_calls": ("calls", 0), "cpu_ms": ("CPU ms", 1), "channel_uses": ("uses", 0),
    "bytes_equivalent": ("bytes", 1), "spread_skill": ("spread/skill", 2), "gain_nmse": ("NMSE of gains", 4),
    "outage": ("outage", 3),
}  # fmt: skip


def folder_of(row: dict[str, Any]) -> Path:
    """Where a row's files are."""
    text = "_".join(str(value) for value in row.values())
    return OUT / "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in text)


def finished(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that have been computed."""
    return [row for row in rows if (folder_of(row) / "result.json").is_file()]


def main() -> None:
    """Compute what is missing, then write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    images = parser.parse_args().images
    for number, row in enumerate(ROWS):
        folder = folder_of(row)
        if (folder / "result.json").is_file():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        result = agentsc.transmit(scene=0, images=images, out=folder, **row)
        psnr = result.metrics["psnr_db"]["mean"]
        print(f"{number + 1}/{len(ROWS)} {folder.name}: {psnr:.2f} dB", flush=True)
        (folder / "received.png").unlink()
        if row["decoder"] != "variance-aware" or row["link"] != "awgn:snr_db=10":
            (folder / "side-by-side.png").unlink()
    shutil.copy(folder_of({"decoder": "variance-aware", "link": "awgn:snr_db=10"}) / "side-by-side.png", OUT)
    (OUT / "summary.md").write_text(summary(), encoding="utf-8")
    pages.fill(PAGE, {"semantic-channel": published(), "semantic-channel means": means()})


def summary() -> str:
    """The table of all rows."""
    found = [(row, json.loads((folder_of(row) / "result.json").read_text())) for row in finished(ROWS)]
    config, metrics = found[0][1]["config"], found[0][1]["metrics"]
    columns = {n: c for n, c in COLUMNS.items() if any(n in result["metrics"] for _, result in found)}
    lines = [
        "# Decoders of the human scenario",
        "",
        "Made by `python experiments/semantic_channel.py`:"
        f" {config['source']['images']} scenes from number 0, seed {config['seed']}, "
        f"32 × 32 pixels, complex symbols of mean energy 1 per image, N0 = 10^(−SNR/10). [95 % intervals]. CPU times"
        " depend on the machine and what else it does.",
        "",
        f"The segmenter on what was sent: mIoU {cell(metrics['miou_sent'], 3)}. FD-task of what was sent, against other"
        f" scenes: {cell(metrics['fd_task_floor'], 3)}.",
        "",
        "| decoder | link | CBR | " + " | ".join(title for title, _ in columns.values()) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for row, result in found:
        link = row["link"] + (f", gains {row['csi']}" if "csi" in row else "")
        cells = [cell(result["metrics"].get(name), digits) for name, (_, digits) in columns.items()]
        lines.append(f"| `{row['decoder']}` | `{link}` | {row.get('cbr', '4/48')} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def published() -> list[str]:
    """The lines of the table in docs/semantic.md: the first rows, a few figures of each."""
    names = ("psnr_db", "fd_task", "miou", "residual", "network_calls")
    lines = [
        "| decoder | SNR, dB | " + " | ".join(COLUMNS[name][0] for name in names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for row in finished(ROWS[: len(SHOWN) * len(NAMES)]):
        metrics = json.loads((folder_of(row) / "result.json").read_text())["metrics"]
        cells = [cell(metrics[name], COLUMNS[name][1]) for name in names]
        lines.append(f"| `{row['decoder']}` | {row['link'].partition('=')[2]} | " + " | ".join(cells) + " |")
    return lines


def means() -> list[str]:
    """The lines of the table of means of four draws: against the codec's image, scene by scene."""
    lines = [
        "| mean of four | link | PSNR, dB | less that of `jscc` | spread/skill | calls |",
        "|---|---|---|---|---|---|",
    ]
    for row in finished([row for row in ROWS if row["decoder"] in SEVERAL]):
        metrics = json.loads((folder_of(row) / "result.json").read_text())["metrics"]
        own, codec = (
            polars.read_parquet(folder_of({**row, "decoder": name}) / "images.parquet")["psnr_db"].to_numpy()
            for name in (row["decoder"], "jscc")
        )
        cells = [
            cell(metrics["psnr_db"], 2), cell(mean(own - codec, ""), 2), cell(metrics["spread_skill"], 2),
            cell(metrics["network_calls"], 0),
        ]  # fmt: skip
        lines.append(f"| `{row['decoder']}` | `{row['link']}` | " + " | ".join(cells) + " |")
    return lines


def cell(figure: dict[str, Any] | None, digits: int) -> str:
    """A metric as text; constants without an interval."""
    if figure is None or figure["mean"] is None:
        return "–"
    low, high = figure["ci95"]
    text = f"{figure['mean']:.{digits}f}"
    return text if low == high else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    main()
