"""Are beliefs about peers calibrated? Coverage of their regions, certainty of senders, sharpness.

    python experiments/belief_calibration.py --fit       # agentsc/protocol/outlook.safetensors; 5 minutes
    python experiments/belief_calibration.py --measure   # both kinds of belief; 15 minutes on one core

Fitted on `random`, `circle` and `highways` (seeds 3001 and 3002); measured with another seed (7001), on these and on
the held-out scenarios `weave`, `warehouse` and `conveyor`, over a link that loses a packet in five.

A belief is K = 8 samples of a peer's path over the horizon (2.5 s in the unit scenes, 8 s in `warehouse`), formed
from what a receiver has heard. Counted are beliefs whose whole horizon the run lasted. *coverage*: how often the truth
lies in the region of a nominal share of the samples, at a quarter, half and the whole of the horizon; the estimator is
exact where truths are drawn as the samples are (`agentsc.experiment.regions`). *ECE*: mean distance of coverage from
nominal over nominal shares .1 … .9, at half the horizon. *minADE*: mean distance of the nearest sample. *energy
score*: E|X − y| − ½ E|X − X'| of paths, a proper score: less is better. Lengths in reaches (v_max x horizon). *kept*:
how often an agent still drives, half a horizon later, within 0.02 reaches of the plan that it told of, against the
certainty in its token. Intervals: 95 % bootstrap over episodes.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flights import Flight, fly
from numpy.typing import NDArray

from agentsc.experiment.regions import inside_region
from agentsc.experiment.statistics import ratio_interval
from agentsc.intent.fields import confidence_code
from agentsc.protocol import Setup
from agentsc.protocol.outlook import CONTEXTS, FEATURES, LEVELS, SHIPPED, STEPS, Known, Outlook, context
from agentsc.protocol.variants.negotiated import Negotiated, NegotiatedBlock

OUT = Path(__file__).parent / "results" / "belief-calibration"
TRAINING = [("random", 12, 8), ("circle", 12, 6), ("highways", 12, 8)]
HELD_OUT = [("weave", 12, 8), ("warehouse", 16, 5), ("conveyor", 12, 8)]
LINK, FIT_SEEDS, SEED = "erasure:p=0.2", (3001, 3002), 7001
NOMINAL = tuple(round(0.1 * k, 1) for k in range(1, 10))
NEAR = 0.02
"""Reaches within which an agent counts as driving its plan."""
NEUTRAL = Outlook(np.zeros(FEATURES), np.full((CONTEXTS, STEPS + 1), 1.0 / (STEPS + 1)), np.array([0.0, 1.0]), 0.1)


# -- looking into blocks -----------------------------------------------------------------------------


class Noting(Negotiated):
    """The protocol, whose blocks note what certainties and beliefs are made from."""

    def block(self, setup: Setup, ids: Sequence[int]) -> NotingBlock:
        return NotingBlock(self, setup, ids)


class NotingBlock(NegotiatedBlock):
    """Notes; the outlook is the module's ``outlook``."""

    outlook = NEUTRAL

    def __init__(self, variant: Negotiated, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        if self._outlook is not None:
            self._outlook = type(self).outlook
        self.stances: list[tuple[NDArray, ...]] = []
        self.heard_of: list[tuple[Any, ...]] = []

    def stance(self, rows: NDArray) -> NDArray[np.float64]:
        features = super().stance(rows)
        ticks = np.broadcast_to(self.now + np.arange(self.horizon + 1), (len(rows), self.horizon + 1))
        path, new = self.executed(rows, ticks), self.pending.valid[rows]
        # Until a pending plan starts, the one before it is driven.
        since = ticks[new] - self.pending.start[rows[new], None]
        later = np.take_along_axis(self.pending.path[rows[new]], np.maximum(since, 0)[..., None], axis=1)
        path[new] = np.where(since[..., None] < 0, path[new], later)
        self.stances.append((self.lane[rows], self.id[rows], np.full(len(rows), self.now), features, path))
        return features

    def foretold(self, outlook: Outlook, known: Known, free: NDArray) -> NDArray:
        row, peer = self._of
        level, keys = self.intents.confidence[row, peer].copy(), self._keys[self._asked].copy()
        self.heard_of.append((self.lane[row], peer, np.full(len(row), 4 * (self.now // 4)), known, free, level, keys))
        return super().foretold(outlook, known, free)


def flown(outlook: Outlook | None, scenario: str, agents: int, episodes: int, seed: int) -> Flight:
    """One run with calibrated beliefs by that outlook, or with the prior's."""
    if outlook is not None:
        NotingBlock.outlook = outlook  # read when the block is made
    kind = "prior" if outlook is None else "calibrated"
    return fly(Noting(beliefs=kind), scenario, agents, LINK, seed, episodes)


def kept(flight: Flight) -> tuple[NDArray, NDArray, NDArray]:
    """Lane [n], features [n, FEATURES], and whether each agent drove its plan for half a horizon, bool [n]."""
    block, parts = flight.block, []
    assert isinstance(block, NotingBlock)
    half, reach = block.horizon // 2, block.setup.vehicle.reach
    for lane, agent, tick, features, path in block.stances:
        long = tick + half <= flight.last_tick[lane]
        if long.any():
            truth = flight.truth(lane[long], agent[long], tick[long], half)
            gap = np.linalg.norm(truth - path[long, : half + 1], axis=-1)
            parts.append((lane[long], features[long], (gap <= NEAR * reach).all(1)))
    lane, features, keeps = (np.concatenate(column) for column in zip(*parts, strict=True))
    return lane, features, keeps


def beliefs_of(flight: Flight) -> Iterator[tuple[Any, ...]]:
    """What each belief was made from, with the truth: known, free samples, level, keys, truth."""
    block = flight.block
    assert isinstance(block, NotingBlock)
    for lane, agent, tick, known, free, level, keys in block.heard_of:
        long = np.flatnonzero(tick + block.horizon <= flight.last_tick[lane])
        if len(long):
            truth = flight.truth(lane[long], agent[long], tick[long], block.horizon)
            part = Known(known.path[long], known.left[long], known.goal[long], known.reach)
            yield part, free[long], level[long], keys[long], truth


# -- fitting -----------------------------------------------------------------------------------------


def fit(out: Path) -> None:
    """Certainties first, with which the fleets then fly again; departures, tempo and drift from that."""
    first = [kept(flown(NEUTRAL, *which, FIT_SEEDS[0])) for which in TRAINING]
    weights = logistic(np.concatenate([f[1] for f in first]), np.concatenate([f[2] for f in first]))
    certain = Outlook(weights, NEUTRAL.departures, NEUTRAL.tempo, NEUTRAL.drift)
    flights = [list(beliefs_of(flown(certain, *which, FIT_SEEDS[1]))) for which in TRAINING]
    departures, tempo = count_departures([part for flight in flights for part in flight])
    # The drift with which the 90 % region covers 90 % at half the horizon, on average over scenarios.
    scores = []
    for drift in np.arange(0.02, 0.5, 0.02):
        outlook = Outlook(weights, departures, tempo, float(drift))
        scores.append((abs(float(np.mean([_covered(outlook, flight) for flight in flights])) - 0.9), outlook))
    best = min(scores, key=lambda score: score[0])[1]
    best.save(out, "python experiments/belief_calibration.py --fit")
    count = sum(len(part[2]) for flight in flights for part in flight)
    out.with_suffix(".md").write_text(model_card(best, sum(len(f[2]) for f in first), count), encoding="utf-8")


def logistic(features: NDArray, outcome: NDArray, ridge: float = 1.0) -> NDArray[np.float64]:
    """Weights of a logistic regression, by Newton's method."""
    weights = np.zeros(features.shape[1])
    for _ in range(30):
        share = 1.0 / (1.0 + np.exp(-features @ weights))
        slope = features.T @ (outcome - share) - ridge * weights
        bend = (features * (share * (1.0 - share))[:, None]).T @ features + ridge * np.eye(len(weights))
        weights = weights + np.linalg.solve(bend, slope)
    return weights


def count_departures(parts: list[tuple[Any, ...]]) -> tuple[NDArray, NDArray]:
    """Shares of departures [CONTEXTS, STEPS + 1], shrunk towards those of a level, and quantiles of tempo."""
    counts, speeds = np.zeros((CONTEXTS, STEPS + 1)), []
    for known, _, level, _, truth in parts:
        horizon = truth.shape[1] - 1
        far = np.linalg.norm(truth - known.path, axis=-1) > NEAR * known.reach
        leaves = np.where(far.any(1), far.argmax(1), horizon + 1)
        part = np.where(leaves <= horizon, np.maximum(leaves - 1, 0) * STEPS // horizon, STEPS)
        np.add.at(counts, (context(level, known.left, known.home), part), 1.0)
        some = np.flatnonzero(leaves <= 3 * horizon // 4)
        since = np.maximum(leaves[some] - 3, 0)
        gone = np.linalg.norm(truth[some, -1] - truth[some, since], axis=-1)
        speeds.append(gone / known.reach * horizon / (horizon - since))
    whole = counts.reshape(LEVELS, -1, STEPS + 1).sum(1, keepdims=True) + 1.0
    shrunk = counts.reshape(LEVELS, -1, STEPS + 1) + 30.0 * whole / whole.sum(-1, keepdims=True)
    shares = (shrunk / shrunk.sum(-1, keepdims=True)).reshape(CONTEXTS, -1)
    return shares, np.quantile(np.concatenate(speeds), np.linspace(0.0, 1.0, 17))


def _covered(outlook: Outlook, flight: list[tuple[Any, ...]]) -> float:
    inside = []
    for known, free, level, keys, truth in flight:
        half = truth.shape[1] // 2
        inside.append(inside_region(outlook.foretell(known, free, level, keys)[:, :, half], truth[:, half]))
    return float(np.concatenate(inside).mean())


def model_card(outlook: Outlook, tokens: int, beliefs: int) -> str:
    """The card as Markdown, written beside the tables."""
    names = (
        "constant",
        "own samples agree",
        "plan ends at home",
        "left of plan",
        "gives way",
        "nearest peer",
        "plan moves",
    )
    weights = ", ".join(f"{name} {value:+.2f}" for name, value in zip(names, outlook.weights, strict=True))
    return f"""# outlook

When agents leave the plans that they told of, where they go, and how sure they are: tables for calibrated beliefs.

- Made by `python experiments/belief_calibration.py --fit` (seeds {FIT_SEEDS[0]} and {FIT_SEEDS[1]};
  {", ".join(scenario for scenario, *_ in TRAINING)}).
- Certainty: logistic regression on {tokens:,} tokens ({weights}).
- Departures: {CONTEXTS} contexts x {STEPS + 1} shares, counted on {beliefs:,} beliefs; median tempo after one
  {np.median(outlook.tempo):.2f} v_max; drift {outlook.drift:.2f} reaches per horizon.

Held-out calibration: `experiments/results/belief-calibration/summary.md`.
"""


# -- measuring ---------------------------------------------------------------------------------------

COLUMNS = [
    *("beliefs", "scenario", "group", "seed", "episode", "level", "count", "ade", "energy"),
    *(f"cover_{when}_{share:g}" for when in ("quarter", "half", "whole") for share in NOMINAL),
]
TOKENS = ["scenario", "group", "seed", "episode", "level", "tokens", "kept"]


def measure(out: Path) -> None:
    """One row per kind of belief, scenario, episode and level of certainty: sums over its beliefs."""
    groups = {"training": TRAINING, "held out": HELD_OUT}
    with (out / "rows.csv").open("w", newline="") as file, (out / "tokens.csv").open("w", newline="") as other:
        rows, tokens = csv.writer(file), csv.writer(other)
        rows.writerow(COLUMNS)
        tokens.writerow(TOKENS)
        for kind, outlook in {"prior": None, "calibrated": Outlook.load(SHIPPED)}.items():
            for group, scenarios in groups.items():
                for scenario, agents, episodes in scenarios:
                    flight = flown(outlook, scenario, agents, episodes, SEED)
                    sums = belief_sums(flight)
                    for (lane, level), values in sorted(sums.items()):
                        numbers = [f"{value:.8g}" for value in values]
                        rows.writerow([kind, scenario, group, SEED, lane, level, *numbers])
                    total = np.sum(list(sums.values()), axis=0)
                    cover = total[COLUMNS.index("cover_half_0.9") - COLUMNS.index("count")] / total[0]
                    print(f"{kind}, {scenario}: {total[0]:.0f} beliefs, {cover:.3f} covered", flush=True)
                    if outlook is not None:
                        for entry in certainties(flight, outlook):
                            tokens.writerow([scenario, group, SEED, *entry])
                    file.flush()


def belief_sums(flight: Flight) -> dict[tuple[int, int], NDArray]:
    """(lane, level) → sums of the columns from ``count`` on."""
    reach, horizon = flight.block.setup.vehicle.reach, flight.block.setup.spec.horizon_ticks
    sums: dict[tuple[int, int], NDArray] = {}
    for belief in flight.block.formed:
        long = np.flatnonzero(belief.tick + horizon <= flight.last_tick[belief.lane])
        if not len(long):
            continue
        lane, samples, level = belief.lane[long], belief.samples[long], belief.confidence[long]
        truth = flight.truth(lane, belief.agent[long], belief.tick, horizon)
        gap = np.linalg.norm(samples - truth[:, None], axis=-1).mean(-1)
        apart = np.linalg.norm(samples[:, :, None] - samples[:, None], axis=-1).mean(-1)
        count = samples.shape[1]
        energy = gap.mean(1) - 0.5 * apart.sum((1, 2)) / (count * (count - 1))
        values = [np.ones(len(lane)), gap.min(1) / reach, energy / reach]
        for tick in (horizon // 4, horizon // 2, horizon):
            values += [inside_region(samples[:, :, tick], truth[:, tick], share) for share in NOMINAL]
        for where, row in zip(zip(lane.tolist(), level.tolist(), strict=True), np.stack(values, 1), strict=True):
            sums[where] = sums.get(where, 0.0) + row
    return sums


def certainties(flight: Flight, outlook: Outlook) -> Iterator[tuple[int, int, int, int]]:
    """Episode, level, tokens of that level, and how many of them were kept."""
    lane, features, keeps = kept(flight)
    level = confidence_code(outlook.certainty(features))
    for episode in np.unique(lane).tolist():
        for each in np.unique(level[lane == episode]).tolist():
            mine = (lane == episode) & (level == each)
            yield episode, each, int(mine.sum()), int(keeps[mine].sum())


def interval(top: NDArray, bottom: NDArray) -> dict[str, Any]:
    """A ratio of sums with its bootstrap interval over episodes."""
    return {"mean": float(top.sum() / bottom.sum()), "ci95": ratio_interval(top, bottom)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="fit the tables and write them")
    parser.add_argument("--measure", action="store_true", help="measure both kinds of belief")
    parser.add_argument("--tables", type=Path, default=SHIPPED, help="where fitting writes")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.fit:
        fit(given.tables)
    if given.measure:
        measure(given.out)
    from belief_calibration_page import publish

    publish(given.out)


if __name__ == "__main__":
    main()
