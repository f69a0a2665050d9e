"""Guidance as loops: per sample only the discs that it comes near, per way-point only what it touches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, kernel, result

_ZERO, _TINY = np.float32(0.0), np.float32(1e-12)


@kernel(
    array("float32", 4), array("float32", 4), array("float32", 3), array("float32", 2), array("float32", 4),
    array("float32", 1), array("float32", 1), types.float32, array("float32", 3), array("float32", 4),
    result("float32", 2), result("float32", 4),
)  # fmt: skip
def consistency(
    points: Any, discs: Any, radius: Any, weight: Any, box: Any,
    decay: Any, clearance: Any, wall_weight: Any, distance: Any, gradient: Any,
    cost: Any, push: Any,
) -> None:  # fmt: skip
    """``cost`` [agents, samples] and ``push`` [agents, samples, waypoint, 2], see `Consistency.cost`.

    Args:
        points: [agents, samples, waypoint, 2]. discs: [agents, disc, waypoint, 2].
        radius: [agents, disc, waypoint]. weight: [agents, disc]. box: [agents, disc, 2, 2].
        decay: [waypoint]. clearance: [agents]. wall_weight: zero leaves the walls out.
        distance: [agents, samples, waypoint] from the walls, and its gradient [..., 2].
    """
    agents, samples, stops, _ = points.shape
    total = np.empty(stops, np.float32)
    for a in range(agents):
        for s in range(samples):
            x_low = x_high = points[a, s, 0, 0]
            y_low = y_high = points[a, s, 0, 1]
            for h in range(stops):
                x, y = points[a, s, h, 0], points[a, s, h, 1]
                x_low, x_high, y_low, y_high = min(x_low, x), max(x_high, x), min(y_low, y), max(y_high, y)
                total[h] = push[a, s, h, 0] = push[a, s, h, 1] = _ZERO
            for m in range(discs.shape[1]):
                if weight[a, m] <= _ZERO or x_high <= box[a, m, 0, 0] or x_low >= box[a, m, 1, 0]:
                    continue
                if y_high <= box[a, m, 0, 1] or y_low >= box[a, m, 1, 1]:
                    continue
                for h in range(stops):
                    dx, dy = points[a, s, h, 0] - discs[a, m, h, 0], points[a, s, h, 1] - discs[a, m, h, 1]
                    square = dx * dx + dy * dy + _TINY
                    if square < radius[a, m, h] * radius[a, m, h]:
                        gap = np.sqrt(square)
                        hinge = radius[a, m, h] - gap
                        force = hinge * weight[a, m]
                        total[h] += force * hinge
                        push[a, s, h, 0] += force / gap * dx
                        push[a, s, h, 1] += force / gap * dy
            if wall_weight > _ZERO:
                for h in range(stops):
                    hinge = max(clearance[a] - distance[a, s, h], _ZERO)
                    total[h] += wall_weight * hinge * hinge
                    push[a, s, h, 0] += wall_weight * hinge * gradient[a, s, h, 0]
                    push[a, s, h, 1] += wall_weight * hinge * gradient[a, s, h, 1]
            summed = _ZERO
            for h in range(stops):
                summed += total[h] * decay[h]
                push[a, s, h, 0] *= decay[h]
                push[a, s, h, 1] *= decay[h]
            cost[a, s] = summed


@kernel(array("float32", 3), array("float32", 1), result("float32", 3))
def limit_speed(control: Any, speed: Any, limited: Any) -> None:
    """``limited`` [n, P, 2], see `policies.diffusion.guidance.consistency.limit_speed`; ``speed`` [P − 1], metres."""
    for n in range(control.shape[0]):
        x, y = control[n, 0, 0], control[n, 0, 1]
        limited[n, 0, 0], limited[n, 0, 1] = x, y
        for p in range(1, control.shape[1]):
            dx, dy = control[n, p, 0] - control[n, p - 1, 0], control[n, p, 1] - control[n, p - 1, 1]
            length = np.sqrt(dx * dx + dy * dy)
            if length > speed[p - 1]:
                dx, dy = dx * (speed[p - 1] / length), dy * (speed[p - 1] / length)
            x, y = x + dx, y + dy
            limited[n, p, 0], limited[n, p, 1] = x, y
