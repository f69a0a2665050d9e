"""Foresight: the cheapest way through space *and* time, around what peers are believed to do.

A geodesic field knows the map but not the traffic. Here every agent whose way is contested
solves a small dynamic programme on a window of planning nodes over the next seconds: at each
step stay or move to a neighbour, pay time until the goal, pay for being where a peer is
believed to be. The result is a value function (seconds to the goal, traffic included), which
scores sampled plans, and its best way, which starts some of the samples. Waiting, going
around, and backing out of a corridor for someone of higher priority all come out of it.

Reference: D. Silver, "Cooperative pathfinding", 2005 (windowed cooperative A*); here by value
iteration over arrays, against beliefs instead of reservations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.navigation import MOVES
from policies.trajectory.route import Guide

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Foresight:
    """Value functions of a batch of agents on their own windows.

    Attributes:
        value: float32 [n, step + 1, side, side], seconds to the goal from a node at a step.
        tolls: likewise, seconds charged for being at a node at a step.
        to_go: float32 [n, side, side], seconds to the goal over the empty map, inf where blocked.
        corner: int64 [n, 2], row and column of each window's first node.
        way: float32 [n, step + 1, 2], metres; the best way from the agent's node.
        toll: float32 [n], seconds of penalty that the best way still pays.
        step_s: seconds per step. guide: node geometry. speed: m/s.
    """

    value: Floats
    tolls: Floats
    to_go: Floats
    corner: Ints
    way: Floats
    toll: Floats
    step_s: float
    guide: Guide
    speed: float

    def time_to_go(self, rows: Ints, points: Floats, seconds: Floats, static: Floats) -> Floats:
        """Seconds to the goal, traffic included.

        Args:
            rows: [n], which agents. points: [n, k, 2], metres. seconds: [k], when they are reached.
            static: [n, k], seconds to the goal over the empty map.

        Returns:
            float32 [n, k]: the value at the nearest node, corrected by what the point is better or
            worse than that node on the empty map.
        """
        from agentsc.protocol import _kernels

        result = np.empty(static.shape, np.float32)
        _kernels.foreseen(
            rows, np.ascontiguousarray(points, np.float32), seconds, np.ascontiguousarray(static, np.float32),
            self.value, self.tolls, self.to_go, self.corner,
            self.guide.grid.origin, self.guide.grid.cell, self.step_s, result,
        )  # fmt: skip
        return result


def foresee(
    guide: Guide,
    start: Floats,
    goal: Ints,
    peers: Floats,
    penalty: Floats,
    distance: float,
    steps: int,
    step_s: float,
    speed: float,
) -> Foresight:
    """Solve the dynamic programme of every agent.

    Args:
        start: [n, 2], metres. goal: [n], rows of the guide's tables.
        peers: float32 [n, peer, 2·steps + 1, 2], believed positions every half step, metres.
        penalty: float32 [n, peer, step + 1], seconds charged for a step spent within ``distance`` of it.
    """
    from agentsc.protocol import _kernels

    grid, count = guide.grid, len(start)
    side = 2 * steps + 1  # nobody can leave the window, so its edge never makes waiting look free
    node = guide.nodes(start, goal)
    corner = np.stack([node // grid.shape[1], node % grid.shape[1]], -1) - steps
    value, tolls = (np.empty((count, steps + 1, side, side), np.float32) for _ in range(2))
    to_go, way = np.empty((count, side, side), np.float32), np.empty((count, steps + 1, 2), np.float32)
    toll = np.empty(count, np.float32)
    _kernels.foresee(
        guide.fields, grid.costs, MOVES, _move_s(step_s), goal, corner, np.ascontiguousarray(peers, np.float32),
        np.ascontiguousarray(penalty, np.float32), grid.origin, grid.cell, distance, step_s, speed, guide.many_maps,
        value, tolls, to_go, way, toll,
    )  # fmt: skip
    return Foresight(value, tolls, to_go, corner, way, toll, step_s, guide, speed)


def _move_s(step_s: float) -> Floats:
    """Seconds of each move: a hair more than waiting, so that nobody dances; diagonals are longer."""
    return (step_s * np.where((MOVES == 0).any(1), 1.02, 1.1)).astype(np.float32)
