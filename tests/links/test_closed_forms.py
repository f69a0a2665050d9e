"""What the experiment publishes of every model, measured anew: at 10⁵ packets and more, on its closed form."""

from __future__ import annotations

import closed_forms
import link_models
import numpy as np
import pytest
from published import EXPERIMENTS, SIGMAS


@pytest.mark.parametrize("name", list(link_models.MEASUREMENTS))
def test_measurements_lie_on_the_closed_form(name: str) -> None:
    rows = list(link_models.MEASUREMENTS[name]())
    assert rows
    for row in rows:
        assert row.packets >= 1e5 and row.standard_error > 0, row
        assert abs(row.z) <= SIGMAS, row


def test_most_published_rows_lie_in_their_interval() -> None:
    lines = (EXPERIMENTS / "results" / "link-models" / "rows.csv").read_text().splitlines()
    assert lines[0] == closed_forms.COLUMNS
    values = np.array([line.rsplit(",", 4)[1:] for line in lines[1:]], float)
    measured, error, expected = values[:, 0], values[:, 1], values[:, 2]
    outside = np.abs(measured - expected) > closed_forms.Z99 * error
    # One row in a hundred is expected; more than four of them would happen once in 200 experiments.
    assert len(values) > 90 and outside.sum() <= 4


def test_short_queues_have_the_known_limits() -> None:
    """One place besides the radio's: both laws agree where they must."""
    assert link_models.md1k(0.7, 0) == pytest.approx(0.7 / 1.7)  # Erlang's B of one server
    law = link_models.workload(0.5, 60)
    mean = float(law @ np.arange(len(law)))
    assert mean == pytest.approx(0.5 * (link_models.SLOTS - 1) / (2 * 0.5), rel=1e-6)
