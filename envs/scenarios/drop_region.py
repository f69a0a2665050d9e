"""Four stations with a drop at each side; a trip stops at one of the sixteen drops."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from envs.scenarios import SCENARIOS
from envs.scenarios._unit import Float, UnitScenario, box
from envs.world import Stops

_STATIONS = ((0.4, 0.4), (-0.4, 0.4), (0.4, -0.4), (-0.4, -0.4))
_SIDES = np.array([[0.35, 0.0], [-0.35, 0.0], [0.0, 0.35], [0.0, -0.35]], np.float32)
DROPS = (np.array(_STATIONS, np.float32)[:, None] + _SIDES).reshape(-1, 2)
"""The drops' centres, float32 [16, 2]."""
DWELL = 16
"""Successive samples (a quarter of 64) to spend at a drop."""
WITHIN = 0.15


def delivery(positions: Float) -> Float:
    """1 for an agent that stayed within 0.15 m of one drop for 16 successive samples.

    Args:
        positions: float32 [T+1, agent, 2].

    Returns:
        float32 [agent].
    """
    stay = np.zeros((positions.shape[1], len(DROPS)), np.int64)
    longest = stay.copy()
    for spot in positions:
        inside = np.linalg.norm(spot[:, None] - DROPS, axis=-1) < WITHIN
        stay = np.where(inside, stay + 1, 0)
        longest = np.maximum(longest, stay)
    return (longest.max(axis=1) >= DWELL).astype(np.float32)


def evenly(starts: Float, goals: Float) -> Float:
    """A drop for each trip from starts to goals [..., agent, 2]: little detour, evenly used.

    Returns:
        float32 [..., agent, 1, 2].
    """
    from scipy.optimize import linear_sum_assignment

    detour = np.linalg.norm(starts[..., None, :] - DROPS, axis=-1)
    detour += np.linalg.norm(goals[..., None, :] - DROPS, axis=-1)
    agents = starts.shape[-2]
    shifts = -(-agents // len(DROPS))
    each = detour.reshape(-1, agents, len(DROPS))
    drop = np.array([linear_sum_assignment(np.tile(cost, shifts))[1] for cost in each], np.int64)
    return DROPS[drop.reshape(starts.shape[:-1]) % len(DROPS)][..., None, :]


@SCENARIOS.register("drop-region")
class DropRegion(UnitScenario):
    """Random trips with a stop of 16 samples at one of sixteen drops (MMD's DropRegion)."""

    name: ClassVar[str] = "drop-region"
    boxes: ClassVar[tuple[tuple[float, ...], ...]] = tuple(box(x, y, 0.4, 0.4) for x, y in _STATIONS)
    adherence: ClassVar[Callable[[Float], Float]] = delivery
    stops: ClassVar[Stops | None] = Stops(evenly, WITHIN, DWELL)
