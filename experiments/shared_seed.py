"""What a sender's look at the receiver's picture buys, and at what price; what codes survive a second pass.

    python experiments/shared_seed.py [--scenes 64]     # about 6 minutes of one core; keeps finished cells

AWGN of 10 dB, and for one table Rayleigh fading of the same mean; bird's-eye scenes of 32 × 32 pixels from number 0 on,
that nothing was trained or tuned on; seed 0.

- *seeds*: `shared-seed` with K = 1 (no check), 4 and 16 seeds, all bits in the first try, at the bits that 64 and 128
  symbols carry (CBR 1/48 and 1/24), and at half of the former.
- *pixels*: the same without colours, where the sender looks at PSNR.
- *raise*: a sender that is content with an mIoU of 0.6 with its own map, starts with a quarter of what 256 symbols (CBR
  1/12) carry and raises it otherwise, at last to `separation`'s code.
- *rivals*: `separation` and `prompted` at the same channel uses.
- *fading*: one block an image, planned for 5 dB.
- *again*: what of a code comes out the same when the received picture is coded again.

Means over scenes with bootstrap 95 % intervals (FD-task: jackknife); differences to K = 1 are paired by scene.

Writes experiments/results/shared-seed/: rows.csv, images.parquet (every scene of every cell), summary.md,
shared-seed.png, and the tables in docs/shared-seed.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pages
import polars

import agentsc
from agentsc.experiment.metrics import mean
from agentsc.semantic import quality

OUT = Path(__file__).parent / "results" / "shared-seed"
PAGE = Path(__file__).parents[1] / "docs" / "shared-seed.md"
AWGN, FADING = "awgn:snr_db=10", "rayleigh:snr_db=10"
SEEDS = (1, 4, 16)
BUDGETS = {"half": ("1/48", 0.5), "1/48": ("1/48", 1.0), "1/24": ("1/24", 1.0)}
"""Name → CBR, and share of what it carries."""
KEPT = (
    "psnr_db", "miou", "coded_bits", "outage", "network_calls", "sender_calls", "cpu_ms", "sender_cpu_ms",
    "seeds_tried", "raises", "fell_back", "promised", "code_kept", "code_same", "code_moved",
)  # fmt: skip


class Cell(NamedTuple):
    """One run: what it is for, the decoder, CBR and link."""

    part: str
    decoder: str
    cbr: str
    link: str = AWGN


def drawn(seeds: int, more: str = "") -> str:
    """A `shared-seed` of K seeds."""
    return f"shared-seed:seeds={seeds}{more}"


CELLS = [
    *(Cell("seeds", drawn(k, f",first={share:g}"), cbr) for cbr, share in BUDGETS.values() for k in SEEDS),
    *(Cell("pixels", drawn(k, ",first=1,criterion=pixels,colours=0"), "1/24") for k in SEEDS),
    *(Cell("raise", drawn(k, ",first=0.25,threshold=0.6"), "1/12") for k in SEEDS),
    *(Cell("rivals", "separation", cbr) for cbr in ("1/48", "1/24", "1/12")),
    *(Cell("rivals", "prompted", cbr) for cbr in ("1/24", "1/12")),
    Cell("fading", drawn(16, ",first=1,design_snr_db=5"), "1/24", FADING),
    Cell("fading", "separation:design_snr_db=5", "1/24", FADING),
    *(Cell("again", f"separation:idempotent={steps}", "1/12") for steps in (1, 2, 4)),
    Cell("again", "separation:source=webp", "1/6"),
    Cell("again", "jscc", "1/12"),
    Cell("again", "hifi-diffcom", "1/12"),
    Cell("again", drawn(16, ",first=1,criterion=code"), "1/24"),
]


def compute(cell: Cell, scenes: int) -> polars.DataFrame:
    """Rows of a cell, a scene each; the Fréchet distance and its interval in all of them."""
    result = agentsc.transmit(scene=0, images=scenes, cbr=cell.cbr, link=cell.link, decoder=cell.decoder)
    figure = result.metrics["fd_task"]
    values = {name: np.asarray(result.rows[name], np.float64) for name in KEPT if name in result.rows}
    frame = polars.DataFrame({"image": np.arange(scenes), **values})
    low, high = figure["ci95"] or (None, None)
    facts = {**cell._asdict(), "scenes": scenes, "fd_task": figure["mean"], "fd_low": low, "fd_high": high}
    return frame.with_columns(**{name: polars.lit(value) for name, value in facts.items()})


def of(frame: polars.DataFrame, cell: Cell) -> polars.DataFrame:
    """The rows of one cell, by scene."""
    return frame.filter(*(polars.col(name) == value for name, value in cell._asdict().items())).sort("image")


def figure_of(rows: polars.DataFrame, name: str) -> dict[str, Any]:
    """Mean and interval of a metric of one cell."""
    if name == "fd_task":
        first = rows.row(0, named=True)
        return {"mean": first["fd_task"], "ci95": [first["fd_low"], first["fd_high"]], "n": len(rows)}
    values = rows[name].drop_nulls().to_numpy() if name in rows.columns else np.empty(0)
    return mean(values, "not measured")


def shown(figure: dict[str, Any], digits: int) -> str:
    """A figure as text; what does not vary without an interval."""
    if figure["mean"] is None:
        return "–"
    low, high = figure["ci95"]
    text = f"{figure['mean']:.{digits}f}"
    return text if low is None or low == high else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def gain(frame: polars.DataFrame, cell: Cell, name: str) -> str:
    """How much better a cell is than the one with a single seed, paired by scene."""
    seeds = cell.decoder.split(",")[0].rpartition("=")[2]
    if seeds == "1":
        return "–"
    single = cell._replace(decoder=cell.decoder.replace(f"seeds={seeds}", "seeds=1"))
    more = of(frame, cell)[name].to_numpy() - of(frame, single)[name].to_numpy()
    return shown(mean(more, ""), 2 if name == "psnr_db" else 3)


def sections(frame: polars.DataFrame) -> dict[str, list[str]]:
    """Name of a table → its lines."""
    made: dict[str, list[str]] = {}

    def table(name: str, head: str, lines: list[list[str]]) -> None:
        cells = head.split(" | ")
        made[name] = [f"| {head} |", "|" + "---|" * len(cells), *("| " + " | ".join(line) + " |" for line in lines)]

    def line(cell: Cell, *columns: tuple[str, int]) -> list[str]:
        return [shown(figure_of(of(frame, cell), name), digits) for name, digits in columns]

    def part(*names: str) -> list[Cell]:
        return [cell for cell in CELLS if cell.part in names]

    usual = (("coded_bits", 0), ("miou", 3), ("psnr_db", 2), ("fd_task", 2))
    for name, metric in (("seeds", "miou"), ("pixels", "psnr_db")):
        table(name, "K | bits | mIoU | PSNR, dB | FD-task | gained on K = 1 | sender's calls | its CPU ms", [
            [cell.decoder.split(",")[0].rpartition("=")[2], *line(cell, *usual), gain(frame, cell, metric),
             *line(cell, ("sender_calls", 0), ("sender_cpu_ms", 0))]
            for cell in part(name)
        ])  # fmt: skip
    table("raise", "K | bits | mIoU | PSNR, dB | FD-task | seeds tried | raises | fell back | sender's calls", [
        [cell.decoder.split(",")[0].rpartition("=")[2],
         *line(cell, *usual, ("seeds_tried", 1), ("raises", 2), ("fell_back", 2), ("sender_calls", 0))]
        for cell in part("raise")
    ])  # fmt: skip
    table("rivals", "decoder | CBR | bits | mIoU | PSNR, dB | FD-task", [
        [f"`{cell.decoder}`", cell.cbr, *line(cell, *usual)] for cell in part("rivals")
    ])  # fmt: skip
    table("fading", "decoder | bits | outage | mIoU | PSNR, dB", [
        [f"`{cell.decoder}`", *line(cell, ("coded_bits", 0), ("outage", 2), ("miou", 3), ("psnr_db", 2))]
        for cell in part("fading")
    ])  # fmt: skip
    plain = Cell("rivals", "separation", "1/12")
    table("again", "decoder | CBR | `code_kept` | `code_same` | `code_moved` | PSNR, dB | receiver's CPU ms", [
        [f"`{cell.decoder}`", cell.cbr,
         *line(cell, ("code_kept", 4), ("code_same", 2), ("code_moved", 3), ("psnr_db", 2), ("cpu_ms", 0))]
        for cell in (plain, *part("again"), Cell("seeds", drawn(1, ",first=1"), "1/24"),
                     Cell("seeds", drawn(16, ",first=1"), "1/24"))
    ])  # fmt: skip
    return made


def summary(frame: polars.DataFrame) -> str:
    """Every cell."""
    columns = (
        ("coded_bits", 0), ("miou", 3), ("psnr_db", 2), ("fd_task", 2), ("outage", 2), ("seeds_tried", 1),
        ("raises", 2), ("fell_back", 2), ("promised", 3), ("network_calls", 0), ("sender_calls", 0), ("cpu_ms", 0),
        ("sender_cpu_ms", 0), ("code_kept", 4), ("code_same", 2), ("code_moved", 3),
    )  # fmt: skip
    lines = [
        "# A seed's number beside a map, and a sender that looks",
        "",
        f"Made by `python experiments/shared_seed.py --scenes {frame['scenes'][0]}`: scenes from number 0, seed 0,"
        " 32 × 32 pixels; [95 % intervals]. CPU times depend on the machine and on what else it does.",
        "",
        "| part | decoder | CBR | link | " + " | ".join(name for name, _ in columns) + " |",
        "|" + "---|" * (len(columns) + 4),
    ]
    for cell in CELLS:
        rows = of(frame, cell)
        cells = [shown(figure_of(rows, name), digits) for name, digits in columns]
        lines.append(f"| {cell.part} | `{cell.decoder}` | {cell.cbr} | `{cell.link}` | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def picture(frame: polars.DataFrame) -> None:
    """mIoU and PSNR over bits."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    canvas, axes = pyplot.subplots(1, 2, figsize=(11, 5.0))
    lines: list[tuple[str, list[Cell], dict[str, Any]]] = [
        *((f"shared-seed, K = {k}" + (", no check" if k == 1 else ""),
           [cell for cell in CELLS if cell.part == "seeds" and cell.decoder.startswith(drawn(k, ","))],
           {"color": f"C{number}", "marker": "o"}) for number, k in enumerate(SEEDS)),
        *((f"K = {k}, raised below 0.6",
           [cell for cell in CELLS if cell.part == "raise" and cell.decoder.startswith(drawn(k, ","))],
           {"color": f"C{number}", "marker": "*", "markersize": 11, "linestyle": "none"})
          for number, k in enumerate(SEEDS)),
        *((f"no colours, by PSNR, K = {k}",
           [cell for cell in CELLS if cell.part == "pixels" and cell.decoder.startswith(drawn(k, ","))],
           {"color": f"C{number}", "marker": "x", "linestyle": "none"}) for number, k in enumerate(SEEDS)),
        ("separation", [cell for cell in CELLS if cell.part == "rivals" and cell.decoder == "separation"],
         {"color": "black", "marker": "s", "linestyle": "--"}),
        ("prompted (bits: what its symbols would carry)",
         [cell for cell in CELLS if cell.part == "rivals" and cell.decoder == "prompted"],
         {"color": "grey", "marker": "s", "linestyle": ":"}),
    ]  # fmt: skip
    for axis, name, title in ((axes[0], "miou", "mIoU with the true map"), (axes[1], "psnr_db", "PSNR, dB")):
        for label, cells, style in lines:
            found = [figure_of(of(frame, cell), name) for cell in cells]
            x = [figure_of(of(frame, cell), "coded_bits")["mean"] or capacity(cell) for cell in cells]
            y = np.asarray([each["mean"] for each in found])
            bars = np.abs(np.asarray([each["ci95"] for each in found]).T - y)
            axis.errorbar(x, y, bars, label=label, capsize=2, linewidth=1.3, elinewidth=0.7, **style)
        axis.set_xlabel("bits of a scene")
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
    handles, names = axes[0].get_legend_handles_labels()
    canvas.legend(handles, names, loc="lower center", ncols=4, frameon=False, fontsize=8)
    canvas.tight_layout(rect=(0, 0.15, 1, 1))
    canvas.savefig(OUT / "shared-seed.png", dpi=120)
    pyplot.close(canvas)


def capacity(cell: Cell) -> float:
    """Bits that an ideal code carries in the symbols of a scene, over AWGN of 10 dB."""
    top, _, bottom = cell.cbr.partition("/")
    return 3 * 32 * 32 * float(top) / float(bottom) * float(np.log2(11.0))


def main() -> None:
    """Compute what is missing, then write tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=64, help="of every cell, 64 or more")
    scenes = max(parser.parse_args().scenes, quality.FEWEST)
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "images.parquet"
    frame = polars.read_parquet(path).filter(polars.col("scenes") == scenes) if path.is_file() else polars.DataFrame()
    began = time.process_time()
    for number, cell in enumerate(CELLS):
        if len(frame) and len(of(frame, cell)):
            continue
        frame = polars.concat([frame, compute(cell, scenes)], how="diagonal")
        frame.write_parquet(path, compression="zstd")
        spent = time.process_time() - began
        print(f"{number + 1}/{len(CELLS)} {cell.part} {cell.decoder} {cell.cbr}, {spent:.0f} CPU-s", flush=True)
    rows = [
        {**cell._asdict(), "metric": name, "mean": found["mean"], "low": (found["ci95"] or [None])[0],
         "high": (found["ci95"] or [None])[-1], "n": found["n"]}
        for cell in CELLS for name in (*KEPT, "fd_task")
        if (found := figure_of(of(frame, cell), name))["mean"] is not None
    ]  # fmt: skip
    polars.DataFrame(rows).write_csv(OUT / "rows.csv", float_precision=6)
    (OUT / "summary.md").write_text(summary(frame), encoding="utf-8")
    picture(frame)
    pages.fill(PAGE, {f"shared-seed {name}": lines for name, lines in sections(frame).items()})


if __name__ == "__main__":
    main()
