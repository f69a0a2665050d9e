"""One number per protocol over all scenarios: the interquartile mean of the speed score."""

from __future__ import annotations

from pydantic import Field

from agentsc.experiment.statistics import interquartile_mean, stratified, wilson
from agentsc.experiment.views import VIEWS, Entry, Rendered, Results, Table, View, spanned, text
from agentsc.experiment.views._style import look, panels, style
from agentsc.experiment.views.profile import scores


@VIEWS.register("aggregate")
class AggregateView(View):
    """Interquartile mean and mean of the speed score over all attempts, with stratified intervals."""

    series: str = Field("protocol", description="an axis whose values are compared")
    strata: list[str] = Field(min_length=1, description="columns inside whose groups episodes are resampled")

    def draw(self, results: Results) -> Rendered:
        """See `View.draw`."""
        lines, points = [], []
        for name in results.values(self.series):
            mine = results.where({self.series: name})
            strata = scores(mine, self.strata)
            n, wins = len(mine.rows), sum(bool(row["success"]) for row in mine.rows)
            middle, spread = stratified(strata, interquartile_mean)
            average, around = stratified(strata, lambda values: values.mean(-1))
            low, high = wilson(wins, n)
            lines.append([
                text(name), spanned(middle, spread), spanned(average, around), spanned(wins / n, [low, high]),
                Entry(str(n), n),
            ])  # fmt: skip
            points.append((name, middle, spread))
        points.sort(key=lambda point: point[1])
        looks = look([name for name, _, _ in points])
        with style():
            figure, (axis,) = panels(1, width=5.2, height=0.5 + 0.32 * len(points))
            for height, (name, middle, (left, right)) in enumerate(points):
                if left is not None and right is not None:
                    axis.plot([left, right], [height, height], color=looks[name][0], linewidth=6, alpha=0.35)
                axis.plot(middle, height, "|", color=looks[name][0], markersize=14, markeredgewidth=2)
            axis.set_yticks(range(len(points)), [str(name) for name, _, _ in points])
            axis.set(xlabel="interquartile mean of the speed score", xlim=(-0.02, 1.0))
        titles = [self.series, "IQM speed score", "mean speed score", "success rate", "n"]
        return Rendered(self.title, self.caption, Table(titles, lines), figure)
