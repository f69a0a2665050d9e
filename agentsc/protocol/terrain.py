"""A map that every row knows in its own way: where it may plan to be, and how it would go on from there.

Two maps, for two questions. *May a plan go there?* Only where its disc touches nothing but cells that the row knows to
be free. *Which way is best?* Over all cells that are not known to be filled: unknown ones cost more, the likelier they
are filled; so routes lead into the unknown, and stop at the last place that is known to be free.

Driving over unknown cells as if they were free until something is seen is the free-space assumption of S. Koenig and
M. Likhachev, "D* Lite", AAAI 2002.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.mapping.service import MapView
from envs.geometry import Obstacles
from envs.navigation import NavigationGrid
from policies.trajectory.route import Guide

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Cells = NDArray[np.int8]

UNKNOWN_TOLL = 0.1
"""What an unknown cell costs more than one known to be free, if nothing is known of it."""
RISK = 4.0
"""Cells' worth of way that a filled cell in the way costs, times the odds that it is filled."""
MOST_TOLL = 12.0
PARTS = 8
"""Parts of each leg at which it is looked whether a plan stays in what is known."""
LIKELY = 0.5
"""Unknown cells that are filled with a greater chance count as solid in what the prior is told of the ground."""
_SPARE = 4096
"""Tables for goals of peers that are kept."""


class Terrain(Guide):
    """What rows know of the map, and ways over it.

    Tables of own goals come first, one a row; those of peers' goals on a row's map are made when they are asked for.

    Args:
        grid: planning nodes, one a cell, with nothing in their way. obstacles: that all rows know.
        clearance, reach: see `Guide`. goals: float32 [row, 2], metres.
    """

    def __init__(
        self, grid: NavigationGrid, obstacles: Obstacles, clearance: float, reach: float, goals: Floats
    ) -> None:
        super().__init__(grid, obstacles, clearance, reach)
        self.many_maps = True
        rows, shape = len(goals), grid.shape
        self.cells = np.full((rows, *shape), -1, np.int8)
        self.chance = np.zeros((rows, *shape), np.float32)
        self.toll = np.full((rows, *shape), 1.0 + UNKNOWN_TOLL, np.float32)
        self.solid = np.full((rows, *shape), 0, np.int8)
        """What counts as solid ground for the prior: 1 where filled, or likely to be."""
        self.key = np.zeros(rows, np.uint64)
        """Uint64 [row], tells states of knowledge of a row apart."""
        self.low = (grid.origin - np.float32(grid.cell / 2)).astype(np.float32)
        self._rows = rows
        self._row_of = np.arange(rows)
        self._kept: dict[tuple[int, bytes], int] = {}
        self._goal_cell = self._cell_of(goals)
        self._set_tables(np.arange(rows), goals)

    def learn(self, rows: Ints, view: MapView, lanes: Ints, places: Ints) -> None:
        """Rows [n] know what ``view`` says of agents [lanes, places]; their tables are made anew.

        Args:
            places: of the agents in the view.
        """
        cells, chance = view.cells[lanes, places], view.chance[lanes, places]
        odds = chance / np.maximum(1.0 - chance, 0.02)
        unknown = cells < 0
        self.cells[rows], self.chance[rows] = cells, chance
        toll = np.where(unknown, np.minimum(1.0 + UNKNOWN_TOLL + RISK * odds, MOST_TOLL), 1.0)
        self.toll[rows] = toll.astype(np.float32)
        self.solid[rows] = (cells == 1) | (unknown & (chance > LIKELY))
        self.key[rows] += np.uint64(1)
        mine = set(rows.tolist())
        self._kept = {key: slot for key, slot in self._kept.items() if key[0] not in mine}
        self._set_tables(rows, self.goals[rows])

    def differs(self, view: MapView, lanes: Ints, places: Ints) -> Flags:
        """bool [row]: whose knowledge is another than what ``view`` says of agents [lanes, places], each row's."""
        other = (view.cells[lanes, places] != self.cells).any((1, 2))
        return np.asarray(other | (view.chance[lanes, places] != self.chance).any((1, 2)))

    def head_for(self, rows: Ints, goals: Floats) -> None:
        """Rows [n] have other goals [n, 2]."""
        self._goal_cell[rows] = self._cell_of(goals)
        self._set_tables(rows, goals)

    def goal_index(self, goals: Floats, maps: Ints | None = None) -> Ints:
        """Tables of goals [n, 2] on the maps of rows ``maps`` [n].

        Those that are no own goals are good until the next call that finds no room, or until a row's map changes.
        """
        assert maps is not None
        goals = np.ascontiguousarray(goals, np.float32)
        keys = [(int(row), goal.tobytes()) for row, goal in zip(maps, goals, strict=True)]
        own = (goals == self.goals[maps]).all(1)
        wanted = {k: g for k, g, mine in zip(keys, goals, own, strict=True) if not mine}
        fresh = [k for k in wanted if k not in self._kept]
        if len(self._kept) + len(fresh) > _SPARE:
            self._kept.clear()
            fresh = list(wanted)
        if fresh:
            taken = set(self._kept.values())
            free = [slot for slot in range(self._rows, len(self.goals)) if slot not in taken]
            slots = free[: len(fresh)]
            slots += range(len(self.goals), len(self.goals) + len(fresh) - len(slots))
            self._kept.update(zip(fresh, slots, strict=True))
            some = np.array([wanted[k] for k in fresh], np.float32)
            self._grow(max(slots) + 1)
            self._row_of[slots] = [row for row, _ in fresh]
            self._goal_cell[slots] = self._cell_of(some)
            self._set_tables(np.array(slots, np.int64), some)
        found = [row if mine else self._kept[k] for k, row, mine in zip(keys, maps, own, strict=True)]
        return np.array(found, np.int64)

    def nodes(self, positions: Floats, goal: Ints | None = None) -> Ints:
        """Flat index of the cell that each position [n, 2] is in."""
        spot = self._cell_of(positions)
        return np.asarray(spot[:, 0] * self.grid.shape[1] + spot[:, 1], np.int64)

    def clear(self, rows: Ints, path: Floats, need: float) -> Flags:
        """bool [n]: discs of radius ``need`` on paths [n, T, 2] touch only cells that rows [n] know to be free."""
        from agentsc.protocol import _terrain_kernels

        made = np.empty(len(path), bool)
        _terrain_kernels.clear(
            self.cells, rows, np.ascontiguousarray(path, np.float32), *self._place(), np.float32(need), PARTS, made
        )
        return made

    def free_gap(self, rows: Ints, points: Floats, reach: float) -> Floats:
        """float32 [n, …]: distance of points [n, …, 2] to what rows [n] do not know to be free, up to ``reach``."""
        return self._gaps(self.cells, rows, points, reach, 0)

    def ground(self, rows: Ints) -> Known:
        """What rows [n] hold to be solid, for the prior."""
        return Known(self, rows)

    def _gaps(self, cells: Cells, rows: Ints, points: Floats, reach: float, least: int) -> Floats:
        from agentsc.protocol import _terrain_kernels

        flat = np.ascontiguousarray(points.reshape(len(points), -1, 2), np.float32)
        made = np.empty(flat.shape[:2], np.float32)
        _terrain_kernels.gaps(cells, rows, flat, *self._place(), np.float32(reach), least, made)
        return made.reshape(points.shape[:-1])

    def _place(self) -> tuple[np.float32, np.float32, np.float32]:
        return np.float32(self.low[0]), np.float32(self.low[1]), np.float32(self.grid.cell)

    def _cell_of(self, points: Floats) -> Ints:
        """Row and column [n, 2]."""
        index = np.floor((points - self.low) / np.float32(self.grid.cell)).astype(np.int64)
        return np.clip(index[:, ::-1], 0, np.array(self.grid.shape) - 1)

    def _grow(self, count: int) -> None:
        more = count - len(self.goals)
        if more <= 0:
            return
        nodes = self.grid.shape[0] * self.grid.shape[1]
        self.goals = np.concatenate([self.goals, np.zeros((more, 2), np.float32)])
        self.fields = np.concatenate([self.fields, np.zeros((more, nodes), np.float32)])
        self._next = np.concatenate([self._next, np.zeros((more, nodes), np.int32)])
        self._taut = np.concatenate([self._taut, np.zeros((more, nodes), np.int32)])
        self._row_of = np.concatenate([self._row_of, np.zeros(more, np.int64)])
        self._goal_cell = np.concatenate([self._goal_cell, np.zeros((more, 2), np.int64)])
        self.map_of = np.zeros(count, np.int64)

    def _set_tables(self, slots: Ints, goals: Floats) -> None:
        from agentsc.protocol import _terrain_kernels

        self._grow(int(slots.max(initial=-1)) + 1)
        nodes = self.grid.shape[0] * self.grid.shape[1]
        row, goal = self._row_of[slots], self._goal_cell[slots]
        field, onward = np.empty((len(slots), nodes), np.float32), np.empty((len(slots), nodes), np.int32)
        cell = np.float32(self.grid.cell)
        _terrain_kernels.fields(self.cells, self.toll, row, goal, cell, field)
        _terrain_kernels.onward(self.cells, self.toll, row, field, goal, cell, onward)
        self.goals[slots], self.fields[slots], self._next[slots], self._taut[slots] = goals, field, onward, -2

    def _furthest_visible(self, origin: Floats, points: Floats, goal: Ints) -> Ints:
        from agentsc.protocol import _terrain_kernels

        made = np.empty(len(origin), np.int64)
        _terrain_kernels.visible(
            self.cells, self._row_of[goal], np.ascontiguousarray(origin, np.float32),
            np.ascontiguousarray(points, np.float32), *self._place(), np.float32(self.clearance), made,
        )  # fmt: skip
        return made


class Known:
    """Solid things as rows know them: what all know, and cells filled or likely to be."""

    def __init__(self, terrain: Terrain, rows: Ints) -> None:
        self.terrain, self.rows = terrain, rows

    def signed_distance(self, points: Floats) -> Floats:
        """Distances [n, …], metres, of points [n, …, 2]."""
        terrain = self.terrain
        base = terrain.obstacles.signed_distance(points)
        return np.minimum(base, terrain._gaps(terrain.solid, self.rows, points, terrain.obstacles.cutoff, 1))

