"""The centralised bound on the unit scenes and on grid maps: success, makespan, way and CPU time, as a Markdown table.

    python experiments/benchmarks/central_search.py [--episodes 20] [--seed 11]

A step is a tick: 5/64 s, on grid maps 1/4 s. Every episode is in the denominator of success; makespan
and length count those that succeeded. CPU time is that of the whole run, simulation included, over
its episodes. The trip is the bound that a straight line gives: a lane's longest shortest way at full
speed (around obstacles that way follows a grid, and may be 8 % too long to be a bound).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

CELLS = (
    *(("weave", n) for n in (10, 20, 28)),
    *(("circle", n) for n in (10, 20, 30)),
    *((name, n) for name in ("highways", "conveyor", "drop-region") for n in (6, 12, 20)),
    *(("random", n) for n in (10, 20)),
    *(("warehouse", n) for n in (12, 16)),
    *(("rooms", 16), ("maze", 16), ("random_cells 32", 32), ("random_cells 64", 32), ("random_cells 128", 16)),
)
"""Scenario, or generator of a map in `envs.maps` with its size, and agents."""


def main() -> None:
    """Run all cells and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()

    import agentsc
    from envs import maps

    def arena(name: str, folder: Path) -> dict[str, str]:
        """The scenario's options: a registered one, or a map made for it."""
        generator, _, size = name.partition(" ")
        if not hasattr(maps, generator) or generator == "warehouse":
            return {"scenario": name}
        shape = [int(size)] * 2 if size else []
        maps.write_map(folder / "made.map", getattr(maps, generator)(*shape))
        return {"map": str(folder / "made.map")}

    print("| scenario or map | agents | success | makespan (worst) | trip | length ratio | CPU s per lane |")
    print("|---|---|---|---|---|---|---|")
    for scenario, agents in CELLS:
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            result = agentsc.run(
                **arena(scenario, Path(folder)), agents=agents, protocol="central-search",
                episodes=options.episodes, seed=options.seed, set=["record.episodes=[]"], out=Path(folder) / "run",
            )  # fmt: skip
            cpu_s = (time.process_time() - began) / options.episodes
        log, good = result.log, result.log.success
        speed = 1.0 if log.radius > 0.1 else 0.64  # m/s, on grid maps and in the unit world
        makespan = log.finish_tick[good]
        trip = log.shortest.max(1)[good] / (speed * log.dt)
        ratio = result.metrics["path_length_ratio"]["mean"]
        print(
            f"| {scenario} | {agents} | {good.sum()}/{len(good)} | {np.mean(makespan):.1f} ({makespan.max()}) | "
            f"{np.mean(trip):.1f} | {ratio:.3f} | {cpu_s:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
