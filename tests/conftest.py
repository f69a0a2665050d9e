"""One thread everywhere: results are then bit-equal, and small matrices are not slowed by spinning."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
# Tests assert behaviour, not speed: a first call that imports or compiles must not fail one.
settings.register_profile("behaviour", deadline=None)
settings.load_profile("behaviour")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="fuzz 20 times as many packet schedules")
