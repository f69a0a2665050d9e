"""Reconciliation beyond collisions: what terms know, how they act on plans, and what open goals come to.

`agentsc.protocol.terms` holds the terms. Here is what they see of a block (everything is own measurement, public map,
or what was delivered), and the two steps in which they act: `reconcile` before plans are sampled, `rethink` before
that, for agents whose goal is open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol import Setup
from agentsc.protocol.choice import STRIDE, ChoosingBlock
from agentsc.protocol.situation import Flags, Floats, Ints, PlanningVariant
from policies.requests import Steer

LENGTHS = {"Formation": 0.5, "Resources": 1.0, "Coverage": 4.0, "Prices": 4.0}
"""Radii over which charges change, for the length of pushes."""


class ReconcilingBlock(ChoosingBlock):
    """The block's terms, and what they know."""

    def __init__(self, variant: PlanningVariant, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        rows = len(self.rows)
        self.terms = variant.reconciliation(setup)
        self.given = self.goal.copy()
        """float32 [row, 2]: the goal that each was given; its own wish may be another one that is as good."""
        self.wished = np.zeros(rows, bool)
        """bool [row]: goals that were wished for, not given."""
        self.ahead = np.zeros((rows, self.agents), np.int64)
        """int64 [row, peer]: 1 where a term has a row wait for a peer, −1 where it has the peer wait, else 0."""
        self._newly = np.ones(rows, bool)
        self._wishing = False

    # -- what terms may know --------------------------------------------------------------------

    def waypoint_ticks(self) -> Ints:
        """Ticks [due, k] of the way-points that charges look at."""
        return self._start[:, None] + np.arange(0, self.horizon + 1, STRIDE)

    def has_told(self, rows: Ints) -> Flags:
        """bool [n, peer]: peers that have said where they want to go."""
        return np.asarray(self.intents.clock[rows] >= 0)

    def told_goals(self, rows: Ints) -> Floats:
        """float32 [n, peer, 2]: where peers have said that they want to go; where they started, if they have not."""
        return self.intents.goal[rows].copy()

    def spots(self, rows: Ints, ticks: Ints | None = None) -> Floats:
        """float32 [n, agent, 2]: where everybody is believed to be at ``ticks`` [n] (now), the row itself included."""
        when = np.full((len(rows), 1), self.now) if ticks is None else ticks[:, None]
        everyone = np.broadcast_to(np.arange(self.agents), (len(rows), self.agents))
        spots = self.peer_positions(rows, everyone, when)[:, :, 0]
        spots[np.arange(len(rows)), self.id[rows]] = self.executed(rows, when)[:, 0]
        return spots

    def onward(self, rows: Ints, ticks: Ints) -> Floats:
        """float32 [n, agent, k, 2]: where all would be at ``ticks`` [n, k] if they went on, from where they are at the
        first of them, at cruise speed to where they have said that they want to go; the row itself included.
        """
        spots, goals = self.spots(rows, ticks[:, 0]), self.told_goals(rows)
        goals[np.arange(len(rows)), self.id[rows]] = self.goal[rows]
        arc = (ticks - ticks[:, :1]) * np.float32(self.setup.world.dt * self.speed)
        arc = np.repeat(arc.astype(np.float32), self.agents, axis=0)
        goal = self.guide.goal_index(goals.reshape(-1, 2))
        way = self.guide.walks(spots.reshape(-1, 2), goal, float(arc.max(initial=0.0)) + self.setup.world.cell).at(arc)
        return way.reshape(len(rows), self.agents, ticks.shape[1], 2)

    def seconds_between(self, points: Floats, places: Floats) -> NDArray[np.float64]:
        """float [n, agent, place]: time from points [n, agent, 2] to places [n, place, 2] at cruise speed."""
        n, agents, count = len(points), points.shape[1], places.shape[1]
        if self.exact:
            metres = np.linalg.norm(points[:, :, None] - places[:, None], axis=-1)
            return np.asarray(metres / self.speed, np.float64)
        goal = np.repeat(self.guide.goal_index(places.reshape(-1, 2)).reshape(n, 1, count), agents, axis=1)
        metres = self.guide.cost_to_go(np.repeat(points, count, axis=1).reshape(-1, 2), goal.ravel())
        return np.asarray(metres.reshape(n, agents, count) / self.speed, np.float64)

    def leader(self) -> Ints:
        """int64 [row]: whose plan is the anchor of each row; the first agent's, unless a variant knows better."""
        return np.zeros(len(self.rows), np.int64)

    def prices(self, rows: Ints) -> Floats | None:
        """float32 [n, site]: what peers have bid, as a share of the greatest bid; None without a market."""
        return None

    def settled_wishes(self) -> Flags:
        """bool [row]: who does not go back on a wish before it is given another goal."""
        return np.zeros(len(self.rows), bool)

    # -- where they act -------------------------------------------------------------------------

    def reconcile(self) -> tuple[Steer, ...]:
        """Work out the charges for those who are due; what the core is asked to steer by."""
        self._charges, steer = [], []
        self.ahead[self.due] = 0
        for term in self.terms:
            charge = term.charge(self)
            if charge is None:
                continue
            self._charges.append((term, charge))
            length = LENGTHS[type(charge).__name__] * self.setup.world.radius
            asked = term.steer(charge, length)
            steer += [] if asked is None else [asked]
        return tuple(steer)

    def right_of_way(self, due: Ints, near: Ints, higher: Flags) -> Flags:
        """bool [due, peer]: who goes before whom: by rank, unless a term has one wait for the other."""
        ahead = self.ahead[due[:, None], near]
        return np.asarray(np.where(ahead == 0, higher, ahead > 0))

    def rethink(self) -> None:
        """Once a decision: who has a new goal, or may think again, goes where its terms would rather have it."""
        again = (self.now % self.variant.replan_ticks == 0) & ~self.settled_wishes()
        may = (again | self._newly) & self.taking_part
        self._newly[:] = False
        if not may.any():
            return
        goal = self.goal.copy()
        for term in self.terms:
            wish = term.wish(self)
            if wish is not None:
                chosen = may & np.isfinite(wish).all(1)
                goal[chosen] = wish[chosen]
        self.wish_for(goal)

    def wish_for(self, goal: Floats) -> None:
        """From now on rows go to ``goal`` [row, 2] of their own accord."""
        changed = (goal != self.goal).any(1)
        if not changed.any():
            return
        self.wished |= changed
        self._wishing = True
        self.retarget(goal.reshape(self.lanes, len(self.ids), 2), self.now)
        self._wishing = False

    def retarget(self, goal: Floats, tick: int) -> None:
        """See `Block.retarget`: a goal that is given again is no reason to drop the one that was wished for."""
        goal = goal.reshape(-1, 2)
        if not self._wishing:
            fresh = (goal != self.given).any(1)
            self.given = goal.copy()
            self.wished[fresh], self._newly[fresh] = False, True
            goal = np.where(fresh[:, None] | ~self.wished[:, None], goal, self.goal)
        super().retarget(goal.reshape(self.lanes, len(self.ids), 2), tick)
