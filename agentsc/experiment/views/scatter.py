"""One metric against another, a point per cell: what is paid for what is got."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agentsc.experiment.views import VIEWS, Rendered, Results, View, measured, titled
from agentsc.experiment.views._style import MARKERS, counted, legend, look, panels, style


@VIEWS.register("scatter")
class ScatterView(View):
    """A metric against another, one point per group of cells, with both intervals."""

    x: str = Field(description="a metric")
    y: str = Field(description="a metric")
    series: str = Field("protocol", description="an axis whose values get colours")
    points: list[str] = Field(default_factory=list, description="further axes whose values get markers")
    join: bool = Field(False, description="join the points of a series, in order of x")
    panels: str | list[str] | None = Field(None, description="axes whose values get panels of their own")
    log_x: bool = Field(False, description="logarithmic x axis")

    def draw(self, results: Results) -> Rendered:
        """See `View.draw`."""
        parts, series = results.split(self.panels), results.values(self.series)
        looks, counts = look(series), set()
        markers = {kind: MARKERS[k % len(MARKERS)] for k, kind in enumerate(results.groups(self.points))}
        with style():
            figure, axes = panels(len(parts), width=4.6 if len(parts) < 3 else 3.6, height=3.2)
            for axis, (title, chosen) in zip(axes, parts, strict=True):
                everything: list[tuple[float, float]] = []
                for name in series:
                    spots = []
                    for kind, rows in chosen.where({self.series: name}).groups(self.points).items():
                        found = measured(rows, dict.fromkeys((self.x, self.y)))
                        x, y = found[self.x], found[self.y]
                        if x["mean"] is None or y["mean"] is None:
                            continue
                        spots.append((x["mean"] * self.factor(self.x), y["mean"] * self.factor(self.y)))
                        counts.add(y["n"])
                        axis.errorbar(
                            *spots[-1], xerr=self._bars(x, self.x), yerr=self._bars(y, self.y),
                            color=looks[name][0], marker=markers[kind], markersize=5, capsize=2, elinewidth=0.7,
                            linestyle="none",
                        )  # fmt: skip
                    everything += spots
                    if self.join and len(spots) > 1:
                        axis.plot(*zip(*sorted(spots), strict=True), color=looks[name][0], linewidth=1.0, alpha=0.6)
                if self.log_x:  # linear below the smallest positive value, so that nothing spent is shown too
                    least = min((x for x, _ in everything if x > 0), default=1.0)
                    axis.set_xscale("symlog", linthresh=least, linscale=0.4)
                    axis.set_xlim(left=-0.15 * least)
                axis.set(xlabel=self.label(self.x), ylabel=self.label(self.y), title=title)
                if self.y.endswith("_rate"):
                    axis.set_ylim(-0.04, 1.04)
            self._explain(axes[0], {name: looks[name][0] for name in series}, markers)
            legend(figure, axes)
        return Rendered(self.title, f"{self.caption} {counted(counts)}".strip(), figure=figure)

    def _explain(self, axis: Any, colours: dict[Any, str], markers: dict[tuple[Any, ...], str]) -> None:
        """Entries for the legend: colours of the series, then markers where there is more than one."""
        for name, colour in colours.items():
            axis.plot([], [], color=colour, linewidth=4, label=str(name))
        for kind, marker in markers.items() if len(markers) > 1 else ():
            label = ", ".join(map(titled, self.points, kind))
            axis.plot([], [], color="#444444", marker=marker, linestyle="none", markersize=5, label=label)

    def _bars(self, metric: dict, name: str) -> list[list[float]] | None:
        low, high = metric["ci95"]
        if low is None:
            return None
        factor = self.factor(name)
        return [[max(metric["mean"] - low, 0.0) * factor], [max(high - metric["mean"], 0.0) * factor]]
