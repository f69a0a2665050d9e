"""One metric against another, a point per cell: what is paid for what is got."""

from __future__ import annotations

from pydantic import Field

from agentsc.experiment.views import VIEWS, Rendered, Results, View, measured, text
from agentsc.experiment.views._style import counted, legend, look, panels, style


@VIEWS.register("scatter")
class ScatterView(View):
    """A metric against another, one point per group of cells, with both intervals."""

    x: str = Field(description="a metric")
    y: str = Field(description="a metric")
    series: str = Field("protocol", description="an axis whose values get colours")
    points: list[str] = Field(default_factory=list, description="further axes whose values are separate points")
    join: bool = Field(False, description="join the points of a series, in order of x")
    panels: str | None = Field(None, description="an axis whose values get panels of their own")
    log_x: bool = Field(False, description="logarithmic x axis")

    def draw(self, results: Results) -> Rendered:
        """See `View.draw`."""
        groups = [None] if self.panels is None else results.values(self.panels)
        series = results.values(self.series)
        looks, counts = look(series), set()
        with style():
            figure, axes = panels(len(groups), width=4.6 if len(groups) < 3 else 3.6, height=3.4)
            for axis, group in zip(axes, groups, strict=True):
                chosen = results if group is None else results.where({self.panels or "": group})
                everything: list[tuple[float, float]] = []
                for name in series:
                    colour, marker = looks[name]
                    spots = []
                    for key, rows in chosen.where({self.series: name}).groups(self.points).items():
                        found = measured(rows, dict.fromkeys((self.x, self.y)))
                        x, y = found[self.x], found[self.y]
                        if x["mean"] is None or y["mean"] is None:
                            continue
                        spots.append((x["mean"] * self.factor(self.x), y["mean"] * self.factor(self.y)))
                        counts.add(y["n"])
                        axis.errorbar(
                            *spots[-1], xerr=self._bars(x, self.x), yerr=self._bars(y, self.y), color=colour,
                            marker=marker, markersize=5, capsize=2, elinewidth=0.7, linestyle="none",
                            label=str(name),
                        )  # fmt: skip
                        note = ", ".join(text(value).text for value in key)
                        if note:
                            axis.annotate(note, spots[-1], (4, 3), textcoords="offset points", fontsize=6.5)
                    everything += spots
                    if self.join and len(spots) > 1:
                        axis.plot(*zip(*sorted(spots), strict=True), color=colour, linewidth=1.0, alpha=0.6)
                if self.log_x:  # linear below the smallest positive value, so that nothing spent is shown too
                    least = min((x for x, _ in everything if x > 0), default=1.0)
                    axis.set_xscale("symlog", linthresh=least, linscale=0.4)
                    axis.set_xlim(left=-0.15 * least)
                axis.set(xlabel=self.label(self.x), ylabel=self.label(self.y))
                if group is not None:
                    axis.set_title(str(group))
                if self.y.endswith("_rate"):
                    axis.set_ylim(-0.04, 1.04)
            legend(figure, axes)
        note = counted(counts)
        return Rendered(self.title, f"{self.caption} {note}".strip(), figure=figure)

    def _bars(self, metric: dict, name: str) -> list[list[float]] | None:
        low, high = metric["ci95"]
        if low is None:
            return None
        factor = self.factor(name)
        return [[max(metric["mean"] - low, 0.0) * factor], [max(high - metric["mean"], 0.0) * factor]]
