"""How fast packets are decided upon, and what links cost beside the world they live in.

First every link and some compositions on the same traffic: lanes of a small fleet in which everybody speaks every
round; figures are packet × receiver decisions (offered or relayed, so those out of range count as decided) per second
of CPU time, transmitting and delivering, the best of several repetitions. Then one lane of 1,000 agents with about ten
neighbours each, all speaking every tick: the links' share of a step of world and links together.

    python experiments/benchmarks/link_speed.py [--json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: CPU time of one thread is the unit here

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentsc.links.medium import Medium, Packets
from envs.arena import Arena
from envs.geometry import Obstacles
from envs.world import World

LANES, AGENTS, ROUND_S = 64, 16, 0.05
RATE_BAR, SHARE_BAR = 5e6, 0.2
FLEET, NEIGHBOURS = 1000, 10
LINKS = (
    "perfect",
    "erasure:p=0.2",
    "gilbert-elliott:p=0.05,r=0.2",
    "markov:matrix=0.94/0.05/0.01:0.2/0.7/0.1:0.05/0.15/0.8,loss=0.01/0.4/0.95",
    "delay:ms=150",
    "delay:ms=20,jitter_ms=100",
    "exponential-delay:mean_ms=40",
    "pareto-delay:ms=20",
    "duplicate:p=0.1",
    "bandwidth:kbps=10",
    "bandwidth:kbps=1,drop=head",
    "trace:path={trace}",
    "range:metres=3",
    "k-nearest:k=4",
    "bit-errors:p=0.001",
    "awgn:snr_db=8",
    "rayleigh:snr_db=8",
    "rician:snr_db=8,decoding=finite-blocklength",
    "ofdm:snr_db=8",
    "awgn:snr_db=8,decoding=table",
    "rayleigh:snr_db=8,decoding=finite-blocklength,adaptive=true",
    "rayleigh:snr_db=8,coherence=motion,carrier_ghz=5.9",
    "rayleigh:tx_dbm=-20,carrier_ghz=2.4,exponent=3,shadowing_db=4",
    "rayleigh:tx_dbm=-20,carrier_ghz=2.4,exponent=3,coherence=motion",
    "wifi",
    "lora",
    "vehicular",
    "6g",
    "underwater",
    "jammer:duty=0.5",
    "authentication",
    "graph:kind=ring",
    "graph:kind=complete",
    "partition:by=random",
    "partition:schedule=0-1000,by=position",
    "gateways:count=4,uplink_loss=0.1,backbone_loss=0.1,downlink_loss=0.1",
    "graph:kind=ring+relay:hops=3",
    "range:metres=3+relay:hops=3",
    "relay:hops=2",
    "half-duplex:kbps=100,jitter_ms=20",
    "pure-aloha:kbps=100",
    "pure-aloha:kbps=100,metres=3",
    "slotted-aloha:kbps=100,slot_ms=1",
    "csma:kbps=200",
    "csma:kbps=200,sense_m=3,metres=3",
    "tdma:kbps=100",
    "gilbert-elliott:p=0.05,r=0.2+delay:ms=20,jitter_ms=100",
    "range:metres=5+bandwidth:kbps=10+gilbert-elliott:p=0.05,r=0.2+duplicate:p=0.1+delay:ms=20,jitter_ms=100",
)
CROWDED = (
    "range:metres={metres}",
    "range:metres={metres}+gilbert-elliott:p=0.05,r=0.2",
    "k-nearest:k=10",
    "range:metres={metres}+rayleigh:snr_db=8",
    "range:metres={metres}+slotted-aloha:kbps=100,slot_ms=1,metres={metres}",
    "range:metres={metres}+csma:kbps=100,metres={metres},sense_m={metres}",
)


def traffic(lanes: int, agents: int) -> Packets:
    """A 72-bit packet of everybody."""
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((lanes, agents)))
    data = np.zeros((len(lane), 9), np.uint8)
    return Packets(lane, sender, data, np.full(len(lane), 72, np.int32))


def best(step: Callable[[int], object], steps: int, repeats: int = 5) -> float:
    """CPU seconds of one step, best of several repetitions; a step is told its number."""
    least = np.inf
    for repeat in range(repeats + 1):
        begin = time.process_time()
        for number in range(repeat * steps, (repeat + 1) * steps):
            step(number)
        if repeat:  # the first one warms up, and fills queues and the air
            least = min(least, time.process_time() - begin)
    return least / steps


def radio(
    link: str, lanes: int, agents: int, round_s: float, where: Callable[[], NDArray]
) -> tuple[Medium, Callable[[int], object]]:
    """A medium, and a round of it."""
    medium, packets = Medium(link, 1, range(lanes), agents, round_s), traffic(lanes, agents)

    def one(clock: int) -> None:
        medium.deliver(clock)
        medium.transmit(packets, clock, where())

    return medium, one


def rate(link: str) -> float:
    """Decisions per CPU second."""
    spots = np.random.default_rng(0).uniform(0, 10, (LANES, AGENTS, 2)).astype(np.float32)
    medium, one = radio(link, LANES, AGENTS, ROUND_S, lambda: spots)
    steps, repeats = 20, 5
    seconds = best(one, steps, repeats)
    if (medium.books.whole != medium.delivered + medium.lost + medium.in_flight).any() or not medium.delivered.all():
        raise RuntimeError(f"the books of {link} do not balance: the figure would be meaningless")
    decided = medium.books.offered + medium.books.relayed
    return float(decided.sum()) / (steps * (repeats + 1)) / seconds


def crowd(side: float) -> World:
    """1,000 agents at random places of a bare square, moving at random."""
    starts = np.random.default_rng(1).uniform(0, side, (1, FLEET, 2)).astype(np.float32)
    return World(
        name="crowd", obstacles=Obstacles(bounds=(-side, -side, 2 * side, 2 * side)), radius=0.1, v_max=1.0,
        a_max=np.inf, dt=0.1, dynamics="single", goal_tolerance=0.1, separation=0.2, max_ticks=10_000, cell=1.0,
        starts=starts, goals=starts, episodes=np.zeros(1, np.int64),
    )  # fmt: skip


def share(link: str, side: float) -> dict[str, float]:
    """Seconds of a step of the world and of its links, the links' share, and who is heard by how many."""
    arena = Arena(crowd(side))
    tape = np.random.default_rng(2).uniform(-1, 1, (16, 1, FLEET, 2)).astype(np.float32)
    medium, one = radio(link, 1, FLEET, 0.1, lambda: arena.position)
    world_s = best(lambda tick: arena.step(tape[tick % 16] * (-1) ** (tick // 16)), 8)
    link_s = best(one, 8)
    apart = ("range", "topology", "queue")  # everybody else was reached, whatever then became of the packet
    reached = medium.delivered.sum() + sum(n.sum() for why, n in medium.books.by_reason.items() if why not in apart)
    heard = float(reached / medium.packets.sum())
    return {"world_s": world_s, "link_s": link_s, "share": link_s / (link_s + world_s), "neighbours": heard}


def main() -> int:
    """Measure, print, and tell by the exit status whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.csv"
        lines = [f"{0.1 * k:.1f},{k % 5 / 10},{10 + k % 40}" for k in range(600)]
        trace.write_text("\n".join(["time_s,loss,delay_ms", *lines]))
        rates = {link: rate(link.format(trace=trace)) for link in LINKS}
    side = 100.0
    metres = round(side * math.sqrt(NEIGHBOURS / (FLEET * math.pi)), 3)
    shares = {text: share(text, side) for text in (link.format(metres=metres) for link in CROWDED)}
    met = {link: found >= RATE_BAR for link, found in rates.items()}
    met |= {f"share {link}": found["share"] <= SHARE_BAR for link, found in shares.items()}
    if options.json:
        print(json.dumps({"decisions_per_s": rates, "beside_the_world": shares, "met": met}))
        return 0 if all(met.values()) else 1
    print(
        f"packet × receiver decisions per CPU second, {LANES} lanes of {AGENTS} agents, bar {RATE_BAR:,.0f}"
    )
    for link, found in rates.items():
        print(f"{found:>14,.0f} {'met   ' if met[link] else 'MISSED'} {link}")
    print(
        f"one lane of {FLEET} agents in a bare world, everybody speaks every tick, bar {SHARE_BAR:.0%} of a step"
    )
    for link, row in shares.items():
        print(
            f"{row['share']:>7.1%} {'met   ' if met['share ' + link] else 'MISSED'} {link}: world "
            f"{1e3 * row['world_s']:.2f} ms, links {1e3 * row['link_s']:.2f} ms, heard by {row['neighbours']:.1f}"
        )
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
