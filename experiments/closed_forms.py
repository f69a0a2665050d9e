"""What all scripts share that measure links on their closed forms: rows, their tables, the looks of their figures."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from agentsc.links.medium import Packets

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).parent
Z99 = float(stats.norm.isf(0.005))
ROUND_S = 1 / 32
COLUMNS = "model,quantity,at,measured,standard_error,expected,packets"


class Row(NamedTuple):
    """One measurement. at: what it is over. packets: packet × receiver behind it."""

    model: str
    quantity: str
    at: float
    measured: float
    standard_error: float
    expected: float
    packets: int

    @property
    def z(self) -> float:
        """Distance from the closed form, standard errors."""
        gap = self.measured - self.expected
        return gap / self.standard_error if self.standard_error > 0 else math.inf * gap if gap else 0.0


def spoken(speaks: NDArray[np.bool_], octets: int = 8) -> Packets:
    """A packet of so many bytes from each agent marked in [L, A]."""
    lane, sender = (part.astype(np.int32) for part in np.nonzero(speaks))
    return Packets(lane, sender, np.zeros((len(lane), octets), np.uint8), np.full(len(lane), 8 * octets, np.int32))


def row(model: str, quantity: str, at: float, each: NDArray, expected: float, packets: int) -> Row:
    """From one value for each of many independent parts."""
    error = float(np.std(each, ddof=1) / np.sqrt(len(each)))
    return Row(model, quantity, at, float(np.mean(each)), error, expected, packets)


def ratio(model: str, quantity: str, at: float, top: NDArray, bottom: NDArray, expected: float) -> Row:
    """Ratio of sums over many independent parts, whose number of packets is ``bottom``."""
    measured = top.sum() / bottom.sum()
    error = np.std(top - measured * bottom, ddof=1) / (bottom.mean() * np.sqrt(len(bottom)))
    return Row(model, quantity, at, float(measured), float(error), expected, int(bottom.sum()))


def pick(rows: list[Row], model: str, quantity: str) -> list[Row]:
    """Rows of one curve."""
    return [r for r in rows if r.model == model and r.quantity == quantity]


def points(axis: Axes, chosen: list[Row], label: str, colour: str) -> None:
    """Measured points with their 99 % intervals."""
    at, measured = [r.at for r in chosen], [r.measured for r in chosen]
    errors = [Z99 * r.standard_error for r in chosen]
    axis.errorbar(at, measured, errors, fmt="o", ms=4, capsize=3, color=colour, label=label)


def finish(axis: Axes, title: str, x: str, y: str) -> None:
    """Titles, grid and legend of a panel."""
    axis.set(title=title, xlabel=x, ylabel=y)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def summary(rows: list[Row], title: str, name: str) -> str:
    """The table as a page; ``name`` is that of script and figure."""
    inside = sum(abs(r.z) <= Z99 for r in rows)
    lines = [
        f"# {title}",
        "",
        f"Regenerate with `python experiments/{name.replace('-', '_')}.py`. "
        "What is measured and how: the script's docstring. "
        f"{inside} of {len(rows)} rows lie within their 99 % interval; the largest distance is "
        f"{max(abs(r.z) for r in rows):.2f} standard errors. Rows of one model share their packets.",
        "",
        f"![measured points on closed forms]({name}.png)",
        "",
        "| model | quantity | at | closed form | measured | 99 % ± | standard errors | packets |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        numbers = (
            f"{r.expected:.5g} | {r.measured:.5g} | {Z99 * r.standard_error:.2g} | {r.z:+.2f} | {r.packets}"
        )
        lines.append(f"| {r.model} | {r.quantity} | {r.at:g} | {numbers} |")
    return "\n".join(lines) + "\n"


def write(rows: list[Row], out: Path) -> None:
    """The rows as they are."""
    values = (
        ",".join([f'"{r.model}"', f'"{r.quantity}"', *(f"{value:.10g}" for value in r[2:])]) for r in rows
    )
    (out / "rows.csv").write_text("\n".join([COLUMNS, *values]) + "\n", encoding="utf-8")


def publish(
    what: str, title: str, name: str, measurements: Mapping[str, Callable[[], Iterator[Row]]],
    draw: Callable[[list[Row], Path], None],
) -> None:  # fmt: skip
    """Measure, write, draw: the command line of a script.

    Args:
        what: its help. title: of the page. name: of its folder and figure. draw: rows to a figure.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--out", type=Path, default=HERE / "results" / name, help="folder for the results")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rows = [found for measure in measurements.values() for found in measure()]
    write(rows, out)
    page = summary(rows, title, name)
    (out / "summary.md").write_text(page, encoding="utf-8")
    draw(rows, out / f"{name}.png")
    print(page)
