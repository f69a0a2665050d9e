"""The earliest and then shortest way of one agent through the lattice, around moving others.

A wave of costs runs through the steps: what reaches a node at a step, by which move. It is
confined to nodes from which the goal can still be reached within a budget of steps, and budgets
grow until a way is found; so the work is proportional to the detour that traffic enforces, not to
the map. An agent may have to stay in a *tube* (`agentsc.protocol.joint.tubes`): nodes in layers, one after the other.

Reference: D. Silver, "Cooperative pathfinding", 2005 (space-time A*); the budget plays the part
of the heuristic's bound in iterative deepening (R. E. Korf, 1985).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint.lattice import UNREACHED, Claim, Codes, Floats, Ints, Lattice

Flags = NDArray[np.bool_]
Places = NDArray[np.float64]
START, GOAL, NOWHERE = -1, -2, -3
"""What stands for a node on a way: the start and the goal need not be nodes."""


@dataclass(frozen=True)
class Reach:
    """Nodes a straight step away from a point.

    Attributes:
        node: int64 [n]. cost: int32 [n], of the step. middle: float64 [n, 2], half-way, metres.
    """

    node: Ints
    cost: Codes
    middle: Places

    @classmethod
    def of(cls, lattice: Lattice, spot: Floats) -> Reach:
        index, cost = lattice.reach(spot)
        return cls(lattice.flat(index), cost, (spot.astype(np.float64) + lattice.point(index)) / 2)


@dataclass(frozen=True)
class Trip:
    """One agent's task on the lattice.

    Attributes:
        start, goal: float32 [2], metres.
        to_go: int16 [layer, node], steps to the goal over the empty map. gate: bool [layer, node], who arrives there
            goes on in the next layer.
        leave, arrive: nodes within a step of the start and the goal.
        least: steps that the trip takes at least; `UNREACHED` if there is no way.
    """

    start: Floats
    goal: Floats
    to_go: NDArray[np.int16]
    gate: Flags
    leave: Reach
    arrive: Reach
    least: int

    @classmethod
    def of(cls, lattice: Lattice, start: Floats, goal: Floats) -> Trip:
        """Works out the static part, over the whole map."""
        leave, arrive = Reach.of(lattice, start), Reach.of(lattice, goal)
        return cls._of(start, goal, lattice.steps_to(goal), lattice.nowhere, leave, arrive)

    def within(self, lattice: Lattice, inside: Flags, gate: Flags) -> Trip:
        """The same trip through layers of nodes only: bool [layer, node] each, see `Lattice.steps_through`."""
        to_go = lattice.steps_through(inside, gate, self.arrive.node)
        return self._of(self.start, self.goal, to_go, gate, self.leave, self.arrive)

    @classmethod
    def _of(
        cls, start: Floats, goal: Floats, to_go: NDArray[np.int16], gate: Flags, leave: Reach, arrive: Reach
    ) -> Trip:
        first = gate[0, leave.node].astype(np.int64)
        least = int(to_go[first, leave.node].min(initial=UNREACHED))
        if len(to_go) == 1 and np.array_equal(start, goal):
            least = -1
        return cls(start, goal, to_go, gate, leave, arrive, least + 1 if least < UNREACHED else UNREACHED)

    def layers(self, path: Ints) -> Ints:
        """Layer [S + 1] at each step of a way through flat nodes [S + 1] of all layers; see `find`."""
        layer = np.where(path >= 0, path // self.to_go.shape[1], 0)
        return np.asarray(np.where(path == GOAL, len(self.to_go) - 1, layer))


def find(
    lattice: Lattice, trip: Trip, others: list[Claim], latest: int, hold: int = 0, ready: int = 0
) -> Claim | None:
    """The way of one agent that arrives first, and among those the shortest.

    Args:
        others: whom to keep clear of. latest: step by which to arrive. hold: step before which not to leave.
        ready: step before which it is not at the start yet, and nobody keeps it from being there later.

    Returns:
        Positions at steps; None if there is no way.
    """
    # Others may pass the goal after the latest arrival, too.
    half_steps = np.arange(2 * max([latest, *(claim.steps for claim in others)]) + 3)
    spots = np.array([claim.at(half_steps) for claim in others]).reshape(len(others), len(half_steps), 2)
    near = _gap(spots, trip.goal) < lattice.distance
    busy = np.flatnonzero(near.any(0))
    # The goal has to stay free for ever from the half step of arrival on.
    earliest = max(trip.least, 0 if not len(busy) else int(busy[-1]) // 2 + 1)
    if earliest == 0 or (trip.least == 0 and (not len(busy) or busy[-1] < 2 * ready)):
        return Claim(np.repeat(trip.start[None].astype(np.float64), ready + 1, axis=0))
    hold = max(hold, ready)
    earliest = max(earliest, trip.least + hold)
    slack = 2
    taken = _start_taken(lattice, trip, others, spots, ready)
    while earliest <= latest:
        budget = min(earliest + slack, latest)
        claim = _wave(lattice, trip, spots, budget, hold, taken, earliest)
        if claim is not None or budget == latest:
            return claim
        slack = 2 * slack + 2
    return None


def _gap(spots: Places, point: Floats) -> Places:
    """Distances [other, half step] of positions to a point."""
    x, y = spots[..., 0] - float(point[0]), spots[..., 1] - float(point[1])
    return np.asarray(np.sqrt(x * x + y * y))


def _start_taken(lattice: Lattice, trip: Trip, others: list[Claim], spots: Places, ready: int) -> int:
    """The half step from which on the start is somebody else's."""
    close = _gap(spots, trip.start) < lattice.distance
    close[:, : 2 * ready] = False
    # Who rests nearby from the beginning may go on doing so.
    for other in np.flatnonzero(close.any(1)).tolist():
        moved = (spots[other] != spots[other, 0]).any(-1)
        close[other] &= np.logical_or.accumulate(moved) & (not others[other].promised)
    return int(np.append(np.flatnonzero(close.any(0)), spots.shape[1])[0])


def _wave(
    lattice: Lattice, trip: Trip, spots: Places, budget: int, hold: int, taken: int, earliest: int
) -> Claim | None:
    """The way within a budget of steps that does not arrive before step ``earliest``; None if that does not do."""
    from agentsc.protocol.joint import _kernels_wave

    scratch, way = lattice.scratch(len(trip.to_go)), np.empty(budget + 2, np.int64)
    leave, arrive = trip.leave, trip.arrive
    _kernels_wave.wave(
        lattice.ends, lattice.offset, lattice.moves, lattice.price, trip.to_go, trip.gate, lattice.shape[1],
        lattice.origin, lattice.cell, lattice.distance, lattice.step_m, spots, leave.node, leave.cost, leave.middle,
        arrive.node, arrive.cost, arrive.middle, budget, hold, taken, earliest,
        scratch.cost, scratch.stamp, scratch.half_stamp, scratch.number, way,
    )  # fmt: skip
    way = way[way != NOWHERE]
    if not len(way):
        return None
    path = lattice.spots(np.maximum(way, 0) % trip.to_go.shape[1])
    path[way == START], path[way == GOAL] = trip.start, trip.goal
    return Claim(path, layer=trip.layers(way))
