"""Shortest ways around static obstacles: a planning grid with geodesic distance fields.

Nodes are the centres of square cells; on a grid map they are exactly the map's cells. A node is
free when a disc of the given clearance fits there, and a move between neighbours is allowed when
the disc fits all along the straight line. A field holds the cost-to-go from every node to one goal
(E. W. Dijkstra, "A note on two problems in connexion with graphs", 1959), in metres when the map
has no motion pattern; moves against the pattern cost more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from envs.errors import ConfigError
from envs.geometry import Bounds, Obstacles, segment_clearance

Float = NDArray[np.float32]
Int = NDArray[np.int64]

MOVES: Int = np.array([(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)])
"""(row, column) steps of the eight moves; move ``k`` undoes move ``(k + 4) % 8``."""

_CACHE_BYTES = 1 << 28


class NavigationGrid:
    """Planning grid over static obstacles.

    Args:
        obstacles: the geometry.
        clearance: the agent's radius, metres: every node and move keeps this distance.
        cell: side of a cell, metres.
        flow: the map's motion pattern, points [..., 2] to directions [..., 2] (unit or zero).
        flow_cost: a move straight against the pattern costs ``1 + flow_cost`` times its length.
        extent: ``(xmin, ymin, xmax, ymax)`` to cover; needed on an open plane, otherwise the wall.

    Attributes:
        origin: float32 [2], centre of node (0, 0), metres.
        shape: (rows, columns).
        free: bool [rows, columns].
        costs: float32 [8, rows, columns], cost of each of `MOVES` from each node, inf if not allowed.

    Raises:
        ConfigError: nothing bounds the grid, or the clearance exceeds what the distance resolves.
    """

    def __init__(
        self,
        obstacles: Obstacles,
        clearance: float,
        cell: float,
        flow: Callable[[Float], Float] | None = None,
        flow_cost: float = 2.0,
        extent: Bounds | None = None,
    ) -> None:
        extent = extent or obstacles.bounds
        if extent is None:
            raise ConfigError("navigation.extent must be given on an open plane, got None (area to cover)")
        if not 0 <= clearance < obstacles.cutoff:
            raise ConfigError(
                f"navigation.clearance must be in [0, {obstacles.cutoff}), got {clearance} "
                "(agent radius, metres, below the obstacles' cutoff)"
            )
        size = np.array([extent[2] - extent[0], extent[3] - extent[1]])
        columns, rows = (max(int(n), 1) for n in np.floor(size / cell + 1e-6))
        margin = (size - cell * np.array([columns, rows])) / 2
        self.obstacles, self.clearance, self.cell = obstacles, float(clearance), float(cell)
        self.origin: Float = (np.array(extent[:2]) + margin + cell / 2).astype(np.float32)
        self.shape = (rows, columns)
        nodes = self.point(*np.indices(self.shape))
        # The slack admits what touches exactly, e.g. a corridor as wide as the agent.
        self._enough = self.clearance - 1e-3 * self.cell
        self.free: NDArray[np.bool_] = obstacles.signed_distance(nodes) >= self._enough
        self._flow, self._flow_cost = flow, float(flow_cost)
        self.costs = self._move_costs(nodes)
        self._cache: OrderedDict[bytes, Float] = OrderedDict()

    def point(self, iy: ArrayLike, ix: ArrayLike) -> Float:
        """Positions [..., 2] of nodes, metres."""
        index = np.stack([np.asarray(ix), np.asarray(iy)], axis=-1)
        return (self.origin + np.float32(self.cell) * index).astype(np.float32)

    def node(self, points: ArrayLike) -> tuple[Int, Int]:
        """Row and column [...] of the nearest free node to each point [..., 2]."""
        array = np.asarray(points, dtype=np.float32)
        index = np.rint((array - self.origin) / self.cell)
        ix = index[..., 0].clip(0, self.shape[1] - 1).astype(np.int64)
        iy = index[..., 1].clip(0, self.shape[0] - 1).astype(np.int64)
        lost = ~self.free[iy, ix]
        if lost.any() and self.free.any():
            tree, spots = self._tree
            found = spots[tree.query(array[lost])[1]]
            iy, ix = np.array(iy), np.array(ix)
            iy[lost], ix[lost] = found[:, 0], found[:, 1]
        return iy, ix

    def fields(self, goals: ArrayLike, cost: Float | None = None) -> Float:
        """Cost-to-go of every node to each goal.

        Args:
            goals: [N, 2], metres. A goal need not be a node: nearby nodes that see it are its seeds.
            cost: float32 [rows, columns] multiplier of the cost around each node, for varied
                demonstrations; such fields are not cached.

        Returns:
            float32 [N, rows, columns], inf where the goal cannot be reached (and at blocked nodes).
        """
        points = np.asarray(goals, dtype=np.float32).reshape(-1, 2)
        if cost is not None:
            return self._solve(points, cost)
        if not len(points):
            return np.empty((0, *self.shape), np.float32)
        unique, which = np.unique(points, axis=0, return_inverse=True)
        keys = [goal.tobytes() for goal in unique]
        known = {key: self._cache[key] for key in keys if key in self._cache}
        missing = [n for n, key in enumerate(keys) if key not in known]
        if missing:
            known.update(zip((keys[n] for n in missing), self._solve(unique[missing], None), strict=True))
        for key in keys:
            # A copy, so that one cached field does not keep its whole batch alive.
            self._cache.setdefault(key, known[key].copy())
            self._cache.move_to_end(key)
        while len(self._cache) > max(1, _CACHE_BYTES // (4 * self.free.size)):
            self._cache.popitem(last=False)
        return np.stack([known[keys[n]] for n in which.ravel()])

    def successors(self, goals: ArrayLike) -> NDArray[np.int8]:
        """Best next move of every node towards each goal.

        Args:
            goals: [N, 2], metres.

        Returns:
            int8 [N, rows, columns], an index into `MOVES`; -1 where the goal is reached directly, or
            not at all.
        """
        return self.descents(self.fields(goals))

    def descents(self, fields: Float) -> NDArray[np.int8]:
        """The same moves from fields [N, rows, columns] at hand."""
        best = np.full(fields.shape, np.inf, np.float32)
        move = np.full(fields.shape, -1, np.int8)
        rows, columns = self.shape
        for k, (dy, dx) in enumerate(MOVES.tolist()):
            here = np.s_[max(-dy, 0) : rows - max(dy, 0), max(-dx, 0) : columns - max(dx, 0)]
            there = np.s_[max(dy, 0) : rows - max(-dy, 0), max(dx, 0) : columns - max(-dx, 0)]
            via = self.costs[k][here] + fields[:, there[0], there[1]]
            target, choice = best[:, here[0], here[1]], move[:, here[0], here[1]]
            better = via < target
            target[better] = via[better]
            choice[better] = k
        # The way through a neighbour must explain the field; otherwise this node sees the goal itself.
        move[~(best <= fields * 1.0001 + 1e-3 * self.cell)] = -1
        return move

    def walk(self, points: ArrayLike, moves: NDArray[np.int8], steps: int) -> Float:
        """Node positions along the best way from each point.

        Args:
            points: [N, 2], metres.
            moves: int8 [N, rows, columns], from `successors`, one per point.
            steps: how many moves.

        Returns:
            float32 [N, steps + 1, 2], metres, starting at the nearest free node and staying where a
            way ends.
        """
        iy, ix = self.node(points)
        rows = np.arange(len(iy))
        way = np.empty((len(iy), steps + 1, 2), np.float32)
        way[:, 0] = self.point(iy, ix)
        step = np.concatenate([MOVES, [(0, 0)]])  # index -1 stays
        for k in range(steps):
            move = step[moves[rows, iy, ix]]
            iy, ix = iy + move[:, 0], ix + move[:, 1]
            way[:, k + 1] = self.point(iy, ix)
        return way

    def lengths(self, starts: ArrayLike, goals: ArrayLike) -> Float:
        """Cost of the best way from each start to its goal: straight where that is clear.

        Args:
            starts, goals: [N, 2], metres, paired.

        Returns:
            float32 [N], metres (plus flow penalties on the grid's part), inf if unreachable.
        """
        start = np.asarray(starts, dtype=np.float32).reshape(-1, 2)
        goal = np.asarray(goals, dtype=np.float32).reshape(-1, 2)
        unique, which = np.unique(goal, axis=0, return_inverse=True)
        fields, which = self.fields(unique), which.ravel()
        owner, iy, ix, toll = self._seeds(start, arriving=False)
        result = np.full(len(start), np.inf, np.float32)
        np.minimum.at(result, owner, toll + fields[which[owner], iy, ix])
        straight = self._clear(start, goal)
        toll = self._toll(start[straight], goal[straight])
        result[straight] = np.minimum(result[straight], toll)
        return result

    def components(self) -> NDArray[np.int32]:
        """int32 [rows, columns]: label of each free node's connected part, -1 at blocked nodes."""
        _, label = connected_components(self._graph, directed=True, connection="weak")
        return np.where(self.free, label.reshape(self.shape), -1).astype(np.int32)

    def largest_component(self) -> NDArray[np.bool_]:
        """bool [rows, columns]: the connected part with the most nodes (all False if none is free)."""
        label = self.components()
        if not self.free.any():
            return self.free.copy()
        return np.asarray(label == np.bincount(label[self.free]).argmax())

    @cached_property
    def _tree(self) -> tuple[cKDTree, Int]:
        spots = np.argwhere(self.free)
        return cKDTree(self.point(spots[:, 0], spots[:, 1])), spots

    def _clear(self, start: Float, end: Float) -> NDArray[np.bool_]:
        """Whether a disc fits all along each segment; an end that is tighter only asks for its own."""
        tight = np.minimum(self.obstacles.signed_distance(start), self.obstacles.signed_distance(end))
        need = np.minimum(tight, self.clearance) - 1e-3 * self.cell
        reach = segment_clearance(self.obstacles, start, end, self.clearance, 5e-4 * self.cell)
        return np.asarray((reach >= need) & (tight > 0))

    def _toll(self, start: Float, end: Float) -> Float:
        """Cost of straight moves [N, 2] to [N, 2]: length, more against the flow."""
        change = end - start
        length = np.hypot(change[:, 0], change[:, 1])
        if self._flow is None:
            return np.asarray(length, dtype=np.float32)
        pattern = self._flow(((start + end) / 2).astype(np.float32))
        against = -(change * pattern).sum(-1) / np.maximum(length, 1e-9)
        return np.asarray(length * (1 + self._flow_cost * against.clip(0, None)), dtype=np.float32)

    def _move_costs(self, nodes: Float) -> Float:
        rows, columns = self.shape
        costs = np.full((8, rows, columns), np.inf, np.float32)
        free = np.zeros((rows + 2, columns + 2), bool)
        free[1:-1, 1:-1] = self.free

        def neighbour(dy: int, dx: int) -> NDArray[np.bool_]:
            return free[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]

        for k, (dy, dx) in enumerate(MOVES[:4].tolist()):
            allowed = self.free & neighbour(dy, dx)
            if dy and dx:
                allowed &= neighbour(dy, 0) & neighbour(0, dx)
            iy, ix = np.nonzero(allowed)
            start, end = nodes[iy, ix], nodes[iy + dy, ix + dx]
            fits = segment_clearance(self.obstacles, start, end, self._enough, 5e-4 * self.cell)
            ok = fits >= self._enough - 5e-4 * self.cell
            iy, ix, start, end = iy[ok], ix[ok], start[ok], end[ok]
            costs[k, iy, ix] = self._toll(start, end)
            costs[k + 4, iy + dy, ix + dx] = self._toll(end, start)
        return costs

    @cached_property
    def _edges(self) -> tuple[Int, Int, NDArray[np.float64]]:
        """Source node, target node, cost of every allowed move."""
        move, iy, ix = np.nonzero(np.isfinite(self.costs))
        columns = self.shape[1]
        source = iy * columns + ix
        target = source + MOVES[move, 0] * columns + MOVES[move, 1]
        return source, target, self.costs[move, iy, ix].astype(np.float64)

    @cached_property
    def _graph(self) -> csr_array:
        source, target, cost = self._edges
        return csr_array((cost, (source, target)), shape=(self.free.size, self.free.size))

    def _seeds(self, points: Float, arriving: bool) -> tuple[Int, Int, Int, Float]:
        """Free nodes near each point that see it: point number, row, column, cost of the last bit."""
        index = np.rint((points - self.origin) / self.cell).astype(np.int64)
        around = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1), indexing="ij"), -1).reshape(-1, 2)
        spot = index[:, None, ::-1] + around
        owner = np.repeat(np.arange(len(points)), len(around))
        iy, ix = spot.reshape(-1, 2).T
        ok = (iy >= 0) & (ix >= 0) & (iy < self.shape[0]) & (ix < self.shape[1])
        owner, iy, ix = owner[ok], iy[ok], ix[ok]
        ok = self.free[iy, ix]
        owner, iy, ix = owner[ok], iy[ok], ix[ok]
        near, far = self.point(iy, ix), points[owner]
        ok = self._clear(near, far)
        owner, iy, ix, near, far = owner[ok], iy[ok], ix[ok], near[ok], far[ok]
        return owner, iy, ix, self._toll(near, far) if arriving else self._toll(far, near)

    def _solve(self, goals: Float, cost: Float | None) -> Float:
        """Dijkstra on the reversed graph, from one extra node per goal that is joined to its seeds."""
        size = self.free.size
        source, target, toll = self._edges
        owner, iy, ix, last = self._seeds(goals, arriving=True)
        seeds = iy * self.shape[1] + ix
        if cost is not None:
            factor = np.asarray(cost, dtype=np.float64).ravel()
            toll = toll * (factor[source] + factor[target]) / 2
            last = (last * factor[seeds]).astype(np.float32)
        weight = np.concatenate([toll, np.maximum(last, 1e-9)])  # a stored zero would mean "no edge"
        rows, columns = np.concatenate([target, size + owner]), np.concatenate([source, seeds])
        graph = csr_array((weight, (rows, columns)), shape=(size + len(goals), size + len(goals)))
        found = dijkstra(graph, indices=size + np.arange(len(goals)))
        return np.asarray(found[:, :size].reshape(-1, *self.shape), dtype=np.float32)
