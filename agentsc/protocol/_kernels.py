"""The planner's inner loops, compiled: foresight's dynamic programme, bounding boxes, costs of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_ZERO, _HALF, _ONE, _FAR = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(1e6)


# -- foresight ---------------------------------------------------------------------------------


@helper
def _charge(x0: Any, y0: Any, unit: Any, distance: Any, peers: Any, penalty: Any, busy: Any, charges: Any) -> None:
    """Seconds charged on nodes and mid-points (half a cell ``unit`` apart, with a rim) at every half step.

    A whole step within ``distance`` of a peer is two half steps. ``busy`` marks half steps that charge anything.
    """
    halves, wide, _ = charges.shape
    for h in range(halves):
        if busy[h]:
            charges[h] = _ZERO
            busy[h] = False
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
            for i in range(max(row - size, 0), min(row + size + 1, wide)):
                for j in range(max(column - size, 0), min(column + size + 1, wide)):
                    dx, dy = np.float32(j) - x, np.float32(i) - y
                    if dx * dx + dy * dy < reach:
                        charges[h, i, j] += fee


@helper
def _sweep(price: Any, pause: Any, moves: Any, busy: Any, charges: Any, tolls: Any, value: Any) -> None:
    """Value iteration backwards in time: at each step stay, or move to a neighbour that is allowed."""
    side = pause.shape[0]
    onward = np.full((side + 2, side + 2), _FAR)
    for k in range(value.shape[0] - 2, -1, -1):
        for r in range(side):
            for c in range(side):
                onward[r + 1, c + 1] = value[k + 1, r, c] + tolls[k + 1, r, c]
        between, charged = charges[2 * k + 1], busy[2 * k + 1]
        for r in range(side):
            best, here = value[k, r], onward[r + 1, 1 : 1 + side]
            for c in range(side):
                best[c] = here[c] + pause[r, c]
                if charged:
                    best[c] += between[2 * r + 1, 2 * c + 1]
            for m in range(moves.shape[0]):
                dy, dx = moves[m, 0], moves[m, 1]
                there, cost = onward[r + 1 + dy, 1 + dx : 1 + dx + side], price[m, r]
                if charged:
                    toll = between[2 * r + 1 + dy, 1 + dx : 2 * side + dx : 2]
                    for c in range(side):
                        reached = there[c] + cost[c] + toll[c]
                        best[c] = reached if reached < best[c] else best[c]
                else:
                    for c in range(side):
                        reached = there[c] + cost[c]
                        best[c] = reached if reached < best[c] else best[c]


@kernel(
    array("float32", 2), array("float32", 3), array("int64", 2), array("float32", 1),
    array("int64", 1), array("int64", 2), array("float32", 4), array("float32", 3),
    array("float32", 1), types.float32, types.float32, types.float32, types.float32,
    result("float32", 4), result("float32", 4), result("float32", 3), result("float32", 3), result("float32", 1),
)  # fmt: skip
def foresee(
    fields: Any, costs: Any, moves: Any, move_s: Any, goal: Any, corner: Any, peers: Any, penalty: Any,
    origin: Any, cell: Any, distance: Any, step_s: Any, speed: Any,
    value: Any, tolls: Any, to_go: Any, way: Any, toll: Any,
) -> None:  # fmt: skip
    """Fill in `agentsc.protocol.space_time.Foresight` for every agent.

    Args:
        fields: [goal, node], metres. costs: [move, row, column], finite where a move is allowed.
        moves: [move, 2]. move_s: [move], seconds. goal: [n]. corner: [n, 2], window's first row and column.
        peers: [n, peer, 2·steps + 1, 2]. penalty: [n, peer, step + 1].
        value, tolls: [n, step + 1, side, side]. to_go: [n, side, side]. way: [n, step + 1, 2]. toll: [n].
    """
    steps, side = value.shape[1] - 1, value.shape[2]
    rows, columns = costs.shape[1], costs.shape[2]
    charges = np.zeros((2 * steps + 1, 2 * side + 1, 2 * side + 1), np.float32)
    busy = np.zeros(2 * steps + 1, np.bool_)
    price = np.empty((moves.shape[0], side, side), np.float32)
    pause = np.empty((side, side), np.float32)
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
                pause[r, c] = _ZERO if seconds <= _HALF * cell / speed else step_s  # at home time stands still
                for m in range(moves.shape[0]):
                    allowed = inside and np.isfinite(costs[m, row, column])
                    price[m, r, c] = move_s[m] if allowed else _FAR
        _charge(x0, y0, _HALF * cell, distance, peers[n], penalty[n], busy, charges)
        for k in range(steps + 1):
            for r in range(side):
                for c in range(side):
                    tolls[n, k, r, c] = charges[2 * k, 2 * r + 1, 2 * c + 1]
        _sweep(price, pause, moves, busy, charges, tolls[n], value[n])

        r = c = side // 2
        toll[n] = _ZERO
        way[n, 0, 0], way[n, 0, 1] = x0 + cell * np.float32(c), y0 + cell * np.float32(r)
        for k in range(steps):
            least = value[n, k + 1, r, c] + tolls[n, k + 1, r, c] + pause[r, c] + charges[2 * k + 1, 2 * r + 1, 2 * c + 1]
            best_r, best_c = r, c
            for m in range(moves.shape[0]):
                i, j = r + moves[m, 0], c + moves[m, 1]
                if not (price[m, r, c] < _FAR and 0 <= i < side and 0 <= j < side):
                    continue
                between = charges[2 * k + 1, r + i + 1, c + j + 1]
                cost = value[n, k + 1, i, j] + tolls[n, k + 1, i, j] + between + price[m, r, c]
                if cost < least - np.float32(1e-6):
                    least, best_r, best_c = cost, i, j
            r, c = best_r, best_c
            toll[n] += tolls[n, k + 1, r, c]
            way[n, k + 1, 0], way[n, k + 1, 1] = x0 + cell * np.float32(c), y0 + cell * np.float32(r)


# -- plans in space ----------------------------------------------------------------------------


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
    """``close`` [n, peer]: a valid plan of another agent whose box [row, peer, slot, 2, 2] is nearer than ``distance``."""
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
