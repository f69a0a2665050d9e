"""The earliest and then shortest way of one agent through the lattice, around moving others.

A wave of costs runs through the steps: what reaches a node at a step, by which move. It is
confined to nodes from which the goal can still be reached within a budget of steps, and budgets
grow until a way is found; so the work is proportional to the detour that traffic enforces, not to
the map. All nodes of a step are handled at once, one move after the other.

Reference: D. Silver, "Cooperative pathfinding", 2005 (space-time A*); the budget plays the part
of the heuristic's bound in iterative deepening (R. E. Korf, 1985).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.baselines._lattice import MOVE_BITS, PASS, UNREACHED, Claim, Codes, Floats, Ints, Lattice

LOW = np.int32((1 << MOVE_BITS) - 1)
DEPART = LOW
"""Stands for the move that leaves the start, which need not be a node."""
Places = NDArray[np.float64]


@dataclass(frozen=True)
class Trip:
    """One agent's task on the lattice.

    Attributes:
        start, goal: float32 [2], metres.
        to_go: int16 [rows, columns], steps to the goal over the empty map.
        leave, arrive: nodes [n, 2] within a step of the start and the goal, and costs [n] to and from there.
        least: steps that the trip takes at least; `UNREACHED` if there is no way.
    """

    start: Floats
    goal: Floats
    to_go: NDArray[np.int16]
    leave: tuple[Ints, Codes]
    arrive: tuple[Ints, Codes]
    least: int

    @classmethod
    def of(cls, lattice: Lattice, start: Floats, goal: Floats) -> Trip:
        """Works out the static part."""
        to_go = lattice.steps_to(goal)
        leave, arrive = lattice.reach(start), lattice.reach(goal)
        first = to_go[leave[0][:, 0], leave[0][:, 1]]
        least = int(first.min(initial=UNREACHED))
        if np.array_equal(start, goal):
            least = -1
        return cls(start, goal, to_go, leave, arrive, least + 1 if least < UNREACHED else UNREACHED)


def find(lattice: Lattice, trip: Trip, others: list[Claim], latest: int, hold: int = 0) -> Places | None:
    """The way of one agent that arrives first, and among those the shortest.

    Args:
        others: whom to keep clear of. latest: step by which to arrive. hold: step before which not to leave.

    Returns:
        Positions [S + 1, 2] at steps, metres; None if there is no way.
    """
    half_steps = np.arange(2 * latest + 3)
    spots = np.array([claim.at(half_steps) for claim in others]).reshape(len(others), len(half_steps), 2)
    near = np.linalg.norm(spots - trip.goal, axis=-1) < lattice.distance
    busy = np.flatnonzero(near.any(0))
    # The goal has to stay free for ever from the half step of arrival on.
    earliest = max(trip.least, 0 if not len(busy) else int(busy[-1]) // 2 + 1)
    if earliest == 0:
        return trip.start[None].astype(np.float64)
    earliest = max(earliest, trip.least + hold)
    slack = 2
    while earliest <= latest:
        budget = min(earliest + slack, latest)
        way = _wave(lattice, trip, others, spots, earliest, budget, hold)
        if way is not None or budget == latest:
            return way
        slack = 2 * slack + 2
    return None


def _wave(
    lattice: Lattice, trip: Trip, others: list[Claim], spots: Places, earliest: int, budget: int, hold: int
) -> Places | None:
    """`find` within a budget of steps. spots: [other, half step, 2], metres."""
    rows, columns = lattice.shape
    rim = lattice.rim
    cost = np.full((rows + 2 * rim, columns + 2 * rim), PASS, np.int32)
    inner = cost[rim : rim + rows, rim : rim + columns]
    at_node = np.zeros(lattice.shape, np.int32)
    half_way = np.zeros((2 * (rows + rim) + 1, 2 * (columns + rim) + 1), np.int32)
    wide = 2 * columns - 1
    start, goal = trip.start.astype(np.float64), trip.goal.astype(np.float64)
    away = np.linalg.norm(spots - start, axis=-1) < lattice.distance
    staying = np.append(np.flatnonzero(away.any(0)), spots.shape[1])[0]  # half step at which the start is taken
    behind: list[tuple[int, int, NDArray[np.uint8]]] = []
    leave, leaving = trip.leave
    leave_left = trip.to_go[leave[:, 0], leave[:, 1]]
    arrive, arriving = trip.arrive
    box = None
    for step in range(budget):
        here = _grow(box, rim, rows, columns)
        out = np.flatnonzero((leave_left <= budget - step - 1) & (2 * step < staying) & (step >= hold))
        if len(out):
            here = _cover(here, leave[out])
        if here is None:
            if step >= hold:
                return None
            behind.append((0, 0, np.zeros((0, 0), np.uint8)))
            continue
        y0, y1, x0, x1 = here
        now = np.s_[y0:y1, x0:x1]
        best = np.full((y1 - y0, x1 - x0), PASS, np.int32)
        low, high = lattice.point(np.array([[y0, x0], [y1, x1]]))
        reach = lattice.distance + lattice.step_m
        middle = 2 * step + 1
        close = np.flatnonzero(((spots[:, middle] > low - reach) & (spots[:, middle] < high + reach)).all(1))
        mids = [others[j].mids[min(step, len(others[j].mids) - 1)] for j in close.tolist()]
        nodes = [others[j].nodes[min(step + 1, len(others[j].nodes) - 1)] for j in close.tolist()]
        flat = np.concatenate(mids) if mids else None
        if flat is not None:
            taken = flat // wide + rim, flat % wide + rim
            half_way[taken] = PASS
        if box is not None:
            _advance(lattice, cost, half_way if flat is not None else None, best, here)
        if len(out):
            half = (start + lattice.point(leave[out])) / 2
            clear = _clear(half, spots[close, middle], lattice.distance)
            y, x = leave[out[clear]].T
            first = best[y - y0, x - x0]
            best[y - y0, x - x0] = np.minimum(first, leaving[out[clear]] + DEPART)
        if flat is not None:
            half_way[taken] = 0
        if nodes:
            at_node.ravel()[np.concatenate(nodes)] = PASS
            best += at_node[now]
            at_node.ravel()[np.concatenate(nodes)] = 0
        best[(trip.to_go[now] > budget - step - 1) | ~lattice.free[now]] = PASS
        np.minimum(best, PASS, out=best)
        # Into the goal from what was reached at this step, before the costs move on.
        if step + 1 >= earliest and box is not None:
            y, x = arrive.T
            total = inner[y, x] + arriving
            total += np.where(_clear((goal + lattice.point(arrive)) / 2, spots[:, middle], lattice.distance), 0, PASS)
            if len(total) and total.min() < PASS:
                return _trace(lattice, trip, behind, arrive[int(total.argmin())])
        if box is not None:
            inner[box[0] : box[1], box[2] : box[3]] = PASS
        reached = best < PASS
        box = _bounds(reached, y0, x0)
        behind.append((y0, x0, (best & LOW).astype(np.uint8)))
        inner[now] = best & ~LOW
    return None


def _advance(
    lattice: Lattice, cost: Codes, half_way: Codes | None, best: Codes, here: tuple[int, int, int, int]
) -> None:
    """Lower ``best`` to the cheapest move into each node of the box ``here``."""
    y0, y1, x0, x1 = here
    rim = lattice.rim
    total = np.empty_like(best)
    for (dy, dx), price, shut in zip(lattice.moves.tolist(), lattice.price, lattice.shut, strict=True):
        source = cost[y0 - dy + rim : y1 - dy + rim, x0 - dx + rim : x1 - dx + rim]
        np.add(source, price, out=total)
        if half_way is not None:
            a, b = 2 * y0 - dy + rim, 2 * x0 - dx + rim
            total += half_way[a : a + 2 * (y1 - y0) - 1 : 2, b : b + 2 * (x1 - x0) - 1 : 2]
        if shut is not None:
            total += shut[y0:y1, x0:x1]
        np.minimum(best, total, out=best)


def _clear(points: Places, others: Places, distance: float) -> NDArray[np.bool_]:
    """Whether points [n, 2] keep a distance from all others [k, 2]."""
    gap = points[:, None] - others
    return np.asarray(((gap * gap).sum(-1) >= distance * distance).all(1))


def _grow(
    box: tuple[int, int, int, int] | None, rim: int, rows: int, columns: int
) -> tuple[int, int, int, int] | None:
    if box is None:
        return None
    y0, y1, x0, x1 = box
    return max(y0 - rim, 0), min(y1 + rim, rows), max(x0 - rim, 0), min(x1 + rim, columns)


def _cover(box: tuple[int, int, int, int] | None, nodes: Ints) -> tuple[int, int, int, int]:
    """The box, enlarged to hold some nodes [n, 2]."""
    low, high = nodes.min(0).tolist(), (nodes.max(0) + 1).tolist()
    if box is None:
        return low[0], high[0], low[1], high[1]
    y0, y1, x0, x1 = box
    return min(y0, low[0]), max(y1, high[0]), min(x0, low[1]), max(x1, high[1])


def _bounds(reached: NDArray[np.bool_], y0: int, x0: int) -> tuple[int, int, int, int] | None:
    """The box of what is True, given the first row's and column's numbers."""
    y = np.flatnonzero(reached.any(1))
    if not len(y):
        return None
    x = np.flatnonzero(reached.any(0))
    return y0 + int(y[0]), y0 + int(y[-1]) + 1, x0 + int(x[0]), x0 + int(x[-1]) + 1


def _trace(
    lattice: Lattice, trip: Trip, behind: list[tuple[int, int, NDArray[np.uint8]]], last: Ints
) -> Places:
    """Positions at steps, from the moves that led to node ``last``, and on to the goal."""
    node, way = last, [trip.goal.astype(np.float64)]
    for y0, x0, move in reversed(behind):
        way.append(lattice.point(node))
        code = int(move[node[0] - y0, node[1] - x0])
        if code == int(DEPART):
            break
        node = node - lattice.moves[code]
    waiting = len(behind) + 1 - (len(way) - 1)
    way += [trip.start.astype(np.float64)] * waiting
    return np.array(way[::-1])
