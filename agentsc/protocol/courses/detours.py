"""Late boxes and courses: which boxes are named for a course, which it goes around, and who is in the way of one.

A course has to be the same for everybody. So a box counts for one only if it is named in somebody's wish for it, or was
for an earlier one (`agentsc.protocol.joint.late`). An agent that knows of another box stops before it, and calls for a
course around it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.codec import Message
from agentsc.intent.fields import MAX_BOXES
from agentsc.protocol.boxes import Boxes
from agentsc.protocol.joint.late import LateMaps
from agentsc.protocol.joint.order import Progress

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Box = tuple[int, ...]
"""Codes of a late box, see `agentsc.protocol.boxes`."""
Key = tuple[int, int, int]
"""Lane, root and number of a course."""


class Detours:
    """Late boxes of the courses that a block's rows are on, or are about to agree on.

    Args:
        boxes: what each row knows. maps: of the world with any boxes.
    """

    def __init__(self, boxes: Boxes, maps: LateMaps) -> None:
        self.boxes, self.maps = boxes, maps
        # Of courses: named for one or before, and those that it goes around. Of the next one, by (row, peer).
        self.agreed: dict[Key, set[Box]] = {}
        self.mapped: dict[Key, set[Box]] = {}
        self.named: dict[tuple[int, int], set[Box]] = {}

    # -- the next course -------------------------------------------------------------------------

    def name(self, row: int, agent: int, course: Key) -> None:
        """An agent names in its wish what it knows of, and what was not named for the present course or before."""
        new = sorted(set(self.boxes.of(row)) - self.agreed.get(course, set()))
        self.named[row, agent] = set(new[:MAX_BOXES])

    def hear(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        """Boxes in wishes [n] that rows [n] hear."""
        for each, peer, at in zip(row.tolist(), sender.tolist(), packet.tolist(), strict=True):
            codes = message.boxes[at, : message.box_count[at]].astype(np.int64)
            self.named[each, peer] = set(map(tuple, codes.tolist()))

    def named_by(self, row: int, peer: int) -> set[Box]:
        """Boxes that a peer names for the next course, as one row knows."""
        return self.named.get((row, peer), set())

    def named_by_all(self, row: int, agents: int, course: Key) -> set[Box]:
        """Boxes that have been named for the next course or before, as one row sees it that is on ``course``."""
        named = (self.named_by(row, peer) for peer in range(agents))
        return self.agreed.get(course, set()).union(*named)

    def set_out(self, rows: Ints) -> None:
        """The next course is the present one: nobody has named anything for the one after it."""
        gone = set(rows.tolist())
        for row, peer in [which for which in self.named if which[0] in gone]:
            del self.named[row, peer]

    # -- courses that are agreed on --------------------------------------------------------------

    def keep(self, course: Key, named: set[Box], boxes: tuple[Box, ...]) -> None:
        """A course has been worked out: what has been ``named`` for it or before, and what it goes around."""
        self.agreed[course], self.mapped[course] = named, set(boxes)

    def forget(self, course: Key) -> None:
        """Nobody is on this course any more, or will be."""
        del self.agreed[course], self.mapped[course]

    def _unmapped(self, row: int, course: Key) -> list[Box]:
        """Boxes that a row knows of, and that a course does not go around."""
        around = self.mapped.get(course, set())
        return [box for box in self.boxes.of(row) if box not in around]

    def free_steps(self, progress: Progress, course: Key, rows: Ints, place: Ints, ids: Ints) -> Ints:
        """How many steps of a course lead through no late box that agents know of.

        Args:
            rows, place: int64 [n], of the block and in it, of those on the course. ids: int64 [K], of its places.

        Returns:
            int64 [K], for each place; all steps for those not on the course.
        """
        most = np.full(len(ids), progress.course.steps)
        for row, at in zip(rows.tolist(), place.tolist(), strict=True):
            new = self._unmapped(row, course)
            if new:
                done = int(progress.steps[at])
                through = self.maps.through(progress.course, new)[done:, ids[at]]
                most[at] = done + (int(through.argmax()) if through.any() else len(through))
        return most

    def barred(self, progress: Progress, course: Key, row: int, place: int, agent: int) -> bool:
        """Whether a row knows of a box on a way that somebody still has to go, as far as it knows."""
        new = self._unmapped(row, course)
        if not new:
            return False
        known = progress.known[place].astype(np.int64)
        known[agent] = progress.steps[place]
        through = self.maps.through(progress.course, new)
        return bool((through & (np.arange(len(through))[:, None] >= known)).any())
