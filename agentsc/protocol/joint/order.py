"""Who passes where before whom: what a fleet has to agree on once, so that it need not agree on times.

A *course* gives every agent a route, way-points joined by *steps*, and for every two steps of different
agents that come closer than a distance, which one is made first: the one with the lower number. Then

    an agent commits to its step a only when, for every peer, it knows that the peer has committed to all
    steps b < a that come too close to a, and starts it only after the last of those is done.

*Safety.* Let i make step a while j is at or on its step b, and let the two come too close. They are not equally
numbered, because a course has no such pair (`Course.of` refuses it). If b < a, then i knew that j had committed to b
and when b would be done, and started afterwards; from then on j is on later steps. If b > a, exchange i and j. Who
rests between two steps is at a point of both, so the same argument covers it. Nothing in it depends on when messages
arrive.

*Liveness.* Of all steps not yet committed to, those with the lowest number wait for none that is not committed to, only
for word of it. So while words keep getting through, now and then, everybody arrives; there is no deadlock.

Waiting for those before, instead of keeping to times, is how plans for many robots are executed where robots may be
late (W. Hönig et al., "Persistent and robust execution of MAPF schedules in warehouses", RA-L 2019: the action
dependency graph). Here everybody works out the order from the same tokens, and word of a step takes tens of bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint.search import Lead

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
NEVER = np.int32(1 << 30)


@dataclass(frozen=True)
class Course:
    """Routes and their order.

    Attributes:
        route: float32 [S + 1, agent, 2], metres; step a leads from way-point a to a + 1, at top speed in one tick.
        need: int16 [agent i, agent j, S]; i makes step a after the first ``need`` steps of j.
        distance: metres; what comes closer has an order.
        tick: of way-point 0. covered: int64 [agent], steps that were committed to before, made by tick + covered.
        members: bool [agent], who takes part; None for everybody. What routes say of others means nothing.
        corners: where those may be (`agentsc.protocol.joint.shadows`).
    """

    route: Floats
    need: NDArray[np.int16]
    distance: float
    tick: int
    covered: Ints
    members: NDArray[np.bool_] | None = None
    corners: tuple[tuple[int, int, int], ...] = ()

    @property
    def steps(self) -> int:
        """Steps of a route; who is home earlier makes its last ones in place."""
        return len(self.route) - 1

    @classmethod
    def of(cls, route: Floats, distance: float, tick: int = 0, lead: Lead | None = None) -> Course | None:
        """The course of routes [S + 1, agent, 2] that are made in lockstep, with as many waits as it takes.

        Args:
            tick: of way-point 0. lead: steps that agents have committed to already. The routes rest where those end;
                no other step may come too close to that place before its owner has left it.

        Returns:
            None if equally numbered steps come too close and cannot be told apart by waiting.
        """
        lead = Lead.none(route[0]) if lead is None else lead
        # Who is led to where it stays may come there after everybody else has arrived.
        late = max(int(lead.until.max()) + 2 - len(route), 0)
        route = np.concatenate([route, np.repeat(route[-1:], late, axis=0)])
        need, (ties, stuck) = needs(route, distance, lead)
        if stuck:
            return None
        if ties:
            slots = retime(need)
            if slots is None:
                return None
            route = stretched(route, *slots)
            need, (ties, _) = needs(route, distance, lead)
            if ties:
                return None
        return cls(led(route, lead), need, distance, tick, lead.until)


    def of_some(self, chosen: Ints) -> Course:
        """The same for some agents alone."""
        need = np.ascontiguousarray(self.need[np.ix_(chosen, chosen)])
        route = np.ascontiguousarray(self.route[:, chosen])
        return Course(route, need, self.distance, self.tick, self.covered[chosen])

    def widened(self, chosen: Ints, agents: int, corners: tuple[tuple[int, int, int], ...]) -> Course:
        """A course of the agents ``chosen`` of a fleet of so many, in the fleet's numbers; the others rest anywhere."""
        route = np.zeros((len(self.route), agents, 2), np.float32)
        route[:, chosen] = self.route
        need, covered = np.zeros((agents, agents, self.steps), np.int16), np.zeros(agents, np.int64)
        need[np.ix_(chosen, chosen)] = self.need
        covered[chosen] = self.covered
        members = np.zeros(agents, bool)
        members[chosen] = True
        return Course(route, need, self.distance, self.tick, covered, members, corners)


def led(route: Floats, lead: Lead) -> Floats:
    """Routes [S + 1, agent, 2] with what agents have committed to instead of the rest at its end."""
    route = route.copy()
    for agent, until in enumerate(lead.until.tolist()):
        route[: until + 1, agent] = lead.path[: until + 1, agent]
    return route


def needs(route: Floats, distance: float, lead: Lead | None = None) -> tuple[NDArray[np.int16], tuple[int, int]]:
    """How many steps of each peer come before each step.

    Args:
        route: [S + 1, agent, 2], metres; it rests while its agent is led. distance: metres; steps are compared as sets
            of points. lead: steps that agents have committed to already; they come before all others.

    Returns:
        int16 [agent i, agent j, S]: one more than the last step b < a of j that comes too close to step a of i, 0 if
        there is none; where step a itself does, one of the two gets a + 1. And how often that happened, and how often
        without a possible order.
    """
    from agentsc.protocol.joint import _kernels

    lead = Lead.none(route[0]) if lead is None else lead
    route = np.ascontiguousarray(route, np.float32)
    steps, agents = len(route) - 1, route.shape[1]
    whole = led(route, lead)
    stride = float(np.linalg.norm(np.diff(whole, axis=0), axis=-1).max(initial=0.0)) + 1e-6
    need, ties = np.zeros((agents, agents, steps), np.int16), np.zeros(2, np.int64)
    _kernels.needs(route, distance, stride, lead.until, need, ties)
    if lead.until.any():
        _kernels.led(whole, distance, stride, lead.until, need)
    return need, (int(ties[0]), int(ties[1]))


def retime(need: NDArray[np.int16]) -> tuple[Ints, int] | None:
    """Slots [S, agent] of steps, and their number, if everybody moves as soon as it may; None if somebody never may."""
    from agentsc.protocol.joint import _kernels

    when = np.zeros((need.shape[2], need.shape[0]), np.int64)
    finished = np.zeros(1, np.int64)
    _kernels.retime(need, when, finished)
    return None if finished[0] < 0 else (when, int(finished[0]))


def stretched(route: Floats, when: Ints, slots: int) -> Floats:
    """Routes [slots + 1, agent, 2] in which step a of an agent is made in slot ``when[a]`` and in others it waits."""
    steps, agents = when.shape
    made = np.zeros((slots + 1, agents), np.int64)
    made[when + 1, np.arange(agents)] = np.arange(1, steps + 1)[:, None]
    made = np.maximum.accumulate(made, axis=0)
    return np.asarray(route[made, np.arange(agents)], np.float32)


class Progress:
    """How far some agents of one lane have committed to a course, and what they know of the others.

    Attributes:
        steps: int64 [row], steps committed to. done: int32 [row, S + 1], tick at which so many steps are made.
        known: int16 [row, agent], steps that peers are known to have committed to.
        known_at: int32 [row, agent, S + 1], ticks by which they are made.
    """

    def __init__(self, course: Course, agents: Ints, slack: int = 0) -> None:
        """Everybody has committed to what it was led by, and knows that of all others.

        Args:
            agents: [row], whose rows these are.
            slack: ticks to wait beyond what a peer's clock says (bounded skew).
        """
        self.course, self.agents, self.slack = course, np.asarray(agents, np.int64), slack
        rows, last = len(self.agents), course.steps
        covered = np.arange(last + 1) <= course.covered[:, None]
        at = np.where(covered, course.tick + np.arange(last + 1), NEVER).astype(np.int32)
        self.steps = course.covered[self.agents]
        self.done = at[self.agents]
        self.known = np.repeat(course.covered[None].astype(np.int16), rows, axis=0)
        self.known_at = np.repeat(at[None], rows, axis=0)

    def hear(self, row: Ints, peer: Ints, steps: Ints, done: Ints) -> None:
        """Peers [n] have committed to so many steps, the last of which is made at tick ``done`` [n].

        Steps take a tick at least, so the one before was made a tick earlier or more.
        """
        from agentsc.protocol.joint import _kernels

        fine = (steps > 0) & (steps <= self.course.steps)
        columns = (np.asarray(column[fine], np.int64) for column in (row, peer, steps, done))
        _kernels.hear(*columns, self.known, self.known_at)

    def extend(
        self, tick: int, may: NDArray[np.bool_], ahead: int = int(NEVER), most: Ints | None = None
    ) -> NDArray[np.bool_]:
        """Those who may [row] commit to every step that the order allows now: bool [row], who did.

        Args:
            ahead: ticks; no step is committed to that starts later than that from now.
            most: int64 [row], steps up to which each commits; all of them if None.
        """
        from agentsc.protocol.joint import _kernels

        moved = np.zeros(len(self.agents), bool)
        until = min(tick + ahead, int(NEVER))
        most = np.full(len(self.agents), self.course.steps) if most is None else most
        _kernels.extend(
            self.course.need, self.agents, self.known, self.known_at, np.int32(tick), np.int32(self.slack),
            np.int32(until), may, most, self.steps, self.done, moved,
        )  # fmt: skip
        return moved

    def word(self, row: Ints) -> tuple[Ints, NDArray[np.int32]]:
        """What rows [n] can tell: steps committed to, and the tick by which they are made."""
        return self.steps[row], self.done[row, self.steps[row]]

    def waits_for(self, row: Ints) -> NDArray[np.bool_]:
        """Whose word rows [n] wait for at the step that they are at: bool [n, agent]."""
        course, step = self.course, self.steps[row]
        next_step = np.minimum(step, course.steps - 1)
        need = course.need[self.agents[row], :, next_step]
        return np.asarray((need > self.known[row]) & (step < course.steps)[:, None])

    def made(self, row: int, tick: int) -> Ints:
        """Steps int64 [agent] that one row knows all agents to have made by a tick."""
        return np.asarray((self.known_at[row, :, 1:] <= tick).sum(-1), np.int64)

    def awaited(self, told: Ints) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Which peers lack word of a row's latest steps, as far as the row knows: three of bool [row, agent].

        Those that need it for the step they are at; for any step; and for any step for which the first ``told`` [row]
        steps do not do.
        """
        from agentsc.protocol.joint import _kernels

        now, later, news = (np.zeros(self.known.shape, bool) for _ in range(3))
        _kernels.awaited(self.course.need, self.agents, self.steps, told, self.known, now, later, news)
        return now, later, news
