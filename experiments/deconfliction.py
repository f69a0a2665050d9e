"""Weave with ten agents over lossy and late links: intent, its oracle, and whole-trajectory baselines.

    python experiments/deconfliction.py [--seeds 20]

Prints the table of ``docs/baselines.md``. The second `rmader` is given a delay check that covers 312 ms.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import agentsc

PROTOCOLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("negotiated", {}),
    ("perfect-link", {}),
    ("full-trajectory", {}),
    ("mader", {}),
    ("rmader", {}),
    ("rmader", {"delay_check_s": 0.3125}),
)
LINKS = ("perfect", "erasure:p=0.2", "erasure:p=0.5", "delay:ms=156", "delay:ms=312")
SEED = 11
COLUMNS = {"success_rate": 2, "collision_free_rate": 2, "makespan_s": 2, "bits_per_agent_s": 0, "rounds_per_commit": 1}
"""Metric → digits."""


def main() -> None:
    """Run all cells and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="episodes per cell")
    options = parser.parse_args()
    print("| protocol | link | success | collision-free | makespan, s | bit/s per agent | rounds per commit |")
    print("|---|---|---|---|---|---|---|")
    for protocol, parameters in PROTOCOLS:
        title = " ".join([f"`{protocol}`", *(f"{name} = {value}" for name, value in parameters.items())])
        for link in LINKS:
            with tempfile.TemporaryDirectory() as folder:
                found = agentsc.run(
                    scenario="weave", agents=10, protocol=protocol, link=link, episodes=options.seeds, seed=SEED,
                    set=["record.episodes=[]", *(f"protocol.{name}={value}" for name, value in parameters.items())],
                    out=Path(folder) / "run",
                ).metrics  # fmt: skip
            cells = [entry(found[name]["mean"], digits) for name, digits in COLUMNS.items()]
            print(f"| {title} | `{link}` | " + " | ".join(cells) + " |", flush=True)


def entry(mean: float | None, digits: int) -> str:
    """A mean, or a dash for what was not measured."""
    return "–" if mean is None else f"{mean:,.{digits}f}"


if __name__ == "__main__":
    main()
