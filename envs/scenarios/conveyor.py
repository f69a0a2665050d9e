"""Two one-way belts that every trip has to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from envs.scenarios import SCENARIOS
from envs.scenarios._unit import Float, UnitScenario, box
from envs.world import Stops

_UPPER = [[0.6, 0.2], [0.0, 0.2], [-0.6, 0.2]]
BELTS = np.array([_UPPER, [[-x, -y] for x, y in _UPPER]], np.float32)
"""Entrance, middle and exit of the upper and the lower belt, float32 [2, 3, 2]."""

WITHIN = 0.2


def belt_direction(points: Float) -> Float:
    """Leftwards on the upper belt, rightwards on the lower one, zero elsewhere.

    Args:
        points: float32 [..., 2], metres.

    Returns:
        float32 [..., 2].
    """
    x, y = points[..., 0], points[..., 1]
    on_belt = (np.abs(x) <= 0.5) & (np.abs(y) >= 0.05) & (np.abs(y) <= 0.3)
    along = np.where(on_belt, -np.sign(y), 0)
    return np.stack([along, np.zeros_like(along)], axis=-1).astype(np.float32)


def conveyance(positions: Float) -> Float:
    """1 for an agent that passed entrance, middle and exit of one belt in order, each within 0.2 m.

    Args:
        positions: float32 [T+1, agent, 2].

    Returns:
        float32 [agent].
    """
    carried = np.zeros(positions.shape[1], bool)
    for belt in BELTS:
        passed = np.zeros(positions.shape[1], np.int64)
        for spot in positions:
            target = belt[np.minimum(passed, 2)]
            passed += (passed < 3) & (np.linalg.norm(spot - target, axis=-1) < WITHIN)
        carried |= passed == 3
    return carried.astype(np.float32)


def shorter(starts: Float, goals: Float) -> Float:
    """The belt that makes the shorter trip from starts to goals [..., agent, 2]: float32 [..., agent, 3, 2]."""
    lead = np.linalg.norm(starts[..., None, :] - BELTS[:, 0], axis=-1)
    tail = np.linalg.norm(goals[..., None, :] - BELTS[:, 2], axis=-1)
    return BELTS[np.argmin(lead + tail, axis=-1)]


@SCENARIOS.register("conveyor")
class Conveyor(UnitScenario):
    """Random trips that ride one of two one-way belts on the way (MMD's Conveyor)."""

    name: ClassVar[str] = "conveyor"
    boxes: ClassVar[tuple[tuple[float, ...], ...]] = (
        box(0, 0, 0.8, 0.1),
        box(0, 0.35, 1.0, 0.1),
        box(0, -0.35, 1.0, 0.1),
    )
    flow: ClassVar[Callable[[Float], Float] | None] = belt_direction
    adherence: ClassVar[Callable[[Float], Float]] = conveyance
    stops: ClassVar[Stops | None] = Stops(shorter, WITHIN)
