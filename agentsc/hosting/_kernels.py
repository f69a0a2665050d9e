"""Compiled loops of `agentsc.hosting.ledger`; each states a formula of that module once more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_TINY = np.float32(1e-30)


@kernel(array("float64", 3), array("int64", 2), types.float64, types.int64, result("int64", 3), result("int64", 1))
def fit(path: Any, here: Any, tolerance: Any, longest: Any, legs: Any, count: Any) -> None:
    """The longest legs, one after the other, that stay within ``tolerance`` of ``path`` [S + 1, agent, 2] at its steps.

    Args:
        here: [agent, 2], where legs begin. legs: [agent, S, 3], filled with steps, x and y; count: [agent].
    """
    last = path.shape[0] - 1
    for i in range(path.shape[1]):
        x, y, s, n = here[i, 0], here[i, 1], 0, 0
        while s < last:
            best = s + 1
            for e in range(s + 2, min(last, s + longest) + 1):
                ex, ey = np.rint(path[e, i, 0]), np.rint(path[e, i, 1])
                fine = True
                for k in range(s + 1, e):
                    share = (k - s) / (e - s)
                    gx = x + share * (ex - x) - path[k, i, 0]
                    gy = y + share * (ey - y) - path[k, i, 1]
                    if gx * gx + gy * gy > tolerance * tolerance:
                        fine = False
                        break
                if not fine:
                    break
                best = e
            x, y = np.int64(np.rint(path[best, i, 0])), np.int64(np.rint(path[best, i, 1]))
            legs[i, n, 0], legs[i, n, 1], legs[i, n, 2] = best - s, x, y
            n += 1
            s = best
        count[i] = n


@helper
def _to_segment(px: Any, py: Any, ax: Any, ay: Any, bx: Any, by: Any) -> Any:
    """Distance of a point to the segment a–b."""
    dx, dy = bx - ax, by - ay
    along = min(max(((px - ax) * dx + (py - ay) * dy) / max(dx * dx + dy * dy, _TINY), _ZERO), _ONE)
    gx, gy = ax + along * dx - px, ay + along * dy - py
    return np.sqrt(gx * gx + gy * gy)


@helper
def _apart(ax: Any, ay: Any, bx: Any, by: Any, cx: Any, cy: Any, dx: Any, dy: Any) -> Any:
    """Least distance between the segments a–b and c–d, as sets of points."""
    ux, uy, vx, vy = bx - ax, by - ay, dx - cx, dy - cy
    one = (ux * (cy - ay) - uy * (cx - ax)) * (ux * (dy - ay) - uy * (dx - ax))
    two = (vx * (ay - cy) - vy * (ax - cx)) * (vx * (by - cy) - vy * (bx - cx))
    if one < _ZERO and two < _ZERO:
        return _ZERO  # they cross
    return min(
        min(_to_segment(ax, ay, cx, cy, dx, dy), _to_segment(bx, by, cx, cy, dx, dy)),
        min(_to_segment(cx, cy, ax, ay, bx, by), _to_segment(dx, dy, ax, ay, bx, by)),
    )


@helper
def _gap(route: Any, i: Any, a: Any, j: Any, b: Any) -> Any:
    """Distance between step ``a`` of agent ``i`` and step ``b`` of agent ``j``."""
    return _apart(
        route[a, i, 0], route[a, i, 1], route[a + 1, i, 0], route[a + 1, i, 1],
        route[b, j, 0], route[b, j, 1], route[b + 1, j, 0], route[b + 1, j, 1],
    )  # fmt: skip


@helper
def _together(route: Any, i: Any, j: Any, a: Any) -> Any:
    """Least distance of two agents that make step ``a`` at the same time."""
    gx, gy = route[a, i, 0] - route[a, j, 0], route[a, i, 1] - route[a, j, 1]
    hx, hy = route[a + 1, i, 0] - route[a + 1, j, 0], route[a + 1, i, 1] - route[a + 1, j, 1]
    return _to_segment(_ZERO, _ZERO, gx, gy, hx, hy)


@helper
def _behind(route: Any, i: Any, j: Any, a: Any) -> Any:
    """Least distance if ``i`` begins step ``a`` no earlier than ``j`` does.

    |x_i(s) − x_j(t)| over 0 ≤ s ≤ t ≤ 1 is convex, and zero inside only if the two steps cross: else it is least
    on an edge, where both move alike, or i has not begun, or j has ended.
    """
    if _crosses_behind(route, i, j, a):
        return _ZERO
    waiting = _to_segment(
        route[a, i, 0], route[a, i, 1], route[a, j, 0], route[a, j, 1], route[a + 1, j, 0], route[a + 1, j, 1]
    )
    gone = _to_segment(
        route[a + 1, j, 0], route[a + 1, j, 1], route[a, i, 0], route[a, i, 1], route[a + 1, i, 0], route[a + 1, i, 1]
    )
    return min(_together(route, i, j, a), min(waiting, gone))


@helper
def _crosses_behind(route: Any, i: Any, j: Any, a: Any) -> Any:
    """Whether the two steps cross at a point that ``i`` passes at an earlier part of its step than ``j`` of its own."""
    ux, uy = route[a + 1, i, 0] - route[a, i, 0], route[a + 1, i, 1] - route[a, i, 1]
    vx, vy = route[a + 1, j, 0] - route[a, j, 0], route[a + 1, j, 1] - route[a, j, 1]
    wx, wy = route[a, j, 0] - route[a, i, 0], route[a, j, 1] - route[a, i, 1]
    area = ux * vy - uy * vx
    if abs(area) < _TINY:
        return False  # parallel: the least distance is on an edge, too
    s, t = (wx * vy - wy * vx) / area, (wx * uy - wy * ux) / area
    return s >= _ZERO and s <= t and t <= _ONE


@helper
def _moves(route: Any, i: Any, a: Any) -> Any:
    return route[a, i, 0] != route[a + 1, i, 0] or route[a, i, 1] != route[a + 1, i, 1]


@kernel(
    array("float32", 3), types.int64, types.float32, types.float32, array("int64", 1), result("int64", 2),
    result("int64", 1),
)  # fmt: skip
def gates(route: Any, first: Any, distance: Any, stride: Any, cleared: Any, found: Any, count: Any) -> None:
    """What comes before steps from ``first`` on, see `agentsc.hosting.ledger.Ledger`.

    Args:
        route: [S + 1, agent, 2]. stride: no step is longer. cleared: [agent], steps that have been made.
        found: [n, 5], filled with (agent, step, peer, steps of the peer, 1 if their last one need only have begun).
        count: [3]: rows found, even those for which there was no room; pairs of steps that can only be made at the
            very same time; pairs that come too close even so.
    """
    last, agents, n = route.shape[0] - 1, route.shape[1], 0
    count[1] = count[2] = 0
    for i in range(agents):
        for j in range(agents):
            if i == j:
                continue
            for a in range(first, last):
                if not _moves(route, i, a):
                    continue
                b = a - 1
                while b >= cleared[j]:
                    gap = _gap(route, i, a, j, b)
                    if gap < distance:
                        if n < len(found):
                            found[n, 0], found[n, 1], found[n, 2], found[n, 3], found[n, 4] = i, a, j, b + 1, 0
                        n += 1
                        break
                    # Earlier by k steps it was at most k strides nearer.
                    b -= max(int((gap - distance) / stride), 1)
    for i in range(agents):
        for j in range(i):
            a = first
            while a < last:
                gap = _gap(route, i, a, j, a)
                if gap >= distance:
                    a += max(int((gap - distance) / (stride + stride)), 1)
                    continue
                if _together(route, i, j, a) < distance:
                    count[2] += 1
                elif _moves(route, i, a) and _moves(route, j, a):
                    after, before = _behind(route, i, j, a) >= distance, _behind(route, j, i, a) >= distance
                    if not (after or before):
                        count[1] += 1
                    if after or not before:
                        if n < len(found):
                            found[n, 0], found[n, 1], found[n, 2], found[n, 3], found[n, 4] = i, a, j, a + 1, int(after)
                        n += 1
                    if not after:
                        if n < len(found):
                            found[n, 0], found[n, 1], found[n, 2], found[n, 3] = j, a, i, a + 1
                            found[n, 4] = int(before)
                        n += 1
                a += 1
    count[0] = n
