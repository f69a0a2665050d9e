"""The learned plan code: train it, measure its rate and distortion, and run fleets with it.

    python experiments/intent_code.py --train      # agentsc/intent/codes/learned.{safetensors,md}; 7 minutes
    python experiments/intent_code.py --rates      # rate against distortion on held-out plans; 5 minutes
    python experiments/intent_code.py --runs       # paired runs; 40 minutes on one core; keeps finished rows

Training: demonstrations on procedural maps (seed 101), and plans as they crossed the air in runs of `random`,
`circle` and `highways` (seed 1001). Held out: demonstrations on other maps (seed 777), and runs of `weave`, `warehouse`
and `conveyor` (seed 5). Nothing was chosen on what is held out; the tolerance (0.01) was chosen on runs of `highways`
and `random`, seed 1001.

*Rates.* Bits count the shape of a plan: start tick and start cost 38 bits in either code. The plain spline is given its
best number of control points and bits per coordinate for each budget (on training maps). The learned code is given a
tolerance, and sends what it takes. Distances are between the plan as the expert drove it and as it is decoded, in
units in which an agent's radius is 0.05 and a plan at full speed covers 1.6; *share* is that of plans whose greatest
distance is below half a radius. Intervals: 95 % bootstrap over maps.

*Runs.* The same episodes under each code. `spline` is the plain code as it is by default (120 bits a shape), `spline
4 bit` the same with 80. Intervals: Wilson for shares, bootstrap over episodes for bits, paired bootstrap for ratios.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from flights import fly

from agentsc.intent.codec import decode
from agentsc.intent.codes import PLAN_CODES
from agentsc.intent.codes.learned import WEIGHTS
from agentsc.intent.fields import INTENT, PLAN, goal_code, goal_point
from agentsc.intent.fitting import Examples, Sizes, fit, unit_spec
from agentsc.intent.learned import Codebook, LearnedSpec
from agentsc.intent.plan import Hint, PlanSpec
from agentsc.protocol import PROTOCOLS
from policies.trajectory.demonstrations import FAMILIES, pose
from policies.trajectory.spline import basis
from policies.trajectory.spline import fit as fit_spline

OUT = Path(__file__).parent / "results" / "intent-code"
POINTS, TICKS = 12, 32
TRAIN_MAPS, TRAIN_SEED, HELD_OUT_SEED = 800, 101, 777
FLIGHTS = [("random", 9), ("random", 15), ("circle", 10), ("circle", 16), ("highways", 9), ("highways", 15)]
FLIGHT_SEED, FLIGHT_EPISODES, FLIGHT_WEIGHT = 1001, 12, 4
FIT_TOLERANCE = 0.006
OPEN = ("empty", "boxes", "discs", "circulation")
"""Families of maps that are like the scenes of MMD; the others are grids."""
UNIT = 1.6
"""A reach in the units of the figures."""
BUDGETS = (22, 48, 72, 96, 120)
TOLERANCES = (0.04, 0.03, 0.02, 0.014, 0.01, 0.008, 0.006, 0.004)
CODES: dict[str, dict[str, Any]] = {
    "spline": {"name": "spline"},
    "spline 4 bit": {"name": "spline", "delta_bits": 4},
    "learned": {"name": "learned"},
}
RUNS = [("weave", 16), ("warehouse", 16), ("conveyor", 12)]
LINKS = {"0": "perfect", "0.2": "erasure:p=0.2", "0.5": "erasure:p=0.5"}
RUN_SEED, EPISODES = 5, 20


# -- examples --------------------------------------------------------------------------------------


def demonstrations(seed: int, index: int) -> tuple[str, Examples]:
    """The family and the expert's plans of one procedural map."""
    family = FAMILIES[index % len(FAMILIES)]
    problem = pose(seed, index, family, POINTS, TICKS)
    reach, start = problem.vehicle.reach, problem.control[:, :1]
    return family, Examples(
        ((problem.control - start) / reach).astype(float),
        ((problem.goal - start[:, 0]) / reach).astype(float),
        problem.yielding,
        np.ones(len(start), bool),
    )


def flown(scenario: str, agents: int, link: str, seed: int, episodes: int) -> Examples:
    """Plans that agents of the protocol `negotiated` proposed, as a listener hears them."""
    parts: list[Examples] = []
    code = PLAN_CODES.create("spline", delta_bits=12)  # as good as not rounded
    fly(
        PROTOCOLS.create("negotiated"), scenario, agents, link, seed, episodes, code,
        lambda packets, setup: parts.append(_heard(packets.data, packets.bits, setup.spec)),
    )  # fmt: skip
    return Examples.join(parts)


def _heard(data: np.ndarray, bits: np.ndarray, spec: PlanSpec) -> Examples:
    message, good = decode(data, bits, spec)
    message = message.rows(good & (message.sections & PLAN > 0))
    control = spec.dequantise(message.plan).astype(float)
    start, reach = control[:, :1], spec.v_max * spec.horizon_s
    goal = goal_point(np.stack([message.goal_x, message.goal_y], -1), spec.bounds)
    told = message.sections & INTENT > 0
    return Examples((control - start) / reach, (goal - start[:, 0]) / reach, message.role > 0, told)


def train(out: Path) -> None:
    """Gather examples, fit, and write weights and card."""
    maps = [demonstrations(TRAIN_SEED, index)[1] for index in range(TRAIN_MAPS)]
    flights = []
    for scenario, agents in FLIGHTS:
        flights.append(flown(scenario, agents, "erasure:p=0.2", FLIGHT_SEED, FLIGHT_EPISODES))
        print(f"{scenario} with {agents}: {len(flights[-1])} plans", flush=True)
    sizes = Sizes()
    card = {
        "command": "python experiments/intent_code.py --train",
        "sizes": vars(sizes),
        "tolerance": FIT_TOLERANCE,
        "demonstrations": sum(map(len, maps)),
        "maps": TRAIN_MAPS,
        "flights": {
            f"{name}, {agents} agents": len(plans) for (name, agents), plans in zip(FLIGHTS, flights, strict=True)
        },
        "seeds": {"demonstrations": TRAIN_SEED, "flights": FLIGHT_SEED, "clustering": sizes.seed},
    }
    book = fit(Examples.join(maps + FLIGHT_WEIGHT * flights), sizes, FIT_TOLERANCE, card, print)
    book.save(out)
    out.with_suffix(".md").write_text(model_card(book, out.stat().st_size), encoding="utf-8")


def model_card(book: Codebook, size: int) -> str:
    """The card as Markdown, written beside the weights."""
    card, sizes = book.card, book.card["sizes"]
    seeds = ", ".join(f"{name} {seed}" for name, seed in card["seeds"].items())
    flights = "; ".join(f"{name}: {count:,}" for name, count in card["flights"].items())
    return f"""# learned

A plan code: shapes, headings and refinements of 12-control-point plans as integer tables, with prefix codes.

- Made by `{card["command"]}` (seeds: {seeds}).
- {sizes["stages"]} codebooks of {sizes["symbols"]} symbols, {sizes["headings"]} headings; {size / 1000:.0f} kB.
- {card["demonstrations"]:,} demonstrations on {card["maps"]:,} procedural maps, and plans heard in runs
  ({flights}), each of the latter counted {FLIGHT_WEIGHT} times.
- Fitted so that plans are met within {card["tolerance"]} of their reach (v_max x horizon).

Decoding is integer arithmetic and table look-ups: the same curve on every machine. Held-out rate and distortion, and
runs with it: `experiments/results/intent-code/summary.md`.
"""


# -- rate and distortion ---------------------------------------------------------------------------


def plain_specs() -> Iterator[tuple[int, PlanSpec]]:
    """Every plain spline of at most 120 bits, with its bits."""
    for points, bits in product(range(4, POINTS + 1), range(2, 13)):
        size = 2 * (points - 2) * bits
        if size <= BUDGETS[-1]:
            yield size, unit_spec(points, bits)


def distortion(spec: PlanSpec, examples: Examples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, mean and greatest distance of each plan [n], in the units of the figures."""
    path = basis(POINTS, TICKS + 1) @ examples.control
    control = examples.control if spec.control_points == POINTS else fit_spline(path, spec.control_points)
    codes = spec.quantise(np.asarray(control, np.float32))
    there = basis(spec.control_points, TICKS + 1) @ spec.dequantise(codes)
    gap = UNIT * np.linalg.norm(there - path, axis=-1)
    return codes, gap.mean(1), gap.max(1)


def rates(out: Path, maps: int) -> None:
    """Rows of both codes on held-out maps and on held-out flights."""
    tuning = Examples.join([demonstrations(TRAIN_SEED, k)[1] for k in range(64) if FAMILIES[k % 8] in OPEN])
    best: dict[int, tuple[float, PlanSpec]] = {}
    for size, spec in plain_specs():
        error = float(distortion(spec, tuning)[1].mean())
        for budget in BUDGETS:
            if size <= budget and error < best.get(budget, (np.inf, spec))[0]:
                best[budget] = error, spec
    book = Codebook.load(WEIGHTS)
    groups: dict[str, list[Examples]] = {"open maps": [], "grid maps": []}
    for index in range(maps):
        family, examples = demonstrations(HELD_OUT_SEED, index)
        groups["open maps" if family in OPEN else "grid maps"].append(examples)
    for scenario, agents in RUNS:
        groups[f"flights, {scenario}"] = [
            flown(scenario, agents, "erasure:p=0.2", HELD_OUT_SEED + k, 2) for k in range(3)
        ]
    with (out / "rates.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(RATE_COLUMNS)
        for group, parts in groups.items():
            for number, examples in enumerate(parts):
                for budget, (_, spec) in best.items():
                    _, mean, worst = distortion(spec, examples)
                    at = f"{budget} bits ({spec.control_points} points, {spec.delta_bits} bit)"
                    bits = len(spec.fixed_widths) * spec.delta_bits
                    writer.writerow(_rate_row("spline", at, group, number, bits, bits, mean, worst, 0.0))
                for tolerance in TOLERANCES:
                    spec = LearnedSpec.like(unit_spec(POINTS), book, tolerance=tolerance)
                    codes, mean, worst = distortion(spec, examples)
                    hint = Hint(goal_code(examples.goal, spec.bounds), examples.role)
                    alone = spec.plan_bits(codes)
                    told = np.where(examples.told, spec.plan_bits(codes, hint), alone)
                    spelled = float((codes[:, 2] == book.books.shape[1]).mean())
                    sizes = float(told.mean()), float(alone.mean())
                    writer.writerow(_rate_row("learned", str(tolerance), group, number, *sizes, mean, worst, spelled))


RATE_COLUMNS = ["code", "at", "group", "part", "plans", "bits", "bits_alone", "ade", "share", "spelled"]


def _rate_row(
    code: str, at: str, group: str, part: int, bits: float, alone: float, mean: np.ndarray, worst: np.ndarray,
    spelled: float,
) -> list[Any]:  # fmt: skip
    ade, share = float(mean.mean()), float((worst < 0.025).mean())
    numbers = [f"{value:.6g}" for value in (bits, alone, ade, share, spelled)]
    return [code, at, group, part, len(mean), *numbers]


# -- runs ------------------------------------------------------------------------------------------

RUN_COLUMNS = [
    *("scenario", "agents", "loss", "code", "seed", "episode", "success", "collision_free", "bits", "packets"),
    *("agent_s", "makespan_s"),
]


def runs(out: Path, episodes: int) -> None:
    """One row per episode; cells of earlier sittings are kept."""
    import agentsc

    path = out / "runs.csv"
    done = {(r["scenario"], r["loss"], r["code"]) for r in read(path)} if path.is_file() else set()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if not done:
            writer.writerow(RUN_COLUMNS)
        for (scenario, agents), (loss, link), (label, code) in product(RUNS, LINKS.items(), CODES.items()):
            if (scenario, loss, label) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                log = agentsc.run(
                    {"plan_code": code, "record": {"episodes": []}}, scenario=scenario, agents=agents, link=link,
                    episodes=episodes, seed=RUN_SEED, out=Path(folder) / "run",
                ).log  # fmt: skip
            success, free = log.success, log.collision_free
            for k in range(episodes):
                seconds = float(log.last_tick[k]) * log.dt
                writer.writerow([
                    scenario, agents, loss, label, RUN_SEED, k, int(success[k]), int(free[k]),
                    int(log.bits[k].sum()), int(log.packets[k].sum()), f"{seconds * agents:.6g}", f"{seconds:.6g}",
                ])  # fmt: skip
            file.flush()
            print(scenario, loss, label, f"success {np.mean(success):.2f}", flush=True)


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="fit the code and write its weights")
    parser.add_argument("--rates", action="store_true", help="measure rate and distortion")
    parser.add_argument("--runs", action="store_true", help="run fleets with each code")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where training writes")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    parser.add_argument("--maps", type=int, default=64, help="held-out maps")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="episodes per cell of the runs")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.train:
        train(given.weights)
    if given.rates:
        rates(given.out, given.maps)
    if given.runs:
        runs(given.out, given.episodes)
    from intent_code_page import publish

    publish(given.out)


if __name__ == "__main__":
    main()
