"""How many messages does an auction take? Plain CBBA, event-driven, and event-driven with a price clock.

    python experiments/market_messages.py [--instances 100] [--out experiments/results/market-messages]

Every instance is drawn anew: agents and sites anywhere in the unit world, values between a half and one, worth less
with every second until somebody is there. The same instances are sold by each, over the same radio; tables are real
packets through the real medium. Counted is what is sent before the round in which the last agent's table and bundle
changed last; after that plain CBBA goes on to tell every table in every round, and the others one a second. 95 %
intervals are of means over instances (normal).
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "protocol"))
from bazaar import ROUND_S, Sale, one_map, sell, tours  # noqa: E402

from agentsc.protocol.auction import greedy  # noqa: E402

SEED = 2026
NAME = "market-messages"
SIZES = ((5, 5, 1), (5, 10, 2), (10, 10, 1), (10, 20, 3), (20, 40, 3))
"""Agents, sites, and sites of a bundle."""
LINKS = ("perfect", "erasure:p=0.2", "erasure:p=0.5", "graph:kind=ring")
HOW: dict[str, dict[str, int | bool]] = {
    "plain": {"event_driven": False},
    "event-driven, at once": {"pace": 254},
    "event-driven": {},
}
ROUNDS = 1000
QUIET = {"plain": 40, "event-driven, at once": 90, "event-driven": 130}
"""Rounds without a change after which an auction is over: many repeats of every table, and more than any wait."""
Z95 = 1.959964


class Row(NamedTuple):
    """One instance, sold in one way."""

    agents: int
    sites: int
    bundle: int
    link: str
    how: str
    instance: int
    agreed: bool
    as_greedy: bool
    worth: float
    packets: int
    bits: int
    rounds: int


def measure(instances: int) -> Iterator[Row]:
    """All sizes, links and ways."""
    for agents, sites, bundle in SIZES:
        score, spots = tours(SEED, instances, agents, sites)
        rows = [np.flatnonzero(score.map == lane) for lane in range(instances)]
        sold = [greedy(one_map(score, lane), np.arange(agents), agents, sites, bundle) for lane in range(instances)]
        central = np.array([each.winner.max(0) for each in sold])
        for link in LINKS:
            for how, options in HOW.items():
                sale = sell(
                    score, instances, agents, sites, bundle, ROUNDS, link=link, seed=SEED, position=spots,
                    quiet=QUIET[how], **options,
                )  # fmt: skip
                worth = score.total(sale.exchange.auction.path)
                yield from of_sale(sale, (agents, sites, bundle, link, how), central, [worth[r].sum() for r in rows])


def of_sale(
    sale: Sale, labels: tuple[int, int, int, str, str], central: np.ndarray, worth: list[float]
) -> Iterator[Row]:
    """A row for every instance."""
    packets, bits = sale.until_settled(sale.packets), sale.until_settled(sale.bits)
    for lane, agreed in enumerate(sale.agreed.tolist()):
        yield Row(
            *labels, lane, agreed, bool((sale.winner[lane, 0] == central[lane]).all()), float(f"{worth[lane]:.6g}"),
            int(packets[lane]), int(bits[lane]), int(sale.settled[lane]),
        )  # fmt: skip


def mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and half of its 95 % interval."""
    return float(values.mean()), float(Z95 * values.std(ddof=1) / np.sqrt(len(values)))


def cells(rows: list[Row]) -> dict[tuple[int, int, int, str, str], list[Row]]:
    """Rows of each cell, in the order of instances."""
    found: dict[tuple[int, int, int, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault(row[:5], []).append(row)
    return found


def column(rows: list[Row], name: str) -> np.ndarray:
    """One number of every row."""
    return np.array([getattr(row, name) for row in rows], np.float64)


def summary(rows: list[Row]) -> str:
    """The page."""
    groups = cells(rows)
    instances = len(next(iter(groups.values())))
    lossless = [r for r in rows if r.link == "perfect"]
    ratio = column([r for r in lossless if r.how == "event-driven"], "packets").sum()
    ratio /= column([r for r in lossless if r.how == "plain"], "packets").sum()
    agreed = sum(r.agreed for r in rows)
    same = sum(r.as_greedy for r in rows)
    lines = [
        "# Messages of an auction", "",
        "Regenerate with `python experiments/market_messages.py`; seeds are in the script, as is what is counted.", "",
        f"{instances} instances in every cell. All agents agreed in {agreed:,} of {len(rows):,} sales, and sold what a "
        f"central greedy auction sells in {same:,}. Over a perfect radio the event-driven auction took "
        f"{100 * ratio:.1f} % of plain CBBA's packets, all sizes together.", "",
        f"![packets against plain CBBA]({NAME}.png)", "",
        "Share is packets over plain CBBA's of the same instances: the mean of instances' shares. Rounds are of "
        f"{1000 * ROUND_S:.0f} ms.", "",
        "| agents | sites | bundle | link | how | packets | share of plain | kbit | rounds | worth | agreed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for key, group in groups.items():
        plain = groups[(*key[:4], "plain")]
        share, half = mean(column(group, "packets") / column(plain, "packets"))
        packets, spread = mean(column(group, "packets"))
        lines.append(
            f"| {key[0]} | {key[1]} | {key[2]} | `{key[3]}` | {key[4]} | {packets:.1f} ± {spread:.1f} | "
            f"{share:.3f} ± {half:.3f} | {column(group, 'bits').mean() / 1000:.2f} | "
            f"{column(group, 'rounds').mean():.1f} | {column(group, 'worth').mean():.4f} | "
            f"{int(column(group, 'agreed').sum())}/{len(group)} |"
        )
    return "\n".join(lines) + "\n"


def draw(rows: list[Row], path: Path) -> None:
    """Share of plain CBBA's packets by size, a panel for each link."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    groups = cells(rows)
    figure, axes = plt.subplots(1, len(LINKS), figsize=(3.1 * len(LINKS), 3.2), sharey=True, layout="constrained")
    place = np.arange(len(SIZES))
    for axis, link in zip(axes, LINKS, strict=True):
        for shift, how in enumerate(list(HOW)[1:]):
            found = [
                mean(column(groups[(*size, link, how)], "packets") / column(groups[(*size, link, "plain")], "packets"))
                for size in SIZES
            ]
            middle, half = np.array(found).T
            axis.errorbar(place + 0.12 * shift, middle, yerr=half, fmt="o", capsize=3, label=how)
        axis.axhline(0.48, linestyle="--", linewidth=1, color="grey")
        axis.set_xticks(place, [f"{a}×{s}\n{b} each" for a, s, b in SIZES], fontsize=7)
        axis.set_title(link, fontsize=9)
    axes[0].set_ylabel("packets, share of plain CBBA's")
    axes[0].set_ylim(0, 1.2)
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Sell, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=100, help="of every size")
    parser.add_argument("--out", type=Path, default=HERE / "results" / NAME, help="folder for the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = list(measure(options.instances))
    with (options.out / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Row._fields)
        table.writerows(rows)
    page = summary(rows)
    (options.out / "summary.md").write_text(page, encoding="utf-8")
    draw(rows, options.out / f"{NAME}.png")
    print(page)


if __name__ == "__main__":
    main()
