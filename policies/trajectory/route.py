"""From a geodesic distance field to the local route: a taut polyline towards the goal.

The field says how far every planning node is from a goal; a route follows it from where an
agent is, and is pulled taut wherever the straight line is free. One `Guide` serves all agents
and lanes of a world; fields are computed once per goal and vertices once per (goal, node).

Agents that know of more obstacles than others have another *map*, with the same nodes. A goal has a row in the tables
for each map that somebody goes there by, so whoever holds the row of its goal need not name its map.
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
        grid: planning nodes and geodesic fields of the first map. obstacles: for lines of sight on it.
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
        self.many_maps = False
        """Whether maps differ so much from the first one that its moves say little about them."""
        self._maps = [(grid, obstacles)]
        self.map_of: Ints = np.zeros(0, np.int64)
        """Int64 [goal row], the map that each row's field is for."""
        height, width = grid.shape
        self._points = grid.point(*np.indices(grid.shape)).reshape(-1, 2)
        self._index: dict[tuple[bytes, int], int] = {}
        self.goals: Floats = np.zeros((0, 2), np.float32)
        self.fields: Floats = np.zeros((0, height * width), np.float32)
        self._next: NDArray[np.int32] = np.zeros((0, height * width), np.int32)
        self._taut: NDArray[np.int32] = np.zeros((0, height * width), np.int32)

    def add_map(self, grid: NavigationGrid, obstacles: Obstacles) -> int:
        """Another map with the same nodes: its number, for `goal_index`."""
        if grid.shape != self.grid.shape or (grid.origin != self.grid.origin).any() or grid.cell != self.grid.cell:
            raise ValueError(f"a map must have the nodes of the first one, {self.grid.shape}, got {grid.shape}")
        self._maps.append((grid, obstacles))
        return len(self._maps) - 1

    def goal_index(self, goals: Floats, maps: Ints | None = None) -> Ints:
        """Row of each goal [batch, 2] in the tables, computing fields of new goals.

        Args:
            maps: int64 [batch], numbers of the maps to go there by; the first one's if None.
        """
        goals = np.ascontiguousarray(goals, np.float32)
        numbers = [0] * len(goals) if maps is None else maps.tolist()
        keys = [(row.tobytes(), number) for row, number in zip(goals, numbers, strict=True)]
        fresh = {k: g for k, g in zip(keys, goals, strict=True) if k not in self._index}
        for number in sorted({number for _, number in fresh}):
            mine = {k: g for k, g in fresh.items() if k[1] == number}
            points = np.stack(list(mine.values()))
            self.add_fields(points, self._maps[number][0].fields(points), number)
            for k in mine:
                self._index[k] = len(self._index)
        return np.array([self._index[k] for k in keys], np.int64)

    def add_fields(self, goals: Floats, fields: Floats, number: int = 0) -> None:
        """Append a map's cost-to-go tables ``fields`` [goals, rows, columns]; lines of sight are found on demand."""
        moves = self._maps[number][0].descents(fields).reshape(len(fields), -1)
        self.map_of = np.concatenate([self.map_of, np.full(len(fields), number)])
        step = np.append(MOVES[:, 0] * self.grid.shape[1] + MOVES[:, 1], 0)
        onward = np.where(moves >= 0, np.arange(moves.shape[1]) + step[moves], -1)
        self.goals = np.concatenate([self.goals, goals])
        self.fields = np.concatenate([self.fields, fields.reshape(len(fields), -1)])
        self._next = np.concatenate([self._next, onward.astype(np.int32)])
        self._taut = np.concatenate([self._taut, np.full((len(fields), fields[0].size), _UNKNOWN, np.int32)])

    def nodes(self, positions: Floats, goal: Ints | None = None) -> Ints:
        """Flat index of the nearest free node of each position [batch, 2], on the maps of goals by row."""
        row, column = self.grid.node(positions)
        for number, (grid, _) in enumerate(self._maps[1:] if goal is not None else (), 1):
            mine = self.map_of[goal] == number
            if mine.any():
                row[mine], column[mine] = grid.node(positions[mine])
        return row * self.grid.shape[1] + column

    def cost_to_go(self, positions: Floats, goal: Ints) -> Floats:
        """Geodesic metres from positions [batch, 2] to goals by row (inf: no way)."""
        return self.fields[goal, self.nodes(positions, goal)]

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

    def _furthest_visible(self, origin: Floats, points: Floats, goal: Ints) -> Ints:
        """Index of the last of ``points`` [batch, k, 2] in free line of sight on the goals' maps; 0: only the first."""
        batch, k, _ = points.shape
        if self.open and len(self._maps) == 1:
            return np.full(batch, k - 1)
        steps = np.linspace(0.0, 1.0, 2 * k + 1, dtype=np.float32)[1:]
        line = origin[:, None, None, :] + (points - origin[:, None, :])[:, :, None, :] * steps[:, None]
        gap = self.obstacles.signed_distance(line)
        for number, (_, obstacles) in enumerate(self._maps[1:], 1):
            mine = self.map_of[goal] == number
            if mine.any():
                gap[mine] = obstacles.signed_distance(line[mine])
        clear = (gap >= self.clearance).all(-1)
        # Only an unbroken run of visible points counts: past the first hidden one the route has turned.
        return np.maximum(np.cumprod(clear, axis=1).sum(1) - 1, 0)

    def _corners(self, goal: Ints, node: Ints) -> Ints:
        """The next vertex of the taut route after ``node``: itself at the goal."""
        taut = self._taut[goal, node]
        unknown = np.flatnonzero(taut == _UNKNOWN)
        if len(unknown):
            pairs = np.unique(np.stack([goal[unknown], node[unknown]], 1), axis=0)
            trail = self._trail(pairs[:, 1], pairs[:, 0])
            ahead = self._points[trail[:, 1:]]
            seen = self._furthest_visible(self._points[pairs[:, 1]], ahead, pairs[:, 0]) + 1
            self._taut[pairs[:, 0], pairs[:, 1]] = trail[np.arange(len(pairs)), seen]
            taut = self._taut[goal, node]
        return taut.astype(np.int64)

    def routes(self, positions: Floats, goal: Ints) -> Routes:
        """Taut routes from positions [batch, 2] to goals given by row of `goal_index`."""
        start = self.nodes(positions, goal)
        goals = self.goals[goal]
        remaining = self.fields[goal, start]
        trail = self._trail(start, goal)
        # Where a trail ends, the goal itself is in sight.
        ends = self._next[goal[:, None], trail] < 0
        points = np.where(ends[..., None], goals[:, None, :], self._points[trail])
        rows = np.arange(len(positions))
        node = trail[rows, self._furthest_visible(positions, points, goal)]
        vertices = [positions]
        for _ in range(self.vertices - 1):
            arrived = self._next[goal, node] < 0
            vertices.append(np.where(arrived[:, None], goals, self._points[node]))
            node = self._corners(goal, node)
        return self._polyline(np.stack(vertices, axis=1), goal, remaining)

    def walks(self, positions: Floats, goal: Ints, metres: float) -> Routes:
        """The same ways from node to node, not taut, at least ``metres`` long: for looking far ahead."""
        start = self.nodes(positions, goal)
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
