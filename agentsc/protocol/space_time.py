"""Foresight: the cheapest way through space *and* time, around what peers are believed to do.

A geodesic field knows the map but not the traffic. Here every agent whose way is contested
solves a small dynamic programme on a window of planning nodes over the next seconds: at each
step stay or move to a neighbour, pay time until the goal, pay for being where a peer is
believed to be. The result is a value function (seconds to the goal, traffic included), which
scores sampled plans, and its best way, which starts some of the samples. Waiting, going
around, and backing out of a corridor for someone of higher priority all come out of it.

Reference: D. Silver, "Cooperative pathfinding", 2005 (windowed cooperative A*); here by value
iteration over arrays, against beliefs instead of reservations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.navigation import MOVES
from policies.trajectory.route import Guide

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_FAR = np.float32(1e6)


@dataclass(frozen=True)
class Foresight:
    """Value functions of a batch of agents on their own windows.

    Attributes:
        value: float32 [n, step + 1, side, side], seconds to the goal from a node at a step.
        tolls: likewise, seconds charged for being at a node at a step.
        to_go: float32 [n, side, side], seconds to the goal over the empty map, inf where blocked.
        corner: int64 [n, 2], row and column of each window's first node.
        way: float32 [n, step + 1, 2], metres; the best way from the agent's node.
        toll: float32 [n], seconds of penalty that the best way still pays.
        step_s: seconds per step. guide: node geometry. speed: m/s.
    """

    value: Floats
    tolls: Floats
    to_go: Floats
    corner: Ints
    way: Floats
    toll: Floats
    step_s: float
    guide: Guide
    speed: float

    def time_to_go(self, rows: Ints, points: Floats, seconds: Floats, static: Floats) -> Floats:
        """Seconds to the goal, traffic included.

        Args:
            rows: [n], which agents. points: [n, k, 2], metres. seconds: [k], when they are reached.
            static: [n, k], seconds to the goal over the empty map.

        Returns:
            float32 [n, k]: the value at the nearest node, corrected by what the point is better or
            worse than that node on the empty map.
        """
        n = rows[:, None, None]
        steps, side = self.value.shape[1], self.value.shape[2]
        grid = self.guide.grid
        place = (points - grid.origin) / grid.cell
        low = np.floor(place).astype(np.int64)
        around = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        column = low[..., 0, None] + around[:, 1]
        row = low[..., 1, None] + around[:, 0]
        gap = np.hypot(column - place[..., 0, None], row - place[..., 1, None])
        corner = self.corner[rows][:, None, None]
        r, c = row - corner[..., 0], column - corner[..., 1]
        inside = (r >= 0) & (c >= 0) & (r < side) & (c < side)
        r, c = np.clip(r, 0, side - 1), np.clip(c, 0, side - 1)
        free = inside & np.isfinite(self.to_go[n, r, c])
        nearest = np.where(free, gap, np.inf).argmin(-1)[..., None]
        r, c = (np.take_along_axis(a, nearest, -1)[..., 0] for a in (r, c))
        # Between two steps the kinder one counts: a plan need not move in lockstep with the grid.
        least = np.full(points.shape[:2], np.inf, np.float32)
        for early in (np.floor, np.ceil):
            step = np.clip(early(seconds / self.step_s), 0, steps - 1).astype(np.int64)
            index = rows[:, None], step, r, c
            np.minimum(least, self.value[index] + self.tolls[index], out=least)
        known = free.any(-1)
        return np.where(known, least + static - np.where(known, self.to_go[rows[:, None], r, c], 0.0), _FAR)


def foresee(
    guide: Guide,
    start: Floats,
    goal: Ints,
    peers: Floats,
    penalty: Floats,
    distance: float,
    steps: int,
    step_s: float,
    speed: float,
) -> Foresight:
    """Solve the dynamic programme of every agent.

    Args:
        start: [n, 2], metres. goal: [n], rows of the guide's tables.
        peers: float32 [n, peer, 2·steps + 1, 2], believed positions every half step, metres.
        penalty: float32 [n, peer, step + 1], seconds charged for a step spent within ``distance`` of it.
    """
    grid = guide.grid
    rows, columns = grid.shape
    half = steps  # nobody can leave the window, so its edge never makes waiting look free
    side = 2 * half + 1
    node = guide.nodes(start)
    corner = np.stack([node // columns, node % columns], -1) - half
    index = np.arange(side)
    row = corner[:, 0, None] + index
    column = corner[:, 1, None] + index
    in_row, in_column = (row >= 0) & (row < rows), (column >= 0) & (column < columns)
    inside = in_row[:, :, None] & in_column[:, None, :]
    r, c = np.clip(row, 0, rows - 1)[:, :, None], np.clip(column, 0, columns - 1)[:, None, :]
    fields = guide.fields.reshape(-1, rows, columns)
    to_go = np.where(inside, fields[goal[:, None, None], r, c], np.inf) / speed
    home = np.where(inside, to_go <= 0.5 * grid.cell / speed, False)
    allowed = np.isfinite(grid.costs)[:, r, c] & inside

    y = (grid.origin[1] + grid.cell * row).astype(np.float32)
    x = (grid.origin[0] + grid.cell * column).astype(np.float32)
    charges = _charges(np.stack([x[:, 0], y[:, 0]], -1), grid.cell, side, peers, penalty, distance)
    tolls = charges[:, ::2, 1:-1:2, 1:-1:2]
    value = np.full((len(start), steps + 1, side, side), _FAR, np.float32)
    value[:, steps] = np.where(np.isfinite(to_go), to_go, _FAR)
    pause = np.where(home, 0.0, step_s).astype(np.float32)

    def on_the_way(k: int, dy: int, dx: int) -> Floats:
        """What is charged half-way through a move that starts at step ``k``, [n, side, side]."""
        return charges[:, 2 * k + 1, 1 + dy : 2 * side + dy : 2, 1 + dx : 2 * side + dx : 2]

    moves = MOVES.tolist()
    price = [np.where(allowed[m], np.float32(_move_s(step_s, *moves[m])), _FAR) for m in range(len(moves))]
    busy = np.asarray(charges[:, 1::2].any((0, 2, 3)))  # most half steps charge nobody
    padded = np.full((len(start), side + 2, side + 2), _FAR, np.float32)
    reached = np.empty((len(start), side, side), np.float32)
    for k in range(steps - 1, -1, -1):
        onward = np.add(value[:, k + 1], tolls[:, k + 1], out=padded[:, 1:-1, 1:-1])
        best = np.add(onward, pause, out=value[:, k])
        if busy[k]:
            best += on_the_way(k, 0, 0)
        for (dy, dx), cost in zip(moves, price, strict=True):
            np.add(padded[:, 1 + dy : 1 + dy + side, 1 + dx : 1 + dx + side], cost, out=reached)
            if busy[k]:
                reached += on_the_way(k, dy, dx)
            np.minimum(best, reached, out=best)

    way = np.empty((len(start), steps + 1, 2), np.float32)
    n = np.arange(len(start))
    r0, c0 = np.full(len(start), half), np.full(len(start), half)
    toll = np.zeros(len(start), np.float32)
    for k in range(steps + 1):
        way[:, k, 0], way[:, k, 1] = x[n, c0], y[n, r0]
        if k == steps:
            break
        onward = value[:, k + 1] + tolls[:, k + 1]
        between = on_the_way(k, 0, 0)[n, r0, c0]
        best = onward[n, r0, c0] + pause[n, r0, c0] + between
        choice_r, choice_c = r0.copy(), c0.copy()
        for move, (dy, dx) in enumerate(moves):
            rr, cc = r0 + dy, c0 + dx
            legal = allowed[move, n, r0, c0] & (rr >= 0) & (cc >= 0) & (rr < side) & (cc < side)
            reached = onward[n, np.clip(rr, 0, side - 1), np.clip(cc, 0, side - 1)]
            cost = reached + on_the_way(k, dy, dx)[n, r0, c0] + _move_s(step_s, dy, dx)
            better = legal & (cost < best - 1e-6)
            best = np.where(better, cost, best)
            choice_r, choice_c = np.where(better, rr, choice_r), np.where(better, cc, choice_c)
        r0, c0 = choice_r, choice_c
        toll += tolls[n, k + 1, r0, c0]
    return Foresight(value, tolls, to_go.astype(np.float32), corner, way, toll, step_s, guide, speed)


def _move_s(step_s: float, dy: int, dx: int) -> float:
    """Moving costs a hair more than waiting, so that nobody dances; diagonals are longer."""
    return step_s * (1.02 if dy == 0 or dx == 0 else 1.1)


def _charges(
    corner: Floats, cell: float, side: int, peers: Floats, penalty: Floats, distance: float
) -> Floats:
    """Seconds charged on the grid of nodes and mid-points, at every half step: nobody slips through a peer.

    Args:
        corner: [n, 2], metres, each window's first node. peers: [n, peer, 2·steps + 1, 2], metres.
        penalty: [n, peer, step + 1].

    Returns:
        float32 [n, 2·steps + 1, 2·side + 1, 2·side + 1], half a cell apart, with a rim of half a cell.
    """
    count, _, halves, _ = peers.shape
    wide = 2 * side + 1
    charges = np.zeros(count * halves * wide * wide, np.float32)
    row, peer, half = np.nonzero(np.repeat(penalty, 2, axis=2)[:, :, :halves] > 0)
    place = (peers[row, peer, half] - corner[row]) / np.float32(0.5 * cell) + np.float32(1.0)
    size = int(np.ceil(distance / (0.5 * cell) + 0.5))
    near = ((place > -size) & (place < wide + size)).all(1)
    row, half, peer, place = row[near], half[near], peer[near], place[near]
    middle = np.rint(place).astype(np.int32)
    offset = (middle - place).astype(np.float32)
    stamp = np.arange(-size, size + 1, dtype=np.int32)
    square = ((offset[:, 1, None] + stamp) ** 2)[:, :, None] + ((offset[:, 0, None] + stamp) ** 2)[:, None, :]
    which, down, along = np.nonzero(square < np.float32((distance / (0.5 * cell)) ** 2))
    at_y, at_x = middle[which, 1] + stamp[down], middle[which, 0] + stamp[along]
    seen = (at_x >= 0) & (at_y >= 0) & (at_x < wide) & (at_y < wide)
    which, at_y, at_x = which[seen], at_y[seen], at_x[seen]
    flat = ((row[which] * halves + half[which]) * wide + at_y) * wide + at_x
    weight = penalty[row, peer, half // 2][which]
    # A whole step near a peer is two half steps.
    np.add.at(charges, flat, np.float32(0.5) * weight)
    return charges.reshape(count, halves, wide, wide)
