"""One protocol round of 64 agents in-process: wall time against the network time of the same batch.

    python experiments/benchmarks/round_speed.py [--agents 64] [--rounds 20] [--json]

Every agent decides in every measured round (``replan_ticks`` = 1), which is the worst case. The
reference is measured in the same run: the very same batches through the network alone.
Exit status 1 when the ratio exceeds 1.5.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    from agentsc.actors.fleet import LocalFleet
    from agentsc.experiment.runner import nearest
    from agentsc.links.medium import Medium
    from agentsc.protocol import PROTOCOLS, Setup
    from envs.arena import Arena
    from envs.scenarios import SCENARIOS

    world = SCENARIOS.create("warehouse", agents=options.agents).build(1, [0])
    setup = Setup.of(world, prior="edge-prior", rounds=2, seed=1)
    fleet = LocalFleet(PROTOCOLS.create("negotiated", replan_ticks=1), setup, None, "cpu")
    medium = Medium("gilbert-elliott:p=0.05,r=0.2", 1, world.episodes, world.agents, world.dt / 2)
    arena = Arena(world)
    walls, networks, sizes = [], [], []
    for tick in range(options.rounds + 5):
        for number in range(2):
            clock = 2 * tick + number
            inbox = medium.deliver(clock)
            if number == 0:
                fleet.block.pending.valid[:] = False  # type: ignore[attr-defined]  # everyone decides anew
            before = fleet.network()[0]
            began = time.perf_counter()
            packets = fleet.round(inbox, clock, deciding=number == 0)
            wall = time.perf_counter() - began
            medium.transmit(packets, clock)
            if number == 0 and tick >= 5:
                walls.append(wall)
                networks.append(fleet.network()[0] - before)
                sizes.append(len(fleet.block.due))  # type: ignore[attr-defined]
        near = nearest(arena.position)
        arena.step(fleet.act(arena.position, arena.velocity, near, tick))
    ratio = float(np.median(np.array(walls) / np.array(networks)))
    result = {
        "agents": options.agents,
        "deciding": float(np.mean(sizes)),
        "round_ms": 1e3 * float(np.median(walls)),
        "network_ms": 1e3 * float(np.median(networks)),
        "ratio": ratio,
    }
    print(json.dumps(result) if options.json else "  ".join(f"{k} {v:.2f}" for k, v in result.items()))
    return int(ratio > 1.5)


if __name__ == "__main__":
    sys.exit(main())
