"""What does the trajectory prior bring to courses: do they follow a map's pattern, and what does that cost?

    python experiments/course_prior.py [--episodes 10] [--workers 1] [--out experiments/results/course-prior]

The protocol `intent` on a perfect link, seed 2026, whole runs. Courses are searched over the whole map (*search*), or
in tubes around proposals: the routes that the prior is conditioned on (*routes*), samples of the prior, each drawn by
itself (*alone*), or drawn together, guided to keep clear of one another (*joint*). Weave has no pattern; there
proposals are asked for on purpose (`proposals_for=every`), besides a tube twice as wide. The same episodes everywhere.
Intervals are 95 %: Wilson's for success, bootstrap over episodes for means. Seconds are CPU time of the process over
the whole run, simulation included; they are of one machine and not exact.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import agentsc
from agentsc.experiment.metrics import lane_rows
from agentsc.experiment.statistics import percentile_interval, resamples, wilson

HERE = Path(__file__).parent
SEED = 2026
NAME = "course-prior"
CELLS = (
    *(("weave", n) for n in (10, 20, 28)),
    *((name, n) for name in ("highways", "conveyor", "drop-region") for n in (6, 12, 20)),
)
HOW: dict[str, dict[str, Any]] = {
    "search": {"proposals": 0},
    "routes": {"proposals_for": "every", "drawn": "route"},
    "alone": {"proposals_for": "every", "drawn": "alone"},
    "joint": {"proposals_for": "every"},
    "joint, wide": {"proposals_for": "every", "tube": 6.0},
}
PATTERNED = ("highways", "conveyor", "drop-region")
COLUMNS = ("adherence", "steps", "path_length_ratio", "smoothness_mm", "kbit_agent", "cpu_s")


class Row(NamedTuple):
    """One episode. steps: ticks to the end of the run. kbit_agent: sent by each. cpu_s: mean over its cell."""

    scenario: str
    agents: int
    how: str
    episode: int
    success: bool
    adherence: float
    steps: int
    path_length_ratio: float
    smoothness_mm: float
    kbit_agent: float
    cpu_s: float


def measure(episodes: int, workers: int) -> Iterator[Row]:
    """All cells, in all ways."""
    cells = [
        (scenario, agents, how, episodes)
        for scenario, agents in CELLS
        for how in HOW
        if how != "joint, wide" or scenario not in PATTERNED
    ]
    with ProcessPoolExecutor(workers, get_context("spawn"), warm_up) as pool:
        for cell, rows in zip(cells, pool.map(measured, *zip(*cells, strict=True)), strict=True):
            print(*cell[:3], f"{rows[0].cpu_s:.2f} s", flush=True)
            yield from rows


def warm_up() -> None:
    """Load all that is loaded once, so that no cell's seconds count it."""
    measured("highways", 2, "joint", 1)


def measured(scenario: str, agents: int, how: str, episodes: int) -> list[Row]:
    """One cell."""
    began = time.process_time()
    log = agentsc.run(
        scenario={"name": scenario, "agents": agents}, protocol={"name": "intent", **HOW[how]}, link="perfect",
        episodes=episodes, seed=SEED, set=["record.episodes=[]"],
    ).log  # fmt: skip
    spent = (time.process_time() - began) / episodes
    return [
        Row(
            scenario, agents, how, row["episode"], row["success"], round(row["adherence"], 6),
            round(row["duration_s"] / log.dt), round(row["path_length_ratio"], 6),
            round(1e3 * row["smoothness_m"], 6), round(row["bits"] / agents / 1e3, 4), round(spent, 3),
        )
        for row in lane_rows(log)
    ]  # fmt: skip


def summary(rows: list[Row]) -> str:
    """The page."""
    cells: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        cells.setdefault(row[:3], []).append(row)
    count = len(next(iter(cells.values())))
    lines = [
        "# What the prior brings to courses", "",
        "Regenerate with `python experiments/course_prior.py`; what is compared and how is told there.", "",
        f"{count} episodes in every cell, seed {SEED}, perfect link. Steps are ticks until the last agent rests at its "
        "goal (published planners have 64). On weave adherence is the share of the way that is straight.", "",
        "| scenario | agents | course | success | adherence | steps | longest | length / shortest | "
        "turning, mm a tick | kbit per agent | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for (scenario, agents, how), group in cells.items():
        good = sum(row.success for row in group)
        low, high = wilson(good, len(group))
        told = []
        for name in COLUMNS[:-1]:
            values = np.array([getattr(row, name) for row in group], np.float64)
            digits = 1 if name == "steps" else 2
            below, above = percentile_interval(values[resamples(len(values))].mean(1))
            told.append(f"{values.mean():.{digits}f} [{below:.{digits}f}, {above:.{digits}f}]")
        told.insert(2, str(max(row.steps for row in group)))
        lines.append(
            f"| {scenario} | {agents} | {how} | {good}/{len(group)} [{low:.2f}, {high:.2f}] | "
            + " | ".join(told) + f" | {group[0].cpu_s:.2f} |"
        )  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1, help="processes; rows do not depend on it, but for seconds")
    parser.add_argument("--out", type=Path, default=HERE / "results" / NAME, help="folder for the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = list(measure(options.episodes, options.workers))
    with (options.out / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Row._fields)
        table.writerows(rows)
    page = summary(rows)
    (options.out / "summary.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
