"""Being on a course: which one, how far everybody is, committing to further steps, and who has to be told.

Every row is on a course, or on none yet (number −1). Courses have a root and a number: the rally that they go back to
(0: the roster), and how many there were since. Along one a row commits to steps as its order allows
(`agentsc.protocol.joint.order`), lays them into its track, and tells how far it has committed if somebody waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agentsc.intent.codec import Message
from agentsc.protocol import Setup
from agentsc.protocol.courses.detours import Box, Detours, Key
from agentsc.protocol.courses.phases import FREE, GATHERING, PATIENT, REMINDED, UNDER_WAY, URGENT
from agentsc.protocol.joint.late import LateMaps
from agentsc.protocol.joint.order import Course, Progress
from agentsc.protocol.joint.settle import Settler
from agentsc.protocol.situation import Flags, Floats, Ints
from agentsc.protocol.variants.negotiated import NegotiatedBlock

if TYPE_CHECKING:
    from agentsc.protocol.variants.intent import Intent


class AlongBlock(NegotiatedBlock):
    """Rows on courses. How they get onto one, see `agentsc.protocol.courses.agreement`."""

    variant: Intent

    def __init__(self, variant: Intent, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        world, rows = setup.world, len(self.rows)
        # Clocks that differ are waited for along a course: only plans have to keep farther apart for that.
        distance = world.separation + variant.margin * world.radius
        maps = LateMaps(world, setup.spec, lambda each: Settler(each, distance, variant.attempts, variant.repairs))
        self.detours = Detours(self.boxes, maps)
        # Around late boxes courses are searched for without proposals: those know the map as it was.
        self.settler = maps.settler(())
        self.settler.tube_m = variant.tube * world.radius
        self.slack = int(np.ceil(variant.clock_skew_s / world.dt))
        # Routes have corners: a limit on acceleration leaves only plans of the prior.
        self.phase = np.full(rows, FREE if np.isfinite(world.a_max) else GATHERING)
        self.root = np.zeros(rows, np.int64)
        self.number = np.full(rows, -1)
        self.member = np.ones((rows, self.agents), bool)
        """Who takes part in each row's course."""
        self.since = np.zeros(rows, np.int64)
        """Tick at which each row set out."""
        self.progress: dict[Key, Progress] = {}
        """How far rows are, of all courses that some row is on or has agreed to."""
        self.pledge: dict[int, tuple[tuple[int, int], Course]] = {}
        """The newest course that each row has agreed to, and its root and number + 1."""
        self.under_way = np.zeros((rows, self.agents), bool)
        """Of which peers each row knows that they are on its course, too."""
        self.reported = np.zeros(rows, np.int64)
        """Steps that each row has told of."""
        # Where each row is at each tick, as far as committed; it rests after that.
        self.track = np.repeat(self.own.path[:, 1, :1], world.max_ticks + 2, axis=1)

    @property
    def running(self) -> Flags:
        """bool [row]: taking part, and the process is not dead."""
        return self.taking_part & self.processes.running

    # -- which course ----------------------------------------------------------------------------

    def _course_of(self, row: int) -> Key:
        """Lane, root and number of the course that a row is on."""
        return int(self.lane[row]), int(self.root[row]), int(self.number[row])

    def _on_courses(self, rows: Ints) -> list[tuple[Progress, Ints, Ints]]:
        """The courses that rows are on: each one's progress, indices into ``rows``, and their places in the block."""
        found = []
        one = (self.lane[rows] << 40) + (self.root[rows] << 16) + self.number[rows]
        for each in np.unique(one[self.number[rows] >= 0]).tolist():
            here = np.flatnonzero(one == each)
            place = rows[here] % len(self.ids)
            found.append((self.progress[self._course_of(int(rows[here[0]]))], here, place))
        return found

    def _track_progress(
        self, lane: int, root: int, number: int, course: Course, named: set[Box] | None = None,
        boxes: tuple[Box, ...] = (),
    ) -> None:  # fmt: skip
        """Keep how far rows are on a course, and forget courses that nobody is on or has agreed to.

        Args:
            named, boxes: late boxes named for it or before, and those that it goes around.
        """
        if (lane, root, number) in self.progress:
            return
        rows = range(lane * len(self.ids), (lane + 1) * len(self.ids))
        used = {(int(self.root[row]), int(self.number[row])) for row in rows}
        pledged = (self.pledge[row][0] for row in rows if row in self.pledge)
        used |= {(before, count - 1) for before, count in pledged}
        for key in [key for key in self.progress if key[0] == lane and key[1:] not in used]:
            del self.progress[key]
            self.detours.forget(key)
        self.progress[lane, root, number] = Progress(course, self.ids, self.slack)
        self.detours.keep((lane, root, number), named or set(), boxes)

    # -- steps -----------------------------------------------------------------------------------

    def _go_on(self, rows: Ints) -> None:
        """Commit to steps, and keep in mind where that leads."""
        for progress, here, place in self._on_courses(rows):
            may = np.zeros(len(self.ids), bool)
            may[place] = True
            before, first = progress.steps.copy(), int(rows[here[0]])
            most = None
            if self.boxes:
                most = self.detours.free_steps(progress, self._course_of(first), rows[here], place, self.ids)
            moved = progress.extend(self.now, may, self.variant.ahead_ticks, most)
            for k in np.flatnonzero(moved).tolist():
                self._lay(first // len(self.ids) * len(self.ids) + k, progress, k, int(before[k]))

    def _lay(self, row: int, progress: Progress, place: int, first: int) -> None:
        """Write steps from ``first`` on into the track; before each of them the row rests."""
        last = int(progress.steps[place])
        done = progress.done[place, first + 1 : last + 1]  # what comes after the end of all times is left out
        spots = progress.course.route[first + 1 : last + 1, self.ids[place]]
        until = np.append(done[1:], self.track.shape[1])
        for at, end, spot in zip(done, until, spots, strict=True):
            self.track[row, at:end] = spot

    def executed(self, rows: Ints, ticks: Ints) -> Floats:
        """Own positions [rows, k, 2] at ``ticks`` [rows, k], as committed."""
        spots = super().executed(rows, ticks)
        on_course = self.number[rows] >= 0
        at = np.minimum(ticks[on_course], self.track.shape[1] - 1)
        spots[on_course] = self.track[rows[on_course, None], at]
        return spots

    def _barred(self, rows: Ints) -> Flags:
        """bool [row]: who of ``rows`` knows of a box on a way that somebody still has to go, as far as it knows."""
        barred = np.zeros(len(self.rows), bool)
        for progress, here, place in self._on_courses(rows):
            course = self._course_of(int(rows[here[0]]))
            for row, at in zip(rows[here].tolist(), place.tolist(), strict=True):
                barred[row] = self.detours.barred(progress, course, row, at, int(self.id[row]))
        return barred

    # -- progress --------------------------------------------------------------------------------

    def _hear_progress(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        """Packets [n] in which peers on the same courses as rows [n] tell how far they have committed."""
        self.under_way[row, sender] = True
        steps, done = message.steps[packet].astype(np.int64), message.done[packet].astype(np.int64)
        for progress, here, place in self._on_courses(row):
            same = steps[here] <= progress.known[place, sender[here]]
            progress.hear(place, sender[here], steps[here], done[here])
            # Who repeats what is known does not know how far its hearers have come: they say so, or it never ends.
            told = row[here[same]]
            further = self.reported[told] < progress.steps[place[same]]
            self.news[told[further | (self.clock - self.last_sent[told] >= REMINDED)]] = True

    def _worth_telling(self, clock: int) -> Flags:
        """bool [row]: steps that some peer waits for and has not been told of, or may have missed."""
        worth = self.news | self.unasked(clock)
        silent = clock - self.last_sent
        rows = np.flatnonzero((self.phase == UNDER_WAY) & self.running)
        for progress, here, place in self._on_courses(rows):
            row = rows[here]
            told = np.zeros(len(self.ids), np.int64)
            told[place] = self.reported[row]
            urgent, later, news = (part[place] for part in progress.awaited(told))
            unsure = ~self.under_way[row]
            unsure[np.arange(len(row)), self.id[row]] = False
            urgent |= unsure
            due = (urgent.any(1) & (silent[row] >= URGENT)) | (later.any(1) & (silent[row] >= PATIENT))
            worth[row] |= news.any(1) | due
        return worth

    def _tell_progress(self, message: Message, mine: Ints, rows: Ints) -> None:
        """Write into packets ``mine`` [n] how far ``rows`` [n] have committed."""
        for progress, here, place in self._on_courses(rows):
            message.steps[mine[here]], message.done[mine[here]] = progress.word(place)
            self.reported[rows[here]] = progress.steps[place]
