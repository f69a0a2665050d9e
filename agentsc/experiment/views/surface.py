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
    """A metric over two axes: one heat map per panel, all on one colour scale, with 95 % intervals; and as a table."""

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
        factor = self.factor(self.metric)
        for title, part in parts:
            grid = np.full((len(upwards), len(across)), np.nan)
            written: dict[tuple[int, int], str] = {}
            for (x, y), rows in part.groups([self.x, self.y]).items():
                metric = measured(rows, [self.metric])[self.metric]
                if metric["mean"] is not None:
                    place = upwards.index(y), across.index(x)
                    grid[place] = metric["mean"] * factor
                    low, high = metric["ci95"]
                    if low is not None:
                        written[place] = f"{brief(low * factor)} – {brief(high * factor)}"
                    counts.add(int(metric["n"]))
                panel = [Entry(title, title)] if title else []
                lines.append([*panel, text(y), text(x), shown(metric, factor)])
            grids.append((grid, written))
        found = np.concatenate([grid[np.isfinite(grid)] for grid, _ in grids])
        least = float(found.min(initial=np.inf)) if self.low is None else self.low
        most = float(found.max(initial=-np.inf)) if self.high is None else self.high
        if not least < most:  # one value everywhere, or none at all
            least, most = (0.0, 1.0) if not len(found) else (least - 0.5, least + 0.5)
        scale = Normalize(least, most)
        with style():
            figure, axes = panels(len(parts), width=0.9 + 0.7 * len(across), height=0.9 + 0.42 * len(upwards))
            for axis, (title, _), (grid, written) in zip(axes, parts, grids, strict=True):
                image = axis.imshow(grid, origin="lower", aspect="auto", cmap="cividis", norm=scale)
                axis.grid(False)
                axis.set_title(title)
                axis.set_xticks(range(len(across)), [text(value).text for value in across])
                axis.set_yticks(range(len(upwards)), [text(value).text for value in upwards])
                axis.set(xlabel=readable(self.x), ylabel=readable(self.y))
                for (row, column), value in np.ndenumerate(grid):
                    if np.isfinite(value):
                        ink = "black" if scale(value) > 0.55 else "white"
                        interval = written.get((row, column), "")
                        at, align = (row + 0.05, "bottom") if interval else (row, "center")
                        axis.text(column, at, brief(value), ha="center", va=align, color=ink, fontsize=7)
                        axis.text(column, row, interval, ha="center", va="top", color=ink, fontsize=5.5)
            figure.colorbar(image, ax=axes, label=self.label(self.metric), shrink=0.8)
        n = ""
        if counts:
            span = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
            n = f" Below each value its 95 % interval; n = {span} episodes."
        titles = ["", readable(self.y), readable(self.x), self.label(self.metric)]
        table = Table(titles if len(lines[0]) == 4 else titles[1:], lines)
        return Rendered(self.title, f"{self.caption.strip()}{n}".strip(), table, figure)
