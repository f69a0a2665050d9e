"""Late boxes on courses: which ones a course goes around, and which steps of one lead through others.

The map of a course has to be the same for everybody. So boxes are named in wishes (`agentsc.protocol.boxes` has how),
and a course goes around all boxes named for it or before; but for those in which somebody rests when it begins. Such a
box is not solid before it has been left, whichever way, and a later course goes around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.plan import PlanSpec
from agentsc.protocol.boxes import box_of, with_boxes
from agentsc.protocol.joint.order import Course
from agentsc.protocol.joint.settle import Settler
from envs.geometry import box_distance
from envs.world import World

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Code = tuple[int, ...]

MOST_MAPS, MOST_STEPS_KEPT = 32, 1024
"""Maps whose searches are kept ready; pairs of a course and a box whose steps are."""
SLACK, FREE = 0.999, 0.9999
"""Shares of the radius: how near a step may come to a box (searches admit what touches), and a rest."""


class LateMaps:
    """Settlers for the map with any boxes.

    Args:
        world: without late boxes. settler: makes one for a world.
    """

    def __init__(self, world: World, spec: PlanSpec, settler: Callable[[World], Settler]) -> None:
        self.world, self.spec, self._make = world, spec, settler
        self._settlers: dict[tuple[Code, ...], Settler] = {}
        self._through: dict[tuple[int, Code], tuple[Course, Flags]] = {}

    def settler(self, boxes: tuple[Code, ...]) -> Settler:
        """For the map with these boxes, in ascending order."""
        if boxes not in self._settlers:
            obstacles = with_boxes(self.world.obstacles, self._shapes(boxes)) if boxes else self.world.obstacles
            self._settlers[boxes] = self._make(replace(self.world, obstacles=obstacles, events=None))
            while len(self._settlers) > MOST_MAPS:
                del self._settlers[next(iter(self._settlers))]
        return self._settlers[boxes]

    def around(self, boxes: set[Code], starts: Floats) -> tuple[Code, ...]:
        """Those boxes, in ascending order, in which nobody rests at its start [agent, 2]."""
        every = tuple(sorted(boxes))
        if not every:
            return every
        gap = box_distance(starts[:, None], self._shapes(every)).min(0)
        return tuple(box for box, room in zip(every, gap, strict=True) if room >= FREE * self.world.radius)

    def through(self, course: Course, boxes: Sequence[Code]) -> Flags:
        """bool [S, agent]: which steps lead into some of these boxes; those that begin in one do not."""
        found = np.zeros((course.steps, course.route.shape[1]), bool)
        for box in boxes:
            key = (id(course), box)
            if key not in self._through or self._through[key][0] is not course:
                while len(self._through) > MOST_STEPS_KEPT:
                    del self._through[next(iter(self._through))]
                self._through[key] = course, self._through_one(course, box)
            found |= self._through[key][1]
        return found

    def _through_one(self, course: Course, box: Code) -> Flags:
        share = np.linspace(0.0, 1.0, 9, dtype=np.float32)[:, None, None, None]
        line = course.route[:-1] * (1.0 - share) + course.route[1:] * share
        gap = box_distance(line, self._shapes([box])[0])
        need = SLACK * self.world.radius
        return np.asarray((gap.min(0) < need) & (gap[0] >= need))

    def _shapes(self, boxes: Sequence[Code]) -> Floats:
        return box_of(np.array(boxes, np.int64), self.spec, self.world.cell)
