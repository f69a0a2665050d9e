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
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.geometry import segment_clearance
from envs.world import World

if TYPE_CHECKING:
    from agentsc.protocol.joint.tubes import Tube

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
"""The cost of what is not reached."""
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
        ends: uint64 [rows · columns], bit m is set where move m may *end*: both nodes are free, and an agent fits all
            along. Moves come in opposite pairs, and so do the places where they may end.
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
    ends: NDArray[np.uint64]
    ticks: int
    step_m: float
    distance: float
    _ways: dict[bytes, NDArray[np.int16]] = field(default_factory=dict, repr=False, compare=False)
    _scratch: dict[int, Scratch] = field(default_factory=dict, repr=False, compare=False)

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
        ends = np.zeros((rows, columns), np.uint64)
        for number, move in enumerate(moves.tolist()):
            ends |= _possible(world, nodes, room, free, cell, move).astype(np.uint64) << np.uint64(number)
        return cls(
            world, origin, cell, (rows, columns), free, moves, price.astype(np.int32), ends.ravel(), ticks, step_m,
            distance,
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

    @cached_property
    def offset(self) -> Ints:
        """int64 [move]: by how much a move changes the flat number of a node."""
        return np.ascontiguousarray(self.moves[:, 0] * self.shape[1] + self.moves[:, 1])

    def flat(self, index: Ints) -> Ints:
        """Numbers [...] of nodes (row, column) [..., 2]."""
        return index[..., 0] * self.shape[1] + index[..., 1]

    def spots(self, flat: Ints) -> NDArray[np.float64]:
        """Positions [..., 2], metres, of nodes given by number [...]."""
        return self.point(np.stack(np.divmod(flat, self.shape[1]), axis=-1))

    def nodes(self, spots: NDArray[np.floating]) -> Ints:
        """Numbers [...] of the nodes nearest to positions [..., 2], metres."""
        index = np.rint((spots - self.origin) / self.cell).astype(np.int64)[..., ::-1]
        return self.flat(index.clip(0, np.array(self.shape) - 1))

    def scratch(self, layers: int) -> Scratch:
        """Working memory for searches through so many layers of nodes; one at a time uses it."""
        if layers not in self._scratch:
            self._scratch[layers] = Scratch.of(self.shape, layers)
        return self._scratch[layers]

    def steps_to(self, goal: Floats) -> NDArray[np.int16]:
        """Least number of steps [1, node] to a point, over the empty map; `UNREACHED` where there is no way."""
        key = goal.tobytes()
        if key not in self._ways:
            if len(self._ways) >= MOST_WAYS:
                del self._ways[next(iter(self._ways))]
            last = self.flat(self.reach(goal)[0])
            self._ways[key] = self.steps_through(self.free.reshape(1, -1), self.nowhere, last)
        return self._ways[key]

    @cached_property
    def nowhere(self) -> NDArray[np.bool_]:
        """bool [1, node]: no gates."""
        return np.zeros((1, self.free.size), bool)

    def steps_through(self, inside: NDArray[np.bool_], gate: NDArray[np.bool_], last: Ints) -> NDArray[np.int16]:
        """The same through layers of nodes: int16 [layer, node].

        Args:
            inside: bool [layer, node], free nodes that may be used. gate: bool [layer, node], who arrives there goes
                on in the next layer. last: nodes [n] from which the goal is one step away.
        """
        from agentsc.protocol.joint import _kernels_wave

        steps = np.empty(inside.shape, np.int16)
        _kernels_wave.steps_to(self.ends, self.offset, inside, gate, last, int(UNREACHED) - 1, steps)
        return steps


@dataclass(frozen=True)
class Scratch:
    """Arrays that a wave leaves as it found them: see `agentsc.protocol.joint._kernels_wave.wave`."""

    cost: Codes
    stamp: Codes
    half_stamp: Codes
    number: Ints

    @classmethod
    def of(cls, shape: tuple[int, int], layers: int) -> Scratch:
        rows, columns = shape
        cost = np.full((2, layers * rows * columns), PASS, np.int32)
        stamp, half_stamp = np.zeros(rows * columns, np.int32), np.zeros((2 * rows - 1) * (2 * columns - 1), np.int32)
        return cls(cost, stamp, half_stamp, np.zeros(1, np.int64))


def fits(world: World, start: Floats, end: Floats) -> NDArray[np.bool_]:
    """Whether an agent fits all along each segment [n] between two points [n, 2], metres."""
    if not len(start):
        return np.zeros(0, bool)
    need = SNUG * world.radius
    return np.asarray(
        segment_clearance(world.obstacles, start, end, need, 2e-4 * world.radius) >= need - 2e-4 * world.radius
    )


def _possible(
    world: World, nodes: Floats, room: Floats, free: NDArray[np.bool_], cell: float, move: tuple[int, int]
) -> NDArray[np.bool_]:
    """Where a move may end [rows, columns]: it begins at a free node, and the disc fits all along it."""
    dy, dx = move
    rows, columns = free.shape
    end = np.s_[max(dy, 0) : rows + min(dy, 0), max(dx, 0) : columns + min(dx, 0)]
    begin = np.s_[max(-dy, 0) : rows + min(-dy, 0), max(-dx, 0) : columns + min(-dx, 0)]
    both = free[begin] & free[end]
    # Distance changes by at most the way moved: far from obstacles nothing has to be looked at.
    doubt = both & (room[begin] + room[end] - cell * np.hypot(dy, dx) < 2.0 * world.radius)
    row, column = np.nonzero(doubt)
    both[row, column] = fits(world, nodes[begin][row, column], nodes[end][row, column])
    possible = np.zeros(free.shape, bool)
    possible[end] = both
    return possible


def halves(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions [2·S + 1, 2] at whole and half steps of a path [S + 1, 2]."""
    out = np.empty((2 * len(path) - 1, 2))
    out[::2] = path
    out[1::2] = (path[:-1] + path[1:]) / 2
    return out


class Claim:
    """Where and when one agent's path keeps others out.

    Attributes:
        path: float64 [S + 1, 2], metres, at steps. layer: int64 [S + 1], which part of its tube it is in; see `Tube`.
        spot: float64 [half step, 2], metres; the last one holds for ever.
        tube: that it was found in; None for the whole map. astray: the agent has proposals, and keeps to none.
        promised: it is a way that the others have agreed to already, so that wherever they rest it keeps clear of them.
    """

    def __init__(self, path: NDArray[np.float64], promised: bool = False, layer: Ints | None = None) -> None:
        self.path, self.promised = path, promised
        self.tube: Tube | None = None
        self.astray = False
        self.layer = np.zeros(len(path), np.int64) if layer is None else layer
        self.spot = halves(path)

    @property
    def steps(self) -> int:
        """Steps until the goal is reached."""
        return len(self.path) - 1

    @cached_property
    def length(self) -> float:
        """Metres."""
        return float(np.linalg.norm(np.diff(self.path, axis=0), axis=-1).sum())

    def at(self, half_steps: Ints) -> NDArray[np.float64]:
        """Positions [..., 2], metres."""
        return self.spot[np.minimum(half_steps, len(self.spot) - 1)]
