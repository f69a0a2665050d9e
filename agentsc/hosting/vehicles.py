"""Vehicles that do what hubs tell them, step by step, and what they do when no hub can be heard any more.

A vehicle makes the steps that it has been allowed, each as soon as the one before is made and its gate is open, and
rests where they end. As soon as it is allowed more it knows when those steps will be made, and reports that: it has
*committed* to them. It tells its goal until a hub shows that it knows it.

Where vehicles may fall back, one that has heard no hub for its patience, or hears that somebody else has stopped
listening, stops listening to hubs for ever, finishes what it has committed to, and says where and when it comes to
rest. It goes on saying so until it has heard the same from everybody: then all rest where all know, and it begins to
agree with the others like any fleet that starts there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.hosting.ledger import along, metres
from agentsc.hosting.words import WISHES, Entry, Rests, reports, rests
from agentsc.intent.plan import PlanSpec
from agentsc.links.medium import Packets
from envs.world import World

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

FOLLOWS, LEAVES, ALONE = range(3)
"""Listens to hubs; has stopped to, and waits until all have; agrees with the others."""
REPEAT = 3
"""Rounds between repeats of what nobody has answered."""
_FAST = 1.01
"""Steps may be so many times longer than top speed allows: legs end on lattice points."""


class Vehicles:
    """All vehicles of all lanes; arrays are [lane, agent, …].

    Attributes:
        phase: int64, FOLLOWS, LEAVES or ALONE. steps: int64, committed to. done: int64, tick by which they are made.
        track: float32 [lane, agent, tick, 2], metres: where each is at each tick, as far as committed.
        place, rest: int64 [lane, agent(, 2)], where (lattice units) and when each comes to rest for good, of those
            that have left; heard: bool [lane, agent, agent], which vehicle knows of which.
        commits, wait_rounds: int64 [lane], how often steps were committed to.
    """

    def __init__(self, world: World, spec: PlanSpec, rounds: int, patience: int | None) -> None:
        """``patience``: rounds without a hub after which vehicles leave it; None: they never do."""
        shape = world.starts.shape[:2]
        self.world, self.spec, self.rounds, self.patience = world, spec, rounds, patience
        self.phase = np.zeros(shape, np.int64)
        self.steps, self.done = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._home = spec.lattice(world.starts).astype(np.int64)
        start = spec.point(self._home)
        self.track = np.repeat(start[:, :, None], world.max_ticks + 2, axis=2)
        self._route = np.repeat(self._home.astype(np.float64)[:, :, None], 64, axis=2)
        self.goal = spec.lattice(world.goals).astype(np.int64)
        self._wish = np.zeros(shape, np.int64)
        self._known = np.zeros(shape, bool)
        self._owes = np.zeros(shape, bool)
        self._tries = np.zeros(shape, np.int64)
        self._last_said = np.full(shape, -REPEAT, np.int64)
        self._last_heard = np.zeros(shape, np.int64)
        lanes, agents = shape
        self.heard = np.zeros((lanes, agents, agents), bool)
        self.place, self.rest = self._home.copy(), np.zeros(shape, np.int64)
        self.commits = np.zeros(lanes, np.int64)
        self.refused = np.zeros(lanes, np.int64)
        self._released = world.release

    def want(self, goal: Floats) -> None:
        """Goals [lane, agent, 2], metres, from now on."""
        new = self.spec.lattice(goal).astype(np.int64)
        changed = (new != self.goal).any(-1)
        self.goal = new
        self._wish[changed] = (self._wish[changed] + 1) % WISHES
        self._known &= ~changed

    def absent(self, agents: Flags, clock: int) -> None:
        """Those [lane, agent] do not take part: they cannot have missed anything."""
        self._last_heard[agents] = clock

    # -- hubs ------------------------------------------------------------------------------------

    def hears_hub(self, lane: Ints, agent: Ints, clock: int) -> None:
        """Those vehicles have received something from a hub."""
        self._last_heard[lane, agent] = clock

    def obey(self, lane: int, entry: Entry, tick: int) -> None:
        """One vehicle has received an entry; what makes no sense is refused."""
        agent = entry.vehicle
        if self.phase[lane, agent] != FOLLOWS:
            return
        if not self._sensible(lane, entry):
            self.refused[lane] += 1
            return
        if entry.wish == self._wish[lane, agent]:
            self._known[lane, agent] = True
        if entry.legs:
            self._owes[lane, agent] = True
            self._commit(lane, entry, tick)

    def _sensible(self, lane: int, entry: Entry) -> bool:
        """Whether it begins where the vehicle has been, and leads no faster than it can drive."""
        if entry.first > self.steps[lane, entry.vehicle] and entry.legs:
            return False
        if not entry.legs:
            return True
        reach = self.world.v_max * self.world.dt / self.spec.step * _FAST + 1.0
        x, y = self._route[lane, entry.vehicle, entry.first]
        for leg in entry.legs:
            if np.hypot(leg.x - x, leg.y - y) > reach * leg.steps:
                return False
            x, y = leg.x, leg.y
        return True

    def _commit(self, lane: int, entry: Entry, tick: int) -> None:
        """Make what is new of an entry's steps, as early as its gate lets."""
        agent, step = entry.vehicle, entry.first
        if entry.limit <= self.steps[lane, agent]:
            return
        while entry.limit >= self._route.shape[2]:
            self._route = np.concatenate([self._route, np.zeros_like(self._route)], axis=2)
        here = self._route[lane, agent, step]
        done, track = int(self.done[lane, agent]), self.track[lane, agent]
        for leg in entry.legs:
            end = np.array([leg.x, leg.y], np.float64)
            line, moves = along(here, end, leg.steps), (here != end).any()
            for place in line:
                if self.steps[lane, agent] <= step < entry.limit:
                    self._route[lane, agent, step + 1] = place
                    if moves:
                        done = max(done, tick, int(self._released[agent]))
                        if entry.gate is not None and step >= entry.gate:
                            done = max(done, entry.until)
                        done += 1
                        track[done:] = metres(self.spec, place)
                step += 1
            here = end
        self.steps[lane, agent], self.done[lane, agent] = entry.limit, done
        self.commits[lane] += 1

    # -- falling back ----------------------------------------------------------------------------

    def hear_rests(self, lane: Ints, receiver: Ints, words: Rests) -> None:
        """Vehicles ``receiver`` [n] have heard words of rest."""
        self.heard[lane, receiver, words.sender] = True
        self.place[lane, words.sender] = words.place
        self.rest[lane, words.sender] = words.done
        self._leave(lane, receiver)
        self._owes[lane, receiver] |= ~words.complete & (self.phase[lane, receiver] == ALONE)

    def _leave(self, lane: Ints, agent: Ints) -> None:
        """Stop listening to hubs, for ever; from now on it is known where everything ends."""
        follows = self.phase[lane, agent] == FOLLOWS
        lane, agent = lane[follows], agent[follows]
        self.phase[lane, agent] = LEAVES
        self.heard[lane, agent, agent] = True
        self._owes[lane, agent] = True
        self.rest[lane, agent] = self.done[lane, agent]
        self.place[lane, agent] = self.spec.lattice(self.track[lane, agent, -1])

    def lose_patience(self, clock: int, active: Flags) -> None:
        """Who has heard nothing for too long leaves, in lanes [lane] that still run."""
        if self.patience is None:
            return
        lost = active[:, None] & (self.phase == FOLLOWS) & (clock - self._last_heard > self.patience)
        self._leave(*np.nonzero(lost))

    @property
    def complete(self) -> Flags:
        """bool [lane, agent]: who knows where everybody comes to rest."""
        return np.asarray(self.heard.all(-1))

    # -- words -----------------------------------------------------------------------------------

    def speak(self, clock: int, may: Flags) -> Packets:
        """Reports and words of rest of those that ``may`` [lane, agent] speak."""
        # Who is never answered asks ever less often; who has left is waited for by all others.
        most = np.where(self.phase == FOLLOWS, 5, 1)
        waited = clock - self._last_said >= REPEAT << np.minimum(self._tries // 4, most)
        follows = self.phase == FOLLOWS
        report = follows & (self._owes | (~self._known & waited))
        leaving = ~follows & ((self._owes & waited) | ((self.phase == LEAVES) & ~self.complete & waited))
        report, leaving = report & may, leaving & may
        self._last_said[report | leaving] = clock
        self._tries[report | leaving] += 1
        self._tries[self._owes] = 0
        self._owes[report | leaving] = False
        lane, agent = np.nonzero(report)
        goal = np.where(self._known[lane, agent, None], -1, self.goal[lane, agent])
        told = reports(
            lane, agent, self._wish[lane, agent], self.steps[lane, agent], self.done[lane, agent], goal, clock
        )
        lane, agent = np.nonzero(leaving)
        if not len(lane):
            return told
        left = rests(
            lane, agent, self.rest[lane, agent], self.complete[lane, agent], self.place[lane, agent], clock
        )
        return left if not len(told.lane) else _both(told, left)

    def ahead(self, tick: int, horizon: int) -> Floats:
        """Committed positions [lane, agent, horizon + 1, 2] from ``tick`` on."""
        at = np.minimum(tick + np.arange(horizon + 1), self.track.shape[2] - 1)
        return self.track[:, :, at]


def _both(one: Packets, two: Packets) -> Packets:
    from agentsc.actors.fleet import join_packets

    return join_packets([one, two])
