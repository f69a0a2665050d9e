"""Which cells are seen from where: rays over an occupancy grid, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_SHIFT = np.float32(0.45)


@helper
def _open(occupied: Any, lane: Any, x0: Any, y0: Any, x1: Any, y1: Any, row: Any, column: Any) -> bool:
    """Whether the straight line from (x0, y0) to (x1, y1), in cells, meets no blocked cell but its last."""
    r, c = int(np.floor(y0)), int(np.floor(x0))
    dx, dy = x1 - x0, y1 - y0
    step_c, step_r = (1 if dx > 0 else -1), (1 if dy > 0 else -1)
    far = np.float32(1e9)
    delta_c = np.abs(np.float32(1.0) / dx) if dx != 0 else far
    delta_r = np.abs(np.float32(1.0) / dy) if dy != 0 else far
    next_c = ((np.float32(c + 1) - x0) if dx > 0 else (x0 - np.float32(c))) * delta_c if dx != 0 else far
    next_r = ((np.float32(r + 1) - y0) if dy > 0 else (y0 - np.float32(r))) * delta_r if dy != 0 else far
    for _ in range(occupied.shape[1] + occupied.shape[2] + 2):
        if r == row and c == column:
            return True
        if not (0 <= r < occupied.shape[1] and 0 <= c < occupied.shape[2]) or occupied[lane, r, c]:
            return False
        if next_c < next_r:
            c += step_c
            next_c += delta_c
        else:
            r += step_r
            next_r += delta_r
    return False


@kernel(array("boolean", 3), array("float32", 3), types.float32, result("boolean", 4))
def sight(occupied: Any, position: Any, reach: Any, seen: Any) -> None:
    """``seen`` [lane, agent, row, column] from positions [lane, agent, 2] within ``reach``, all in cells.

    A cell is seen if a line to its centre, or to a point near one of its corners, meets no blocked cell before it.
    """
    for lane in range(position.shape[0]):
        for agent in range(position.shape[1]):
            x, y = position[lane, agent, 0], position[lane, agent, 1]
            for row in range(occupied.shape[1]):
                for column in range(occupied.shape[2]):
                    seen[lane, agent, row, column] = False
                    cx, cy = np.float32(column) + np.float32(0.5), np.float32(row) + np.float32(0.5)
                    if (cx - x) * (cx - x) + (cy - y) * (cy - y) > reach * reach:
                        continue
                    found = _open(occupied, lane, x, y, cx, cy, row, column)
                    for corner in range(4):
                        if found:
                            break
                        sx = _SHIFT if corner % 2 else -_SHIFT
                        sy = _SHIFT if corner // 2 else -_SHIFT
                        found = _open(occupied, lane, x, y, cx + sx, cy + sy, row, column)
                    seen[lane, agent, row, column] = found
