"""What a machine understands of scenes at few bits: every path of the machine scenario, the gate, eight-bit integers.

    python experiments/semantic_perception.py             # keeps finished cells; about 10 CPU-minutes from nothing

64 bird's-eye scenes of 32 × 32 cells that nothing was trained or tuned on; budgets of 16 to 400 bytes at AWGN of 0, 10
and 20 dB, every path in the same channel uses (agentsc/semantic/budget.py); single cells over fading, with other error
protection, and with users that share subcarriers. Means over scenes with bootstrap 95 % intervals.

Writes experiments/results/semantic-perception/: cells/ with raw rows and the result of each, int8.json, lossless.json,
summary.md, semantic-perception.png, and the tables in docs/perceive.md.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pages
import polars
import torch

import agentsc
from agentsc.experiment.metrics import mean
from agentsc.semantic import quality
from agentsc.semantic.perceive import _seen
from agentsc.semantic.perceiver import Station, one_hot
from agentsc.semantic.source import of_scenes
from envs import camera, keyed
from policies.core import DiffusionCore
from policies.diffusion.quantisation import int8_bytes
from policies.scene.machine import PAINTER_INT8, machine_core
from policies.scene.map_code import MapCode
from policies.scene.paint import PAINTER, PaintRequest

OUT = Path(__file__).parent / "results" / "semantic-perception"
PAGE = Path(__file__).parents[1] / "docs" / "perceive.md"
BYTES = (16, 32, 64, 128, 256, 400)
SNRS = (0, 10, 20)
PATHS = (
    "map", "map:labels=true", "soft-map", "soft-map:labels=true", "latent", "hybrid", "gated", "gesco", "q-gesco",
    "jscc",
)  # fmt: skip
FADING = (
    "map", "map:backoff_db=10", "map:code=ldpc", "map:code=ldpc,backoff_db=10", "soft-map", "latent",
)  # fmt: skip
SHARED = (
    "soft-map", "soft-map:users=2", "soft-map:users=4", "soft-map:dropped=0.5", "latent:users=2", "latent:users=4",
)  # fmt: skip
GATES = ("gated:mode=never", "gated", "gated:mode=always", "gated:mode=always,generator=picture")
GATE_LINKS = ("awgn:snr_db=0", "awgn:snr_db=10", "rayleigh:snr_db=10")
TURNS, BATCH = 6, 64
"""Of the comparison of floats and integers, and pictures in a batch."""
PRICE = 0.001
"""Of one network call, in mIoU, for the gate's utility."""
MAIN = [(path, f"awgn:snr_db={snr}", size) for path in PATHS for snr in SNRS for size in BYTES]
MORE = [
    *((path, "rayleigh:snr_db=10", 128) for path in FADING),
    *((path, "awgn:snr_db=10", 256) for path in SHARED),
    *((path, link, 64) for path in GATES for link in GATE_LINKS),
]
CELLS = list(dict.fromkeys([*MAIN, *MORE]))


def place_of(cell: tuple[str, str, int]) -> Path:
    """Where a cell's files are, without suffix."""
    text = "_".join(map(str, cell))
    return OUT / "cells" / "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in text)


def compute(cell: tuple[str, str, int], images: int) -> None:
    """One cell: raw rows, then the result."""
    path, link, size = cell
    result = agentsc.perceive(scene=0, images=images, link=link, bits=8 * size, decoder=path)
    place = place_of(cell)
    place.parent.mkdir(parents=True, exist_ok=True)
    frame = polars.DataFrame({"image": np.arange(images), **result.rows})
    frame.write_parquet(place.with_name(place.name + ".parquet"), compression="zstd")
    text = json.dumps({"metrics": result.metrics, "config": result.data["config"]}, indent=1)
    place.with_name(place.name + ".json").write_text(text + "\n", encoding="utf-8")


def result_of(cell: tuple[str, str, int]) -> dict[str, Any]:
    """What was kept of a cell."""
    place = place_of(cell)
    found: dict[str, Any] = json.loads(place.with_name(place.name + ".json").read_text(encoding="utf-8"))
    return found


def rows_of(cell: tuple[str, str, int]) -> polars.DataFrame:
    """Its raw rows."""
    place = place_of(cell)
    return polars.read_parquet(place.with_name(place.name + ".parquet"))


def integers(images: int) -> dict[str, Any]:
    """The painter in floats and in eight-bit integers: bytes, CPU time in one process, FD-task of the same draws."""
    core, codec, _ = machine_core((PAINTER, PAINTER_INT8))
    torch.set_num_threads(1)
    station = Station(core, codec)
    source = of_scenes(0, images, 32, "birds-eye")
    assert source.labels is not None
    keys, guide = keyed.hash_words(7, np.arange(images)), one_hot(source.labels)
    real = station.look(camera.bank(3_000_000_000, images).rgb)[2]
    found: dict[str, Any] = {"images": images}
    for name in (PAINTER, PAINTER_INT8):
        model = core.models[name]
        rgb = (0.5 * (np.clip(core.sample(PaintRequest(name, keys, guide)).x, -1.0, 1.0) + 1.0)).astype(np.float32)
        labels, _, features = station.look(rgb)
        found[name] = {
            "bytes": int8_bytes(model.network),  # type: ignore[attr-defined]
            "fd_task": quality.frechet_metric(features, real),
            "miou": mean(quality.miou(labels, source.labels, 6), ""),
        }
    # In turns, so that whatever else the machine does meets both; the least of several is what they need.
    for _ in range(TURNS):
        for name in (PAINTER, PAINTER_INT8):
            took = {"cpu_ms": 1e3 * picture_s(core, name, keys, guide), "call_ms": 1e3 * call_s(core, name, guide)}
            for what, value in took.items():
                found[name][what] = min(value, found[name].get(what, value))
    return found


def picture_s(core: DiffusionCore, name: str, keys: np.ndarray, guide: np.ndarray) -> float:
    """CPU seconds of a picture: 24 calls, the sampler, the map."""
    began = time.process_time()
    core.sample(PaintRequest(name, keys[:BATCH], guide[:BATCH]))
    return (time.process_time() - began) / BATCH


def call_s(core: DiffusionCore, name: str, guide: np.ndarray) -> float:
    """CPU seconds of one call of the network for one picture, what the map says to it given."""
    network: Any = core.models[name].network  # type: ignore[attr-defined]
    with torch.no_grad():
        x, places = torch.zeros(BATCH, 3, *guide.shape[2:]), network.places(torch.as_tensor(guide[:BATCH]))
        began = time.process_time()
        for _ in range(8):
            network.draw(x, 0.0, places)
    return (time.process_time() - began) / (8 * BATCH)


def lossless(images: int) -> dict[str, Any]:
    """Bytes of true and of segmented maps: the map code, and the best of PNG and WebP."""
    from PIL import Image

    core, codec, _ = machine_core(())
    source, code = of_scenes(0, images, 32, "birds-eye"), MapCode.load()
    own = _seen(Station(core, codec), source, np.arange(images), "segmented").labels
    found: dict[str, Any] = {}
    for name, maps in (("true", source.labels), ("segmented", own)):
        sizes: dict[str, list[float]] = {"map code": [], "PNG": [], "WebP": []}
        assert maps is not None
        for labels in maps:
            sizes["map code"].append(code.encode_bits(labels)[1] / 8.0)
            palette = Image.new("P", labels.shape[::-1])
            palette.putdata(labels.ravel().tolist())
            palette.putpalette([40 * k for k in range(6) for _ in range(3)])
            for kind, image, options in (
                ("PNG", palette, {"optimize": True, "bits": 4}),
                ("WebP", Image.fromarray(labels).convert("RGB"), {"lossless": True, "quality": 100, "method": 6}),
            ):
                file = io.BytesIO()
                image.save(file, kind, **options)  # type: ignore[arg-type]
                sizes[kind].append(float(len(file.getvalue())))
        found[name] = {kind: mean(values, "") for kind, values in sizes.items()}
    return found


def utilities() -> list[str]:
    """Lines of the table of the gate: task score less the price of calls, against always, never and an oracle."""
    lines = [
        "| link | who regenerates | mIoU | calls | regenerated | utility |",
        "|---|---|---|---|---|---|",
    ]
    for link in GATE_LINKS:
        frames = {path: rows_of((path, link, 64)) for path in GATES}
        values = {path: (frame["miou"] - PRICE * frame["network_calls"]).to_numpy() for path, frame in frames.items()}
        never, always = frames["gated:mode=never"], frames["gated:mode=always"]
        better = values["gated:mode=always"] > values["gated:mode=never"]
        chosen = {
            name: np.where(better, always[name].to_numpy(), never[name].to_numpy())
            for name in ("miou", "network_calls", "regenerated")
        }
        told = [
            ("nobody", never, values["gated:mode=never"]), ("the gate", frames["gated"], values["gated"]),
            ("everybody", always, values["gated:mode=always"]),
            ("everybody, by a picture", frames[GATES[3]], values[GATES[3]]),
            ("an oracle", chosen, chosen["miou"] - PRICE * chosen["network_calls"]),
        ]  # fmt: skip
        for who, rows, value in told:
            cells = [
                shown(mean(np.asarray(rows["miou"]), ""), 3), f"{np.asarray(rows['network_calls']).mean():.1f}",
                f"{np.asarray(rows['regenerated']).mean():.2f}", shown(mean(value, ""), 3),
            ]  # fmt: skip
            lines.append(f"| `{link}` | {who} | " + " | ".join(cells) + " |")
    return lines


def shown(figure: dict[str, Any], digits: int) -> str:
    """A metric as text; constants without an interval."""
    if figure["mean"] is None:
        return "–"
    low, high = figure["ci95"]
    text = f"{figure['mean']:.{digits}f}"
    return text if low == high else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def sections() -> dict[str, list[str]]:
    """Name of a table → its lines."""
    made: dict[str, list[str]] = {}
    source = result_of(CELLS[0])["config"]["source"]
    made["about"] = [
        f"`python experiments/semantic_perception.py --images {source['images']}`: {source['images']} scenes from",
        "above that nothing was trained or tuned on; [95 % intervals].",
    ]
    head = "| path | " + " | ".join(f"{size} B" for size in BYTES) + " |"
    for metric in ("miou", "f1"):
        lines = [head, "|---|" + "---|" * len(BYTES)]
        for path in PATHS:
            cells = [shown(result_of((path, "awgn:snr_db=10", size))["metrics"][metric], 2) for size in BYTES]
            lines.append(f"| `{path}` | " + " | ".join(cells) + " |")
        made[metric] = lines
    lines = ["| path | SNR, dB | mIoU at 64 B | F1 at 64 B | calls | CPU ms |", "|---|---|---|---|---|---|"]
    for path in PATHS:
        for snr in SNRS:
            metrics = result_of((path, f"awgn:snr_db={snr}", 64))["metrics"]
            lines.append(
                f"| `{path}` | {snr} | {shown(metrics['miou'], 2)} | {shown(metrics['f1'], 2)} | "
                f"{metrics['network_calls']['mean']:.1f} | {metrics['cpu_ms']['mean']:.1f} |"
            )
    made["snr"] = lines
    lines = ["| at 256 bytes, 10 dB | mIoU | F1 | uses |", "|---|---|---|---|"]
    for path in SHARED:
        metrics = result_of((path, "awgn:snr_db=10", 256))["metrics"]
        uses = f"{metrics['channel_uses']['mean']:.0f}"
        lines.append(f"| `{path}` | {shown(metrics['miou'], 2)} | {shown(metrics['f1'], 2)} | {uses} |")
    made["shared"] = lines
    lines = ["| Rayleigh, 10 dB, 128 bytes | mIoU | F1 | delivered |", "|---|---|---|---|"]
    for path in FADING:
        metrics = result_of((path, "rayleigh:snr_db=10", 128))["metrics"]
        come = shown(metrics["delivered"], 2) if "delivered" in metrics else "all, noisy"
        lines.append(f"| `{path}` | {shown(metrics['miou'], 2)} | {shown(metrics['f1'], 2)} | {come} |")
    made["fading"] = lines
    made["hybrid"] = ["| `hybrid`, 10 dB | " + " | ".join(f"{size} B" for size in BYTES) + " |", "|---|" + "---|" * 6]
    for metric, title in (("provisional_miou", "mIoU at once"), ("miou", "mIoU refined"),
                          ("provisional_f1", "F1 at once"), ("f1", "F1 refined")):  # fmt: skip
        cells = [shown(result_of(("hybrid", "awgn:snr_db=10", size))["metrics"][metric], 2) for size in BYTES]
        made["hybrid"].append(f"| {title} | " + " | ".join(cells) + " |")
    made["gate"] = utilities()
    whole = json.loads((OUT / "int8.json").read_text())
    plain, small = whole[PAINTER], whole[PAINTER_INT8]
    made["int8"] = [
        "| painter | bytes | CPU ms a picture | CPU ms a call | FD-task | mIoU |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {each['bytes']:,} | {each['cpu_ms']:.1f} | {each['call_ms']:.3f} | "
            f"{shown(each['fd_task'], 3)} | {shown(each['miou'], 3)} |"
            for name, each in (("floats", plain), ("int8", small))
        ),
        "",
        f"Bytes × {small['bytes'] / plain['bytes']:.2f} (floats in half precision), "
        f"{plain['cpu_ms'] / small['cpu_ms']:.2f} times faster, its network {plain['call_ms'] / small['call_ms']:.2f}"
        f" times; {whole['images']} pictures, FD-task "
        f"{100.0 * (small['fd_task']['mean'] / plain['fd_task']['mean'] - 1.0):+.1f} %.",
    ]
    sizes = json.loads((OUT / "lossless.json").read_text())
    made["lossless"] = ["| bytes of a map | map code | PNG | WebP |", "|---|---|---|---|"]
    for name, found in sizes.items():
        made["lossless"].append(f"| {name} | " + " | ".join(shown(each, 1) for each in found.values()) + " |")
    return made


def summary() -> str:
    """Every cell."""
    config = result_of(CELLS[0])["config"]
    lines = [
        "# Paths of the machine scenario",
        "",
        f"Made by `python experiments/semantic_perception.py`: {config['source']['images']} scenes from number 0, seed"
        f" {config['seed']}, 32 × 32 cells; [95 % intervals]. CPU times depend on the machine and what else it does.",
        "",
        "| path | link | bytes | mIoU | F1 | uses | payload, bits | calls | CPU ms | sender's CPU ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in CELLS:
        metrics = result_of(cell)["metrics"]
        bits = shown(metrics["payload_bits"], 0) if "payload_bits" in metrics else "–"
        cells = [
            shown(metrics["miou"], 3), shown(metrics["f1"], 3), f"{metrics['channel_uses']['mean']:.0f}", bits,
            f"{metrics['network_calls']['mean']:.1f}", f"{metrics['cpu_ms']['mean']:.1f}",
            f"{metrics['sender_cpu_ms']['mean']:.1f}",
        ]  # fmt: skip
        lines.append(f"| `{cell[0]}` | `{cell[1]}` | {cell[2]} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def figure() -> None:
    """mIoU and F1 over bytes, a column per SNR."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    canvas, axes = pyplot.subplots(2, 3, figsize=(12, 6.4), sharex=True, sharey="row")
    styles = {path: f"C{number}" for number, path in enumerate(PATHS)}
    for column, snr in enumerate(SNRS):
        for row, (metric, title) in enumerate((("miou", "mIoU"), ("f1", "F1 of objects"))):
            axis = axes[row][column]
            for path in PATHS:
                found = [result_of((path, f"awgn:snr_db={snr}", size))["metrics"][metric] for size in BYTES]
                low, high = np.asarray([each["ci95"] for each in found]).T
                oracle = "labels=true" in path
                axis.plot(BYTES, [each["mean"] for each in found], "--" if oracle else "-", color=styles[path],
                          marker="o", markersize=3, label=path)  # fmt: skip
                axis.fill_between(BYTES, low, high, color=styles[path], alpha=0.12, linewidth=0)
            axis.set_xscale("log", base=2)
            axis.set_xticks(BYTES, [str(size) for size in BYTES])
            axis.grid(alpha=0.3)
            if row == 0:
                axis.set_title(f"AWGN, {snr} dB")
            else:
                axis.set_xlabel("bytes of a scene")
            if column == 0:
                axis.set_ylabel(title)
    axes[0][0].set_ylim(0.0, 1.02)
    axes[1][0].set_ylim(0.0, 1.02)
    handles, names = axes[0][0].get_legend_handles_labels()
    canvas.legend(handles, names, loc="lower center", ncols=5, frameon=False)
    canvas.tight_layout(rect=(0, 0.08, 1, 1))
    canvas.savefig(OUT / "semantic-perception.png", dpi=110)
    pyplot.close(canvas)


def main() -> None:
    """Compute what is missing, then write tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64, help="scenes of every cell")
    images = parser.parse_args().images
    began = time.process_time()
    for number, cell in enumerate(CELLS):
        place = place_of(cell)
        if place.with_name(place.name + ".json").is_file():
            continue
        compute(cell, images)
        spent = time.process_time() - began
        print(f"{number + 1}/{len(CELLS)} {place.name}, {spent:.0f} CPU-s", flush=True)
    for name, make in (("int8", integers), ("lossless", lossless)):
        if not (OUT / f"{name}.json").is_file():
            told = json.dumps(make(max(images, 64) if make is lossless else 256), indent=1)
            (OUT / f"{name}.json").write_text(told + "\n", encoding="utf-8")
    (OUT / "summary.md").write_text(summary(), encoding="utf-8")
    figure()
    pages.fill(PAGE, {f"semantic-perception {name}": lines for name, lines in sections().items()})


if __name__ == "__main__":
    main()
