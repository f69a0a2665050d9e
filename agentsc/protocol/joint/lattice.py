"""Space and time cut into nodes and steps, for searches that plan for everybody.

Nodes lie ``cell`` apart; a *step* lasts a few ticks and leads an agent along one of `moves`, most
of them at (nearly) full speed in many directions. Positions are compared at whole and half steps:
half-way through a move an agent is on the lattice of half the pitch. Two agents that are at least

    distance = sqrt(separation² + (step_m / 2)²)

apart at both ends of a half step are at least ``separation`` apart in between, because their
relative motion is a straight segment no longer than ``step_m``, whose middle is nearest at worst.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from envs.geometry import segment_clearance
from envs.world import World

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Codes = NDArray[np.int32]

MOST_NODES = 200_000
"""Larger maps get a coarser lattice."""
MOST_WAYS = 128
"""Goals of which the ways are kept: agents come back to the same stations."""
BRISK = 0.9
"""Moves slower than this share of full speed are left out, but for those to the eight neighbours and waiting."""
SNUG = 0.9995
"""Share of the radius that has to fit: what touches exactly is admitted, as in the arena."""
UNREACHED = np.iinfo(np.int16).max
PASS = np.int32(1 << 28)
"""What a forbidden move costs; a few of them still fit into an int32."""
MOVE_BITS = 6
LENGTH_UNITS = 32
"""Costs are lengths in these parts of a cell, shifted by `MOVE_BITS`; the low bits name the move."""


def _moves(reach: float) -> Ints:
    """Waiting, the eight neighbours, and every brisk move of at most ``reach`` cells: (row, column) [m, 2]."""
    most = int(reach + 1e-6)
    y, x = (a.ravel() for a in np.mgrid[-most : most + 1, -most : most + 1])
    length = np.hypot(y, x)
    kept = ((length <= reach + 1e-6) & (length >= BRISK * reach)) | (np.maximum(abs(y), abs(x)) <= 1)
    kept &= length <= reach + 1e-6
    order = np.argsort(length[kept], kind="stable")
    return np.stack([y[kept], x[kept]], axis=-1)[order]


@dataclass(frozen=True)
class Lattice:
    """The static part of a search; made once per world.

    Attributes:
        origin: float64 [2], node (0, 0), metres. cell: pitch, metres. shape: (rows, columns).
        free: bool [rows, columns], an agent fits there.
        moves: int64 [move, 2], (row, column); waiting comes first.
        price: int32 [move], what a move adds to a cost: its length, and its own number in the low bits.
        shut: per move, int32 [rows, columns] indexed by where it *ends*, `PASS` where it is not
            possible; None for a move that is possible between any two free nodes.
        ticks: per step. step_m: way at full speed in a step, metres.
        distance: centre distance to keep at half steps, metres.
    """

    world: World
    origin: NDArray[np.float64]
    cell: float
    shape: tuple[int, int]
    free: NDArray[np.bool_]
    moves: Ints
    price: Codes
    shut: list[Codes | None]
    ticks: int
    step_m: float
    distance: float
    _ways: dict[bytes, NDArray[np.int16]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, world: World) -> Lattice:
        """A lattice through the centres of the world's planning cells, as fine as its size allows."""
        tick_m = world.v_max * world.dt
        ticks = max(1, round(world.cell / tick_m))
        step_m = ticks * tick_m
        low, high = np.array(world.bounds, np.float64).reshape(2, 2)
        size = high - low
        # With 5.1 cells per step, (5, 1) and (4, 3) are brisk moves besides (5, 0). On grid maps nodes
        # have to go through the middle of passages, so there the pitch divides a cell.
        snug = 2.0 * world.radius > 0.9 * world.cell
        pitches = [step_m / 5.1] if snug else []
        pitches += [world.cell / parts for parts in (3, 2, 1)]
        cell = next((p for p in pitches if np.prod(size / p) <= MOST_NODES), pitches[-1])
        if cell > 0.75 * step_m:  # so coarse that a step must also reach diagonally
            ticks = int(np.ceil(1.4143 * cell / tick_m))
            step_m = ticks * tick_m
        spots = np.floor(size / world.cell + 1e-6)
        centre = low + (size - world.cell * (spots - 1)) / 2  # of the first planning cell
        origin = centre - cell * np.floor((centre - low) / cell)
        columns, rows = (np.floor((high - origin) / cell + 1e-6) + 1).astype(int).tolist()
        moves = _moves(step_m / cell)
        length = np.rint(np.hypot(*moves.T) * LENGTH_UNITS).astype(np.int32)
        price = (length << MOVE_BITS) + np.arange(len(moves), dtype=np.int32)
        distance = float(np.hypot(world.separation, step_m / 2)) * 1.0001
        nodes = (origin + cell * np.moveaxis(np.indices((rows, columns)), 0, -1)[..., ::-1]).astype(np.float32)
        room = world.obstacles.signed_distance(nodes)
        free = room >= SNUG * world.radius
        shut = [_shut(world, nodes, room, free, cell, move) for move in moves.tolist()]
        return cls(
            world, origin, cell, (rows, columns), free, moves, price.astype(np.int32), shut, ticks, step_m, distance
        )  # fmt: skip

    @property
    def rim(self) -> int:
        """Cells that the longest move reaches in one coordinate."""
        return int(np.abs(self.moves).max())

    def point(self, index: Ints) -> NDArray[np.float64]:
        """Positions [..., 2], metres, of nodes (row, column) [..., 2]."""
        return self.origin + self.cell * index[..., ::-1]

    def reach(self, spot: Floats) -> tuple[Ints, Codes]:
        """Free nodes [n, 2] to which a straight move of one step leads from a point, and its cost [n]."""
        middle = np.rint((spot - self.origin) / self.cell).astype(np.int64)[::-1]
        around = np.arange(-self.rim - 1, self.rim + 2)
        node = middle + np.stack(np.meshgrid(around, around, indexing="ij"), axis=-1).reshape(-1, 2)
        node = node[((node >= 0) & (node < self.shape)).all(1)]
        node = node[self.free[node[:, 0], node[:, 1]]]
        away = np.linalg.norm(self.point(node) - spot, axis=-1)
        node, away = node[away <= self.step_m], away[away <= self.step_m]
        open_way = fits(self.world, np.broadcast_to(spot, (len(node), 2)), self.point(node).astype(np.float32))
        cost = np.rint(away[open_way] / self.cell * LENGTH_UNITS).astype(np.int32) << MOVE_BITS
        return node[open_way], cost.astype(np.int32)

    def steps_to(self, goal: Floats) -> NDArray[np.int16]:
        """Least number of steps [rows, columns] to a point, over the empty map; `UNREACHED` where there is no way."""
        key = goal.tobytes()
        if key not in self._ways:
            if len(self._ways) >= MOST_WAYS:
                del self._ways[next(iter(self._ways))]
            self._ways[key] = self._wave(goal)
        return self._ways[key]

    def _wave(self, goal: Floats) -> NDArray[np.int16]:
        rows, columns = self.shape
        rim = self.rim
        steps = np.full(self.shape, UNREACHED, np.int16)
        first, _ = self.reach(goal)
        steps[first[:, 0], first[:, 1]] = 1
        front = np.zeros((rows + 2 * rim, columns + 2 * rim), bool)
        inner = front[rim : rim + rows, rim : rim + columns]
        inner[first[:, 0], first[:, 1]] = True
        grown = np.empty(self.shape, bool)
        for step in range(2, UNREACHED):
            grown[:] = False
            # Moves come in opposite pairs, and so do the places where they are shut.
            for (dy, dx), shut in zip(self.moves[1:].tolist(), self.shut[1:], strict=True):
                source = front[rim - dy : rim - dy + rows, rim - dx : rim - dx + columns]
                if shut is None:
                    grown |= source
                else:
                    grown |= source & (shut == 0)
            grown &= self.free & (steps == UNREACHED)
            if not grown.any():
                break
            steps[grown] = step
            inner[:] = grown
        return steps


def fits(world: World, start: Floats, end: Floats) -> NDArray[np.bool_]:
    """Whether an agent fits all along each segment [n] between two points [n, 2], metres."""
    if not len(start):
        return np.zeros(0, bool)
    need = SNUG * world.radius
    return np.asarray(
        segment_clearance(world.obstacles, start, end, need, 2e-4 * world.radius) >= need - 2e-4 * world.radius
    )


def _shut(
    world: World, nodes: Floats, room: Floats, free: NDArray[np.bool_], cell: float, move: tuple[int, int]
) -> Codes | None:
    """Where a move may not end, because the disc does not fit all along it; None if it always does."""
    dy, dx = move
    rows, columns = free.shape
    end = np.s_[max(dy, 0) : rows + min(dy, 0), max(dx, 0) : columns + min(dx, 0)]
    begin = np.s_[max(-dy, 0) : rows + min(-dy, 0), max(-dx, 0) : columns + min(-dx, 0)]
    both = free[begin] & free[end]
    # Distance changes by at most the way moved: far from obstacles nothing has to be looked at.
    doubt = both & (room[begin] + room[end] - cell * np.hypot(dy, dx) < 2.0 * world.radius)
    row, column = np.nonzero(doubt)
    stuck = ~fits(world, nodes[begin][row, column], nodes[end][row, column])
    if not stuck.any():
        return None
    shut = np.zeros(free.shape, np.int32)
    shut[end][row[stuck], column[stuck]] = PASS
    return shut


def halves(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions [2·S + 1, 2] at whole and half steps of a path [S + 1, 2]."""
    out = np.empty((2 * len(path) - 1, 2))
    out[::2] = path
    out[1::2] = (path[:-1] + path[1:]) / 2
    return out


class Claim:
    """Where and when one agent's path keeps others out.

    Attributes:
        spot: float64 [half step, 2], metres; the last one holds for ever.
        nodes: per whole step, flat indices of lattice nodes within the distance.
        mids: per half step (the odd ones), flat indices on the lattice of half the pitch, which has
            2·rows − 1 rows and 2·columns − 1 columns; the last one is for the rest at the end.
        promised: it is a way that the others have agreed to already, so that wherever they rest it keeps clear of them.
    """

    def __init__(self, lattice: Lattice, path: NDArray[np.float64], promised: bool = False) -> None:
        self.path, self.promised = path, promised
        self.spot = halves(path)
        self.nodes = _discs(lattice, self.spot[::2], 1)
        self.mids = _discs(lattice, np.concatenate([self.spot[1::2], self.spot[-1:]]), 2)

    @property
    def steps(self) -> int:
        """Steps until the goal is reached."""
        return len(self.path) - 1

    @property
    def length(self) -> float:
        """Metres."""
        return float(np.linalg.norm(np.diff(self.path, axis=0), axis=-1).sum())

    def nodes_at(self, step: int) -> Ints:
        """What is taken at a whole step."""
        return self.nodes[min(step, len(self.nodes) - 1)]

    def mids_at(self, step: int) -> Ints:
        """What is taken half a step after a whole step."""
        return self.mids[min(step, len(self.mids) - 1)]

    def at(self, half_steps: Ints) -> NDArray[np.float64]:
        """Positions [..., 2], metres."""
        return self.spot[np.minimum(half_steps, len(self.spot) - 1)]


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
