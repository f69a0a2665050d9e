"""Going on without the silent: agents that fail, join late or are restarted, with and without rallies.

    python experiments/going_on.py [--seeds 20] [--out experiments/results/going-on]

`surprise` with two failures, two late joins or two restarts and nothing else, protocol `intent`; paired episodes, as
in the suite `worlds`. Agents that failed do not count. Rows are one per episode; intervals are 95 %, Wilson's for
shares. Without rallies (``silence_s`` null) a process that is restarted cannot come back, and such runs are refused.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import agentsc
from agentsc.experiment.statistics import wilson

HERE = Path(__file__).parent
SEED = 2026
NAME = "going-on"
TICKS = 400
NOTHING: dict[str, Any] = {"obstacles": 0, "doors": 0, "failures": 0, "joins": 0, "role_changes": 0}
SURPRISES: dict[str, dict[str, Any]] = {
    "2 failures": {"failures": 2},
    "2 joins": {"joins": 2},
    "2 restarts": {"restarts": 2},
    "nothing": {},
}
AGENTS, LINK = 6, "perfect"
SILENCES = (4.0, None)


class Row(NamedTuple):
    """One episode."""

    agents: int
    link: str
    surprise: str
    silence_s: str
    episode: int
    success: int
    counted: int
    at_goal: int
    collision_free: int
    makespan_s: float
    bits_per_agent_s: float


def cells() -> Iterator[tuple[int, str, str, float | None]]:
    """What is run."""
    for silence in SILENCES:
        for surprise in SURPRISES:
            if surprise != "2 restarts" or silence is not None:
                yield AGENTS, LINK, surprise, silence


def rows(agents: int, link: str, surprise: str, silence: float | None, seeds: int) -> Iterator[Row]:
    """All episodes of one cell."""
    with tempfile.TemporaryDirectory() as folder:
        result = agentsc.run(
            scenario={"name": "surprise", "agents": agents, **NOTHING, **SURPRISES[surprise]},
            protocol={"name": "intent", "silence_s": silence},
            link=link, episodes=seeds, seed=SEED, ticks=TICKS, set=["record.episodes=[]"], out=Path(folder) / "run",
        )  # fmt: skip
    bits = result.metrics["bits_per_agent_s"]["mean"]
    counted, home = result.log.counted, result.log.at_goal & result.log.counted
    for n, lane in enumerate(result.data["lanes"]):
        yield Row(
            agents, link, surprise, "null" if silence is None else f"{silence:g}", lane["episode"],
            int(lane["success"]), int(counted[n].sum()), int(home[n].sum()), int(lane["collision_free"]),
            lane["duration_s"] if lane["success"] else float("nan"), bits,
        )  # fmt: skip


def share(hits: int, count: int) -> str:
    """A share with its interval."""
    low, high = wilson(hits, count)
    return f"{hits / count:.3g} [{low:.3g}, {high:.3g}]"


def summary(found: list[Row]) -> str:
    """The page."""
    lines = [
        "# Going on without the silent",
        "",
        f"`python experiments/going_on.py`: `surprise`, {AGENTS} agents, link `{LINK}`, protocol `intent`,",
        f"seed {SEED}, {TICKS} ticks; {len({row.episode for row in found})} episodes per row, 95 % intervals.",
        "Agents that failed do not count. Makespan: of the episodes in which all others arrived.",
        "",
        "| surprise | silence_s | success | agents at goal | collision-free | makespan, s | bit/s per agent |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[int, str, str, str], list[Row]] = {}
    for row in found:
        groups.setdefault(row[:4], []).append(row)
    for (_, _, surprise, silence), group in groups.items():
        good = [row for row in group if row.success]
        made = f"{np.mean([row.makespan_s for row in good]):.3g}" if good else "–"
        shares = [
            share(sum(row.success for row in group), len(group)),
            f"{sum(row.at_goal for row in group) / sum(row.counted for row in group):.3g}",
            f"{sum(row.collision_free for row in group) / len(group):.3g}",
        ]
        lines.append(
            f"| {surprise} | {silence} | " + " | ".join(shares) + f" | {made} | {group[0].bits_per_agent_s:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all cells, write rows and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="episodes per cell")
    parser.add_argument("--out", type=Path, default=HERE / "results" / NAME, help="folder for rows and page")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found: list[Row] = []
    for cell in cells():
        found += rows(*cell, options.seeds)
        print(f"{cell}: {sum(row.success for row in found[-options.seeds:])} of {options.seeds}", flush=True)
        with (options.out / "rows.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Row._fields)
            writer.writerows(found)
        (options.out / "summary.md").write_text(summary(found))


if __name__ == "__main__":
    main()
