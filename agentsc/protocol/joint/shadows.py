"""Courses around places where somebody who takes no part may be.

An agent that is left out of a course may still make some steps of an older one. The places of all those steps are
its *shadow*: a polyline, known to everybody as lattice points. All steps of the course keep clear of it.

For the search a shadow is an obstacle; the result is checked exactly. Who rests so close to a shadow that it could not
leave with half the margin to spare stays where it is: resting there is safe, by the order of the course before.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint.lattice import UNREACHED
from agentsc.protocol.joint.order import Course
from agentsc.protocol.joint.search import Lead
from agentsc.protocol.joint.settle import ROOM, Settler
from envs.geometry import Obstacles

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Corners = tuple[tuple[int, int, int], ...]
"""Corners of shadows: agent, and x and y of a lattice point; those of one agent follow each other along its way."""

BEAD = 0.2
"""A segment that is not parallel to an axis is covered by discs that far apart, in distances to keep."""
LOOSE = 1e-3
"""Share of the radius by which obstacles may be approached closer than asked for (see `lattice.SNUG`)."""
_KEPT = 8


def segments(points: dict[int, Floats]) -> Floats:
    """Segments float32 [n, 2, 2] of polylines [k, 2], metres; a single point is a segment of no length."""
    parts = [
        np.stack([way[:-1], way[1:]], 1) if len(way) > 1 else np.repeat(way[None], 2, axis=1)
        for _, way in sorted(points.items())
    ]
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros((0, 2, 2), np.float32)


def covers(lines: Floats, reach: float, thickness: float) -> Floats:
    """Rounded boxes [n, 5] around segments [m, 2, 2].

    Args:
        reach: metres, centre distance to keep. thickness: of a box around a line, metres, at most ``reach``.
    """
    boxes = []
    for a, b in lines.astype(np.float64):
        middle, half = (a + b) / 2, np.abs(b - a) / 2
        if half.min() < 1e-9:
            boxes.append([*middle, *(half + thickness), thickness])
            continue
        count = int(np.ceil(2 * np.linalg.norm(half) / (BEAD * reach))) + 1
        for share in np.linspace(0.0, 1.0, count):
            boxes.append([*(a + share * (b - a)), thickness, thickness, thickness])
    return np.array(boxes, np.float32).reshape(-1, 5)


def clearance(route: Floats, since: Ints, lines: Floats) -> float:
    """Least distance of steps of routes [S + 1, agent, 2] to segments [m, 2, 2], as sets of points, metres.

    Args:
        since: int64 [agent], steps before this one are not looked at.
    """
    from agentsc.protocol.joint import _kernels

    least = np.full(1, np.inf, np.float32)
    _kernels.clearance(np.ascontiguousarray(route, np.float32), np.asarray(since, np.int64), lines, least)
    return float(least[0])


@dataclass
class Surveyor:
    """Works out courses around shadows, and keeps the maps that it needs for that."""

    settler: Settler
    _maps: OrderedDict[bytes, Settler] = field(default_factory=OrderedDict)

    def course(
        self, starts: Floats, goals: Floats, key: tuple[int, ...], tick: int, lead: Lead | None, distance: float,
        shadows: dict[int, Floats],
    ) -> Course | None:  # fmt: skip
        """The course of agents from starts to goals [agent, 2], metres; where none is found, one on which all rest.

        Args:
            key, tick, lead: as for `Settler.course`.
            distance: metres that agents keep from each other and from shadows.
            shadows: agents that take no part → where they may be, polylines [k, 2], metres.

        Returns:
            None if agents rest too close to each other even for that.
        """
        lead = Lead.none(starts) if lead is None else lead
        world, lines = self.settler.world, segments(shadows)
        away = np.array([clearance(np.stack([spot, spot])[:, None], np.zeros(1, np.int64), lines) for spot in starts])
        parked = away < (world.separation + distance) / 2
        clear = float(np.minimum(away[~parked], distance).min(initial=distance))
        settler = self._around(lines, clear, distance)
        goals = np.where(parked[:, None], starts, goals).astype(np.float32)
        goals = self._reachable(settler, starts, goals) if len(lines) else goals
        found = settler.course(starts, goals, key, tick, lead)
        if found is not None:
            moving = ~parked
            gap = clearance(found.route[:, moving], found.covered[moving], lines)
            if gap >= clear - LOOSE * world.radius and (found.route[-1, parked] == starts[parked]).all():
                return found
        return settler.halt(starts, tick, lead)

    def _around(self, lines: Floats, clear: float, distance: float) -> Settler:
        key = lines.tobytes() + np.array([clear, distance]).tobytes()
        if key not in self._maps:
            world = self.settler.world
            boxes = covers(lines, clear, clear - world.radius)
            solid = world.obstacles
            if len(boxes):
                solid = Obstacles(np.concatenate([solid.boxes, boxes]), solid.bounds, solid.cutoff)
            near = replace(world, obstacles=solid)
            self._maps[key] = Settler(near, distance, self.settler.attempts, self.settler.repairs)
            while len(self._maps) > _KEPT:
                self._maps.popitem(last=False)
        self._maps.move_to_end(key)
        return self._maps[key]

    @staticmethod
    def _reachable(settler: Settler, starts: Floats, goals: Floats) -> Floats:
        """Goals [agent, 2], or the nearest places to them that agents can get to."""
        lattice = settler._lattice(min(ROOM))
        goals = goals.copy()
        for agent, (start, goal) in enumerate(zip(starts, goals, strict=True)):
            if np.array_equal(start, goal):
                continue
            there = (lattice.steps_to(start) < UNREACHED).reshape(lattice.shape)
            node, _ = lattice.reach(goal)
            if len(node) and there[node[:, 0], node[:, 1]].any():
                continue
            spots = lattice.point(np.argwhere(there & lattice.free))
            if len(spots):
                goals[agent] = spots[int(np.linalg.norm(spots - goal, axis=-1).argmin())]
            else:
                goals[agent] = start
        return goals
