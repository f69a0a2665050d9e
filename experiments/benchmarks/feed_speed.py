"""64 agents that plan and a feed of 10 frames a second, on one diffusion core: what each costs the other.

    python experiments/benchmarks/feed_speed.py [--agents 64] [--rounds 12] [--decoder jscc] [--where both] [--json]

Every agent decides in every measured round (``replan_ticks`` = 1), which is the worst case. A tick of the warehouse is
0.25 s, so 2.5 frames fall into it; *every* frame is sent whole through the semantic channel (``refresh_s`` of a
frame), which is the worst case of a feed: 16 tiles coded and decoded by the core, and tokens beside them.

In the same run, tick by tick and in turns: planning alone, the feed alone, and both. Local, both ask one core in one
process, one after the other. On Ray, one core actor serves the hosts' planners and, at the same time, a feed that
runs in a thread of the driver; planning is timed until its round is over, then the feed until its frames are.
The ratio is planning beside the feed over planning alone plus the feed alone; status 1 when it exceeds 1.3.
Wall time, medians over rounds; `busy` is the ratio for planning and feed together (all work, whoever waits for it).
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from typing import Any

import numpy as np

BAR = 1.3


class Planning:
    """A fleet in the warehouse that decides anew in every round."""

    def __init__(self, agents: int, where: str) -> None:
        from agentsc.actors.fleet import LocalFleet
        from agentsc.links.medium import Medium
        from agentsc.protocol import PROTOCOLS, Setup
        from agentsc.semantic.feed.shared import RemoteCore, shared_core
        from envs.arena import Arena
        from envs.scenarios import SCENARIOS

        self.world = SCENARIOS.create("warehouse", agents=agents).build(1, [0])
        setup = Setup.of(self.world, prior="edge-prior", rounds=2, seed=1)
        variant = PROTOCOLS.create("negotiated", replan_ticks=1)
        self.fleet: Any
        self.core: Any
        if where == "local":
            self.fleet = LocalFleet(variant, setup, None, "cpu")
            self.core = self.fleet.core = shared_core(setup)
        else:
            import ray

            from agentsc.actors.ray_core import CoreActor
            from agentsc.actors.ray_fleet import RayFleet

            self.fleet = RayFleet(variant, setup, None, "cpu", 1)
            ray.kill(self.fleet.core)
            actor: Any = CoreActor
            self.fleet.core = actor.remote(shared_core, setup)
            self.core = RemoteCore(self.fleet.core)
        self.medium = Medium("gilbert-elliott:p=0.05,r=0.2", 1, self.world.episodes, agents, self.world.dt / 2)
        self.arena, self.tick = Arena(self.world), 0

    def round(self) -> float:
        """One tick; seconds of its deciding round."""
        from agentsc.experiment.runner import nearest

        took = 0.0
        for number in range(2):
            clock = 2 * self.tick + number
            inbox = self.medium.deliver(clock)
            began = time.perf_counter()
            packets = self.fleet.round(inbox, clock, deciding=number == 0)
            took += (time.perf_counter() - began) if number == 0 else 0.0
            self.medium.transmit(packets, clock)
        near = nearest(self.arena.position)
        self.arena.step(self.fleet.act(self.arena.position, self.arena.velocity, near, self.tick))
        self.tick += 1
        return took


class Feed:
    """A feed of a fleet that moves straight to its goals, every frame of it a key frame."""

    def __init__(self, planning: Planning, decoder: str) -> None:
        from agentsc.semantic.feed.operator import Live, Pictures
        from agentsc.view.recording import Recorder, Scene
        from policies.scene.shipped import scene_core

        world = planning.world
        tape = Recorder(Scene.of(world, 0, 2, {}))
        for tick in range(400):
            share = np.float32(min((tick + 1) / 400, 1.0))
            tape.record(tick=tick, position=world.starts[0] + share * (world.goals[0] - world.starts[0]))
        _, codec = scene_core()
        pictures = Pictures(planning.core, codec, "awgn:snr_db=10", 1 / 12, decoder, 0)
        self.live = Live(tape, pictures, "erasure:p=0.2", 0, 10.0, 128, 0, "extrapolate", 0.1, 1e5)
        self.number, self.due = 0, 0.0

    def tick(self) -> float:
        """The frames of a quarter of a second; seconds that they took."""
        self.due += 2.5
        began = time.perf_counter()
        while self.number < self.due:
            self.live.step(self.number)
            self.number += 1
        return time.perf_counter() - began


def measure(agents: int, rounds: int, decoder: str, where: str) -> dict[str, float]:
    """Planning alone, feed alone, and both, in turns."""
    planning = Planning(agents, where)
    feed = Feed(planning, decoder)
    kept: dict[str, list[float]] = {name: [] for name in ("alone", "fed", "beside", "both")}
    for turn in range(rounds + 3):
        one = planning.round()
        two = feed.tick()
        began = time.perf_counter()
        if where == "local":
            feed.tick()
            planning.round()
            three = time.perf_counter() - began
        else:
            thread = threading.Thread(target=feed.tick)
            thread.start()
            three = planning.round()
            thread.join()
        whole = time.perf_counter() - began
        if turn >= 3:
            for name, value in (("alone", one), ("fed", two), ("beside", three), ("both", whole)):
                kept[name].append(value)
    planning.fleet.close()
    alone_s, fed_s, beside_s, both_s = (float(np.median(each)) for each in kept.values())
    return {
        "planning_ms": 1e3 * alone_s, "feed_ms": 1e3 * fed_s, "planning_beside_feed_ms": 1e3 * beside_s,
        "both_ms": 1e3 * both_s, "slowdown": beside_s / alone_s, "ratio": beside_s / (alone_s + fed_s),
        "busy": both_s / (alone_s + fed_s),
    }  # fmt: skip


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--decoder", default="jscc")
    parser.add_argument("--where", choices=("local", "ray", "both"), default="both")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    places = ("local", "ray") if options.where == "both" else (options.where,)
    found = {place: measure(options.agents, options.rounds, options.decoder, place) for place in places}
    if options.json:
        print(json.dumps(found))
    else:
        for place, figures in found.items():
            print(f"{place:<6}" + "  ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    return int(any(figures["ratio"] > BAR for figures in found.values()))


if __name__ == "__main__":
    sys.exit(main())
