"""The planner's inner loops, compiled: foresight's dynamic programme, bounding boxes, costs of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_ZERO, _HALF, _ONE, _FAR = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(1e6)
_TINY = np.float32(1e-30)


# -- foresight ---------------------------------------------------------------------------------
#
# Nodes and the mid-points between them, half a cell apart, have half-grid coordinates: node (r, c) is
# (2 r + 1, 2 c + 1), and the middle of its move (dy, dx) is (2 r + 1 + dy, 2 c + 1 + dx). What is charged
# there is kept apart by parity, charges[half step, 2 (a & 1) + (b & 1), (a >> 1) width + (b >> 1)]: then the
# middles of one move of all nodes lie one behind the other, at one offset from their nodes r width + c, and
# a step of the dynamic programme is a few loops over contiguous memory. Rows are two longer than the window;
# what sticks out is priced out of reach.


@helper
def _charge(
    x0: Any, y0: Any, unit: Any, distance: Any, peers: Any, penalty: Any, side: Any, busy: Any, charges: Any
) -> None:
    """Seconds charged at every half step within ``distance`` of a peer; a whole step is two half steps.

    ``unit`` is half a cell, ``busy`` marks the half steps that charge anything.
    """
    halves, wide, width = charges.shape[0], 2 * side + 1, side + 2
    for h in range(halves):
        if busy[h]:
            busy[h] = False
            for parity in range(4):
                for i in range(charges.shape[2]):
                    charges[h, parity, i] = _ZERO
    size = int(np.ceil(distance / unit + _HALF))
    reach = (distance / unit) * (distance / unit)
    for p in range(peers.shape[0]):
        for h in range(halves):
            fee = _HALF * penalty[p, h // 2]
            x, y = (peers[p, h, 0] - x0) / unit + _ONE, (peers[p, h, 1] - y0) / unit + _ONE
            if not (fee > _ZERO and -size < x < wide + size and -size < y < wide + size):
                continue
            busy[h] = True
            column, row = int(np.rint(x)), int(np.rint(y))
            for a in range(max(row - size, 0), min(row + size + 1, wide)):
                for b in range(max(column - size, 0), min(column + size + 1, wide)):
                    dx, dy = np.float32(b) - x, np.float32(a) - y
                    if dx * dx + dy * dy < reach:
                        charges[h, 2 * (a & 1) + (b & 1), (a >> 1) * width + (b >> 1)] += fee


@helper
def _sweep(price: Any, pause: Any, moves: Any, charges: Any, value: Any) -> None:
    """Value iteration backwards in time: at each step stay, or move to a neighbour that is allowed."""
    side, count = value.shape[1], len(pause)
    width = side + 2
    onward, best = np.full(count + 2 * width + 2, _FAR), np.empty(count, np.float32)
    for k in range(value.shape[0] - 2, -1, -1):
        for r in range(side):
            for c in range(side):
                onward[(r + 1) * width + c + 1] = value[k + 1, r, c] + charges[2 * k + 2, 3, r * width + c]
        between = charges[2 * k + 1]
        there, toll = onward[width + 1 : width + 1 + count], between[3]
        for i in range(count):
            best[i] = there[i] + pause[i] + toll[i]
        for m in range(moves.shape[0]):
            dy, dx = moves[m, 0], moves[m, 1]
            first = (1 + dy) * width + 1 + dx
            there, cost = onward[first : first + count], price[m]
            first = ((1 + dy) // 2) * width + (1 + dx) // 2
            toll = between[2 * ((1 + dy) & 1) + ((1 + dx) & 1)][first : first + count]
            for i in range(count):
                reached = there[i] + cost[i] + toll[i]
                best[i] = reached if reached < best[i] else best[i]
        for r in range(side):
            for c in range(side):
                value[k, r, c] = best[r * width + c]


@kernel(
    array("float32", 2), array("float32", 3), array("int64", 2), array("float32", 1),
    array("int64", 1), array("int64", 2), array("float32", 4), array("float32", 3),
    array("float32", 1), types.float32, types.float32, types.float32, types.float32,
    types.boolean,
    result("float32", 4), result("float32", 4), result("float32", 3), result("float32", 3), result("float32", 1),
)  # fmt: skip
def foresee(
    fields: Any, costs: Any, moves: Any, move_s: Any, goal: Any, corner: Any, peers: Any, penalty: Any,
    origin: Any, cell: Any, distance: Any, step_s: Any, speed: Any, corners: Any,
    value: Any, tolls: Any, to_go: Any, way: Any, toll: Any,
) -> None:  # fmt: skip
    """Fill in `agentsc.protocol.space_time.Foresight` for every agent.

    Args:
        fields: [goal, node], metres. costs: [move, row, column], finite where a move is allowed.
        moves: [move, 2]. move_s: [move], seconds. goal: [n]. corner: [n, 2], window's first row and column.
        peers: [n, peer, 2·steps + 1, 2]. penalty: [n, peer, step + 1].
        corners: whether moves may not cut corners of what is blocked on the goals' own maps either.
        value, tolls: [n, step + 1, side, side]. to_go: [n, side, side]. way: [n, step + 1, 2]. toll: [n].
    """
    steps, side = value.shape[1] - 1, value.shape[2]
    width, rows, columns = side + 2, costs.shape[1], costs.shape[2]
    charges = np.zeros((2 * steps + 1, 4, (side + 1) * width), np.float32)
    busy = np.zeros(2 * steps + 1, np.bool_)
    price, pause = np.full((moves.shape[0], side * width), _FAR), np.full(side * width, _FAR)
    for n in range(value.shape[0]):
        top, left = corner[n, 0], corner[n, 1]
        x0, y0 = origin[0] + cell * np.float32(left), origin[1] + cell * np.float32(top)
        for r in range(side):
            for c in range(side):
                row, column = top + r, left + c
                inside = 0 <= row < rows and 0 <= column < columns
                seconds = fields[goal[n], row * columns + column] / speed if inside else np.float32(np.inf)
                to_go[n, r, c] = seconds
                value[n, steps, r, c] = seconds if seconds < _FAR else _FAR
                node = r * width + c
                pause[node] = _ZERO if seconds <= _HALF * cell / speed else step_s  # at home time stands still
                for m in range(moves.shape[0]):
                    allowed = inside and np.isfinite(costs[m, row, column])
                    if allowed and np.isfinite(seconds):
                        # Moves are those of the first map: on another one, whence nobody gets home is blocked.
                        onto = (row + moves[m, 0]) * columns + column + moves[m, 1]
                        allowed = np.isfinite(fields[goal[n], onto])
                        if corners and allowed and moves[m, 0] != 0 and moves[m, 1] != 0:
                            beside = fields[goal[n], (row + moves[m, 0]) * columns + column]
                            allowed = np.isfinite(beside)
                            beside = fields[goal[n], row * columns + column + moves[m, 1]]
                            allowed = allowed and np.isfinite(beside)
                    price[m, node] = move_s[m] if allowed else _FAR
        _charge(x0, y0, _HALF * cell, distance, peers[n], penalty[n], side, busy, charges)
        _sweep(price, pause, moves, charges, value[n])
        for k in range(steps + 1):
            for r in range(side):
                for c in range(side):
                    tolls[n, k, r, c] = charges[2 * k, 3, r * width + c]

        r = c = side // 2
        toll[n] = _ZERO
        way[n, 0, 0], way[n, 0, 1] = x0 + cell * np.float32(c), y0 + cell * np.float32(r)
        for k in range(steps):
            node = r * width + c
            least = value[n, k + 1, r, c] + tolls[n, k + 1, r, c] + pause[node] + charges[2 * k + 1, 3, node]
            best_r, best_c = r, c
            for m in range(moves.shape[0]):
                i, j = r + moves[m, 0], c + moves[m, 1]
                if not (price[m, node] < _FAR and 0 <= i < side and 0 <= j < side):
                    continue
                a, b = r + i + 1, c + j + 1
                between = charges[2 * k + 1, 2 * (a & 1) + (b & 1), (a >> 1) * width + (b >> 1)]
                cost = value[n, k + 1, i, j] + tolls[n, k + 1, i, j] + between + price[m, node]
                if cost < least - np.float32(1e-6):
                    least, best_r, best_c = cost, i, j
            r, c = best_r, best_c
            toll[n] += tolls[n, k + 1, r, c]
            way[n, k + 1, 0], way[n, k + 1, 1] = x0 + cell * np.float32(c), y0 + cell * np.float32(r)


@kernel(
    array("int64", 1), array("float32", 3), array("float32", 1), array("float32", 2),
    array("float32", 4), array("float32", 4), array("float32", 3), array("int64", 2),
    array("float32", 1), types.float32, types.float32, result("float32", 2),
)  # fmt: skip
def foreseen(
    rows: Any, points: Any, seconds: Any, static: Any, value: Any, tolls: Any, to_go: Any, corner: Any,
    origin: Any, cell: Any, step_s: Any, result: Any,
) -> None:  # fmt: skip
    """``result`` [n, k] of `agentsc.protocol.space_time.Foresight.time_to_go`."""
    last, side = value.shape[1] - 1, value.shape[2]
    for n in range(points.shape[0]):
        row = rows[n]
        for k in range(points.shape[1]):
            x = (points[n, k, 0] - origin[0]) / cell - np.float32(corner[row, 1])
            y = (points[n, k, 1] - origin[1]) / cell - np.float32(corner[row, 0])
            low_r, low_c = int(np.floor(y)), int(np.floor(x))
            r = c = -1
            nearest = np.float32(np.inf)
            for i in range(low_r, low_r + 2):
                for j in range(low_c, low_c + 2):
                    if 0 <= i < side and 0 <= j < side and np.isfinite(to_go[row, i, j]):
                        dx, dy = np.float32(j) - x, np.float32(i) - y
                        if dx * dx + dy * dy < nearest:
                            nearest, r, c = dx * dx + dy * dy, i, j
            if r < 0:
                result[n, k] = _FAR
                continue
            # Between two steps the kinder one counts: a plan need not move in lockstep with the grid.
            early = min(max(int(np.floor(seconds[k] / step_s)), 0), last)
            late = min(max(int(np.ceil(seconds[k] / step_s)), 0), last)
            least = min(
                value[row, early, r, c] + tolls[row, early, r, c], value[row, late, r, c] + tolls[row, late, r, c]
            )
            result[n, k] = least + static[n, k] - to_go[row, r, c]


@kernel(
    array("float32", 3), array("float32", 2), array("int64", 1), array("float32", 2),
    types.int64, types.int64, array("float32", 1), types.float32, types.boolean, result("float32", 2),
)  # fmt: skip
def geodesic(
    points: Any, goal: Any, goal_row: Any, fields: Any, rows: Any, columns: Any, origin: Any, cell: Any, corners: Any,
    metres: Any,
) -> None:
    """``metres`` [n, k] from points [n, k, 2] to goals [n, 2] over the static map, by the best of four nodes around.

    Args:
        goal_row: [n], into ``fields`` [goal, node], metres. rows, columns: of the grid of nodes.
        corners: whether a node may not be gone to across the corner of one that is blocked on the goal's own map.
    """
    for n in range(points.shape[0]):
        for k in range(points.shape[1]):
            dx, dy = points[n, k, 0] - goal[n, 0], points[n, k, 1] - goal[n, 1]
            straight = np.sqrt(dx * dx + dy * dy)
            if straight < np.float32(1.5) * cell:
                metres[n, k] = straight
                continue
            x, y = (points[n, k, 0] - origin[0]) / cell, (points[n, k, 1] - origin[1]) / cell
            low_r, low_c = int(np.floor(y)), int(np.floor(x))
            best = np.float32(np.inf)
            for r in range(low_r, low_r + 2):
                for c in range(low_c, low_c + 2):
                    dx, dy = np.float32(c) - x, np.float32(r) - y
                    way = _FAR
                    inside = 0 <= r < rows and 0 <= c < columns
                    if corners and inside:
                        own_r = min(max(int(np.floor(y + _HALF)), 0), rows - 1)
                        own_c = min(max(int(np.floor(x + _HALF)), 0), columns - 1)
                        inside = np.isfinite(fields[goal_row[n], own_r * columns + c])
                        inside = inside and np.isfinite(fields[goal_row[n], r * columns + own_c])
                    if inside:
                        way = fields[goal_row[n], r * columns + c] + np.sqrt(dx * dx + dy * dy) * cell
                    best = min(best, way)
            metres[n, k] = best


# -- plans in space ----------------------------------------------------------------------------


@kernel(
    array("float32", 3), array("int64", 1), array("float32", 3), array("int64", 1),
    array("float32", 1), array("boolean", 1), array("boolean", 1), result("boolean", 1),
)  # fmt: skip
def separated(
    path: Any, start: Any, other_path: Any, other_start: Any, distance: Any, since_start: Any, near: Any, clear: Any
) -> None:
    """``clear`` [n] of `agentsc.protocol.plans.separated`, tick by tick by `envs.geometry.segment_closest`."""
    last = path.shape[1] - 1
    for n in range(path.shape[0]):
        clear[n] = True
        if not near[n]:
            continue
        later = start[n] - other_start[n]
        for tick in range(last + max(-later, 0)):
            if since_start[n] and tick + 1 + later <= 0:
                continue  # the counterpart does not exist yet
            i, j = min(tick, last), min(max(tick + later, 0), last)
            k, m = min(tick + 1, last), min(max(tick + 1 + later, 0), last)
            ax, ay = path[n, i, 0] - other_path[n, j, 0], path[n, i, 1] - other_path[n, j, 1]
            dx = path[n, k, 0] - other_path[n, m, 0] - ax
            dy = path[n, k, 1] - other_path[n, m, 1] - ay
            time = min(max(-(ax * dx + ay * dy) / max(dx * dx + dy * dy, _TINY), _ZERO), _ONE)
            x, y = ax + time * dx, ay + time * dy
            if np.sqrt(x * x + y * y) < distance[n]:
                clear[n] = False
                break


@kernel(array("float32", 3), result("float32", 3))
def boxes(path: Any, box: Any) -> None:
    """Lower and upper corners [n, 2, 2] of paths [n, H + 1, 2]."""
    for n in range(path.shape[0]):
        for k in range(2):
            low = high = path[n, 0, k]
            for h in range(1, path.shape[1]):
                low, high = min(low, path[n, h, k]), max(high, path[n, h, k])
            box[n, 0, k], box[n, 1, k] = low, high


@kernel(
    array("float32", 3), array("int64", 1), array("int64", 1), array("float32", 5), array("boolean", 3),
    types.float32, types.int64, result("boolean", 2),
)  # fmt: skip
def close_peers(
    box: Any, row: Any, self_id: Any, known: Any, valid: Any, distance: Any, slot: Any, close: Any
) -> None:
    """``close`` [n, peer]: valid plans of others whose box [row, peer, slot, 2, 2] is nearer than ``distance``."""
    for n in range(box.shape[0]):
        for peer in range(close.shape[1]):
            other = known[row[n], peer, slot]
            gap_x = max(box[n, 0, 0] - other[1, 0], other[0, 0] - box[n, 1, 0])
            gap_y = max(box[n, 0, 1] - other[1, 1], other[0, 1] - box[n, 1, 1])
            close[n, peer] = valid[row[n], peer, slot] and peer != self_id[n] and max(gap_x, gap_y) < distance


# -- costs of samples --------------------------------------------------------------------------


@kernel(
    array("float32", 4), types.int64, array("int64", 1), array("float32", 4), array("float32", 3),
    array("float32", 2), array("float32", 1), result("float32", 2),
)  # fmt: skip
def disc_cost(
    points: Any, stride: Any, rows: Any, discs: Any, radius: Any, weight: Any, decay: Any, cost: Any
) -> None:
    """``cost`` [n, candidate] = Σ w γ^h max(0, R − ‖x_h − y_h‖)² over the discs of ``rows``.

    Args:
        points: [n, candidate, H + 1, 2], every ``stride``-th is a way-point. rows: [n], into the discs.
        discs: [row, disc, waypoint, 2]. radius: [row, disc, waypoint]. weight: [row, disc]. decay: [waypoint].
    """
    for n in range(points.shape[0]):
        row = rows[n]
        for s in range(points.shape[1]):
            total = _ZERO
            for m in range(discs.shape[1]):
                if weight[row, m] <= _ZERO:
                    continue
                charged = _ZERO
                for h in range(discs.shape[2]):
                    dx = points[n, s, h * stride, 0] - discs[row, m, h, 0]
                    dy = points[n, s, h * stride, 1] - discs[row, m, h, 1]
                    square = dx * dx + dy * dy
                    if square < radius[row, m, h] * radius[row, m, h]:
                        hinge = radius[row, m, h] - np.sqrt(square)
                        charged += hinge * hinge * decay[h]
                total += charged * weight[row, m]
            cost[n, s] = total
