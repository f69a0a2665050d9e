"""Tests of one protocol against the others on the same episodes."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agentsc.experiment.statistics import holm, improvement_probability, mcnemar_p, paired_difference
from agentsc.experiment.views import VIEWS, Entry, Rendered, Results, Table, View, spanned, text


@VIEWS.register("comparison")
class ComparisonView(View):
    """Paired tests of a reference protocol against each other one, Holm-corrected over the whole table.

    Success: exact McNemar test. Speed score: mean paired difference with a bootstrap interval, and a
    sign-flip permutation test. Probability of improvement: Mann–Whitney, over all attempts.
    """

    reference: str = Field(description="the label that the others are compared with")
    series: str = Field("protocol", description="the axis of that label")
    strata: list[str] = Field(default_factory=list, description="columns whose groups are tested one by one")

    def draw(self, results: Results) -> Rendered:
        """See `View.draw`."""
        lines: list[list[Entry]] = []
        tests: list[float] = []
        for key, rows in results.groups(self.strata).items():
            group = Results(rows, results.axes)
            mine = self._by_episode(group.where({self.series: self.reference}))
            for name in group.values(self.series):
                if name == self.reference or not mine:
                    continue
                theirs = self._by_episode(group.where({self.series: name}))
                pairs = [episode for episode in mine if episode in theirs]
                if not pairs:
                    continue
                ours, others = ([side[episode] for episode in pairs] for side in (mine, theirs))
                wins, losses = ([bool(r["success"]) for r in part] for part in (ours, others))
                fast, slow = ([float(r.get("speed_score") or 0.0) for r in part] for part in (ours, others))
                change, span, p_score = paired_difference(fast, slow)
                better, around = improvement_probability([fast], [slow])
                tests += [mcnemar_p(wins, losses), p_score]
                gain = (sum(wins) - sum(losses)) / len(pairs)
                lines.append([
                    *map(text, key), text(name), Entry(f"{gain:+.2f}", gain), Entry("", 0.0),
                    spanned(change, span), Entry("", 0.0), spanned(better, around),
                    Entry(str(len(pairs)), len(pairs)),
                ])  # fmt: skip
        adjusted = holm(tests)
        first = len(self.strata) + 2
        for k, line in enumerate(lines):
            line[first], line[first + 2] = _p(adjusted[2 * k]), _p(adjusted[2 * k + 1])
        titles = [
            *self.strata, f"{self.reference} against", "Δ success", "p (McNemar, Holm)",
            "Δ speed score", "p (sign flip, Holm)", f"P({self.reference} scores higher)", "pairs",
        ]  # fmt: skip
        return Rendered(self.title, self.caption, Table(titles, lines))

    def _by_episode(self, results: Results) -> dict[tuple[Any, ...], dict[str, Any]]:
        """Rows by what is the same on both sides: every axis but the compared one, the seed and the episode."""
        axes = [axis for axis in (*results.axes, "seed", "episode") if axis != self.series]
        return {tuple(row.get(axis) for axis in axes): row for row in results.rows}


def _p(value: float) -> Entry:
    return Entry("< 0.001" if value < 1e-3 else f"{value:.3f}", value)
