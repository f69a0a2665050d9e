"""What does each reconciliation term buy, and what the variants? On and off, in the scenario that asks for it.

    python experiments/reconciliation_terms.py [--seeds 20] [--only NAME …] [--out DIR]

Every comparison runs the same episodes (seed 2026) with a term or variant and without; nothing else differs. The rows
of a run are written when it is done, and a run whose rows are there is not repeated. Differences are paired: one per
episode, their mean, and a 95 % interval by the bootstrap over episodes (keyed). Weights and times were chosen on seed
7. Episodes that do not end count with the time limit, and those in which something is not measured are left out of
that comparison on both sides.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import agentsc
from envs import keyed

HERE = Path(__file__).parent
NAME = "reconciliation-terms"
SEED = 2026


class Compared(NamedTuple):
    """One term or variant, off and on.

    ``sets`` are common to both; ``value`` is the column that the scenario is about, ``better`` +1 where more of it is.
    """

    scenario: str
    sets: tuple[str, ...]
    link: str
    ticks: int
    off: tuple[str, ...]
    on: tuple[str, ...]
    value: str
    better: int


MARCH = ("scenario.march=6",)
STATIONS = ("scenario.any_station=true", "scenario.stations=4", "scenario.agents=8")
QUEUES = (
    "scenario.any_station=true", "scenario.stations=2", "scenario.agents=8", "scenario.service_ticks=40",
)  # fmt: skip
FEW = ("scenario.agents=6",)
LOSS = "erasure:p=0.5"
PLAIN = ("negotiated",)
COMPARED: dict[str, Compared] = {
    "formation": Compared(
        "formation", MARCH, "perfect", 240, PLAIN, ("negotiated", "terms=formation"), "formation_error_m", -1
    ),
    "leader-follower": Compared(
        "formation", MARCH, "perfect", 240, PLAIN, ("leader-follower",), "formation_error_m", -1
    ),
    "coverage": Compared(
        "coverage", (), "perfect", 128, PLAIN, ("negotiated", "terms=coverage"), "coverage_value", 1
    ),
    "coverage, in intent": Compared(
        "coverage", (), "perfect", 128, ("intent",), ("intent", "terms=coverage"), "coverage_value", 1
    ),
    "prices": Compared("coverage", (), "perfect", 128, ("market",), ("market", "terms=prices"), "coverage_value", 1),
    "resources, a corridor": Compared(
        "corridor", (), "perfect", 300, PLAIN, ("negotiated", "terms=resources"), "makespan_s", -1
    ),
    "resources, stations": Compared(
        "lifelong-warehouse", STATIONS, "perfect", 200, PLAIN, ("negotiated", "terms=resources"), "tasks", 1
    ),
    "role-switching": Compared(
        "lifelong-warehouse", QUEUES, "perfect", 200, PLAIN,
        ("role-switching", "service_s=10", "temperature_s=2", "turns=false"), "tasks", 1,
    ),
    "role-switching, a corridor": Compared(
        "corridor", (), "perfect", 300, PLAIN, ("role-switching",), "makespan_s", -1
    ),
    "collision": Compared("weave", FEW, LOSS, 160, ("negotiated", "collision_weight=0"), PLAIN, "makespan_s", -1),
    "collision, wider with age": Compared(
        "weave", FEW, LOSS, 160, PLAIN, ("negotiated", "age_spread=0.25"), "makespan_s", -1
    ),
}  # fmt: skip
VALUES = {
    "formation_error_m": "formation error, m",
    "coverage_value": "value, share of the best",
    "makespan_s": "makespan, s",
    "tasks": "tasks per agent and hour",
}


class Row(NamedTuple):
    """One episode of one run."""

    scenario: str
    protocol: str
    options: str
    link: str
    ticks: int
    episode: int
    success: bool
    collision_free: bool
    value: float
    bits_per_agent_s: float


FLAGS = ("success", "collision_free")


def key(one: Compared, side: tuple[str, ...]) -> tuple[str, str, str, str, int]:
    """What identifies a run."""
    return one.scenario, side[0], " ".join([*one.sets, *side[1:]]), one.link, one.ticks


def measure(one: Compared, side: tuple[str, ...], seeds: int) -> list[Row]:
    """The episodes of one run."""
    sets = [*one.sets, *(f"protocol.{option}" for option in side[1:]), "record.episodes=[]"]
    with tempfile.TemporaryDirectory() as folder:
        log = agentsc.run(
            scenario=one.scenario, protocol=side[0], link=one.link, ticks=one.ticks, seed=SEED, episodes=seeds,
            device="cpu", set=sets, out=folder,
        ).log  # fmt: skip
    agents = log.starts.shape[1]
    seconds = log.last_tick * log.dt
    if one.value == "makespan_s":
        value = np.where(log.finish_tick >= 0, seconds, one.ticks * log.dt)
    elif one.value == "tasks":
        value = log.outcome["tasks_done"] / agents / (seconds / 3600.0)
    elif one.value == "coverage_value":
        value = log.outcome["coverage_collected"] / log.outcome["coverage_best"]
    else:
        value = log.outcome[one.value]
    bits = log.bits.sum(1) / agents / seconds
    return [
        Row(
            *key(one, side), episode, bool(log.success[episode]), bool(log.collision_free[episode]),
            float(f"{value[episode]:.6g}"), float(f"{bits[episode]:.6g}"),
        )
        for episode in range(seeds)
    ]  # fmt: skip


def read(path: Path) -> list[Row]:
    """Rows of a file; none if there is no file."""
    if not path.is_file():
        return []
    kinds: dict[str, Any] = {"ticks": int, "episode": int, "value": float, "bits_per_agent_s": float}
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Row(**{k: v == "True" if k in FLAGS else kinds.get(k, str)(v) for k, v in row.items()})
            for row in csv.DictReader(file)
        ]


def write(path: Path, rows: list[Row]) -> None:
    """Rows in the order of runs."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Row._fields)
        table.writerows(rows)


def interval(values: np.ndarray, name: str) -> tuple[float, float, float]:
    """Mean and its 95 % interval: percentiles over 4,000 keyed resamples of the episodes."""
    draws = keyed.uniform(SEED, keyed.stream_id(f"{NAME}.{name}"), np.arange(4000)[:, None], np.arange(len(values)))
    means = values[(draws * len(values)).astype(np.int64)].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def column(rows: list[Row], name: str) -> np.ndarray:
    """One number of every row."""
    return np.array([getattr(row, name) for row in rows], np.float64)


def of(rows: list[Row], one: Compared, side: tuple[str, ...]) -> list[Row]:
    """The rows of one run."""
    return [row for row in rows if row[:5] == key(one, side)]


def summary(rows: list[Row]) -> str:
    """The page."""
    lines = [
        "# Reconciliation terms and variants, on and off", "",
        "Regenerate with `python experiments/reconciliation_terms.py`; the script says what is run and how differences "
        "are taken. Differences are on minus off over the same episodes (seed 2026), with 95 % intervals; bold ones "
        "exclude 0.", "",
        f"![differences]({NAME}.png)", "",
        "| compared | scenario, link | off → on | n | measured | off | on | on − off | success | collision-free | "
        "bits per agent and s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, one in COMPARED.items():
        off, on = of(rows, one, one.off), of(rows, one, one.on)
        if not off or not on:
            continue
        before, after = column(off, "value"), column(on, "value")
        both = np.isfinite(before) & np.isfinite(after)
        mean, low, high = interval((after - before)[both], name)
        text = f"{mean:+.3g} [{low:+.3g}, {high:+.3g}]"
        text = f"**{text}**" if low * high > 0 else text
        share = lambda column_name: (  # noqa: E731
            f"{column(off, column_name).mean():.2f} → {column(on, column_name).mean():.2f}"  # noqa: B023
        )
        bits = f"{column(off, 'bits_per_agent_s').mean():.0f} → {column(on, 'bits_per_agent_s').mean():.0f}"
        where = f"`{one.scenario}` {' '.join(one.sets)}, `{one.link}`"
        lines.append(
            f"| {name} | {where} | `{' '.join(one.off)}` → `{' '.join(one.on)}` | {int(both.sum())} | "
            f"{VALUES[one.value]} | {before[both].mean():.4g} | {after[both].mean():.4g} | {text} | "
            f"{share('success')} | {share('collision_free')} | {bits} |"
        )
    return "\n".join(lines) + "\n"


def draw(rows: list[Row], path: Path) -> None:
    """Differences over the value without, in the direction that is better."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = [(n, c) for n, c in COMPARED.items() if of(rows, c, c.off) and of(rows, c, c.on)]
    figure, axis = plt.subplots(figsize=(7.2, 0.42 * len(shown) + 1.2), layout="constrained")
    for place, (name, one) in enumerate(reversed(shown)):
        before, after = (column(of(rows, one, side), "value") for side in (one.off, one.on))
        both = np.isfinite(before) & np.isfinite(after)
        scale = 100.0 * one.better / before[both].mean()
        mean, low, high = (scale * each for each in interval((after - before)[both], name))
        axis.errorbar(mean, place, xerr=[[abs(mean - low)], [abs(high - mean)]], fmt="o", capsize=3, color="tab:blue")
    axis.axvline(0.0, color="grey", linewidth=1)
    names = [f"{name}: {VALUES[one.value]}" for name, one in reversed(shown)]
    axis.set_yticks(range(len(shown)), names, fontsize=8)
    axis.set_xlabel("better by, % of the value without; 95 %")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Run what is missing, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="episodes of every run")
    parser.add_argument("--only", nargs="*", default=list(COMPARED), choices=list(COMPARED), metavar="NAME")
    parser.add_argument("--out", type=Path, default=HERE / "results" / NAME, help="folder for the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rows.csv"
    for name in options.only:
        one = COMPARED[name]
        for side in (one.off, one.on):
            rows = read(path)
            if len(of(rows, one, side)) >= options.seeds:
                continue
            print(f"{name}: {' '.join(side)}", file=sys.stderr, flush=True)
            found = measure(one, side, options.seeds)
            write(path, [row for row in read(path) if row[:5] != key(one, side)] + found)
    rows = read(path)
    runs = {key(one, side): None for one in COMPARED.values() for side in (one.off, one.on)}
    rows = [row for run in runs for row in rows if row[:5] == run]
    write(path, rows)
    page = summary(rows)
    (options.out / "summary.md").write_text(page, encoding="utf-8")
    draw(rows, options.out / f"{NAME}.png")
    print(page)


if __name__ == "__main__":
    main()
