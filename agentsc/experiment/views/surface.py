"""A metric over two axes, as heat maps."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from agentsc.experiment.views import (
    VIEWS,
    Entry,
    Rendered,
    Results,
    Table,
    View,
    brief,
    measured,
    readable,
    shown,
    text,
)
from agentsc.experiment.views._style import panels, style


@VIEWS.register("surface")
class SurfaceView(View):
    """A metric over two axes: one heat map per panel, all on one colour scale, and the same as a table."""

    x: str = Field(description="the axis across")
    y: str = Field(description="the axis upwards")
    metric: str = Field(description="what the colour shows")
    panels: str | list[str] | None = Field(None, description="axes whose values get a panel each")
    low: float | None = Field(None, description="where the colour scale begins; none: at the least value")
    high: float | None = Field(None, description="where it ends; none: at the greatest value")

    def draw(self, results: Results) -> Rendered:
        """See `View.draw`."""
        from matplotlib.colors import Normalize

        parts = results.split(self.panels)
        across, upwards = results.values(self.x), results.values(self.y)
        grids, counts, lines = [], set(), []
        for title, part in parts:
            grid = np.full((len(upwards), len(across)), np.nan)
            for (x, y), rows in part.groups([self.x, self.y]).items():
                metric = measured(rows, [self.metric])[self.metric]
                if metric["mean"] is not None:
                    grid[upwards.index(y), across.index(x)] = metric["mean"] * self.factor(self.metric)
                    counts.add(int(metric["n"]))
                panel = [Entry(title, title)] if title else []
                lines.append([*panel, text(y), text(x), shown(metric, self.factor(self.metric))])
            grids.append(grid)
        found = np.concatenate([grid[np.isfinite(grid)] for grid in grids])
        low = float(found.min(initial=np.inf)) if self.low is None else self.low
        high = float(found.max(initial=-np.inf)) if self.high is None else self.high
        if not low < high:  # one value everywhere, or none at all
            low, high = (0.0, 1.0) if not len(found) else (low - 0.5, low + 0.5)
        scale = Normalize(low, high)
        with style():
            figure, axes = panels(len(parts), width=0.9 + 0.62 * len(across), height=0.9 + 0.42 * len(upwards))
            for axis, (title, _), grid in zip(axes, parts, grids, strict=True):
                image = axis.imshow(grid, origin="lower", aspect="auto", cmap="cividis", norm=scale)
                axis.grid(False)
                axis.set_title(title)
                axis.set_xticks(range(len(across)), [text(value).text for value in across])
                axis.set_yticks(range(len(upwards)), [text(value).text for value in upwards])
                axis.set(xlabel=readable(self.x), ylabel=readable(self.y))
                for (row, column), value in np.ndenumerate(grid):
                    if np.isfinite(value):
                        ink = "black" if scale(value) > 0.55 else "white"
                        axis.text(column, row, brief(value), ha="center", va="center", color=ink, fontsize=7)
            figure.colorbar(image, ax=axes, label=self.label(self.metric), shrink=0.8)
        n = f" n = {min(counts)} to {max(counts)} per field." if counts else ""
        titles = ["", readable(self.y), readable(self.x), self.label(self.metric)]
        table = Table(titles if len(lines[0]) == 4 else titles[1:], lines)
        return Rendered(self.title, f"{self.caption.strip()}{n}".strip(), table, figure)
