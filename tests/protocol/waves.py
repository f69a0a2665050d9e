"""The search of `agentsc.protocol.joint.one` as array expressions, over the whole map: slow, and easy to read.

All nodes of a step are handled at once, one move after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint.lattice import MOVE_BITS, UNREACHED, Claim, Codes, Floats, Ints, Lattice
from agentsc.protocol.joint.one import Trip

PASS = np.int32(1 << 28)
LOW = np.int32((1 << MOVE_BITS) - 1)
DEPART = LOW
"""Stands for the move that leaves the start, which need not be a node."""
Places = NDArray[np.float64]
Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""


def steps_to(lattice: Lattice, goal: Floats) -> NDArray[np.int16]:
    """Least number of steps [row, column] to a point."""
    steps = np.full(lattice.shape, UNREACHED, np.int16)
    first, _ = lattice.reach(goal)
    steps[first[:, 0], first[:, 1]] = 1
    rows, columns = lattice.shape
    for step in range(2, UNREACHED):
        front = np.zeros((rows + 2 * lattice.rim, columns + 2 * lattice.rim), bool)
        front[lattice.rim : lattice.rim + rows, lattice.rim : lattice.rim + columns] = steps == step - 1
        grown = np.zeros(lattice.shape, bool)
        for (dy, dx), shut in zip(lattice.moves.tolist(), shuts(lattice), strict=True):
            y, x = lattice.rim - dy, lattice.rim - dx
            grown |= front[y : y + rows, x : x + columns] & (shut == 0)
        grown &= lattice.free & (steps == UNREACHED)
        if not grown.any():
            break
        steps[grown] = step
    return steps


def shuts(lattice: Lattice) -> list[Codes]:
    """Per move, int32 [row, column]: `PASS` where it may not end."""
    number = np.arange(len(lattice.moves), dtype=np.uint64)[:, None, None]
    possible = lattice.ends.reshape(1, *lattice.shape) >> number & np.uint64(1)
    return list(np.where(possible > 0, 0, PASS).astype(np.int32))


def find(
    lattice: Lattice, trip: Trip, others: list[Claim], latest: int, hold: int = 0, ready: int = 0
) -> Places | None:
    """The way of one agent that arrives first, and among those the shortest.

    Args:
        others: whom to keep clear of. latest: step by which to arrive. hold: step before which not to leave.
        ready: step before which it is not at the start yet, and nobody keeps it from being there later.

    Returns:
        Positions [S + 1, 2] at steps, metres; None if there is no way.
    """
    half_steps = np.arange(2 * latest + 3)
    spots = np.array([claim.at(half_steps) for claim in others]).reshape(len(others), len(half_steps), 2)
    near = np.linalg.norm(spots - trip.goal, axis=-1) < lattice.distance
    busy = np.flatnonzero(near.any(0))
    # The goal has to stay free for ever from the half step of arrival on.
    earliest = max(trip.least, 0 if not len(busy) else int(busy[-1]) // 2 + 1)
    if earliest == 0 or (trip.least == 0 and (not len(busy) or busy[-1] < 2 * ready)):
        return np.repeat(trip.start[None].astype(np.float64), ready + 1, axis=0)
    hold = max(hold, ready)
    earliest = max(earliest, trip.least + hold)
    slack = 2
    while earliest <= latest:
        budget = min(earliest + slack, latest)
        way = _Wave(lattice, trip, others, spots, budget, hold, ready).run(earliest)
        if way is not None or budget == latest:
            return way
        slack = 2 * slack + 2
    return None


class _Wave:
    """Costs of the nodes that one agent may be at, step by step, as long as the goal is within the budget.

    Costs carry the number of the move that led there in their low bits while a step is worked out;
    afterwards the moves are kept apart, to trace the way back.
    """

    def __init__(
        self, lattice: Lattice, trip: Trip, others: list[Claim], spots: Places, budget: int, hold: int, ready: int
    ) -> None:
        """See `find`. spots: [other, half step, 2], metres."""
        self.lattice, self.trip, self.others, self.spots = lattice, trip, others, spots
        self.budget, self.hold = budget, hold
        rows, columns = lattice.shape
        rim = lattice.rim
        # A rim of forbidden nodes spares all bounds checks. Marks: what others take at a half step.
        self.padded = np.full((rows + 2 * rim, columns + 2 * rim), PASS, np.int32)
        self.cost = self.padded[rim : rim + rows, rim : rim + columns]
        self.node_marks = np.zeros(rows * columns, np.int32)
        self.half_marks = np.zeros((2 * (rows + rim) + 1, 2 * (columns + rim) + 1), np.int32)
        self.box: Box | None = None
        self.behind: list[tuple[int, int, NDArray[np.uint8]]] = []
        self.start, self.goal = trip.start.astype(np.float64), trip.goal.astype(np.float64)
        self.to_go = steps_to(lattice, trip.goal)
        self.leave, self.arrive = lattice.reach(trip.start), lattice.reach(trip.goal)
        nodes, _ = self.leave
        self.left = self.to_go[nodes[:, 0], nodes[:, 1]]
        close = np.linalg.norm(spots - self.start, axis=-1) < lattice.distance
        close[:, : 2 * ready] = False
        # Who rests nearby from the beginning may go on doing so.
        close &= np.logical_or.accumulate((spots != spots[:, :1]).any(-1), axis=1)
        close[[claim.promised for claim in others]] = False
        self.start_taken = np.append(np.flatnonzero(close.any(0)), spots.shape[1])[0]  # half step

    def run(self, earliest: int) -> Places | None:
        """The way [S + 1, 2] that arrives first, not before step ``earliest``; None if the budget does not do."""
        for step in range(self.budget):
            if step + 1 >= earliest:
                last = self._before_goal(step)
                if last is not None:
                    return self._trace(last)
            if not self._advance(step):
                return None
        return None

    def _before_goal(self, step: int) -> Ints | None:
        """The best node to enter the goal from, reached at ``step``; None if there is none."""
        nodes, price = self.arrive
        if self.box is None or not len(nodes):
            return None
        middle = (self.goal + self.lattice.point(nodes)) / 2
        clear = _clear(middle, self.spots[:, 2 * step + 1], self.lattice.distance)
        total = np.where(clear, self.cost[nodes[:, 0], nodes[:, 1]] + price, PASS)
        best = int(total.argmin())
        return nodes[best] if total[best] < PASS else None

    def _advance(self, step: int) -> bool:
        """From the costs at ``step`` to those at the next one; False when there is nowhere left to be."""
        lattice = self.lattice
        leaving = step >= self.hold and 2 * step < self.start_taken
        out = np.flatnonzero((self.left < self.budget - step) & leaving)
        here = _cover(_grow(self.box, lattice), self.leave[0][out])
        if here is None:
            self.behind.append((0, 0, np.zeros((0, 0), np.uint8)))
            return step < self.hold
        y0, y1, x0, x1 = here
        now = np.s_[y0:y1, x0:x1]
        best = np.full((y1 - y0, x1 - x0), PASS, np.int32)
        close = self._close(step, here)
        at_half = [mids_at(lattice, self.others[j], step) for j in close.tolist()]
        at_end = [nodes_at(lattice, self.others[j], step + 1) for j in close.tolist()]
        if self.box is not None:
            with _marked(self.half_marks, self._on_half_lattice(at_half)) as marks:
                self._move(best, here, marks if at_half else None)
        if len(out):
            nodes, price = self.leave[0][out], self.leave[1][out]
            clear = _clear((self.start + lattice.point(nodes)) / 2, self.spots[close, 2 * step + 1], lattice.distance)
            y, x = (nodes[clear] - (y0, x0)).T
            best[y, x] = np.minimum(best[y, x], price[clear] + DEPART)
        if at_end:
            with _marked(self.node_marks, np.concatenate(at_end)) as marks:
                best += marks.reshape(lattice.shape)[now]
        best[(self.to_go[now] >= self.budget - step) | ~lattice.free[now]] = PASS
        np.minimum(best, PASS, out=best)
        if self.box is not None:
            a, b, c, d = self.box
            self.cost[a:b, c:d] = PASS
        self.box = _bounds(best < PASS, y0, x0)
        self.behind.append((y0, x0, (best & LOW).astype(np.uint8)))
        self.cost[now] = best & ~LOW
        return True

    def _close(self, step: int, here: Box) -> Ints:
        """Which others come near a box of nodes within a step."""
        low, high = self.lattice.point(np.array([here[::2], here[1::2]]))
        reach = self.lattice.distance + self.lattice.step_m
        spot = self.spots[:, 2 * step + 1]
        return np.flatnonzero(((spot > low - reach) & (spot < high + reach)).all(1))

    def _on_half_lattice(self, flat: list[Ints]) -> tuple[Ints, Ints]:
        """Row and column among the marks of flat indices on the lattice of half the pitch."""
        index = np.concatenate(flat) if flat else np.zeros(0, np.int64)
        row, column = np.divmod(index, 2 * self.lattice.shape[1] - 1)
        return row + self.lattice.rim, column + self.lattice.rim

    def _move(self, best: Codes, here: Box, half_marks: Codes | None) -> None:
        """Lower ``best`` to the cheapest move into each node of the box ``here``."""
        y0, y1, x0, x1 = here
        lattice, rim = self.lattice, self.lattice.rim
        total = np.empty_like(best)
        for (dy, dx), price, shut in zip(lattice.moves.tolist(), lattice.price, shuts(lattice), strict=True):
            source = self.padded[y0 - dy + rim : y1 - dy + rim, x0 - dx + rim : x1 - dx + rim]
            np.add(source, price, out=total)
            if half_marks is not None:
                a, b = 2 * y0 - dy + rim, 2 * x0 - dx + rim
                total += half_marks[a : a + 2 * (y1 - y0) - 1 : 2, b : b + 2 * (x1 - x0) - 1 : 2]
            total += shut[y0:y1, x0:x1]
            np.minimum(best, total, out=best)

    def _trace(self, last: Ints) -> Places:
        """Positions at steps, from the moves that led to node ``last``, and on to the goal."""
        node, way = last, [self.goal]
        for y0, x0, move in reversed(self.behind):
            way.append(self.lattice.point(node))
            code = int(move[node[0] - y0, node[1] - x0])
            if code == int(DEPART):
                break
            node = node - self.lattice.moves[code]
        way += [self.start] * (len(self.behind) + 2 - len(way))
        return np.array(way[::-1])


@contextmanager
def _marked(marks: Codes, index: Any) -> Iterator[Codes]:
    """The marks with `PASS` at some places, for a while; clearing those is cheaper than a new array."""
    marks[index] = PASS
    yield marks
    marks[index] = 0


def _clear(points: Places, others: Places, distance: float) -> NDArray[np.bool_]:
    """Whether points [n, 2] keep a distance from all others [k, 2]."""
    gap = points[:, None] - others
    return np.asarray(((gap * gap).sum(-1) >= distance * distance).all(1))


def _grow(box: Box | None, lattice: Lattice) -> Box | None:
    """The box that one move leads to."""
    if box is None:
        return None
    (y0, y1, x0, x1), rim, (rows, columns) = box, lattice.rim, lattice.shape
    return max(y0 - rim, 0), min(y1 + rim, rows), max(x0 - rim, 0), min(x1 + rim, columns)


def _cover(box: Box | None, nodes: Ints) -> Box | None:
    """The box, enlarged to hold some nodes [n, 2]."""
    if not len(nodes):
        return box
    low, high = nodes.min(0).tolist(), (nodes.max(0) + 1).tolist()
    if box is None:
        return low[0], high[0], low[1], high[1]
    y0, y1, x0, x1 = box
    return min(y0, low[0]), max(y1, high[0]), min(x0, low[1]), max(x1, high[1])


def _bounds(reached: NDArray[np.bool_], y0: int, x0: int) -> Box | None:
    """The box of what is True, given the first row's and column's numbers."""
    y = np.flatnonzero(reached.any(1))
    if not len(y):
        return None
    x = np.flatnonzero(reached.any(0))
    return y0 + int(y[0]), y0 + int(y[-1]) + 1, x0 + int(x[0]), x0 + int(x[-1]) + 1


def nodes_at(lattice: Lattice, claim: Claim, step: int) -> Ints:
    """Flat indices of the nodes that are taken at a whole step."""
    return _discs(lattice, claim.at(np.array([2 * step])), 1)[0]


def mids_at(lattice: Lattice, claim: Claim, step: int) -> Ints:
    """The same half a step after it, on the lattice of half the pitch."""
    return _discs(lattice, claim.at(np.array([2 * step + 1])), 2)[0]


def _discs(lattice: Lattice, spots: NDArray[np.float64], parts: int) -> list[Ints]:
    """Flat indices of the nodes, ``parts`` per cell, that are nearer than the distance to each spot [n, 2]."""
    pitch = lattice.cell / parts
    rows, columns = ((n - 1) * parts + 1 for n in lattice.shape)
    radius = lattice.distance / pitch
    place = (spots - lattice.origin)[:, ::-1] / pitch
    middle = np.rint(place).astype(np.int64)
    stamp = np.arange(-int(radius + 1), int(radius + 1) + 1)
    off = middle - place
    square = ((off[:, 0, None] + stamp) ** 2)[:, :, None] + ((off[:, 1, None] + stamp) ** 2)[:, None, :]
    inside_y = (middle[:, 0, None] + stamp >= 0) & (middle[:, 0, None] + stamp < rows)
    inside_x = (middle[:, 1, None] + stamp >= 0) & (middle[:, 1, None] + stamp < columns)
    near = (square < radius * radius) & inside_y[:, :, None] & inside_x[:, None, :]
    which, y, x = np.nonzero(near)
    flat = (middle[which, 0] + stamp[y]) * columns + middle[which, 1] + stamp[x]
    ends = np.searchsorted(which, np.arange(len(spots) + 1))
    return [flat[a:b] for a, b in pairwise(ends.tolist())]
