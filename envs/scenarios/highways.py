"""A roundabout with side roads, driven counter-clockwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from envs.scenarios import SCENARIOS
from envs.scenarios._unit import Float, UnitScenario, box

RING = 0.75  # the side roads begin outside this square


def counter_clockwise(points: Float) -> Float:
    """Unit tangent around the centre; zero in the side roads and at the centre itself.

    Args:
        points: float32 [..., 2], metres.

    Returns:
        float32 [..., 2].
    """
    tangent = np.stack([-points[..., 1], points[..., 0]], axis=-1)
    length = np.linalg.norm(points, axis=-1, keepdims=True)
    inside = np.abs(points).max(axis=-1, keepdims=True) <= RING
    return np.where(inside & (length > 1e-6), tangent / np.maximum(length, 1e-6), 0).astype(np.float32)


def circulation(positions: Float) -> Float:
    """1 for an agent whose way turns counter-clockwise around the centre, else 0 (MMD's adherence).

    The sign is that of the summed cross product of successive unit position vectors.

    Args:
        positions: float32 [T+1, agent, 2].

    Returns:
        float32 [agent].
    """
    unit = positions / np.maximum(np.linalg.norm(positions, axis=-1, keepdims=True), 1e-9)
    turned = (unit[:-1, :, 0] * unit[1:, :, 1] - unit[:-1, :, 1] * unit[1:, :, 0]).sum(axis=0)
    return (turned > 0).astype(np.float32)


@SCENARIOS.register("highways")
class Highways(UnitScenario):
    """Random trips around a central block, with counter-clockwise traffic (MMD's Highways)."""

    name: ClassVar[str] = "highways"
    boxes: ClassVar[tuple[tuple[float, ...], ...]] = (
        box(0, 0, 0.5, 0.5, 0.075),
        box(0, 0.875, 0.5, 0.25, 0.0375),
        box(0, -0.875, 0.5, 0.25, 0.0375),
        box(0.875, 0, 0.25, 0.5, 0.0375),
        box(-0.875, 0, 0.25, 0.5, 0.0375),
        box(0.875, 0.875, 0.25, 0.25, 0.0375),
        box(0.875, -0.875, 0.25, 0.25, 0.0375),
        box(-0.875, 0.875, 0.25, 0.25, 0.0375),
        box(-0.875, -0.875, 0.25, 0.25, 0.0375),
    )
    flow: ClassVar[Callable[[Float], Float] | None] = counter_clockwise
    adherence: ClassVar[Callable[[Float], Float]] = circulation
