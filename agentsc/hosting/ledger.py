"""What a hub has decided for one lane: where everybody goes, step by step, and what has to come before what.

A hub lets its machines move *twins* of the vehicles, with a clock of their own. A tick of theirs in which anybody moves
becomes a *step* of everybody's: the twins' motion gives routes, whose equally numbered steps were made at the same
time. Vehicles need not keep to those times, only to the order:

    Step a of i begins only when it is known at which tick the last of those steps b < a of every peer j is made that
    come closer to it than D (as sets of points), and not before that tick.

Equally numbered steps keep D when made at the same time. If they do not as sets of points, one follows the other
closely: then the one behind begins no earlier than the one in front, if that keeps D (`_kernels._behind`).

Steps in place take no time, and need no order: who is still there is in the way until it has made the step that
leads away. What vehicles and hubs hold are routes as they cross the air, in legs; the order is that of those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.hosting.words import MOST_LEAD, MOST_LEG, MOST_LEGS, Leg
from agentsc.intent.plan import PlanSpec

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Room = Callable[[Floats], Floats]
NEVER = 1 << 30
BESIDE = np.array([(0, 0), *((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y)])
"""A lattice point and its neighbours."""
NOTICE = 2
"""Ticks ahead at which steps are decided that are made by the clock."""
_ROOM = 4096


class Outlook(NamedTuple):
    """How far everybody may go, as known now.

    Attributes:
        limit: int64 [agent], steps in all. gate: int64 [agent], the first of them that must not begin before tick
            ``until`` [agent]; NEVER where there is none.
    """

    limit: Ints
    gate: Ints
    until: Ints


class Order(NamedTuple):
    """What has to come before what.

    distance: D, metres. tolerance: metres that legs may be off the twins' way. by_clock: vehicles are told when to make
    steps instead, as early as word of them can have come: for protocols that would not keep apart by waiting either.
    """

    distance: float
    tolerance: float
    by_clock: bool


class Ledger:
    """Routes, their order, and how far vehicles have committed to them.

    Attributes:
        route: float32 [S + 1, agent, 2], metres. steps: S.
        known: int64 [agent], steps that vehicles are known to have committed to. done: int64 [agent], by when they are
            made.
        together, touching: pairs of steps that could only be made at the very same time (nobody is let do that), and
            pairs that came too close even so: no order helps those, see ``docs/architectures.md``.
    """

    def __init__(
        self, spec: PlanSpec, starts: Floats, order: Order, stride: float, room: Room | None = None
    ) -> None:
        """Everybody rests at starts [agent, 2].

        Args:
            stride: metres of a step at most.
            room: metres that a vehicle at places [n, 2] has on all sides; None: enough.
        """
        self.spec, self.order, self.stride, self._room = spec, order, stride, room
        agents = len(starts)
        self.steps = 0
        self._place: Ints = spec.lattice(starts).astype(np.int64)
        self._route = np.repeat(spec.point(self._place)[None], 64, axis=0)
        self._moves = np.zeros((64, agents), np.int32)
        self._at = np.full((agents, 64), NEVER, np.int32)
        self._at[:, 0] = 0
        self.known, self.done = np.zeros(agents, np.int64), np.zeros(agents, np.int64)
        self._legs: list[list[tuple[int, Leg]]] = [[] for _ in range(agents)]
        self._gates = np.zeros((0, 5), np.int64)
        # By the clock: the tick in which each step begins, behind one for the start.
        self._due = [-1]
        self.together = self.touching = self.legs = 0

    @property
    def route(self) -> Floats:
        """float32 [S + 1, agent, 2], metres."""
        return self._route[: self.steps + 1]

    def extend(self, path: Floats, now: int) -> None:
        """Go on along ``path`` [n + 1, agent, 2], metres, which begins where the twins were."""
        from agentsc.hosting import _kernels

        spec, agents, new = self.spec, len(self.known), len(path) - 1
        units = (path.astype(np.float64) - np.array(spec.bounds[:2])) / spec.step
        units = np.clip(units, 0, (1 << 16) - 1)
        legs, count = np.zeros((agents, new, 3), np.int64), np.zeros(agents, np.int64)
        _kernels.fit(units, self._place, self.order.tolerance / spec.step, MOST_LEG, legs, count)
        if self._room is not None:
            self._nudge(legs, count)
        first, last = self.steps, self.steps + new
        while last >= len(self._route):
            self._route = np.concatenate([self._route, np.zeros_like(self._route)])
            self._moves = np.concatenate([self._moves, np.zeros_like(self._moves)])
            self._at = np.concatenate([self._at, np.full_like(self._at, NEVER)], axis=1)
        for agent in range(agents):
            at = first
            for steps, x, y in legs[agent, : count[agent]].tolist():
                line = along(self._place[agent], np.array([x, y]), steps)
                self._route[at + 1 : at + steps + 1, agent] = metres(spec, line)
                moves = np.arange(1, steps + 1) if (x, y) != tuple(self._place[agent].tolist()) else np.zeros(steps)
                self._moves[at + 1 : at + steps + 1, agent] = self._moves[at, agent] + moves
                self._place[agent] = x, y
                at += steps
                self._legs[agent].append((at, Leg(steps, x, y)))
        self.legs += int(count.sum())
        self.steps = last
        if self.order.by_clock:
            self._due += range(max(self._due[-1] + 1, now + NOTICE), max(self._due[-1] + 1, now + NOTICE) + new)
            return
        made = np.where(self.done <= now, self._resting(), 0)
        found, counted = np.zeros((_ROOM, 5), np.int64), np.zeros(3, np.int64)
        while True:
            _kernels.gates(self.route, first, self.order.distance, self.stride, made, found, counted)
            if counted[0] <= len(found):
                break
            found = np.zeros((int(counted[0]), 5), np.int64)
        self.together += int(counted[1])
        self.touching += int(counted[2])
        self._gates = np.concatenate([self._gates, found[: counted[0]]])

    def _nudge(self, legs: Ints, count: Ints) -> None:
        """Ends of legs that rounding has put too near to an obstacle go to the roomiest lattice point beside them."""
        assert self._room is not None
        agent, number = np.nonzero(np.arange(legs.shape[1]) < count[:, None])
        tight = self._room(self.spec.point(legs[agent, number, 1:])) < self.spec.step
        agent, number = agent[tight], number[tight]
        if not len(agent):
            return
        near = np.clip(legs[agent, number, None, 1:] + BESIDE, 0, (1 << 16) - 1)
        room = self._room(self.spec.point(near).reshape(-1, 2)).reshape(len(agent), -1)
        # The point itself comes first: who rests must not be moved to and fro.
        legs[agent, number, 1:] = near[np.arange(len(agent)), np.minimum(room, self.spec.step).argmax(1)]

    def hear(self, agent: int, steps: int, done: int) -> bool:
        """A vehicle has committed to so many steps, made by tick ``done``; whether that is news."""
        before = int(self.known[agent])
        if not before < steps <= self.steps:
            return False
        moves = self._moves[before + 1 : steps + 1, agent]
        self._at[agent, before + 1 : steps + 1] = done - (moves[-1] - moves)
        self.known[agent], self.done[agent] = steps, done
        return True

    def _resting(self) -> Ints:
        """int64 [agent]: steps known to be committed to, and those in place that follow."""
        agents = np.arange(len(self.known))
        here = self._moves[self.known, agents]
        return np.asarray((self._moves[: self.steps + 1] <= here).sum(0) - 1, np.int64)

    def ahead(self, now: int) -> Ints:
        """int64 [agent]: ticks of motion that are decided and, as far as known, not made yet."""
        left = self.motion(self.known, np.full_like(self.known, self.steps))
        return np.asarray(left + np.maximum(self.done - now, 0), np.int64)

    def motion(self, begin: Ints, end: Ints) -> Ints:
        """int64 [agent]: steps from ``begin`` to ``end`` [agent] that are not in place; negative backwards."""
        agents = np.arange(len(self.known))
        return np.asarray(self._moves[end, agents] - self._moves[begin, agents], np.int64)

    def outlook(self, now: int) -> Outlook:
        """How far everybody may go, with what vehicles have told by now."""
        if self.order.by_clock:
            return self._timetable()
        agents = len(self.known)
        limit = np.full(agents, self.steps)
        gate, until = np.full(agents, NEVER), np.zeros(agents, np.int64)
        who, step, peer, after, begun = self._gates.T
        sure = after <= self._resting()[peer]
        when = self._at[peer, np.minimum(after, self.known[peer])] - begun
        open_ = (sure & (when <= now)) | (step < self.known[who])
        if open_.any():
            self._gates = self._gates[~open_]
            who, step, sure, when = who[~open_], step[~open_], sure[~open_], when[~open_]
        np.minimum.at(limit, who[~sure], step[~sure])
        later = np.flatnonzero(sure)
        for k in later[np.lexsort((step[later], who[later]))].tolist():
            agent = int(who[k])
            if step[k] >= limit[agent]:
                continue
            if gate[agent] == NEVER:
                gate[agent], until[agent] = step[k], when[k]
            elif step[k] == gate[agent]:
                until[agent] = max(until[agent], when[k])
            elif when[k] > until[agent]:
                limit[agent] = step[k]
        gate[gate >= limit] = NEVER
        return Outlook(limit, gate, until)

    def _timetable(self) -> Outlook:
        """Up to where each next comes to rest: a single gate says when it sets off."""
        begin, last = int(self.known.min(initial=self.steps)), self.steps
        moves = np.diff(self._moves[begin : last + 1], axis=0) > 0
        due = np.array(self._due[1:], np.int64)
        jumps = np.diff(due[begin:], prepend=due[begin] if last > begin else 0) != 1
        jumps[:1] = False
        number = np.arange(begin, last)[:, None]
        first = np.where(moves & (number >= self.known), number, last).min(0, initial=last)
        limit = np.where((number > first) & (~moves | jumps[:, None]), number, last).min(0, initial=last)
        until = np.append(due, NEVER)[first]
        return Outlook(np.where(first < last, limit, self.known), np.where(first < last, first, NEVER), until)

    def piece(self, agent: int, limit: int) -> tuple[int, int, tuple[Leg, ...]]:
        """The legs that lead an agent from where it is known to be towards ``limit``.

        Returns:
            The step at which they begin, how many steps may be made of them in all, and the legs. Steps in place at the
            end are left out.
        """
        known, found = int(self.known[agent]), list[Leg]()
        begin, at = 0, 0
        for end, leg in reversed(self._legs[agent]):
            if end <= known:
                begin = end
                break
            if end - leg.steps < limit:
                found.append(leg)
        found = found[::-1][:MOST_LEGS]
        at, reached = begin, begin
        kept = 0
        place = self._place_at(agent, begin)
        for number, leg in enumerate(found):
            at += leg.steps
            if at - begin > MOST_LEAD:
                break
            if (leg.x, leg.y) != place:
                reached, kept = at, number + 1
            place = leg.x, leg.y
        return begin, max(min(limit, reached), known), tuple(found[:kept])

    def _place_at(self, agent: int, step: int) -> tuple[int, int]:
        x, y = self.spec.lattice(self._route[step, agent]).tolist()
        return x, y


def metres(spec: PlanSpec, place: Doubles) -> Floats:
    """Places [..., 2] in lattice units, between lattice points too, in metres; hubs and vehicles agree on every bit."""
    return np.asarray(np.array(spec.bounds[:2]) + place * spec.step, np.float32)


def along(begin: NDArray[np.number], end: NDArray[np.number], steps: int) -> Doubles:
    """Places [steps, 2] after each of so many equal steps from ``begin`` to ``end``, in lattice units."""
    share = np.arange(1, steps + 1)[:, None] / steps
    return np.asarray(begin + share * (end - begin), np.float64)
