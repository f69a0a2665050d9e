"""How fast the world steps, alone and with the radio, and how that compares with MPE2.

A fleet of 16 walks the shipped warehouse map along shortest paths that were worked out beforehand,
so that only the world and the links are timed. Every agent broadcasts its intent token once per
simulated second. Figures are agent-steps per second of CPU time of this process, the best of
several repetitions.

    python experiments/benchmarks/world_speed.py [--link SPEC] [--json]

MPE2's ``simple_spread`` (``pip install agentsc[peers]``) is stepped with random actions; without
it, its row is left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: CPU time of one thread is the unit here

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsc.links.medium import Medium, Packets
from envs.arena import Arena
from envs.errors import ConfigError
from envs.navigation import NavigationGrid
from envs.scenarios import SCENARIOS
from envs.world import World

AGENTS = 16
TOKEN_BITS = 72  # a 64-bit intent token and its CRC-8
BARS = {1: 50e3, 1024: 1e6}  # agent-steps per CPU second that world and links must reach together
PACE = 6  # ticks per cell: a diagonal move then stays below the speed limit


def walk(world: World, moves: int) -> NDArray[np.float32]:
    """Velocity commands [tick, lane, agent, 2] along shortest paths to the goals, and back again."""
    grid = NavigationGrid(world.obstacles, world.radius, world.cell)
    starts, goals = world.starts.reshape(-1, 2), world.goals.reshape(-1, 2)
    unique, which = np.unique(goals, axis=0, return_inverse=True)
    way = grid.walk(starts, grid.successors(unique)[which.ravel()], moves)
    there = np.repeat(np.diff(way, axis=1) / (PACE * world.dt), PACE, axis=1)
    there = there.reshape(world.lanes, world.agents, -1, 2).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(np.concatenate([there, -there[::-1]]))


class Radio:
    """Every agent broadcasts one token per simulated second, staggered over the ticks."""

    def __init__(self, world: World, link: str) -> None:
        self.medium = Medium(link, 0, world.episodes, world.agents, world.dt)
        period = max(1, round(1 / world.dt))
        self.turns = []
        for turn in range(period):
            lane, sender = np.nonzero(
                np.broadcast_to((np.arange(world.agents) + turn) % period == 0, (world.lanes, world.agents))
            )
            data = np.random.default_rng(turn).integers(0, 256, (len(lane), TOKEN_BITS // 8), dtype=np.uint8)
            bits = np.full(len(lane), TOKEN_BITS, np.int32)
            self.turns.append(Packets(lane.astype(np.int32), sender.astype(np.int32), data, bits))

    def round(self, clock: int) -> int:
        """One message round; returns the number of deliveries."""
        heard = self.medium.deliver(clock)
        self.medium.transmit(self.turns[clock % len(self.turns)], clock)
        return len(heard.lane)


def rate(step: Callable[[int], Any], steps: int, agents: int, repeats: int = 5) -> float:
    """Agent-steps per CPU second, best of several repetitions; a step is told its number."""
    best = np.inf
    for repeat in range(repeats + 1):
        begin = time.process_time()
        for tick in range(repeat * steps, (repeat + 1) * steps):
            step(tick)
        if repeat:  # the first one warms up
            best = min(best, time.process_time() - begin)
    return steps * agents / best


def measure(lanes: int, link: str) -> dict[str, float]:
    """Rates of the world alone and with the links, and the links' share of a step."""
    world = SCENARIOS.create("warehouse", agents=AGENTS).build(0, range(lanes))
    tape = walk(world, moves=10)
    arena = Arena(world)
    steps = max(len(tape), len(tape) * (16 // lanes))

    def world_step(tick: int) -> None:
        arena.step(tape[tick % len(tape)])

    alone = rate(world_step, steps, lanes * AGENTS)
    radio = Radio(world, link)
    heard = 0

    def both(tick: int) -> None:
        nonlocal heard
        arena.step(tape[tick % len(tape)])
        heard += radio.round(tick)

    together = rate(both, steps, lanes * AGENTS)
    if not heard:
        raise RuntimeError("the radio delivered nothing: the figure would be meaningless")
    return {"world": alone, "world+links": together, "link_share": 1 - together / alone}


def mpe2(agents: int) -> float:
    """The same rate for MPE2's simple_spread under random actions."""
    from mpe2 import simple_spread_v3

    env = simple_spread_v3.parallel_env(N=agents, max_cycles=1 << 30)
    env.reset(seed=0)
    draws = np.random.default_rng(0).integers(0, 5, (256, agents))
    tape = [dict(zip(env.agents, row.tolist(), strict=True)) for row in draws]
    return rate(lambda tick: env.step(tape[tick % len(tape)]), max(20, 600 // agents), agents)


def main() -> int:
    """Measure, print, and tell by the exit status whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--link", default="gilbert-elliott:p=0.05,r=0.2", help="link specification")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()

    try:
        ours = {lanes: measure(lanes, options.link) for lanes in BARS}
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    peers: dict[int, float] = {}
    try:
        peers = {agents: mpe2(agents) for agents in (3, AGENTS)}
    except ImportError:
        print("MPE2 is not installed: pip install agentsc[peers]", file=sys.stderr)
    met = {lanes: ours[lanes]["world+links"] >= bar for lanes, bar in BARS.items()}
    if options.json:
        print(
            json.dumps(
                {"link": options.link, "ours": ours, "mpe2_simple_spread": peers, "bars": BARS, "met": met}
            )
        )
        return 0 if all(met.values()) else 1

    print(f"agent-steps per CPU second, {AGENTS} agents per lane, link {options.link}")
    for lanes, row in ours.items():
        print(
            f"{lanes:>5} lane{'s' * (lanes > 1):<1}  world {row['world']:>12,.0f}  with links "
            f"{row['world+links']:>12,.0f} (links {row['link_share']:.0%} of a step)  "
            f"bar {BARS[lanes]:>10,.0f} {'met' if met[lanes] else 'MISSED'}"
        )
    for agents, speed in peers.items():
        ratios = ", ".join(f"{row['world+links'] / speed:.1f}x at {lanes}" for lanes, row in ours.items())
        print(f"MPE2 simple_spread, {agents:>2} agents  {speed:>10,.0f}  ours with links: {ratios}")
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
