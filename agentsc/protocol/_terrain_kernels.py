"""Maps that every row knows in its own way, compiled: ways over them, lines of sight, and where a disc fits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_INF = np.float32(np.inf)
_ROOT = np.float32(np.sqrt(2.0))


@kernel(
    array("int8", 3), array("float32", 3), array("int64", 1), array("int64", 2), types.float32, result("float32", 2)
)  # fmt: skip
def fields(cells: Any, toll: Any, row: Any, goal: Any, cell: Any, made: Any) -> None:
    """``made`` [n, node], cost to go to goals [n, 2] (row, column) on maps [row, R, C] of rows [n], metres.

    A node costs ``toll`` times its share of a move; filled cells cannot be entered, nor corners of them be cut. Passes
    over all nodes are repeated until nothing changes.
    """
    high, wide = cells.shape[1], cells.shape[2]
    for n in range(row.shape[0]):
        k = row[n]
        for node in range(high * wide):
            made[n, node] = _INF
        made[n, goal[n, 0] * wide + goal[n, 1]] = np.float32(0.0)
        changed = True
        turn = 0
        while changed:
            changed = False
            for r0 in range(high):
                r = r0 if turn % 2 == 0 else high - 1 - r0
                for c0 in range(wide):
                    c = c0 if turn // 2 % 2 == 0 else wide - 1 - c0
                    if cells[k, r, c] == 1:
                        continue
                    best = made[n, r * wide + c]
                    for dr in range(-1, 2):
                        for dc in range(-1, 2):
                            i, j = r + dr, c + dc
                            if (dr == 0 and dc == 0) or not (0 <= i < high and 0 <= j < wide):
                                continue
                            if cells[k, i, j] == 1 or cells[k, r, j] == 1 or cells[k, i, c] == 1:
                                continue
                            step = cell * (_ROOT if dr != 0 and dc != 0 else np.float32(1.0))
                            way = made[n, i * wide + j] + step * np.float32(0.5) * (toll[k, r, c] + toll[k, i, j])
                            if way < best - np.float32(1e-5):
                                best = way
                    if best < made[n, r * wide + c]:
                        made[n, r * wide + c] = best
                        changed = True
            turn += 1


@kernel(
    array("int8", 3), array("float32", 3), array("int64", 1), array("float32", 2), array("int64", 2), types.float32,
    result("int32", 2),
)  # fmt: skip
def onward(cells: Any, toll: Any, row: Any, field: Any, goal: Any, cell: Any, made: Any) -> None:
    """``made`` [n, node]: the node to go to next; −1 at the goal, the node itself where the next is not known free.

    Arguments as for `fields`; field [n, node] is what that made.
    """
    high, wide = cells.shape[1], cells.shape[2]
    for n in range(row.shape[0]):
        k = row[n]
        for r in range(high):
            for c in range(wide):
                node = r * wide + c
                made[n, node] = node
                if r == goal[n, 0] and c == goal[n, 1]:
                    made[n, node] = -1 if cells[k, r, c] == 0 else node
                    continue
                best, to_r, to_c = _INF, r, c
                for dr in range(-1, 2):
                    for dc in range(-1, 2):
                        i, j = r + dr, c + dc
                        if (dr == 0 and dc == 0) or not (0 <= i < high and 0 <= j < wide):
                            continue
                        if cells[k, i, j] == 1 or cells[k, r, j] == 1 or cells[k, i, c] == 1:
                            continue
                        step = cell * (_ROOT if dr != 0 and dc != 0 else np.float32(1.0))
                        way = field[n, i * wide + j] + step * np.float32(0.5) * (toll[k, r, c] + toll[k, i, j])
                        if way < best:
                            best, to_r, to_c = way, i, j
                if best < _INF and cells[k, to_r, to_c] == 0 and cells[k, r, to_c] == 0 and cells[k, to_r, c] == 0:
                    made[n, node] = to_r * wide + to_c


@helper
def _gap(cells: Any, k: Any, x: Any, y: Any, low_x: Any, low_y: Any, cell: Any, reach: Any, least: Any) -> Any:
    """Distance from (x, y) to the nearest cell of map k whose state is at least ``least`` or below 0, up to reach."""
    high, wide = cells.shape[1], cells.shape[2]
    first_r, last_r = int(np.floor((y - reach - low_y) / cell)), int(np.floor((y + reach - low_y) / cell))
    first_c, last_c = int(np.floor((x - reach - low_x) / cell)), int(np.floor((x + reach - low_x) / cell))
    best = reach
    for r in range(max(first_r, 0), min(last_r, high - 1) + 1):
        for c in range(max(first_c, 0), min(last_c, wide - 1) + 1):
            state = cells[k, r, c]
            if state == 0 or (state < 0 and least > 0):
                continue
            dx = max(low_x + cell * np.float32(c) - x, x - low_x - cell * np.float32(c + 1))
            dy = max(low_y + cell * np.float32(r) - y, y - low_y - cell * np.float32(r + 1))
            if dx <= 0 and dy <= 0:
                away = max(dx, dy)
            else:
                dx, dy = max(dx, np.float32(0.0)), max(dy, np.float32(0.0))
                away = np.sqrt(dx * dx + dy * dy)
            best = min(best, away)
    return best


@kernel(
    array("int8", 3), array("int64", 1), array("float32", 3), types.float32, types.float32, types.float32,
    types.float32, types.int64, result("float32", 2),
)  # fmt: skip
def gaps(
    cells: Any, row: Any, points: Any, low_x: Any, low_y: Any, cell: Any, reach: Any, least: Any, made: Any
) -> None:
    """``made`` [n, k]: signed distance of points [n, k, 2] to what rows [n] do not know to be free, up to ``reach``.

    With ``least`` above 0, to what they know to be filled.
    """
    for n in range(points.shape[0]):
        for k in range(points.shape[1]):
            made[n, k] = _gap(cells, row[n], points[n, k, 0], points[n, k, 1], low_x, low_y, cell, reach, least)


@kernel(
    array("int8", 3), array("int64", 1), array("float32", 3), types.float32, types.float32, types.float32,
    types.float32, types.int64, result("boolean", 1),
)  # fmt: skip
def clear(
    cells: Any, row: Any, path: Any, low_x: Any, low_y: Any, cell: Any, need: Any, parts: Any, made: Any
) -> None:
    """``made`` [n]: whether a disc of radius ``need`` on paths [n, T, 2] touches only cells that rows know to be free.

    Every leg is looked at in ``parts`` parts; what lies between two places is at most half a part from one of them, and
    the disc is that much larger.
    """
    for n in range(path.shape[0]):
        made[n] = True
        for t in range(path.shape[1] - 1):
            x, y = path[n, t, 0], path[n, t, 1]
            dx, dy = path[n, t + 1, 0] - x, path[n, t + 1, 1] - y
            wide = need + np.float32(0.5) * np.sqrt(dx * dx + dy * dy) / np.float32(parts)
            for part in range(parts + 1):
                share = np.float32(part) / np.float32(parts)
                px, py = x + share * dx, y + share * dy
                if _gap(cells, row[n], px, py, low_x, low_y, cell, wide, 0) < wide:
                    made[n] = False
                    break
            if not made[n]:
                break


@kernel(
    array("int8", 3), array("int64", 1), array("float32", 2), array("float32", 3), types.float32, types.float32,
    types.float32, types.float32, result("int64", 1),
)  # fmt: skip
def visible(
    cells: Any, row: Any, origin: Any, points: Any, low_x: Any, low_y: Any, cell: Any, need: Any, made: Any
) -> None:
    """``made`` [n]: the last of points [n, k, 2] to which, and to all before, the line from origin [n, 2] is free.

    Free is what a disc of radius ``need`` needs; 0 where only the first is.
    """
    for n in range(points.shape[0]):
        made[n] = 0
        for k in range(points.shape[1]):
            dx, dy = points[n, k, 0] - origin[n, 0], points[n, k, 1] - origin[n, 1]
            steps = int(np.ceil(np.sqrt(dx * dx + dy * dy) / (np.float32(0.15) * cell))) + 1
            good = True
            for step in range(1, steps + 1):
                share = np.float32(step) / np.float32(steps)
                px, py = origin[n, 0] + share * dx, origin[n, 1] + share * dy
                if _gap(cells, row[n], px, py, low_x, low_y, cell, need, 0) < need:
                    good = False
                    break
            if not good:
                break
            made[n] = k
