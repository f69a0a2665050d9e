"""From everybody's wishes to a course: the same one wherever it is worked out."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from agentsc.protocol.joint.lattice import Lattice
from agentsc.protocol.joint.order import Course, Floats
from agentsc.protocol.joint.proposals import Proposer
from agentsc.protocol.joint.search import Lead, Proposals, in_turn, thoroughly
from envs.world import World

ROOM = (1.2, 1.35, 1.1)
"""Shares of the separation that routes keep while they are searched, in the order they are tried.

More room means less waiting for each other where routes follow each other closely, and longer routes.
"""
EARLY = 16
"""Orders tried at planning one after the other: where none of so many works, the complete search is quicker."""
HASTE = 8
"""So many times fewer improvements of a course that agents are under way to: the next one will come soon."""
MOST_STEPS = (1 << 12) - 1
"""A packet has twelve bits for a number of steps."""
DIGEST_BYTES = 3


class Settler:
    """Works out courses on one map, and remembers them: everybody who has heard the same wants the same.

    Args:
        world: the map and limits; its goals are not looked at. distance: centre distance that routes keep, metres.
        attempts, repairs: see `agentsc.protocol.joint.search.plan`.
        proposer: draws ways that the search keeps to; None leaves it the whole map. tube_m: half the width of tubes
            around them, metres.
    """

    def __init__(
        self, world: World, distance: float, attempts: int, repairs: int, proposer: Proposer | None = None,
        tube_m: float = 0.0,
    ) -> None:  # fmt: skip
        self.world, self.distance = world, distance
        self.proposer, self.tube_m = proposer, tube_m
        self.attempts, self.repairs = attempts, repairs
        self._lattices: dict[float, Lattice] = {}
        self._known: dict[bytes, Course | None] = {}

    def course(
        self, starts: Floats, goals: Floats, key: tuple[int, ...], tick: int = 0, lead: Lead | None = None
    ) -> Course | None:
        """The course that leads agents from starts to goals [agent, 2], metres; None if none is found.

        Args:
            key: words that all random choices are keyed by.
            tick: from which on agents move, or are led. lead: how they come to their starts; they are there if None.
        """
        lead = Lead.none(starts) if lead is None else lead
        asked = b"".join(part.tobytes() for part in (starts, goals, np.array([*key, tick]), lead.path, lead.until))
        if asked not in self._known:
            self._known[asked] = self._work_out(starts, goals, key, tick, lead)
            while len(self._known) > 2 * self.world.lanes:  # only what is being agreed on is asked for again
                del self._known[next(iter(self._known))]
        return self._known[asked]

    def _work_out(self, starts: Floats, goals: Floats, key: tuple[int, ...], tick: int, lead: Lead) -> Course | None:
        goals = self._apart(starts, goals)
        if np.array_equal(starts, goals):
            return self.halt(starts, tick, lead)
        repairs = self.repairs // (HASTE if lead.until.any() else 1)
        attempts = min(EARLY, self.attempts)
        proposals = None
        if self.proposer is not None:
            # Who is under way has been at some of the places to pass.
            first = not lead.until.any()
            proposals = Proposals(self.proposer.propose(starts, goals, key, first), self.tube_m)
        for room in ROOM:
            route = in_turn(self._lattice(room), starts, goals, key, attempts, repairs, lead, self.distance, proposals)
            if route is None:
                break  # it is tight
            course = self._shortest([route], tick, lead)
            if course is not None:
                return course
        routes = thoroughly(self._lattice(min(ROOM)), starts, goals, key, repairs, self.distance, lead, proposals)
        return self._shortest(routes, tick, lead)

    def _shortest(self, routes: list[Floats], tick: int, lead: Lead) -> Course | None:
        """The course with the fewest steps among those that routes allow."""
        courses = [Course.of(route, self.distance, tick, lead) for route in routes]
        fine = [course for course in courses if course is not None and course.steps <= MOST_STEPS]
        return min(fine, key=lambda course: course.steps, default=None)

    def _apart(self, starts: Floats, goals: Floats) -> Floats:
        """Goals [agent, 2] that all can rest at: of two that are too close the nearer agent goes to its own.

        The other one goes to the nearest place that nobody wants.
        """
        lattice = min((self._lattice(room) for room in ROOM), key=lambda each: each.distance)
        gap = np.linalg.norm(goals[:, None] - goals, axis=-1)
        if len(goals) < 2 or gap[np.triu_indices(len(goals), 1)].min() >= lattice.distance:
            return goals
        free = lattice.point(np.argwhere(lattice.free)).astype(np.float32)
        order = np.argsort(np.linalg.norm(goals - starts, axis=-1), kind="stable").tolist()
        first: list[int] = []
        for agent in order:
            if (gap[agent, first] >= lattice.distance).all():
                first.append(agent)
        goals, taken = goals.copy(), list(goals[first])
        for agent in order:
            if agent in first:
                continue
            clear = (np.linalg.norm(free[:, None] - np.array(taken), axis=-1) >= lattice.distance).all(1)
            if not clear.any():
                return starts
            away = np.where(clear, np.linalg.norm(free - goals[agent], axis=-1), np.inf)
            goals[agent] = free[int(away.argmin())]
            taken.append(goals[agent])
        return goals

    def halt(self, starts: Floats, tick: int, lead: Lead) -> Course | None:
        """The course on which everybody rests at its start [agent, 2], metres."""
        return Course.of(starts[None].repeat(int(lead.until.max()) + 2, 0), self.distance, tick, lead)

    def _lattice(self, room: float) -> Lattice:
        if room not in self._lattices:
            wide = replace(self.world, separation=self.world.separation * room)
            self._lattices[room] = Lattice.of(wide)
        return self._lattices[room]


def digest(course: Course, beside: bytes = b"") -> int:
    """24 bits of what everybody has to have worked out alike: routes and order; not the lowest, nor the two highest.

    Args:
        beside: more that has to be alike.
    """
    whole = hashlib.blake2b(course.route.tobytes() + course.need.tobytes() + beside, digest_size=DIGEST_BYTES)
    return 1 + int.from_bytes(whole.digest(), "big") % ((1 << 8 * DIGEST_BYTES) - 3)
