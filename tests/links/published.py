"""Where published rows of links are, and how far a measurement may be off."""

from __future__ import annotations

from pathlib import Path

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SIGMAS = 4.5
"""Two-sided 7e-6 for each row, and every draw is keyed, so never flaky."""
