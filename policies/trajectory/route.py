"""From a geodesic distance field to the local route: a taut polyline towards the goal.

The field says how far every planning node is from a goal; a route follows it from where an
agent is, and is pulled taut wherever the straight line is free. One `Guide` serves all agents
and lanes of a world; fields are computed once per goal and vertices once per (goal, node).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.geometry import Obstacles
from envs.navigation import MOVES, NavigationGrid

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_UNKNOWN = -2
CLEARANCE = 1.4
"""Radii that a route keeps from corners it cuts: a spline along it cuts a little more."""


@dataclass(frozen=True)
class Routes:
    """A batch of polylines from each agent's position towards its goal.

    Attributes:
        vertices: float32 [batch, vertex, 2], metres; the last vertex repeats once the goal is met.
        arc: float32 [batch, vertex], metres along the polyline.
        remaining: float32 [batch], geodesic metres from the start to the goal (inf: no way).
        complete: bool [batch], the polyline ends at the goal itself.
    """

    vertices: Floats
    arc: Floats
    remaining: Floats
    complete: NDArray[np.bool_]

    def at(self, arc: Floats) -> Floats:
        """Points [batch, k, 2] at arc lengths ``arc`` [batch, k]; past the end, the last vertex."""
        leg = np.clip((arc[:, :, None] >= self.arc[:, None, :]).sum(-1) - 1, 0, self.arc.shape[1] - 2)
        rows = np.arange(len(arc))[:, None]
        a, b = self.arc[rows, leg], self.arc[rows, leg + 1]
        share = np.clip((arc - a) / np.maximum(b - a, 1e-6), 0.0, 1.0)[..., None]
        return self.vertices[rows, leg] * (1.0 - share) + self.vertices[rows, leg + 1] * share


class Guide:
    """Routes for any number of agents over one navigation grid.

    Args:
        grid: planning nodes and geodesic fields.
        obstacles: for lines of sight.
        clearance: metres a route keeps from obstacles when it cuts a corner.
        reach: metres a plan can cover; routes extend at least that far.
        vertices: corners kept per route, the start included.
    """

    def __init__(
        self, grid: NavigationGrid, obstacles: Obstacles, clearance: float, reach: float, vertices: int = 6
    ) -> None:
        self.grid, self.obstacles = grid, obstacles
        self.clearance, self.reach, self.vertices = clearance, reach, vertices
        self.hops = int(np.ceil(reach / grid.cell)) + 2
        self.open = len(obstacles.boxes) == 0
        height, width = grid.shape
        self._points = grid.point(*np.indices(grid.shape)).reshape(-1, 2)
        self._index: dict[bytes, int] = {}
        self.goals: Floats = np.zeros((0, 2), np.float32)
        self.fields: Floats = np.zeros((0, height * width), np.float32)
        self._next: NDArray[np.int32] = np.zeros((0, height * width), np.int32)
        self._taut: NDArray[np.int32] = np.zeros((0, height * width), np.int32)

    def goal_index(self, goals: Floats) -> Ints:
        """Row of each goal [batch, 2] in the tables, computing fields of new goals."""
        goals = np.ascontiguousarray(goals, np.float32)
        keys = [row.tobytes() for row in goals]
        fresh = {k: g for k, g in zip(keys, goals, strict=True) if k not in self._index}
        if fresh:
            points = np.stack(list(fresh.values()))
            self.add_fields(points, self.grid.fields(points))
            for k in fresh:
                self._index[k] = len(self._index)
        return np.array([self._index[k] for k in keys], np.int64)

    def add_fields(self, goals: Floats, fields: Floats) -> None:
        """Append cost-to-go tables ``fields`` [goals, rows, columns]; lines of sight are found on demand."""
        moves = self.grid.descents(fields).reshape(len(fields), -1)
        step = np.append(MOVES[:, 0] * self.grid.shape[1] + MOVES[:, 1], 0)
        onward = np.where(moves >= 0, np.arange(moves.shape[1]) + step[moves], -1)
        self.goals = np.concatenate([self.goals, goals])
        self.fields = np.concatenate([self.fields, fields.reshape(len(fields), -1)])
        self._next = np.concatenate([self._next, onward.astype(np.int32)])
        self._taut = np.concatenate([self._taut, np.full((len(fields), fields[0].size), _UNKNOWN, np.int32)])

    def nodes(self, positions: Floats) -> Ints:
        """Flat index of the nearest free node of each position [batch, 2]."""
        row, column = self.grid.node(positions)
        return row * self.grid.shape[1] + column

    def cost_to_go(self, positions: Floats, goal: Ints) -> Floats:
        """Geodesic metres from positions [batch, 2] to goals by row (inf: no way)."""
        return self.fields[goal, self.nodes(positions)]

    def _trail(self, start: Ints, goal: Ints, hops: int | None = None) -> Ints:
        """Nodes met by following the field, [batch, hops]; stays on the last one at the goal."""
        hops = hops or self.hops
        trail = np.empty((len(start), hops), np.int64)
        node = start
        for hop in range(hops):
            trail[:, hop] = node
            onward = self._next[goal, node]
            node = np.where(onward >= 0, onward, node)
        return trail

    def _furthest_visible(self, origin: Floats, points: Floats) -> Ints:
        """Index of the last of ``points`` [batch, k, 2] in free line of sight, 0 if only the first."""
        batch, k, _ = points.shape
        if self.open:
            return np.full(batch, k - 1)
        steps = np.linspace(0.0, 1.0, 2 * k + 1, dtype=np.float32)[1:]
        line = origin[:, None, None, :] + (points - origin[:, None, :])[:, :, None, :] * steps[:, None]
        clear = (self.obstacles.signed_distance(line) >= self.clearance).all(-1)
        # Only an unbroken run of visible points counts: past the first hidden one the route has turned.
        return np.maximum(np.cumprod(clear, axis=1).sum(1) - 1, 0)

    def _corners(self, goal: Ints, node: Ints) -> Ints:
        """The next vertex of the taut route after ``node``: itself at the goal."""
        taut = self._taut[goal, node]
        unknown = np.flatnonzero(taut == _UNKNOWN)
        if len(unknown):
            pairs = np.unique(np.stack([goal[unknown], node[unknown]], 1), axis=0)
            trail = self._trail(pairs[:, 1], pairs[:, 0])
            seen = self._furthest_visible(self._points[pairs[:, 1]], self._points[trail[:, 1:]]) + 1
            self._taut[pairs[:, 0], pairs[:, 1]] = trail[np.arange(len(pairs)), seen]
            taut = self._taut[goal, node]
        return taut.astype(np.int64)

    def routes(self, positions: Floats, goal: Ints) -> Routes:
        """Taut routes from positions [batch, 2] to goals given by row of `goal_index`."""
        start = self.nodes(positions)
        goals = self.goals[goal]
        remaining = self.fields[goal, start]
        trail = self._trail(start, goal)
        # Where a trail ends, the goal itself is in sight.
        ends = self._next[goal[:, None], trail] < 0
        points = np.where(ends[..., None], goals[:, None, :], self._points[trail])
        rows = np.arange(len(positions))
        node = trail[rows, self._furthest_visible(positions, points)]
        vertices = [positions]
        for _ in range(self.vertices - 1):
            arrived = self._next[goal, node] < 0
            vertices.append(np.where(arrived[:, None], goals, self._points[node]))
            node = self._corners(goal, node)
        return self._polyline(np.stack(vertices, axis=1), goal, remaining)

    def walks(self, positions: Floats, goal: Ints, metres: float) -> Routes:
        """The same ways from node to node, not taut, at least ``metres`` long: for looking far ahead."""
        start = self.nodes(positions)
        trail = self._trail(start, goal, int(np.ceil(metres / self.grid.cell)) + 1)
        ends = self._next[goal[:, None], trail] < 0
        points = np.where(ends[..., None], self.goals[goal][:, None, :], self._points[trail])
        points[:, 0] = positions
        return self._polyline(points, goal, self.fields[goal, start])

    def _polyline(self, line: Floats, goal: Ints, remaining: Floats) -> Routes:
        goals, line = self.goals[goal], line.astype(np.float32)
        arc = np.cumsum(np.linalg.norm(np.diff(line, axis=1), axis=-1), axis=1, dtype=np.float32)
        arc = np.concatenate([np.zeros_like(arc[:, :1]), arc], axis=1)
        complete = (np.abs(line[:, -1] - goals) < 1e-6).all(-1)
        length = np.where(np.isfinite(remaining), np.maximum(remaining, arc[:, -1] * complete), np.inf)
        return Routes(line, arc, length.astype(np.float32), complete)
