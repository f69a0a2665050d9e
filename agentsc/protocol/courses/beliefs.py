"""Where peers on a course may be: samples of their paths for those who watch or measure, and facts for terms.

Nothing is decided by beliefs here: who is on a course needs none to know what peers do. See
`agentsc.protocol.joint.lags` for what they are made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.fields import confidence_code
from agentsc.protocol import Beliefs, SampleRequest, Setup
from agentsc.protocol.courses.agreement import AgreementBlock
from agentsc.protocol.courses.phases import FREE, UNDER_WAY
from agentsc.protocol.joint import lags
from agentsc.protocol.joint.order import Course
from agentsc.protocol.situation import Flags, Floats, Ints
from envs import keyed

if TYPE_CHECKING:
    from agentsc.protocol.variants.intent import Intent

BELIEF_TICKS = 16
"""Ticks between beliefs of one row."""


class BelievingBlock(AgreementBlock):
    """Rows that believe something of where their peers on the same course will be."""

    def __init__(self, variant: Intent, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        self.lags = lags.Lags.load()

    def imagine(self, clock: int) -> SampleRequest | None:
        """As in `PlanningBlock` for those who negotiate; those on a course need no samples to know what peers do."""
        turn = (self.tick(clock) + self.id) % BELIEF_TICKS == 0
        self._believe(np.flatnonzero(turn & self.taking_part & (self.number >= 0)))
        return super().imagine(clock)

    def _believe(self, rows: Ints) -> None:
        """Beliefs of rows about their nearest peers, see `agentsc.protocol.joint.lags`."""
        now, horizon = self.now, self.horizon
        if self.agents < 2:
            return  # there is nobody to believe anything of
        when = now + np.arange(-lags.MOST, horizon + lags.MOST + 1)
        for progress, here, place in self._on_courses(rows):
            row, course = rows[here], progress.course
            at = lags.timetable(
                course, self.ids[place], progress.steps[place], progress.done[place], progress.known[place],
                progress.known_at[place], self.since[row], self.slack, int(when[-1]),
            )  # fmt: skip
            peers = self._nearest_on(course, at, row)
            n = np.repeat(np.arange(len(row)), peers.shape[1])
            mine, peer = row[n], peers.ravel()
            made = lags.made(at[n, peer], when)
            way = course.route[made, peer[:, None]]
            known = progress.known[place[n], peer].astype(np.int64)
            until = np.where(known == course.steps, 2 * horizon, at[n, peer, known].astype(np.int64) - now)
            # Steps within the horizon for which somebody has to be gone first who has not said that it will be.
            last = made[:, lags.MOST + horizon]
            step = np.arange(course.steps)
            ahead = (step >= known[:, None]) & (step <= last[:, None])
            need = course.need[peer].astype(np.int64)
            heard = progress.known[place[n]].astype(np.int64)
            heard[np.arange(len(n)), self.id[mine]] = progress.steps[place[n]]
            gated = np.asarray(((need > heard[:, :, None]).any(1) & ahead).any(1))
            renewed = np.asarray((self.number[mine] > 0) | (self.phase[mine] != UNDER_WAY))
            which = lags.context(until / horizon, gated, renewed)
            # What sender and receiver share: whose word it is, of which course, and how far it went.
            keys = keyed.hash_words(
                self.setup.seed, keyed.stream_id("belief"), self._episode[mine], peer, self.number[mine], known,
                now // BELIEF_TICKS,
            )  # fmt: skip
            self._form(mine, peer, way, which, keys)

    def _form(self, row: Ints, peer: Ints, way: Floats, which: Ints, keys: NDArray[np.uint64]) -> None:
        """Note beliefs [n] of rows about peers; of equal ones, one."""
        reach = self.setup.vehicle.reach
        samples = self.lags.foretell(way, which, keys, self.variant.belief_samples, reach)
        marks = {(peer[k], self.lane[row[k]], samples[k].tobytes()): k for k in reversed(range(len(row)))}
        kept = np.sort(np.array(list(marks.values()), np.int64))
        sure = confidence_code(self.lags.certainty(which[kept])).astype(np.int64)
        self.formed.append(Beliefs(self.lane[row[kept]], peer[kept], self.now, samples[kept], sure))

    def _nearest_on(self, course: Course, at: NDArray[np.int32], row: Ints) -> Ints:
        """Ids [row, k] of the peers that should be nearest now, by timetables ``at`` [row, agent, S + 1]."""
        made = (at[:, :, 1:] <= self.now).sum(-1)
        spots = course.route[made, np.arange(self.agents)]
        gap = np.linalg.norm(spots - spots[np.arange(len(row)), self.id[row], None], axis=-1)
        gap[np.arange(len(row)), self.id[row]] = np.inf
        count = min(self.variant.neighbours, self.agents - 1)
        return np.argsort(gap, axis=1, kind="stable")[:, :count]

    # -- what terms may know ---------------------------------------------------------------------

    def settled_wishes(self) -> Flags:
        """Where courses are agreed on, another wish means another course."""
        return np.asarray(self.phase != FREE)

    def has_told(self, rows: Ints) -> Flags:
        """Who has told a wish, or is known by the course to go somewhere."""
        return super().has_told(rows) | (self.wishes[rows] >= 0).all(-1) | (self.number[rows] >= 0)[:, None]

    def told_goals(self, rows: Ints) -> Floats:
        """Wishes, where they have been heard; else where the course ends."""
        goals = super().told_goals(rows)
        for progress, here, _ in self._on_courses(rows):
            goals[here] = progress.course.route[-1]
        known = (self.wishes[rows] >= 0).all(-1)
        goals[known] = self.setup.spec.point(self.wishes[rows][known])
        return goals

    def spots(self, rows: Ints, ticks: Ints | None = None) -> Floats:
        """Along a course, as far as peers are known to have come; they may be some steps behind that."""
        spots = super().spots(rows, ticks)
        for progress, here, place in self._on_courses(rows):
            course = progress.course.route[progress.known[place], np.arange(self.agents)]
            peer = np.arange(self.agents) != self.id[rows[here], None]
            spots[here] = np.where(peer[..., None], course, spots[here])
        return spots
