"""Compiled loops of `agentsc.protocol.joint.one`: how far it is to a goal, and the wave that finds a way.

Nodes are flat: node n of layer l is l · N + n, where N is the number of nodes of the lattice. ``ends`` [N] has bit m
set where move m may end, so that bits stand for walls, the map's rim and forbidden nodes at once; moves come in
opposite pairs, so the same bits say from where the opposite move may begin. Arriving at a node that is a gate leads on
to the same node of the next layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

PASS = np.int32(1 << 28)
LOW = np.int32(63)
UNREACHED = np.int16(np.iinfo(np.int16).max)
_ONE = np.uint64(1)


@kernel(
    array("uint64", 1), array("int64", 1), array("boolean", 2), array("boolean", 2), array("int64", 1), types.int64,
    result("int16", 2),
)  # fmt: skip
def steps_to(ends: Any, offset: Any, inside: Any, gate: Any, last: Any, most: Any, steps: Any) -> None:
    """``steps`` [layer, node]: how many it takes to a goal at least, through all layers that are left.

    Args:
        offset: [move], flat; the first one is to wait. inside, gate: [layer, node]. last: nodes [n] from which the
            goal is one step away. most: steps that are looked for.
    """
    layers, count = steps.shape
    now, then = np.empty(count, np.int64), np.empty(count, np.int64)
    doors = np.empty(count, np.int64)
    for layer in range(layers - 1, -1, -1):
        here = steps[layer]
        for n in range(count):
            here[n] = UNREACHED
        size, door = 0, 0
        if layer == layers - 1:
            for k in range(len(last)):
                if inside[layer, last[k]]:
                    here[last[k]] = 1
                    now[size] = last[k]
                    size += 1
        else:
            for n in range(count):
                if gate[layer, n] and inside[layer, n] and steps[layer + 1, n] < UNREACHED:
                    doors[door] = n
                    door += 1
        step, left = 1, door
        while (size or left) and step < most:
            # Who arrives at a gate is in the next layer.
            for k in range(door):
                if steps[layer + 1, doors[k]] == step:
                    now[size] = doors[k]
                    size += 1
                    left -= 1
            grown = 0
            for k in range(size):
                n = now[k]
                bits = ends[n]
                for m in range(len(offset)):
                    if (bits >> np.uint64(m)) & _ONE:
                        to = n - offset[m]
                        if here[to] == UNREACHED and inside[layer, to]:
                            here[to] = step + 1
                            if not (layer < layers - 1 and gate[layer, to]):
                                then[grown] = to
                                grown += 1
            now, then, size = then, now, grown
            step += 1


@helper
def _paint(
    stamp: Any, number: Any, x: Any, y: Any, origin_x: Any, origin_y: Any, pitch: Any, distance: Any, rows: Any,
    columns: Any,
) -> None:  # fmt: skip
    """Mark the nodes of a lattice that are nearer to a spot than a distance."""
    radius = distance / pitch
    reach, square = int(radius + 1), radius * radius
    py, px = (y - origin_y) / pitch, (x - origin_x) / pitch
    my, mx = np.rint(py), np.rint(px)
    oy, ox = my - py, mx - px
    row, column = int(my), int(mx)
    for a in range(-reach, reach + 1):
        if not 0 <= row + a < rows:
            continue
        dy = (oy + a) * (oy + a)
        for b in range(-reach, reach + 1):
            if 0 <= column + b < columns and dy + (ox + b) * (ox + b) < square:
                stamp[(row + a) * columns + column + b] = number


@kernel(
    array("float64", 2), types.float64, array("float64", 1), types.float64, types.int64, result("boolean", 1)
)
def cover(spots: Any, width: Any, origin: Any, cell: Any, columns: Any, inside: Any) -> None:
    """Mark in ``inside`` [node] what is nearer than ``width`` to some of the spots [n, 2], metres."""
    rows = len(inside) // columns
    for k in range(len(spots)):
        _paint(inside, True, spots[k, 0], spots[k, 1], origin[0], origin[1], cell, width, rows, columns)


@helper
def _clear(x: Any, y: Any, spots: Any, half: Any, distance: Any) -> Any:
    """Whether a point keeps its distance from everybody at a half step."""
    for j in range(spots.shape[0]):
        dx, dy = x - spots[j, half, 0], y - spots[j, half, 1]
        if dx * dx + dy * dy < distance * distance:
            return False
    return True


@helper
def _larger(old: Any, size: Any) -> Any:
    new = np.empty(size, old.dtype)
    new[: len(old)] = old
    return new


@helper
def _held(node: Any, first: Any, step: Any, wanted: Any) -> Any:
    """Whether a node was reached at the step before."""
    held = False
    for k in range(first[step - 1], first[step]):
        held = held or node[k] == wanted
    return held


@kernel(
    array("uint64", 1), array("int64", 1), array("int64", 2), array("int32", 1), array("int16", 2),
    array("boolean", 2), types.int64, array("float64", 1), types.float64, types.float64, types.float64,
    array("float64", 3), array("int64", 1), array("int32", 1), array("float64", 2),
    array("int64", 1), array("int32", 1), array("float64", 2),
    types.int64, types.int64, types.int64, types.int64,
    result("int32", 2), result("int32", 1), result("int32", 1), result("int64", 1), result("int64", 1),
)  # fmt: skip
def wave(
    ends: Any, offset: Any, moves: Any, price: Any, to_go: Any, gate: Any, columns: Any, origin: Any, cell: Any,
    distance: Any, step_m: Any, spots: Any, leave: Any, leave_cost: Any, leave_middle: Any, arrive: Any,
    arrive_cost: Any, arrive_middle: Any, budget: Any, hold: Any, taken: Any, earliest: Any, cost: Any, stamp: Any,
    half_stamp: Any, number: Any, way: Any,
) -> None:  # fmt: skip
    """The way that arrives first and then is shortest, see `agentsc.protocol.joint.one.find`.

    Args:
        moves: [move, 2], rows and columns. price: [move], see `Lattice`. to_go: [layer, node], from `steps_to`.
        gate: [layer, node]. columns: of the lattice. spots: [other, half step, 2], where others are.
        leave, leave_cost, leave_middle: [n], [n], [n, 2], nodes a step from the start, and points half-way there.
        arrive, arrive_cost, arrive_middle: the same for the goal. budget: steps at most. hold: first step to leave in.
        taken: half step from which on the start is somebody else's. earliest: step before which not to arrive.
        cost: [2, layer · node], all `PASS`, before and after. stamp, half_stamp: marks, of the time ``number`` [1].
        way: [budget + 2], filled with the nodes at steps, −1 for the start, −2 for the goal, −3 after it; all −3
            if there is no way.
    """
    layers, count = to_go.shape
    rows, last_layer = count // columns, (layers - 1) * count
    wide = 2 * columns - 1
    goes = to_go.reshape(layers * count)
    doors = gate.reshape(layers * count)
    best, then = cost[0], cost[1]
    room = 1024
    node, code = np.empty(room, np.int64), np.empty(room, np.int8)
    first = np.zeros(budget + 2, np.int64)  # of each step's entries in those
    size, begin = 0, 0  # of all entries; of the present step's
    arrived, final = -1, np.int64(-1)
    half_offset = np.empty(len(offset), np.int64)
    for m in range(len(offset)):
        half_offset[m] = moves[m, 0] * wide + moves[m, 1]
    for k in range(len(way)):
        way[k] = -3
    step = 0
    while step < budget:
        first[step] = begin
        if step + 1 >= earliest and size > begin:
            least = PASS
            for k in range(len(arrive)):
                total = best[last_layer + arrive[k]]
                if total == PASS or total + arrive_cost[k] >= least:
                    continue
                if _clear(arrive_middle[k, 0], arrive_middle[k, 1], spots, 2 * step + 1, distance):
                    least, final = total + arrive_cost[k], last_layer + arrive[k]
            if least < PASS:
                arrived = step
                break
        leaving = step >= hold and 2 * step < taken
        out = False
        if leaving:
            for k in range(len(leave)):
                first_node = leave[k] + (count if doors[leave[k]] else 0)
                out = out or goes[first_node] < budget - step
        if size == begin and not out:
            if step >= hold:
                break
            step += 1
            continue
        number[0] += 1
        mark = np.int32(number[0])
        # What others take, near where this one may be.
        top, bottom, left, right = np.int64(1 << 40), np.int64(-1), np.int64(1 << 40), np.int64(-1)
        for k in range(begin, size):
            n = node[k] % count
            y, x = n // columns, n % columns
            top, bottom, left, right = min(top, y), max(bottom, y), min(left, x), max(right, x)
        if out:
            for k in range(len(leave)):
                y, x = leave[k] // columns, leave[k] % columns
                top, bottom, left, right = min(top, y), max(bottom, y), min(left, x), max(right, x)
        reach = distance + 2.0 * step_m
        low_x, high_x = origin[0] + cell * left - reach, origin[0] + cell * right + reach
        low_y, high_y = origin[1] + cell * top - reach, origin[1] + cell * bottom + reach
        for j in range(spots.shape[0]):
            x, y = spots[j, 2 * step + 1, 0], spots[j, 2 * step + 1, 1]
            if low_x < x < high_x and low_y < y < high_y:
                _paint(
                    half_stamp, mark, x, y, origin[0], origin[1], cell / 2, distance, 2 * rows - 1, 2 * columns - 1
                )
            x, y = spots[j, 2 * step + 2, 0], spots[j, 2 * step + 2, 1]
            if low_x < x < high_x and low_y < y < high_y:
                _paint(stamp, mark, x, y, origin[0], origin[1], cell, distance, rows, columns)
        end = size
        for k in range(begin, end):
            source = node[k]
            n = source % count
            base = source - n
            y, x = n // columns, n % columns
            half = 2 * y * wide + 2 * x
            spent = best[source]
            for m in range(len(offset)):
                to = n + offset[m]
                if to < 0 or to >= count or not (ends[to] >> np.uint64(m)) & _ONE:
                    continue
                dest = base + to
                if doors[dest]:
                    dest += count
                total = spent + price[m]
                if goes[dest] >= budget - step or total >= then[dest]:
                    continue
                if half_stamp[half + half_offset[m]] == mark or stamp[to] == mark:
                    continue
                if then[dest] == PASS:
                    if size == room:
                        room *= 2
                        node, code = _larger(node, room), _larger(code, room)
                    node[size] = dest
                    size += 1
                then[dest] = total
        if out:
            for k in range(len(leave)):
                dest = leave[k] + (count if doors[leave[k]] else 0)
                total = leave_cost[k] + LOW
                if goes[dest] >= budget - step or total >= then[dest] or stamp[leave[k]] == mark:
                    continue
                if not _clear(leave_middle[k, 0], leave_middle[k, 1], spots, 2 * step + 1, distance):
                    continue
                if then[dest] == PASS:
                    if size == room:
                        room *= 2
                        node, code = _larger(node, room), _larger(code, room)
                    node[size] = dest
                    size += 1
                then[dest] = total
        for k in range(begin, end):
            best[node[k]] = PASS
        for k in range(end, size):
            code[k] = np.int8(then[node[k]] & LOW)
            then[node[k]] &= ~LOW
        best, then = then, best
        begin = end
        step += 1
    for k in range(begin, size):
        best[node[k]] = PASS
    if arrived < 0:
        return
    way[arrived + 1] = -2
    at = final
    for step in range(arrived, 0, -1):
        way[step] = at
        k = first[step]
        while node[k] != at:
            k += 1
        if code[k] == LOW:
            for before in range(step):
                way[before] = -1
            return
        source = at - offset[code[k]]
        # The move came from this layer, or through a gate from the one before.
        if at >= count and doors[at - count] and (doors[at] or _held(node, first, step, source - count)):
            source -= count
        at = source
    way[0] = -1
