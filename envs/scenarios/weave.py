"""Straight across a square, from all four sides."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.scenarios import SCENARIOS
from envs.scenarios._unit import Float, RingScenario

SIDE = 0.87


@SCENARIOS.register("weave")
class Weave(RingScenario):
    """Agents on the sides of a square cross straight to the opposite side (MMD's Boundary, Akule's Weave).

    Every episode draws its phase and jitters the angles, as Akule's scenes do; ``phase=0 jitter=0``
    is MMD's one fixed instance.
    """

    name: ClassVar[str] = "weave"

    phase: float | None = Field(
        None, allow_inf_nan=False, description="angle of the first agent, rad; null draws one per episode"
    )
    jitter: float = Field(1e-3, ge=0, le=0.1, description="largest random change of an agent's angle, rad")

    def place(self, angles: NDArray[np.float64]) -> tuple[Float, Float]:
        """See `RingScenario.place`."""
        starts = (0.8 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)).astype(np.float32)
        # The larger coordinate is snapped to the side, and the goal mirrors that coordinate.
        index = np.arange(len(starts))
        axis = np.where(np.abs(starts[:, 0]) > np.abs(starts[:, 1]), 0, 1)
        starts[index, axis] = np.copysign(np.float32(SIDE), starts[index, axis])
        goals = starts.copy()
        goals[index, axis] *= -1
        return starts, goals
