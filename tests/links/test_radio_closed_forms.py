"""What the experiment publishes of radios, measured anew: on its closed form."""

from __future__ import annotations

import closed_forms
import numpy as np
import pytest
import radio_models
from published import EXPERIMENTS, SIGMAS


@pytest.mark.parametrize("name", list(radio_models.MEASUREMENTS))
def test_measurements_lie_on_the_closed_form(name: str) -> None:
    rows = list(radio_models.MEASUREMENTS[name]())
    assert rows
    for row in rows:
        assert row.packets >= 1e5 and row.standard_error > 0, row
        assert abs(row.z) <= SIGMAS, row


def test_most_published_rows_lie_in_their_interval() -> None:
    lines = (EXPERIMENTS / "results" / "radio-models" / "rows.csv").read_text().splitlines()
    values = np.array([line.rsplit(",", 4)[1:] for line in lines[1:]], float)
    measured, error, expected = values[:, 0], values[:, 1], values[:, 2]
    outside = np.abs(measured - expected) > closed_forms.Z99 * error
    # One row in a hundred is expected; more than four of them would happen once in 200 experiments.
    assert len(values) > 70 and outside.sum() <= 4
