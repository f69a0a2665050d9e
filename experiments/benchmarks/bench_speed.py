"""How much of two processors a suite gets: wall time against half the sum of its cells' CPU times.

    python experiments/benchmarks/bench_speed.py [--suite loss-delay] [--seeds 4] [--workers 2] [--json]

Also prints what Ray adds to a cell once it has started, from many empty cells. The reference, the
cells' own CPU time, is measured in the same run. Exit status 1 when the wall time exceeds
1.15 × CPU / workers, or the overhead 50 ms a cell.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import agentsc


def overhead_ms(workers: int, cells: int = 400) -> float:
    """Milliseconds that an empty cell costs on Ray, start-up left out."""
    from agentsc.actors.pool import run_on_ray

    ends = []
    for _ in run_on_ray(lambda task: [{"episode": task, "value": 0.5}] * 20, range(cells), workers=workers):
        ends.append(time.perf_counter())
    first = len(ends) // 4  # until then workers are still being started
    return 1e3 * workers * (ends[-1] - ends[first]) / (len(ends) - 1 - first)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="loss-delay")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    empty = overhead_ms(options.workers)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bench"
        data = agentsc.bench(options.suite, out=out, seeds=options.seeds, workers=options.workers).data
    ideal = data["cpu_s"] / options.workers
    result = {
        "cells": data["cells"],
        "wall_s": data["wall_s"],
        "cpu_s_over_workers": ideal,
        "ratio": data["wall_s"] / ideal,
        "overhead_ms_per_cell": empty,
    }
    print(json.dumps(result) if options.json else "  ".join(f"{k} {v:.2f}" for k, v in result.items()))
    return int(result["ratio"] > 1.15 or empty > 50.0)


if __name__ == "__main__":
    sys.exit(main())
