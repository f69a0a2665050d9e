"""The complete joint search against planning one after the other: found, seconds, steps of the course.

    python experiments/benchmarks/joint_search.py [--episodes 8] [--seed 11] [--map FILE.map:AGENTS ...]

Each lane is settled three times from the same wishes: by planning one after the other alone (100 orders), by the
complete search alone, and by the settler that the protocol ``course`` uses, which combines the two. Seconds are CPU
time of one thread per lane, compilation left out; steps are those of the course, a tick each, averaged with a 95 %
interval (Student's t) over lanes where both ways found one. The last columns are ratios of the complete search to
planning one after the other on those lanes, and of the settler to planning one after the other on all lanes.
Maps are made or drawn here; others can be added.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: CPU time of one thread is the unit here

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from agentsc.protocol.joint.lattice import Lattice
from agentsc.protocol.joint.order import Course
from agentsc.protocol.joint.search import Lead, in_turn, thoroughly
from agentsc.protocol.joint.settle import ROOM, Settler
from envs import maps
from envs.scenarios import SCENARIOS
from envs.world import World

ATTEMPTS, REPAIRS = 100, 40
DRAWN = {
    "dead ends": ["....#", "..#.#", "#.#..", ".###.", "....."],
    "one bay": ["........", "###.####"],
    "two rooms": ["...#...", ".......", "...#..."],
    "ladder": [".....", ".#.#.", "....."],
    "open 8": ["." * 8] * 8,
}
CELLS = (
    *(("dead ends", n) for n in (3, 4)),
    ("one bay", 2),
    *(("two rooms", n) for n in (4, 8)),
    *(("ladder", n) for n in (4, 8)),
    *(("open 8", n) for n in (16, 32)),
    *(("maze", n) for n in (16, 32)),
    *((name, 20) for name in ("highways", "conveyor", "drop-region")),
    ("weave", 28),
    ("circle", 30),
)
"""A map drawn above, a generator of `envs.maps` or a scenario, and agents."""


def world_of(name: str, agents: int, episodes: int, seed: int, folder: Path) -> World:
    """The lanes of one row."""
    if name in DRAWN or hasattr(maps, name):
        drawn = DRAWN.get(name)
        picture = np.array([[c == "#" for c in row] for row in drawn]) if drawn else getattr(maps, name)()
        name = str(folder / "made.map")
        maps.write_map(name, picture)
    options = {"map": name} if name.endswith(".map") else {}
    scenario = SCENARIOS.create("movingai" if options else name, agents=agents, **options)
    return scenario.build(seed, np.arange(episodes))


def measured(ways: list[Callable[[int], Course | None]], lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps [way, lane], NaN where no course was found, and CPU seconds [way, lane]."""
    steps, seconds = np.full((len(ways), lanes), np.nan), np.zeros((len(ways), lanes))
    for lane in range(lanes):
        for k, way in enumerate(ways):
            began = time.process_time()
            course = way(lane)
            seconds[k, lane] = time.process_time() - began
            steps[k, lane] = np.nan if course is None else course.steps
    return steps, seconds


def mean_of(values: np.ndarray) -> str:
    """Mean and half a 95 % interval."""
    if len(values) < 2:
        return "–" if not len(values) else f"{values[0]:.1f}"
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.1f} ± {half:.1f}"


def row(world: World, seed: int) -> str:
    """The figures of one row."""
    distance = world.separation + 0.1 * world.radius
    settler = Settler(world, distance, ATTEMPTS, REPAIRS)
    alone = Settler(world, distance, ATTEMPTS, REPAIRS)
    roomy, tight = alone._lattice(ROOM[0]), alone._lattice(min(ROOM))
    settler._lattices.update(alone._lattices)

    def one_by_one(lane: int) -> Course | None:
        route = in_turn(roomy, world.starts[lane], world.goals[lane], (seed, lane), ATTEMPTS, REPAIRS)
        return None if route is None else Course.of(route, distance)

    def complete(lane: int, lattice: Lattice = tight) -> Course | None:
        starts, goals = world.starts[lane], world.goals[lane]
        routes = thoroughly(lattice, starts, goals, (seed, lane), REPAIRS, distance)
        return alone._shortest(routes, 0, Lead.none(starts))

    def settled(lane: int) -> Course | None:
        return settler.course(world.starts[lane], world.goals[lane], (seed, lane))

    steps, seconds = measured([one_by_one, complete, settled], world.lanes)
    found = (~np.isnan(steps)).sum(1)
    both = ~np.isnan(steps[:2]).any(0)
    ratio = steps[1, both].mean() / steps[0, both].mean() if both.any() else np.nan
    faster = seconds[1, both].sum() / seconds[0, both].sum() if both.any() else np.nan
    return (
        " | ".join(f"{n}/{world.lanes}" for n in found)
        + " | " + " | ".join(f"{s:.2f}" for s in seconds.mean(1))
        + " | " + " | ".join(mean_of(s) for s in (*steps[:2, both], steps[2, ~np.isnan(steps[2])]))
        + f" | {ratio:.2f} | {faster:.2f} | {seconds[2].sum() / seconds[0].sum():.2f} |"
    )  # fmt: skip


def main() -> None:
    """Run all rows and print each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--map", action="append", default=[], help="FILE.map:AGENTS, besides or instead of the rows")
    parser.add_argument("--only-maps", action="store_true", help="leave out the rows that are built in")
    options = parser.parse_args()
    extra = [(name, int(agents)) for name, _, agents in (each.rpartition(":") for each in options.map)]
    cells = [*(() if options.only_maps else CELLS), *extra]

    with tempfile.TemporaryDirectory() as folder:
        warm = world_of("dead ends", 3, 1, options.seed, Path(folder))
        row(warm, options.seed)  # compiles
        print("| map | agents | found: in turn | complete | settler | s: in turn | complete | settler "
              "| steps: in turn | complete | settler | steps ratio | s ratio | settler's s ratio |")  # fmt: skip
        print("|---" * 14 + "|")
        for name, agents in cells:
            world = world_of(name, agents, options.episodes, options.seed, Path(folder))
            print(f"| {Path(name).stem} | {agents} | {row(world, options.seed)}", flush=True)


if __name__ == "__main__":
    main()
