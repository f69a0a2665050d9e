"""Metrics against an axis, one line per protocol."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from agentsc.experiment.views import VIEWS, Rendered, Results, View, measured, numeric, readable, text
from agentsc.experiment.views._style import counted, legend, look, panels, style


@VIEWS.register("lines")
class LinesView(View):
    """Curves with 95 % intervals: metrics against an axis, a panel per metric and group."""

    x: str = Field(description="an axis; numbers are drawn to scale, other labels side by side")
    y: list[str] = Field(min_length=1, description="metrics, one panel each")
    series: str = Field("protocol", description="an axis whose values become curves")
    panels: str | list[str] | None = Field(None, description="axes whose values get panels of their own")
    log_y: list[str] = Field(default_factory=list, description="metrics that are drawn on a logarithmic axis")

    def draw(self, results: Results) -> Rendered:
        """See `View.draw`."""
        parts = results.split(self.panels)
        series = results.values(self.series)
        looks, scale = look(series), numeric(results.values(self.x))
        counts = set()
        with style():
            figure, axes = panels(len(self.y) * len(parts))
            order = [(*part, metric) for part in parts for metric in self.y]
            for axis, (title, chosen, metric) in zip(axes, order, strict=True):
                ticks = sorted(chosen.values(self.x)) if scale else chosen.values(self.x)
                place = {tick: float(tick) if scale else k for k, tick in enumerate(ticks)}
                width = (max(place.values()) - min(place.values())) or 1.0
                for number, name in enumerate(series):
                    points = []
                    for (tick,), rows in chosen.where({self.series: name}).groups([self.x]).items():
                        found = measured(rows, [metric])[metric]
                        if found["mean"] is not None:
                            points.append((place[tick], found["mean"], *_interval(found)))
                            counts.add(found["n"])
                    if not points:
                        continue
                    x, mean, low, high = np.array(sorted(points), float).T
                    mean, low, high = (part * self.factor(metric) for part in (mean, low, high))
                    x = x + 0.006 * width * (number - (len(series) - 1) / 2)
                    span = np.clip([mean - low, high - mean], 0.0, None)
                    colour, marker = looks[name]
                    axis.errorbar(
                        x, mean, span, color=colour, marker=marker, markersize=4, linewidth=1.4, capsize=2,
                        elinewidth=0.8, label=str(name),
                    )  # fmt: skip
                axis.set_title(f"{title}: {self.label(metric)}" if title else self.label(metric))
                axis.set_xlabel(readable(self.x))
                axis.set_xticks(list(place.values()), [text(tick).text for tick in ticks])
                if metric in self.log_y:
                    axis.set_yscale("log")
                elif metric.endswith("_rate") or metric in ("speed_score", "adherence"):
                    axis.set_ylim(-0.04, 1.04)
            legend(figure, axes)
        return Rendered(self.title, f"{self.caption} {counted(counts)}".strip(), figure=figure)


def _interval(metric: dict) -> tuple[float, float]:
    low, high = metric["ci95"]
    return (metric["mean"], metric["mean"]) if low is None else (low, high)
