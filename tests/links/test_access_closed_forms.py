"""What the experiment publishes of access to a shared medium, measured anew: at 10⁵ packets and more."""

from __future__ import annotations

import csv
import math

import access_models
import closed_forms
import pytest
from published import EXPERIMENTS, SIGMAS

CERTAIN = ("airtime, s", "loss")
"""What chance does not touch: airtime, and the loss of radios with slots of their own."""


@pytest.mark.parametrize("name", list(access_models.MEASUREMENTS))
def test_measurements_lie_on_the_closed_form(name: str) -> None:
    rows = list(access_models.MEASUREMENTS[name]())
    assert rows
    for row in rows:
        assert row.packets >= 1e5, row
        if row.standard_error == 0.0:
            assert row.quantity in CERTAIN and row.measured == pytest.approx(row.expected, rel=1e-9), row
        else:
            assert abs(row.z) <= SIGMAS, row


def test_most_published_rows_lie_in_their_interval() -> None:
    lines = (EXPERIMENTS / "results" / "access-models" / "rows.csv").read_text().splitlines()
    assert len(lines) > 50
    outside = set()
    for model, _, at, *values in csv.reader(lines[1:]):
        measured, error, expected = map(float, values[:3])
        if abs(measured - expected) > closed_forms.Z99 * error + 1e-9:
            outside.add((model, at))  # whose rows share their packets, so they are outside together
    # One in a hundred of about fifty is expected; more than three would happen once in 500 experiments.
    assert len(outside) <= 3


def test_closed_forms_have_the_known_limits() -> None:
    """Many radios with a given load: G e^(−G) and G e^(−2G). One radio is never disturbed."""
    many, load = 20_000, 0.7
    assert (1 - load / many) ** (many - 1) == pytest.approx(math.exp(-load), rel=1e-3)
    assert access_models.spread_out(many, load / many) == pytest.approx(math.exp(-2 * load), rel=1e-3)
    assert access_models.spread_out(1, 0.3) == pytest.approx(1.0)
    assert access_models.spread_out(2, 0.3) == pytest.approx(0.7**2)
    assert access_models.bianchi(1, 15, 1.0, 0.0, 0.1)[0] == 0.0
    # A jitter much shorter than a slot changes nothing.
    assert access_models.meeting(1e-9, 7) == pytest.approx(1 / 8 + 7 / 64, rel=1e-6)
    assert access_models.meeting(0.0, 7) == 1 / 8
