"""Views: what a suite shows of its results, one file each. A view turns rows into a table or a figure.

A view never drops an attempt: cells that could not be run and lanes that ran out of time count as
failures wherever success or a score is shown, and n is printed everywhere.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from agentsc.experiment.metrics import DESCRIPTIONS, Metric, metrics
from envs.errors import unknown_name
from envs.registry import Plugin, Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VIEWS = Registry("views", "agentsc.experiment.views")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """Rows of a benchmark, in the order of its cells and episodes.

    Attributes:
        rows: one per cell and episode. axes: names of the suite's axes, in their order.
    """

    rows: list[dict[str, Any]]
    axes: list[str]

    def where(self, wanted: Mapping[str, Any]) -> Results:
        """Rows whose columns have one of the wanted values."""
        rows = self.rows
        for column, value in wanted.items():
            self.check(column)
            options = value if isinstance(value, list) else [value]
            rows = [row for row in rows if row.get(column) in options]
        return Results(rows, self.axes)

    def check(self, column: str) -> None:
        """Raise a `ConfigError` unless rows have such a column."""
        known = self.rows[0] if self.rows else {}
        if self.rows and column not in known:
            raise unknown_name("view column", column, self.axes or known)

    def groups(self, by: Sequence[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
        """Rows by their values of some columns, in order of first appearance."""
        for column in by:
            self.check(column)
        found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in self.rows:
            found.setdefault(tuple(row.get(column) for column in by), []).append(row)
        return found

    def split(self, by: str | Sequence[str] | None) -> list[tuple[str, Results]]:
        """One part per combination of values of some columns, with a title; everything, untitled, for None."""
        if by is None:
            return [("", self)]
        columns = [by] if isinstance(by, str) else list(by)
        parts = self.groups(columns)
        return [(", ".join(map(titled, columns, key)), Results(rows, self.axes)) for key, rows in parts.items()]

    def values(self, column: str) -> list[Any]:
        """Distinct values of a column, in order of first appearance."""
        return [key for (key,) in self.groups([column])]


@dataclass(frozen=True)
class Entry:
    """One field of a table: what is shown, and what it is sorted by."""

    text: str
    sort: float | str


@dataclass(frozen=True)
class Table:
    """A table as a report, a Markdown page or a console shows it."""

    columns: list[str]
    rows: list[list[Entry]]

    def markdown(self) -> str:
        """As GitHub-flavoured Markdown."""
        lines = ["| " + " | ".join(self.columns) + " |", "|" + "---|" * len(self.columns)]
        lines += ["| " + " | ".join(entry.text.replace("|", "\\|") for entry in row) + " |" for row in self.rows]
        return "\n".join(lines)


@dataclass(frozen=True)
class Rendered:
    """What a view shows: a table, a figure, or both."""

    title: str
    caption: str
    table: Table | None = None
    figure: Figure | None = field(default=None, repr=False)


class Unit(Plugin):
    """How a metric is shown in other units."""

    name: str = Field(description="what to call it")
    factor: float = Field(1.0, description="its value times this is shown")


class View(Plugin):
    """What every view can be told."""

    title: str = Field(description="heading")
    caption: str = Field("", description="what a reader should see in it")
    where: dict[str, Any] = Field(default_factory=dict, description="column → value or values: only those rows")
    deadline_s: float | None = Field(None, gt=0, description="an episode that took longer has failed")
    at_ticks: bool = Field(False, description="judge contacts at the ticks only, as MMD does; not in between")
    units: dict[str, Unit] = Field(default_factory=dict, description="metric → name and factor to show it with")

    def render(self, results: Results) -> Rendered:
        """The view of some results.

        Raises:
            ConfigError: it names a column or a metric that there is not.
        """
        chosen = results.where(self.where)
        if not chosen.rows:
            return Rendered(self.title, "No rows match this view.")
        rows = [judged(row, self.deadline_s, self.at_ticks) for row in chosen.rows]
        return self.draw(Results(rows, chosen.axes))

    @abstractmethod
    def draw(self, results: Results) -> Rendered:
        """The view of rows that have been chosen already."""

    def label(self, metric: str) -> str:
        """What a metric is called here."""
        return self.units[metric].name if metric in self.units else readable(metric)

    def factor(self, metric: str) -> float:
        """What its values are multiplied with."""
        return self.units[metric].factor if metric in self.units else 1.0


def judged(row: Row, deadline_s: float | None = None, at_ticks: bool = False) -> dict[str, Any]:
    """The row with success judged by another rule: a shorter deadline, or contacts at ticks only."""
    row = dict(row)
    if row.get("status", "done") != "done":
        return row
    if at_ticks:
        closest = row["min_separation_at_ticks_m"]
        free = (closest is None or closest >= row["separation_m"]) and not row["obstacle_contacts"]
        row["collision_free"] = free
        row["success"] = free and row["makespan_s"] is not None
    if deadline_s is not None and (row["makespan_s"] is None or row["makespan_s"] > deadline_s + 1e-9):
        row["success"] = False
        row |= dict.fromkeys(("makespan_s", "flowtime_s", "flowtime_ratio", "path_length_ratio"))
    if row.get("speed_score") is not None:
        bound, span = row["longest_trip_s"], row["makespan_s"]
        row["speed_score"] = bound / max(span, 1e-9) if row["success"] and span is not None else 0.0
    return row


def measured(rows: Sequence[Row], names: Iterable[str]) -> dict[str, Metric]:
    """Some metrics of a group of rows.

    Raises:
        ConfigError: no such metric.
    """
    found = metrics(rows)
    for name in names:
        if name not in found:
            raise unknown_name("metric", name, DESCRIPTIONS)
    return {name: found[name] for name in names}


def brief(value: float) -> str:
    """Three significant digits, never an exponent, thousands marked."""
    if value == 0 or abs(value) >= 999.5:
        return f"{value:,.0f}"
    digits = max(0, 2 - int(math.floor(math.log10(abs(value)))))
    return f"{value:.{min(digits, 6)}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"


def spanned(value: float, interval: Sequence[float | None]) -> Entry:
    """A value with its interval, as a field of a table."""
    low, high = interval
    if low is None or high is None:
        return Entry(brief(value), value)
    return Entry(f"{brief(value)} [{brief(low)}, {brief(high)}]", value)


def shown(metric: Metric, factor: float = 1.0, n: bool = True) -> Entry:
    """A metric with its interval and n, as a field of a table."""
    if metric["mean"] is None:
        return Entry("–", float("-inf"))
    entry = spanned(metric["mean"] * factor, [None if end is None else end * factor for end in metric["ci95"]])
    return Entry(f"{entry.text} n={metric['n']}", entry.sort) if n else entry


_UNITS = ("s", "ms", "m", "db", "hour")
_CALLED = {"bits_per_agent_s": "bit/s per agent", "packets_per_agent_s": "packets/s per agent"}


def readable(name: str) -> str:
    """What a column is called for people: ``makespan_s`` is "makespan, s"."""
    head, _, unit = name.rpartition("_")
    if name in _CALLED:
        return _CALLED[name]
    if head and unit in _UNITS and not head.endswith("_per_agent"):
        return f"{head.replace('_', ' ')}, {unit}"
    return name.replace("_", " ")


def numeric(values: Sequence[Any]) -> bool:
    """Whether labels are all numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def titled(column: str, value: Any) -> str:
    """A label that stands alone: its column goes along where it is a number."""
    return f"{readable(column)} {text(value).text}" if numeric([value]) else text(value).text


def text(value: Any) -> Entry:
    """A label as a field of a table."""
    if value is None:
        return Entry("–", "")
    if numeric([value]):
        return Entry(f"{value:g}", float(value))
    return Entry(str(value), str(value))
