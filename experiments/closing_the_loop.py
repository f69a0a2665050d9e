"""What does sharing a map buy a fleet that does not know it? Success and time against bits, under loss.

    python experiments/closing_the_loop.py [--episodes 20] [--workers 1] [--out experiments/results/closing-the-loop]

Scenario `unknown-map`, 6 agents, maps of the family `maze`, which the map prior was never trained on; protocol
`negotiated`; seed 2027, the same episodes in all cells; packets of plans and of the map are both erased with the same
chance. Ways of sharing (`protocol.map_sharing`): *none*; *tokens*, entropy-coded cells through a hub; *prior*, these,
and the hub tells how likely what nobody has seen is to be filled; *occupancy*, two bits a cell, uncompressed;
*picture*, an RGB pixel a cell; *oracle*, all know the map from the start, which no radio can do. To keep it short,
plans are chosen from 6 samples of 3 denoising steps, beliefs have 2 samples, and 3 neighbours are looked at.

An episode succeeds when all have arrived within 120 s and nothing has touched. Time is that of the last arrival, 120 s
where there is none. Bits are those of the map's channel, up and down, of all agents and the hub together, for the
whole episode. Intervals are 95 %: Wilson's for success, bootstrap over episodes for means; differences are paired.
A cell is kept as soon as it is done: run the command again to go on with what is missing.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

import agentsc
from agentsc.experiment.metrics import lane_rows
from agentsc.experiment.statistics import percentile_interval, resamples, wilson

HERE = Path(__file__).parent
NAME = "closing-the-loop"
SEED, AGENTS, TICKS, FAMILY = 2027, 6, 480, "maze"
WAYS = ("none", "tokens", "prior", "occupancy", "picture", "oracle")
LOSSES = (0.0, 0.2, 0.5)
ORDER = ("none", "tokens", "prior", "picture", "oracle", "occupancy")
"""In which cells are computed: what is compared most comes first."""
QUICK = {"samples": 6, "belief_samples": 2, "neighbours": 3}


class Row(NamedTuple):
    """One episode. time_s: until the last arrival. up_bits, down_bits: of the map. plan_bits: of the negotiation."""

    sharing: str
    loss: float
    episode: int
    success: bool
    collision_free: bool
    agents_at_goal: int
    time_s: float
    path_length_ratio: float
    up_bits: int
    down_bits: int
    plan_bits: int
    known_share: float
    obstacle_contacts: int
    collisions: int
    cpu_s: float


def measured(sharing: str, loss: float, episodes: int) -> list[Row]:
    """One cell."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        log = agentsc.run(
            {"prior": {"steps": 3}}, scenario={"name": "unknown-map", "family": FAMILY, "agents": AGENTS},
            protocol={"name": "negotiated", "map_sharing": sharing, **QUICK}, link=f"erasure:p={loss}",
            episodes=episodes, seed=SEED, ticks=TICKS, set=["record.episodes=[]"], out=Path(folder) / "run",
        ).log  # fmt: skip
    spent = (time.process_time() - began) / episodes
    return [
        Row(
            sharing, loss, row["episode"], row["success"], row["collision_free"], row["agents_at_goal"],
            round(row["duration_s"], 4), round(row["path_length_ratio"] or float("nan"), 5), row["map_up_bits"],
            row["map_down_bits"], row["bits"], round(row["map_known_share"], 5), row["obstacle_contacts"],
            row["collisions"], round(spent, 2),
        )
        for row in lane_rows(log)
    ]  # fmt: skip


def read(path: Path) -> list[Row]:
    """Rows that an earlier call has left."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    hints = get_type_hints(Row)
    kinds = {name: (lambda text: text == "True") if kind is bool else kind for name, kind in hints.items()}
    return [Row(**{name: kinds[name](row[name]) for name in Row._fields}) for row in table]


def write(path: Path, rows: list[Row]) -> None:
    """All rows, replaced whole."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Row._fields)
        table.writerows(rows)
    partial.replace(path)


def cells(rows: list[Row]) -> dict[tuple[str, float], list[Row]]:
    """Rows by way of sharing and loss, in the order of `WAYS` and `LOSSES`."""
    found = {(way, loss): [r for r in rows if (r.sharing, r.loss) == (way, loss)] for loss in LOSSES for way in WAYS}
    return {key: sorted(group, key=lambda row: row.episode) for key, group in found.items() if group}


def spread(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean and its interval."""
    low, high = percentile_interval(values[resamples(len(values))].mean(1))
    return float(values.mean()), float(low), float(high)


def summary(rows: list[Row]) -> str:
    """The page."""
    groups = cells(rows)
    count = max(len(group) for group in groups.values())
    lines = [
        "# Closing the loop", "",
        "Regenerate with `python experiments/closing_the_loop.py`; what is compared and how is told there.", "",
        f"{count} episodes in every cell, seed {SEED}, {AGENTS} agents, maps of the held-out family `{FAMILY}`. "
        "Against tokens: paired difference of time in the same episodes, negative is quicker.", "",
        "| loss | sharing | success | time, s | against tokens, s | map up, kbit | map down, kbit | known at the end | "
        "contacts |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for (way, loss), group in groups.items():
        good = sum(row.success for row in group)
        low, high = wilson(good, len(group))
        times = np.array([row.time_s for row in group])
        mean, below, above = spread(times)
        other = groups.get(("tokens", loss), [])
        if way == "tokens" or [r.episode for r in other] != [r.episode for r in group]:
            against = "–"
        else:
            d = spread(times - np.array([row.time_s for row in other]))
            against = f"{d[0]:+.1f} [{d[1]:+.1f}, {d[2]:+.1f}]"
        up, down = (spread(np.array([getattr(r, n) / 1e3 for r in group])) for n in ("up_bits", "down_bits"))
        known = np.mean([row.known_share for row in group])
        touched = sum(row.obstacle_contacts + row.collisions for row in group)
        lines.append(
            f"| {loss:g} | {way} | {good}/{len(group)} [{low:.2f}, {high:.2f}] | {mean:.1f} [{below:.1f}, {above:.1f}] "
            f"| {against} | {up[0]:.1f} [{up[1]:.1f}, {up[2]:.1f}] | {down[0]:.1f} [{down[1]:.1f}, {down[2]:.1f}] "
            f"| {known:.2f} | {touched} |"
        )  # fmt: skip
    return "\n".join([*lines, "", "![Success and time against bits](figure.png)", ""])


def draw(rows: list[Row], path: Path) -> None:
    """Success and time against the map's bits, a panel each."""
    from matplotlib.figure import Figure

    groups = cells(rows)
    colours = dict(zip(WAYS, ("#777777", "#1f77b4", "#2ca02c", "#ff7f0e", "#d62728", "#000000"), strict=True))
    marks = dict(zip(LOSSES, ("o", "s", "^"), strict=True))
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (way, loss), group in groups.items():
        bits = np.array([(row.up_bits + row.down_bits) / 1e3 for row in group])
        # No bits at all have a place on a logarithmic axis, too; losses stand beside each other there.
        x = float(bits.mean()) if bits.any() else (1.6 if way == "oracle" else 1.0) * (1.0 + 0.12 * LOSSES.index(loss))
        good = sum(row.success for row in group) / len(group)
        low, high = wilson(sum(row.success for row in group), len(group))
        mean, below, above = spread(np.array([row.time_s for row in group]))
        style = {"color": colours[way], "marker": marks[loss], "markersize": 6, "capsize": 2, "linewidth": 1}
        left.errorbar(x, good, [[max(good - low, 0.0)], [max(high - good, 0.0)]], **style)
        right.errorbar(x, mean, [[mean - below], [above - mean]], **style)
    for axes, title in ((left, "share of episodes that succeed"), (right, "time until the last arrival, s")):
        axes.set_xscale("log")
        axes.set_xlabel("map's channel, up and down, kbit an episode\n(at the left: no bits at all)")
        axes.set_ylabel(title)
        axes.grid(alpha=0.25)
    left.set_ylim(-0.03, 1.03)
    for way in WAYS:
        right.plot([], [], color=colours[way], label=way)
    for loss in LOSSES:
        right.plot([], [], color="#555555", marker=marks[loss], linestyle="", label=f"loss {loss:g}")
    right.legend(fontsize=8, ncols=2)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run what is missing, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes; rows do not depend on it, but for seconds")
    parser.add_argument("--out", type=Path, default=HERE / "results" / NAME, help="folder for the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "rows.csv"
    rows = read(kept)
    done = {key for key, group in cells(rows).items() if len(group) == options.episodes}
    missing = [(way, loss) for way in ORDER for loss in LOSSES if (way, loss) not in done]
    rows = [row for row in rows if (row.sharing, row.loss) in done]
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        waiting = [pool.submit(measured, way, loss, options.episodes) for way, loss in missing]
        for each in as_completed(waiting):
            rows += each.result()
            write(kept, rows)
            print(rows[-1].loss, rows[-1].sharing, f"{rows[-1].cpu_s:.2f} s an episode", flush=True)
    page = summary(rows)
    (options.out / "summary.md").write_text(page, encoding="utf-8")
    draw(rows, options.out / "figure.png")
    print(page)


if __name__ == "__main__":
    main()
