"""What the experiment publishes of relays, gateways, partitions and graphs, measured anew: on its closed form."""

from __future__ import annotations

import closed_forms
import numpy as np
import pytest
import topology_models
from published import EXPERIMENTS, SIGMAS


@pytest.mark.parametrize("name", list(topology_models.MEASUREMENTS))
def test_measurements_lie_on_the_closed_form(name: str) -> None:
    rows = list(topology_models.MEASUREMENTS[name]())
    assert rows
    for row in rows:
        # Without a standard error there is no chance in it, and it has to be met exactly.
        assert row.standard_error == 0 or row.packets >= 1e5, row
        assert abs(row.z) <= SIGMAS, row


def test_random_graphs_are_connected_as_counting_says() -> None:
    """All graphs over four nodes: 38 of 64 are connected."""
    assert topology_models.connected(4, 0.5) == pytest.approx(38 / 64)
    assert topology_models.connected(2, 0.3) == pytest.approx(0.3)


def test_most_published_rows_lie_in_their_interval() -> None:
    lines = (EXPERIMENTS / "results" / "topology-models" / "rows.csv").read_text().splitlines()
    assert lines[0] == "model,quantity,at,measured,standard_error,expected,packets"
    values = np.array([line.rsplit(",", 4)[1:] for line in lines[1:]], float)
    measured, error, expected = values[:, 0], values[:, 1], values[:, 2]
    chance = error > 0
    assert (measured[~chance] == expected[~chance]).all() and (~chance).sum() > 100
    outside = np.abs(measured - expected)[chance] > closed_forms.Z99 * error[chance]
    # One row in a hundred is expected to; more than three of about fifty would happen once in 500 experiments.
    assert chance.sum() > 40 and outside.sum() <= 3
