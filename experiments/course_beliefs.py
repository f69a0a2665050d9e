"""Are beliefs on a course calibrated? How late peers are against the order's timetable, counted and measured.

    python experiments/course_beliefs.py --fit       # agentsc/protocol/joint/lags.safetensors; 5 minutes on one core
    python experiments/course_beliefs.py --measure   # 6 minutes on one core

Counted with seed 7; measured with seeds 71 and 72, on the same scenarios and links, and on others (`held out`).

A belief is K = 8 samples of a peer's path over the horizon, formed from the course agreed on and what a receiver has
heard of everybody's progress (`agentsc.protocol.joint.lags`). Counted are beliefs whose whole horizon the run lasted.
*covered*: how often the truth lies in the 90 % region, at a quarter, half and the whole of the horizon. *minADE*: mean
distance of the nearest sample, *timetable*: mean distance from the timetable itself, in reaches (v_max x horizon).
*spread*: mean distance between two samples half a horizon from now. *exact*: beliefs all of whose samples agree then.
Intervals: 95 % bootstrap over episodes.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flights import Flight, fly
from numpy.typing import NDArray

from agentsc.experiment.regions import inside_region
from agentsc.experiment.statistics import ratio_interval
from agentsc.protocol import Setup
from agentsc.protocol.joint.lags import CONTEXTS, KNOTS, MOST, SHIPPED, Lags, lateness
from agentsc.protocol.variants.intent import Intent, IntentBlock
from envs import keyed

OUT = Path(__file__).parent / "results" / "course-beliefs"
FIT_SEED, SEEDS = 7, (71, 72)
KEPT = 128
"""Examples kept per context."""
FEW = 40
"""Contexts seen less often take the examples of those that differ in one thing."""


class Case(NamedTuple):
    """A scenario with its fleet, link and parameters."""

    scenario: str
    agents: int
    episodes: int
    link: str
    options: dict[str, Any]


CALM = {"obstacles": 0, "doors": 0, "failures": 0, "joins": 0}
FITTED = [
    Case("weave", 12, 6, "perfect", {}),
    Case("weave", 16, 6, "erasure:p=0.5", {}),
    Case("random", 16, 6, "erasure:p=0.2", {}),
    Case("circle", 16, 4, "delay:ms=150", {}),
    Case("warehouse", 16, 4, "erasure:p=0.5", {}),
    Case("surprise", 10, 6, "erasure:p=0.2", {**CALM, "role_changes": 3}),
    Case("lifelong-warehouse", 8, 3, "erasure:p=0.2", {"max_ticks": 300}),
]
HELD_OUT = [
    Case("conveyor", 12, 6, "erasure:p=0.2", {}),
    Case("highways", 12, 6, "gilbert-elliott:p=0.05,r=0.3", {}),
    Case("corridor", 6, 6, "erasure:p=0.5", {}),
    Case("weave", 24, 4, "erasure:p=0.2", {}),
]


class NotingBlock(IntentBlock):
    """Notes what beliefs are made from."""

    def __init__(self, variant: Intent, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        self.journal: list[tuple[Any, ...]] = []

    def _form(self, row: NDArray, peer: NDArray, way: NDArray, which: NDArray, keys: NDArray) -> None:
        self.journal.append((self.lane[row], peer, self.now, way, which, keys))
        super()._form(row, peer, way, which, keys)


class Noting(Intent):
    """The protocol, with blocks that note."""

    def block(self, setup: Setup, ids: Sequence[int]) -> NotingBlock:
        return NotingBlock(self, setup, ids)


def flown(case: Case, seed: int) -> Flight:
    """One run."""
    return fly(Noting(), case.scenario, case.agents, case.link, seed, case.episodes, **case.options)


def beliefs_of(flight: Flight) -> Iterator[tuple[NDArray, ...]]:
    """Of each batch of beliefs: lane, way, context, keys and the truth."""
    block = flight.block
    assert isinstance(block, NotingBlock)
    for lane, peer, tick, way, which, keys in block.journal:
        long = np.flatnonzero(tick + block.horizon <= flight.last_tick[lane])
        if len(long):
            truth = flight.truth(lane[long], peer[long], tick, block.horizon)
            yield lane[long], way[long], which[long], keys[long], truth


# -- counting ----------------------------------------------------------------------------------------


def fit(out: Path) -> None:
    """Examples of every context, from the counted runs; rare contexts borrow."""
    found: list[list[NDArray]] = [[] for _ in range(CONTEXTS)]
    for case in FITTED:
        flight = flown(case, FIT_SEED)
        reach = flight.block.setup.vehicle.reach
        seen = 0
        for _, way, which, _, truth in beliefs_of(flight):
            late, off = lateness(way, truth, reach)
            seen += len(way)
            for each in np.unique(which).tolist():
                mine = which == each
                found[each].append(np.concatenate([late[mine], off[mine]], axis=1))
        print(f"{case.scenario}, {case.link}: {seen} beliefs", flush=True)
    pools = [np.concatenate(part) if part else np.zeros((0, 2 * KNOTS)) for part in found]
    late, off = np.zeros((CONTEXTS, KEPT, KNOTS), np.int16), np.zeros((CONTEXTS, KEPT, KNOTS), np.float32)
    for each in range(CONTEXTS):
        pool = pools[each]
        # Bits 1 and 2 of a context are gated and renewed; the rest is how far promises reach.
        near = [each ^ 2, each ^ 1, each - 4, each + 4]
        while len(pool) < FEW and near:
            other = near.pop(0)
            if 0 <= other < CONTEXTS:
                pool = np.concatenate([pool, pools[other]])
        if not len(pool):
            continue  # never met: as the timetable has it
        pool = pool[np.lexsort(pool[:, ::-1].T)]
        # Evenly spaced in the order of lateness, so that shares are as counted, to one in `KEPT`.
        spot = (np.arange(KEPT) + keyed.uniform(FIT_SEED, each, np.arange(KEPT))) / KEPT
        chosen = pool[np.minimum((spot * len(pool)).astype(np.int64), len(pool) - 1)]
        late[each], off[each] = chosen[:, :KNOTS].astype(np.int16), chosen[:, KNOTS:]
    lags = Lags(late, off)
    lags.save(out, "python experiments/course_beliefs.py --fit")
    counts = [len(pool) for pool in pools]
    out.with_suffix(".md").write_text(card(lags, counts), encoding="utf-8")


def card(lags: Lags, counts: list[int]) -> str:
    """The card as Markdown, written beside the examples."""
    sure = lags.certainty(np.arange(CONTEXTS))
    words = {False: "no", True: "yes"}
    lines = [
        f"| {each // 4} | {words[bool(each & 2)]} | {words[bool(each & 1)]} | {counts[each]} | {sure[each]:.2f} |"
        for each in range(CONTEXTS)
    ]
    cases = ", ".join(f"{case.scenario} ({case.link})" for case in FITTED)
    return f"""# lags

How late agents on a course are against its timetable, and how far off: {KEPT} examples in each of {CONTEXTS} contexts.

- Made by `python experiments/course_beliefs.py --fit` (seed {FIT_SEED}; {cases}).
- Contexts: how far the promises reach (0: they ended over half a horizon ago; 4: beyond the horizon), whether the
  peer waits for somebody within the horizon, and whether courses follow each other.

| promises reach | waits | renewed | beliefs counted | on time half a horizon later |
|---|---|---|---|---|
{chr(10).join(lines)}

Held-out calibration: `experiments/results/course-beliefs/summary.md`.
"""


# -- measuring ---------------------------------------------------------------------------------------

COLUMNS = [
    *("group", "scenario", "agents", "link", "seed", "episode", "count", "quarter", "half", "whole"),
    *("ade", "timetable", "spread", "exact"),
]


def measure(out: Path) -> None:
    """One row per case, seed and episode: sums over its beliefs."""
    lags = Lags.load(SHIPPED)
    with (out / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for group, cases in {"as counted": FITTED, "held out": HELD_OUT}.items():
            for case in cases:
                for seed in SEEDS:
                    flight = flown(case, seed)
                    sums = belief_sums(flight, lags)
                    for lane, values in sorted(sums.items()):
                        name = (group, case.scenario, case.agents, case.link, seed, lane)
                        rows.writerow([*name, *(f"{value:.8g}" for value in values)])
                    total = np.sum(list(sums.values()), axis=0)
                    covered = total[2] / total[0]
                    print(f"{case.scenario}, {case.link}: {total[0]:.0f}, {covered:.3f} covered", flush=True)
                    file.flush()


def belief_sums(flight: Flight, lags: Lags) -> dict[int, NDArray]:
    """Lane → sums of the columns from ``count`` on."""
    reach, horizon = flight.block.setup.vehicle.reach, flight.block.setup.spec.horizon_ticks
    sums: dict[int, NDArray] = {}
    for lane, way, which, keys, truth in beliefs_of(flight):
        samples = lags.foretell(way, which, keys, 8, reach)
        error = np.linalg.norm(samples - truth[:, None], axis=-1).mean(-1).min(1) / reach
        ideal = np.linalg.norm(way[:, MOST : MOST + horizon + 1] - truth, axis=-1).mean(-1) / reach
        middle = samples[:, :, horizon // 2]
        apart = np.linalg.norm(middle[:, :, None] - middle[:, None], axis=-1).sum((1, 2)) / (8 * 7) / reach
        regions = [inside_region(samples[:, :, t], truth[:, t]) for t in (horizon // 4, horizon // 2, horizon)]
        columns = np.stack([np.ones(len(lane)), *regions, error, ideal, apart, apart < 1e-6], axis=1)
        for where, row in zip(lane.tolist(), columns, strict=True):
            sums[where] = sums.get(where, 0.0) + row
    return sums


def publish(out: Path) -> None:
    """The page, from its rows."""
    with (out / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        "| group | scenario | agents | link | beliefs | covered, ¼ horizon | covered, ½ | covered, whole | minADE "
        "| timetable | spread | exact |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    cases = list(dict.fromkeys((row["group"], row["scenario"], row["agents"], row["link"]) for row in rows))
    groups = list(dict.fromkeys(case[0] for case in cases))
    for name in [*cases, *((group, "**all**", "", "") for group in groups)]:
        some = [r for r in rows if r["group"] == name[0] and name[1] in ("**all**", r["scenario"])]
        some = [r for r in some if name[1] == "**all**" or (r["agents"], r["link"]) == name[2:]]
        count = np.array([float(row["count"]) for row in some])

        def cell(column: str, some: list[dict[str, str]] = some, count: NDArray = count) -> str:
            top = np.array([float(row[column]) for row in some])
            low, high = ratio_interval(top, count)
            digits = 5 if column in ("ade", "timetable", "spread") else 3
            return f"{top.sum() / count.sum():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

        numbers = [f"{count.sum():.0f}", *(cell(column) for column in COLUMNS[7:])]
        lines.append("| " + " | ".join([*name, *numbers]) + " |")
    about = (__doc__ or "").split("\n\n", 2)
    table = "\n".join(lines)
    page = f"# {about[0]}\n\n```sh\n{about[1].replace('    python', 'python')}\n```\n\n{about[2]}\n{table}\n"
    (out / "summary.md").write_text(page, encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="count examples and write them")
    parser.add_argument("--measure", action="store_true", help="measure beliefs on other seeds")
    parser.add_argument("--examples", type=Path, default=SHIPPED, help="where counting writes")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.fit:
        fit(given.examples)
    if given.measure:
        measure(given.out)
    publish(given.out)


if __name__ == "__main__":
    main()
