"""A table of metrics, one line per group of cells."""

from __future__ import annotations

from pydantic import Field

from agentsc.experiment.views import (
    VIEWS,
    Entry,
    Rendered,
    Results,
    Table,
    View,
    measured,
    numeric,
    readable,
    shown,
    text,
)


@VIEWS.register("table")
class TableView(View):
    """Metrics with intervals, one line per group; an axis can be spread over the columns."""

    rows: list[str] = Field(min_length=1, description="columns of the results that name a line")
    columns: str | None = Field(None, description="an axis whose values become columns")
    metrics: list[str] = Field(min_length=1, description="what is shown")

    def draw(self, results: Results) -> Rendered:
        """See `View.draw`."""
        spread = [None] if self.columns is None else results.values(self.columns)
        titles = [*map(readable, self.rows), *(self._title(metric, at) for metric in self.metrics for at in spread)]
        lines = []
        for key, rows in results.groups(self.rows).items():
            line = [text(value) for value in key]
            parts = {
                value: measured(mine, self.metrics)
                for value in spread
                if (mine := rows if value is None else [r for r in rows if r[self.columns or ""] == value])
            }
            for metric in self.metrics:
                for value in spread:
                    entry = Entry("", float("-inf"))
                    if value in parts:
                        entry = shown(parts[value][metric], self.factor(metric))
                    line.append(entry)
            lines.append(line)
        return Rendered(self.title, self.caption, Table(titles, lines))

    def _title(self, metric: str, value: object) -> str:
        """Of a column: the metric, the label of the axis spread over columns, or both where both differ."""
        if self.columns is None:
            return self.label(metric)
        label = text(value).text
        if numeric([value]):
            label = f"{readable(self.columns)} {label}"
        return label if len(self.metrics) == 1 else f"{self.label(metric)}, {label}"
