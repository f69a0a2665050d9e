"""What the experiment publishes of radios, measured anew: on its closed form."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SIGMAS = 4.5
"""Two-sided 7e-6 for each row, and every draw is keyed, so never flaky."""


def script() -> ModuleType:
    sys.path.insert(0, str(EXPERIMENTS))  # where it finds its neighbour
    try:
        spec = importlib.util.spec_from_file_location("radio_models", EXPERIMENTS / "radio_models.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(EXPERIMENTS))


SCRIPT = script()


@pytest.mark.parametrize("name", list(SCRIPT.MEASUREMENTS))
def test_measurements_lie_on_the_closed_form(name: str) -> None:
    rows = list(SCRIPT.MEASUREMENTS[name]())
    assert rows
    for row in rows:
        assert row.packets >= 1e5 and row.standard_error > 0, row
        assert abs(row.z) <= SIGMAS, row


def test_most_published_rows_lie_in_their_interval() -> None:
    lines = (EXPERIMENTS / "results" / "radio-models" / "rows.csv").read_text().splitlines()
    values = np.array([line.rsplit(",", 4)[1:] for line in lines[1:]], float)
    measured, error, expected = values[:, 0], values[:, 1], values[:, 2]
    outside = np.abs(measured - expected) > SCRIPT.Z99 * error
    # One row in a hundred is expected; more than four of them would happen once in 200 experiments.
    assert len(values) > 70 and outside.sum() <= 4
