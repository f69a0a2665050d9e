"""The experiments that measure links on their closed forms, as modules, and how far a measurement may be off."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SIGMAS = 4.5
"""Two-sided 7e-6 for each row, and every draw is keyed, so never flaky."""


def script(name: str) -> ModuleType:
    """One of the scripts in ``experiments``."""
    sys.path.insert(0, str(EXPERIMENTS))  # where it finds its neighbours
    try:
        spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(EXPERIMENTS))
