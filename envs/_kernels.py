"""Compiled twins of the distance formulas in `envs.geometry`, point by point.

The arguments of a field come as `envs.geometry.Obstacles` lays them out for compiled callers: origin,
raster cells per metre, raster shape, candidates, boxes, wall (infinitely wide where there is none), cutoff.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_ZERO, _ONE, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_TINY = np.float32(1e-30)
_INFINITE, _NAN = np.float32(np.inf), np.float32(np.nan)
_FINEST = np.float32(1.0 / 4096.0)
_DEEPEST = 64
"""Stretches of one segment that wait to be looked at; each halving adds one."""

FIELD = (
    array("float32", 1), types.float32, types.int64, types.int64,
    array("int32", 2), array("float32", 2), array("float32", 1), types.float32,
)  # fmt: skip


@helper
def _box_distance(dx: Any, dy: Any, hx: Any, hy: Any) -> Any:
    qx, qy = abs(dx) - hx, abs(dy) - hy
    # Inside, and beside a side, the nearest point lies straight across; otherwise it is a corner.
    return max(qx, qy) if min(qx, qy) <= _ZERO else np.sqrt(qx * qx + qy * qy)


@helper
def _box_gradient(dx: Any, dy: Any, hx: Any, hy: Any) -> Any:
    qx, qy = abs(dx) - hx, abs(dy) - hy
    if max(qx, qy) <= _ZERO:
        gx, gy = (_ONE, _ZERO) if qx > qy else (_ZERO, _ONE)
    else:
        ox, oy = max(qx, _ZERO), max(qy, _ZERO)
        length = np.sqrt(max(ox * ox + oy * oy, _TINY))  # squares of tiny offsets vanish
        gx, gy = ox / length, oy / length
    return np.copysign(gx, dx), np.copysign(gy, dy)


@helper
def _nearest(
    x: Any, y: Any, origin: Any, inverse: Any, nx: Any, ny: Any, candidates: Any, boxes: Any, wall: Any, cutoff: Any
) -> Any:
    """Clipped distance, and the nearest box: −1 for the wall, −2 where the distance is clipped."""
    if np.isnan(x) or np.isnan(y):
        return _NAN, -2
    ix = int(min(max((x - origin[0]) * inverse, _ZERO), np.float32(nx - 1)))
    iy = int(min(max((y - origin[1]) * inverse, _ZERO), np.float32(ny - 1)))
    cell, dummy = ix * ny + iy, boxes.shape[1] - 1
    distance, box = cutoff, -2
    for k in range(candidates.shape[0]):
        number = candidates[k, cell]
        if number == dummy:  # the rest of the list is empty
            break
        dx, dy, hx, hy = x - boxes[0, number], y - boxes[1, number], boxes[2, number], boxes[3, number]
        reach = distance + boxes[4, number]
        if abs(dx) - hx < reach and abs(dy) - hy < reach:  # most are ruled out without a square root
            each = _box_distance(dx, dy, hx, hy) - boxes[4, number]
            if each < distance:
                distance, box = each, int(number)
    each = -_box_distance(x - wall[0], y - wall[1], wall[2], wall[3])
    if each < distance:
        distance, box = each, -1
    return distance, box


@kernel(array("float32", 2), *FIELD, result("float32", 1))
def signed_distance(
    points: Any, origin: Any, inverse: Any, nx: Any, ny: Any, candidates: Any, boxes: Any, wall: Any, cutoff: Any,
    distance: Any,
) -> None:  # fmt: skip
    """`envs.geometry.signed_distance`: points [n, 2] → ``distance`` [n]."""
    for n in range(points.shape[0]):
        x, y = points[n, 0], points[n, 1]
        distance[n] = _nearest(x, y, origin, inverse, nx, ny, candidates, boxes, wall, cutoff)[0]


@kernel(array("float32", 2), *FIELD, result("float32", 1), result("float32", 2))
def distance_and_gradient(
    points: Any, origin: Any, inverse: Any, nx: Any, ny: Any, candidates: Any, boxes: Any, wall: Any, cutoff: Any,
    distance: Any, gradient: Any,
) -> None:  # fmt: skip
    """`envs.geometry.distance_and_gradient`: points [n, 2] → ``distance`` [n], ``gradient`` [n, 2]."""
    for n in range(points.shape[0]):
        x, y = points[n, 0], points[n, 1]
        distance[n], box = _nearest(x, y, origin, inverse, nx, ny, candidates, boxes, wall, cutoff)
        gx, gy = _ZERO, _ZERO
        if box >= 0:
            gx, gy = _box_gradient(x - boxes[0, box], y - boxes[1, box], boxes[2, box], boxes[3, box])
        elif box == -1:
            ox, oy = _box_gradient(x - wall[0], y - wall[1], wall[2], wall[3])
            gx, gy = -ox, -oy
        gradient[n, 0], gradient[n, 1] = gx, gy


@kernel(array("float32", 2), array("float32", 2), *FIELD, types.float32, types.float32, result("float32", 1))
def segment_clearance(
    start: Any, end: Any,
    origin: Any, inverse: Any, nx: Any, ny: Any, candidates: Any, boxes: Any, wall: Any, cutoff: Any,
    threshold: Any, tolerance: Any, clearance: Any,
) -> None:  # fmt: skip
    """`envs.geometry.segment_clearance` of segments [n, 2] to [n, 2] → ``clearance`` [n].

    The distance changes by at most the length moved, so on a stretch it is at least ``(d0 + d1 - length) / 2``.
    Stretches where that bound is not good enough are halved, the earlier half first.
    """
    open_ = np.empty((_DEEPEST, 4), np.float32)  # t0, t1, d0, d1 of stretches not yet decided
    for n in range(start.shape[0]):
        x, y = start[n, 0], start[n, 1]
        dx, dy = end[n, 0] - x, end[n, 1] - y
        length = np.sqrt(dx * dx + dy * dy)
        d0 = _nearest(x, y, origin, inverse, nx, ny, candidates, boxes, wall, cutoff)[0]
        d1 = _nearest(end[n, 0], end[n, 1], origin, inverse, nx, ny, candidates, boxes, wall, cutoff)[0]
        upper, lower = min(d0, d1), _INFINITE
        open_[0, 0], open_[0, 1], open_[0, 2], open_[0, 3] = _ZERO, _ONE, d0, d1
        count = 1
        while count > 0:
            count -= 1
            t0, t1, d0, d1 = open_[count, 0], open_[count, 1], open_[count, 2], open_[count, 3]
            bound = (d0 + d1 - (t1 - t0) * length) * _HALF
            # Negated, so that a NaN ends here, as NaN.
            if not bound < upper - tolerance or bound >= threshold or count + 2 > _DEEPEST:
                if not bound >= lower:
                    lower = bound
                continue
            middle = (t0 + t1) * _HALF
            dm = _nearest(
                x + middle * dx, y + middle * dy, origin, inverse, nx, ny, candidates, boxes, wall, cutoff
            )[0]
            upper = min(upper, dm)
            open_[count, 0], open_[count, 1], open_[count, 2], open_[count, 3] = middle, t1, dm, d1
            open_[count + 1, 0], open_[count + 1, 1], open_[count + 1, 2], open_[count + 1, 3] = t0, middle, d0, dm
            count += 2
        clearance[n] = upper if upper < lower else lower


@helper
def _along(
    share: Any, x: Any, y: Any, dx: Any, dy: Any,
    origin: Any, inverse: Any, nx: Any, ny: Any, candidates: Any, boxes: Any, wall: Any, cutoff: Any,
) -> Any:  # fmt: skip
    return _nearest(x + share * dx, y + share * dy, origin, inverse, nx, ny, candidates, boxes, wall, cutoff)[0]


@kernel(array("float32", 2), array("float32", 2), *FIELD, types.float32, result("float32", 1))
def segment_inside(
    start: Any, end: Any,
    origin: Any, inverse: Any, nx: Any, ny: Any, candidates: Any, boxes: Any, wall: Any, cutoff: Any,
    tolerance: Any, length: Any,
) -> None:  # fmt: skip
    """`envs.geometry.segment_inside` of segments [n, 2] to [n, 2] → ``length`` [n].

    Nothing changes within the distance to the nearest surface, on either side of it, so a step goes that far.
    """
    for n in range(start.shape[0]):
        x, y = start[n, 0], start[n, 1]
        dx, dy = end[n, 0] - x, end[n, 1] - y
        whole = np.sqrt(dx * dx + dy * dy)
        at, found = _ZERO, _ZERO
        least = max(tolerance, whole * _FINEST)
        while at < whole:
            depth = _along(at / whole, x, y, dx, dy, origin, inverse, nx, ny, candidates, boxes, wall, cutoff)
            step = min(max(abs(depth), least), whole - at)
            if abs(depth) < least:  # the surface may be within this step: its middle decides
                middle = (at + _HALF * step) / whole
                depth = _along(middle, x, y, dx, dy, origin, inverse, nx, ny, candidates, boxes, wall, cutoff)
            if depth < _ZERO:
                found += step
            at += step
        length[n] = found
