"""Everybody to the other side of a circle."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from envs.scenarios import SCENARIOS
from envs.scenarios._unit import Float, RingScenario


@SCENARIOS.register("circle")
class Circle(RingScenario):
    """Agents evenly on a circle of radius 0.8 swap with their antipodes (MMD's Circle)."""

    name: ClassVar[str] = "circle"

    def place(self, angles: NDArray[np.float64]) -> tuple[Float, Float]:
        """See `RingScenario.place`."""
        starts = (0.8 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)).astype(np.float32)
        return starts, -starts
