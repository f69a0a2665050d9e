"""Compiled loops of `agentsc.protocol.joint.order`; each states a formula of that module once more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_TINY = np.float32(1e-30)
_WIDER = np.float32(1.001)
BLOCK = 16
"""Steps that are looked at together."""


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
def _boxes(route: Any, boxes: Any) -> None:
    """Corners of what `BLOCK` steps of each agent cover: boxes [block, agent, (x0, y0, x1, y1)]."""
    last = route.shape[0] - 1
    for k in range(boxes.shape[0]):
        for j in range(boxes.shape[1]):
            boxes[k, j, 0] = boxes[k, j, 2] = route[k * BLOCK, j, 0]
            boxes[k, j, 1] = boxes[k, j, 3] = route[k * BLOCK, j, 1]
            for a in range(k * BLOCK, min((k + 1) * BLOCK, last) + 1):
                x, y = route[a, j, 0], route[a, j, 1]
                boxes[k, j, 0], boxes[k, j, 2] = min(boxes[k, j, 0], x), max(boxes[k, j, 2], x)
                boxes[k, j, 1], boxes[k, j, 3] = min(boxes[k, j, 1], y), max(boxes[k, j, 3], y)


@helper
def _beside(route: Any, i: Any, a: Any, boxes: Any, k: Any, j: Any, distance: Any) -> Any:
    """Whether step ``a`` of agent ``i`` keeps clear of the whole box; rounding aside."""
    wide = distance * _WIDER
    x, y, u, v = route[a, i, 0], route[a, i, 1], route[a + 1, i, 0], route[a + 1, i, 1]
    dx = max(max(boxes[k, j, 0] - max(x, u), min(x, u) - boxes[k, j, 2]), _ZERO)
    dy = max(max(boxes[k, j, 1] - max(y, v), min(y, v) - boxes[k, j, 3]), _ZERO)
    return dx * dx + dy * dy > wide * wide


@kernel(array("float32", 3), types.float32, types.float32, array("int64", 1), result("int16", 3), result("int64", 1))
def needs(route: Any, distance: Any, stride: Any, covered: Any, need: Any, ties: Any) -> None:
    """``need`` [agent, agent, step] of `agentsc.protocol.joint.order.needs`.

    Args:
        route: [step + 1, agent, 2]. stride: no step is longer. covered: [agent]. ties: [2], filled with the number of
            pairs of equal steps that come too close, and how many of those have no possible order.
    """
    last, agents = route.shape[0] - 1, route.shape[1]
    boxes = np.empty(((last + BLOCK - 1) // BLOCK, agents, 4), np.float32)
    _boxes(route, boxes)
    ties[0] = ties[1] = 0
    for i in range(agents):
        for j in range(agents):
            for a in range(last):
                need[i, j, a] = 0
            if i == j:
                continue
            for a in range(covered[i], last):
                b = a - 1
                while b >= 0:
                    if _beside(route, i, a, boxes, b // BLOCK, j, distance):
                        b = b // BLOCK * BLOCK - 1
                        continue
                    gap = _gap(route, i, a, j, b)
                    if gap < distance:
                        need[i, j, a] = b + 1
                        break
                    # Earlier by k steps it was at most k strides nearer.
                    b -= max(int((gap - distance) / stride), 1)
    for i in range(agents):
        for j in range(i):
            a = min(covered[i], covered[j])
            while a < last:
                gap = _gap(route, i, a, j, a)
                if gap >= distance:
                    a += max(int((gap - distance) / (stride + stride)), 1)
                    continue
                if a < covered[i] or a < covered[j]:
                    ties[1] += 1  # in the way of somebody who cannot leave yet
                    a += 1
                    continue
                # Whoever has to pass before the other's next step has to pass before this one, too:
                # between the two steps the other one rests in its way.
                ties[0] += 1
                mine = a + 1 < last and _gap(route, j, a + 1, i, a) < distance
                theirs = a + 1 < last and _gap(route, i, a + 1, j, a) < distance
                if mine and theirs:
                    ties[1] += 1
                if theirs or not mine:
                    need[i, j, a] = a + 1
                else:
                    need[j, i, a] = a + 1
                a += 1


@kernel(array("float32", 3), types.float32, types.float32, array("int64", 1), result("int16", 3))
def led(route: Any, distance: Any, stride: Any, covered: Any, need: Any) -> None:
    """Raise ``need`` so that all steps committed to before come first, whatever their numbers; see `needs`."""
    last, agents = route.shape[0] - 1, route.shape[1]
    for i in range(agents):
        for j in range(agents):
            if i == j:
                continue
            for a in range(covered[i], last):
                b = covered[j] - 1
                while b >= need[i, j, a]:
                    gap = _gap(route, i, a, j, b)
                    if gap < distance:
                        need[i, j, a] = b + 1
                        break
                    b -= max(int((gap - distance) / stride), 1)


@kernel(
    array("float32", 3), types.int64, array("int64", 2), array("float32", 3), types.float32, result("boolean", 1)
)
def clear(paths: Any, agent: Any, tick: Any, new: Any, distance: Any, allowed: Any) -> None:
    """Whether pieces keep a distance from all others in continuous time: `envs.geometry.segment_closest` of each.

    Args:
        paths: [T + 1, agent, 2]. agent: whose pieces these are. tick: [n, k]. new: [n, k, 2], its positions then.
        allowed: [n].
    """
    for n in range(len(tick)):
        allowed[n] = True
        for k in range(tick.shape[1] - 1):
            if not allowed[n]:
                break
            t, u = tick[n, k], tick[n, k + 1]
            for j in range(paths.shape[1]):
                if j == agent:
                    continue
                ax, ay = new[n, k, 0] - paths[t, j, 0], new[n, k, 1] - paths[t, j, 1]
                dx, dy = new[n, k + 1, 0] - paths[u, j, 0] - ax, new[n, k + 1, 1] - paths[u, j, 1] - ay
                along = -(ax * dx + ay * dy)
                time = min(max(along / max(dx * dx + dy * dy, _TINY), _ZERO), _ONE)
                x, y = ax + time * dx, ay + time * dy
                if np.sqrt(max(x * x + y * y, _TINY)) < distance:
                    allowed[n] = False
                    break


@kernel(
    array("int16", 3), array("int64", 1), array("int16", 2), array("int32", 3), types.int32, types.int32, types.int32,
    array("boolean", 1), array("int64", 1), result("int64", 1), result("int32", 2), result("boolean", 1),
)  # fmt: skip
def extend(
    need: Any, agent: Any, known: Any, known_at: Any, now: Any, slack: Any, until: Any, may: Any, most: Any, steps: Any,
    done: Any, moved: Any,
) -> None:  # fmt: skip
    """`agentsc.protocol.joint.order.Progress.extend` for the rows of one lane.

    Args:
        need: [agent, agent, step]. agent: [row]. known: [row, agent], steps that peers have committed to.
        known_at: [row, agent, step + 1], ticks. may, most, steps, moved: [row]. done: [row, step + 1].
    """
    last = need.shape[2]
    for row in range(len(agent)):
        me = agent[row]
        moved[row] = False
        while may[row] and steps[row] < min(most[row], last):
            a = steps[row]
            start = max(done[row, a], now)
            free = True
            for j in range(need.shape[1]):
                b = need[me, j, a]
                if b > 0:
                    if known[row, j] < b:
                        free = False
                        break
                    start = max(start, known_at[row, j, b] + slack)
            if not free or start > until:
                break
            done[row, a + 1] = start + 1
            steps[row] = a + 1
            moved[row] = True


@kernel(
    array("int16", 3), array("int64", 1), array("int64", 1), array("int32", 2), array("int16", 2), array("int32", 3),
    array("int64", 1), types.int32, types.int32, result("int32", 3),
)  # fmt: skip
def timetable(
    need: Any, agent: Any, steps: Any, done: Any, known: Any, known_at: Any, since: Any, slack: Any, until: Any, at: Any
) -> None:
    """`agentsc.protocol.joint.lags.timetable`; at: [row, agent, step + 1], filled."""
    agents, last = need.shape[0], need.shape[2]
    count = np.zeros(agents, np.int64)
    for row in range(len(agent)):
        for j in range(agents):
            count[j] = steps[row] if j == agent[row] else known[row, j]
            for a in range(last + 1):
                if a > count[j]:
                    at[row, j, a] = 1 << 30
                elif j == agent[row]:
                    at[row, j, a] = done[row, a]
                else:
                    at[row, j, a] = known_at[row, j, a]
        moved = True
        while moved:
            moved = False
            for i in range(agents):
                while count[i] < last:
                    a = count[i]
                    start = max(np.int64(at[row, i, a]), since[row])
                    free = True
                    for j in range(agents):
                        b = need[i, j, a]
                        if b > 0:
                            if count[j] < b:
                                free = False
                                break
                            start = max(start, np.int64(at[row, j, b]) + slack)
                    if not free or start > until:
                        break
                    at[row, i, a + 1] = np.int32(start + 1)
                    count[i] = a + 1
                    moved = True


@kernel(array("int16", 3), result("int64", 2), result("int64", 1))
def retime(need: Any, when: Any, finished: Any) -> None:
    """``when`` [step, agent]: slots in which steps are made if everybody moves as soon as the order allows.

    Args:
        need: [agent, agent, step]. finished: [1], filled with the number of slots, or −1 where the order is stuck.
    """
    agents, last = need.shape[0], need.shape[2]
    count = np.zeros(agents, np.int64)
    before = np.zeros(agents, np.int64)
    slot = 0
    left = agents * last
    while left > 0:
        before[:] = count
        went = 0
        for i in range(agents):
            a = before[i]
            if a >= last:
                continue
            free = True
            for j in range(agents):
                if need[i, j, a] > before[j]:
                    free = False
                    break
            if free:
                when[a, i] = slot
                count[i] = a + 1
                went += 1
        if went == 0:
            finished[0] = -1
            return
        left -= went
        slot += 1
    finished[0] = slot


@kernel(
    array("int64", 1), array("int64", 1), array("int64", 1), array("int64", 1), result("int16", 2), result("int32", 3)
)
def hear(row: Any, peer: Any, steps: Any, done: Any, known: Any, known_at: Any) -> None:
    """`agentsc.protocol.joint.order.Progress.hear` of n words.

    Args:
        known: [row, agent]. known_at: [row, agent, step + 1].
    """
    for n in range(len(row)):
        r, p, count = row[n], peer[n], steps[n]
        known[r, p] = max(known[r, p], np.int16(count))
        for k in range(count + 1):
            at = np.int32(done[n] - (count - k))
            if at < known_at[r, p, k]:
                known_at[r, p, k] = at


@kernel(
    array("int16", 3), array("int64", 1), array("int64", 1), array("int64", 1), array("int16", 2),
    result("boolean", 2), result("boolean", 2), result("boolean", 2),
)  # fmt: skip
def awaited(need: Any, agent: Any, steps: Any, told: Any, known: Any, now: Any, later: Any, news: Any) -> None:
    """`agentsc.protocol.joint.order.Progress.awaited`; now, later, news: [row, agent]."""
    last = need.shape[2]
    for row in range(len(agent)):
        me = agent[row]
        for j in range(need.shape[0]):
            now[row, j] = later[row, j] = news[row, j] = False
            for a in range(known[row, j], last):
                wanted = need[j, me, a]
                if 0 < wanted <= steps[row]:
                    later[row, j] = True
                    now[row, j] = now[row, j] or a == known[row, j]
                    if wanted > told[row]:
                        news[row, j] = True
                        break


@kernel(array("int64", 1), array("int64", 1), array("float32", 3), types.float32, result("int64", 1))
def schedule(agent: Any, piece: Any, ends: Any, distance: Any, slot: Any) -> None:
    """Slots of single moves [n], given in a possible order: each as early as those before it that come too close allow.

    Args:
        agent: [n]. piece: [n], numbers of segments. ends: [piece, 2, 2], metres. slot: [n].
    """
    for q in range(len(agent)):
        slot[q] = 0
        f = piece[q]
        for p in range(q - 1, -1, -1):
            if slot[p] < slot[q]:
                continue
            e = piece[p]
            if agent[p] == agent[q] or _apart(
                ends[e, 0, 0], ends[e, 0, 1], ends[e, 1, 0], ends[e, 1, 1],
                ends[f, 0, 0], ends[f, 0, 1], ends[f, 1, 0], ends[f, 1, 1],
            ) < distance:  # fmt: skip
                slot[q] = slot[p] + 1


@kernel(array("float32", 3), array("int64", 1), array("float32", 3), result("float32", 1))
def clearance(route: Any, since: Any, lines: Any, least: Any) -> None:
    """`agentsc.protocol.joint.shadows.clearance`, into ``least`` [1].

    Args:
        route: [step + 1, agent, 2]. since: [agent]. lines: [line, 2, 2].
    """
    least[0] = np.float32(np.inf)
    for i in range(route.shape[1]):
        for a in range(since[i], route.shape[0] - 1):
            rests = route[a, i, 0] == route[a + 1, i, 0] and route[a, i, 1] == route[a + 1, i, 1]
            if rests and a > since[i]:
                continue  # at a place that the step before leads to
            for n in range(lines.shape[0]):
                gap = _apart(
                    route[a, i, 0], route[a, i, 1], route[a + 1, i, 0], route[a + 1, i, 1],
                    lines[n, 0, 0], lines[n, 0, 1], lines[n, 1, 0], lines[n, 1, 1],
                )  # fmt: skip
                least[0] = min(least[0], gap)
