"""Performance profiles: what share of all attempts reaches at least a score."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from agentsc.experiment.metrics import speed_scores
from agentsc.experiment.statistics import performance_profile
from agentsc.experiment.views import VIEWS, Rendered, Results, View
from agentsc.experiment.views._style import legend, look, panels, style


@VIEWS.register("profile")
class ProfileView(View):
    """Share of attempts above each speed score, per protocol; failures score zero and stay in.

    Reference: Agarwal et al., "Deep reinforcement learning at the edge of the statistical
    precipice", NeurIPS 2021, section 4.2.
    """

    series: str = Field("protocol", description="an axis whose values become curves")
    strata: list[str] = Field(min_length=1, description="columns inside whose groups episodes are resampled")

    def draw(self, results: Results) -> Rendered:
        """See `View.draw`."""
        series = results.values(self.series)
        looks, levels = look(series), np.linspace(0.0, 1.1, 111)
        with style():
            figure, (axis,) = panels(1, width=5.2, height=3.6)
            total = 0
            for name in series:
                strata = scores(results.where({self.series: name}), self.strata)
                total = max(total, sum(len(part) for part in strata))
                share, band = performance_profile(strata, levels)
                axis.plot(levels, share, color=looks[name][0], linewidth=1.5, label=str(name))
                axis.fill_between(levels, band[:, 0], band[:, 1], color=looks[name][0], alpha=0.15, linewidth=0)
            axis.set(xlabel="speed score τ (1: the longest trip, alone at full speed)", ylim=(-0.02, 1.02))
            axis.set_ylabel("share of attempts above τ")
            legend(figure, [axis])
        return Rendered(self.title, f"{self.caption} Bands are 95 %; n = {total} attempts.".strip(), figure=figure)


def scores(results: Results, strata: list[str]) -> list[list[float]]:
    """Speed scores of each stratum; what failed or was never run scores zero."""
    return [speed_scores(rows) for rows in results.groups(strata).values()]
