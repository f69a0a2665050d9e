"""Write the tables of the README from the committed rows: no number there is typed in by hand.

    python experiments/readme_numbers.py            rewrite README.md
    python experiments/readme_numbers.py --check    exit 1 if it does not say what the rows say

A table stands between ``<!-- results:NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import polars as pl

from agentsc.experiment.metrics import metrics
from agentsc.experiment.views import brief

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
STEP_S = 5 / 64


def rows_of(suite: str, **wanted: Any) -> list[dict[str, Any]]:
    """Rows of a suite whose columns have these values."""
    frame = pl.read_parquet(RESULTS / suite / "rows.parquet")
    for column, value in wanted.items():
        frame = frame.filter(pl.col(column) == value)
    return frame.to_dicts()


def mean(rows: list[dict[str, Any]], name: str, factor: float = 1.0) -> str:
    """A metric's mean, or a dash."""
    found = metrics(rows)[name]["mean"] if rows else None
    return "–" if found is None else brief(found * factor)


def weave_loss() -> str:
    """Weave with ten agents against packet loss, without delay."""
    losses = (0.0, 0.2, 0.5, 0.8)
    lines = ["| protocol | success | collision-free | makespan, steps | bit/s per agent |", "|---|---|---|---|---|"]
    for protocol in ("intent", "full-trajectory", "mader", "rmader", "prioritised", "orca"):
        cells = [rows_of("loss-delay", scenario="weave", protocol=protocol, loss=loss, delay_ms=0) for loss in losses]
        columns = [
            " / ".join(mean(cell, name, factor) for cell in cells)
            for name, factor in (
                ("success_rate", 1.0), ("collision_free_rate", 1.0), ("makespan_s", 1 / STEP_S),
                ("bits_per_agent_s", 1.0),
            )
        ]  # fmt: skip
        lines.append(f"| `{protocol}` | " + " | ".join(columns) + " |")
    return "\n".join(lines)


def weave_delay() -> str:
    """The same fleet against delay, without loss."""
    delays = (0, 156, 312)
    lines = ["| protocol | success | collision-free | makespan, steps |", "|---|---|---|---|"]
    for protocol in ("intent", "full-trajectory", "mader", "rmader", "prioritised", "orca"):
        cells = [rows_of("loss-delay", scenario="weave", protocol=protocol, loss=0, delay_ms=delay) for delay in delays]
        columns = [
            " / ".join(mean(cell, name, factor) for cell in cells)
            for name, factor in (("success_rate", 1.0), ("collision_free_rate", 1.0), ("makespan_s", 1 / STEP_S))
        ]
        lines.append(f"| `{protocol}` | " + " | ".join(columns) + " |")
    return "\n".join(lines)


TABLES = {"weave-loss": weave_loss, "weave-delay": weave_delay}


def rewritten(readme: str) -> str:
    """The README with every table made anew."""

    def fill(match: re.Match[str]) -> str:
        return f"<!-- results:{match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- results:([a-z-]+) -->.*?<!-- end -->", fill, readme, flags=re.DOTALL)


def main() -> int:
    """Rewrite, or check."""
    path = ROOT / "README.md"
    readme = path.read_text(encoding="utf-8")
    new = rewritten(readme)
    if "--check" in sys.argv:
        return int(new != readme)
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
