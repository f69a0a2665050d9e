"""Tubes: the part of the map that an agent's proposal leaves to the search, and in which order it is passed.

A *proposal* is a way to the goal in legs, each drawn from the trajectory prior (`agentsc.protocol.joint.proposals`).
Its tube is made of nodes near it: a layer per leg, because a way may come back to where it has been, and a gate from
each layer to the next one. A place to stay at is a layer for each step of the stay. The search decides within the
tube when and how exactly its agent passes the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint.lattice import Floats, Ints, Lattice

Flags = NDArray[np.bool_]
SNUG = 0.9
"""Share of the distance within which a place counts as passed that a gate is wide."""


@dataclass(frozen=True)
class Leg:
    """Part of a proposal.

    Attributes:
        path: float32 [k, 2], metres. within_m: who has come so near to its end is on the next leg.
        ticks: to stay there before that.
    """

    path: Floats
    within_m: float
    ticks: int = 0


Proposal = list[Leg]


@dataclass(frozen=True)
class Tube:
    """Where a way may lead.

    Attributes:
        inside: bool [layer, node]. gate: bool [layer, node]; who arrives there is in the next layer.
        held: bool [layer], in which an agent stays at a place: nothing may be shortened there.
    """

    inside: Flags
    gate: Flags
    held: Flags

    @classmethod
    def of(cls, lattice: Lattice, proposal: Proposal, width: float | None) -> Tube:
        """The tube around a proposal.

        Args:
            width: metres to either side; None leaves the whole map to the search, but for the places to pass.
        """
        free = lattice.free.ravel()
        inside: list[Flags] = []
        gate: list[Flags] = []
        held: list[bool] = []
        nowhere = np.zeros(len(free), bool)
        for number, leg in enumerate(proposal):
            last = number == len(proposal) - 1
            near = free if width is None else free & cover(lattice, leg.path, width)
            # Without a width only places to pass keep layers apart.
            if not last and (width is not None or leg.within_m < np.inf):
                radius = SNUG * leg.within_m if width is None else min(SNUG * leg.within_m, width)
                door = free & cover(lattice, leg.path[-1:], radius)
                inside.append(near | door)
                gate.append(door)
                held.append(False)
                for _ in range(-(-leg.ticks // lattice.ticks)):
                    inside.append(door)
                    gate.append(door)
                    held.append(True)
            elif last:
                inside.append(near)
                gate.append(nowhere)
                held.append(False)
        return cls(np.array(inside), np.array(gate), np.array(held))

    def holds(self, lattice: Lattice, spots: NDArray[np.floating], layer: Ints) -> Flags:
        """bool [n]: whether positions [n, 2], metres, are in layers [n] of the tube."""
        return self.inside[layer, lattice.nodes(spots)]


def cover(lattice: Lattice, path: Floats, width: float) -> Flags:
    """bool [node]: what is nearer than ``width`` to a path [k, 2], metres."""
    from agentsc.protocol.joint import _kernels_wave

    inside = np.zeros(lattice.free.size, bool)
    spots = _dense(path.astype(np.float64), 0.5 * lattice.cell + 0.25 * width)
    _kernels_wave.cover(spots, width, lattice.origin, lattice.cell, lattice.shape[1], inside)
    return inside


def _dense(path: NDArray[np.float64], pitch: float) -> NDArray[np.float64]:
    """The same polyline with points at most a pitch apart."""
    arc = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=-1)))
    where = np.linspace(0.0, arc[-1], int(arc[-1] / pitch) + 2)
    return np.stack([np.interp(where, arc, path[:, k]) for k in range(2)], axis=-1)
