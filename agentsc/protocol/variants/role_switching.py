"""Agents diffuse between roles under load: a role is drawn from softmax(−J / τ), J being what it costs in seconds.

Two choices are open to an agent, and each is made only under load:

- *Where to be served.* Where the world lets a goal be exchanged (stations of a warehouse; sites), each place is a role.
  J is the time until it would be served there: the way, and the queue of peers that have said they go there. Load is
  that the present place has a queue.
- *Pass or yield.* Who makes no progress although it could draws whether to insist or to make room. J of passing is the
  time to wait for those in its way; J of yielding that of going aside to a wide place and back. Who passes says so by
  its priority and is made room for by those who yield; who yields gives way to everybody, and says so by its role.

Deterministic choices make all agents that see the same queue leave it for the same other place, and make two agents
that stand off insist or yield both; drawn ones do not. Draws are keyed by seed, episode, agent and time. A role is kept
for `dwell_s`. What may be executed is decided by grants and locks as in `negotiated`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.situation import Floats, Ints
from agentsc.protocol.terms.resources import waits
from agentsc.protocol.variants.negotiated import Negotiated, NegotiatedBlock
from envs import keyed

Doubles = NDArray[np.float64]
AS_EVER, PASSES, YIELDS = range(3)
INSISTING = 3
"""Priority of an agent that passes; above that of one that is merely stuck."""


@PROTOCOLS.register("role-switching")
class RoleSwitching(Negotiated):
    """Agents under load draw another role: another place to be served at, or whether to pass or to yield."""

    temperature_s: float = Field(0.5, ge=0.0, description="τ in seconds; 0 takes the cheapest role always")
    dwell_s: float = Field(4.0, gt=0.0, description="a role is kept for so long")
    blocked_s: float = Field(1.5, gt=0.0, description="without progress for so long, an agent is blocked")
    service_s: float = Field(2.0, ge=0.0, description="time that one is taken to need at a place that is its goal")
    switch: bool = Field(True, description="whether places are roles; false: agents go where they are sent")
    turns: bool = Field(True, description="whether blocked agents draw to pass or to yield; false: ranks decide")

    def block(self, setup: Setup, ids: Sequence[int]) -> RoleSwitchingBlock:
        return RoleSwitchingBlock(self, setup, ids)


class RoleSwitchingBlock(NegotiatedBlock):
    """The round of `negotiated`; ``stance`` [row] is one of `AS_EVER`, `PASSES`, `YIELDS`, kept until ``until``."""

    variant: RoleSwitching

    def __init__(self, variant: RoleSwitching, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        rows = len(self.rows)
        self.stance_now = np.full(rows, AS_EVER)
        self.until, self.until_place = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        self.dwell = max(int(np.ceil(variant.dwell_s / setup.world.dt)), 1)
        self.blocked_ticks = variant.blocked_s / setup.world.dt
        self._resume = np.zeros(rows, bool)
        self.switches = np.zeros(rows, np.int64)
        """int64 [row], roles taken up so far."""
        resources = setup.world.resources
        self.exchanges = variant.switch and resources is not None and resources.interchangeable

    @property
    def open_ended(self) -> bool:
        """See `NegotiatedBlock.open_ended`."""
        return super().open_ended or self.exchanges

    # -- drawing --------------------------------------------------------------------------------

    def draw(self, cost: Doubles, rows: Ints, what: str) -> Ints:
        """A role for each of ``rows`` from softmax(−J / τ); the cheapest one with τ = 0.

        Args:
            cost: J, float [n, role], seconds; inf for what cannot be. what: names the draw.

        Returns:
            int64 [n].
        """
        tau = self.variant.temperature_s
        if tau == 0.0:
            return cost.argmin(1)
        with np.errstate(invalid="ignore"):
            share = np.exp(-(cost - cost.min(1, keepdims=True)) / tau)
        share = np.nan_to_num(share)
        ladder = np.cumsum(share, axis=1)
        key = self.setup.seed, keyed.stream_id(f"role.{what}"), self._episode[rows], self.id[rows], self.now
        return np.asarray((keyed.uniform(*key)[:, None] * ladder[:, -1:] >= ladder).sum(1), np.int64)

    # -- where to be served ---------------------------------------------------------------------

    def rethink(self) -> None:
        """See `ReconcilingBlock.rethink`; then those whose place has a queue draw among all places."""
        self.until_place[self._newly] = 0
        super().rethink()
        if not self.exchanges or self.now % self.variant.replan_ticks:
            return
        resources, service = self.setup.world.resources, self.variant.service_s
        assert resources is not None
        ready, here = waits(self, service)
        alone = self.seconds_between(self.spots(self.rows), np.broadcast_to(
            resources.centre, (len(self.rows), *resources.centre.shape)
        ))[self.rows, self.id]  # fmt: skip
        load = ready - alone  # seconds in the queue
        queued = load[self.rows, np.maximum(here, 0)] > 0.5 * service
        rows = np.flatnonzero((here >= 0) & queued & (self.until_place <= self.now) & self.negotiating)
        if not len(rows):
            return
        took = self.draw(ready[rows], rows, "place")
        moved = took != here[rows]
        self.until_place[rows] = self.now + self.dwell
        self.switches[rows] += moved
        goal = self.goal.copy()
        goal[rows[moved]] = resources.centre[took[moved]]
        self.wish_for(goal)

    # -- pass or yield --------------------------------------------------------------------------

    def priority(self, tick: int) -> Ints:
        """See `SituatedBlock.priority`; who passes insists, who yields ranks below everybody."""
        usual = super().priority(tick)
        if not self.variant.turns:
            return usual
        self._take_turns(tick, usual)
        stance = self.stance_now
        return np.where(stance == PASSES, INSISTING, np.where(stance == YIELDS, 0, usual))

    def _take_turns(self, tick: int, usual: Ints) -> None:
        """Blocked agents whose role has run out draw one; who gets on again is as ever."""
        blocked = (tick - self.progress_tick > self.blocked_ticks) & ~self.home & (usual > 0) & self.negotiating
        over = self.until <= tick
        self.stance_now[over & ~blocked] = AS_EVER
        back = np.flatnonzero(over & self._resume)
        if len(back):
            # Who has made room goes on to where it was sent, and is not blocked anew before it has tried.
            goal = self.goal.copy()
            goal[back] = self.given[back]
            self._resume[back] = False
            self.stance_now[back] = AS_EVER
            self.wish_for(goal)
            self.wished[back] = False
            blocked[back] = False
        rows = np.flatnonzero(over & blocked)
        if not len(rows):
            return
        cost = np.stack([self._wait_s(rows), self._aside_s(rows)], axis=1)
        drawn = np.where(self.draw(cost, rows, "turn") == 0, PASSES, YIELDS)
        self.switches[rows] += drawn != self.stance_now[rows]
        self.stance_now[rows], self.until[rows] = drawn, tick + self.dwell
        aside = rows[(drawn == YIELDS) & (len(self.wide) > 0)]
        goal = self.goal.copy()
        goal[aside] = self._nearest_wide(aside)
        self._resume[aside] = True
        self.wish_for(goal)

    def _nearest_wide(self, rows: Ints) -> Floats:
        """Where rows go to make room, float32 [n, 2]."""
        here = self.spots(rows)[np.arange(len(rows)), self.id[rows]]
        return self.wide[np.linalg.norm(here[:, None] - self.wide, axis=-1).argmin(1)]

    def _wait_s(self, rows: Ints) -> Doubles:
        """Seconds [n] to wait for those in the way: near, ahead, and not going the same way."""
        world = self.setup.world
        spots, goals = self.spots(rows), self.told_goals(rows)
        me = np.arange(len(rows)), self.id[rows]
        here, away = spots[me][:, None], spots - spots[me][:, None]
        two_cells = np.full((len(rows), 1), 2 * world.cell, np.float32)
        route = self.guide.routes(spots[me], self.goal_row[rows]).at(two_cells)
        heading = route - here
        distance = np.linalg.norm(away, axis=-1)
        in_way = (distance < 4.0 * world.cell) & ((away * heading).sum(-1) > 0.0)
        in_way &= ((goals - spots) * heading).sum(-1) <= 0.0
        in_way[me] = False
        return np.asarray(in_way.sum(1) * 2.0 * world.cell / self.speed, np.float64)

    def _aside_s(self, rows: Ints) -> Doubles:
        """Seconds [n] to get to the nearest place where two can pass, and back."""
        here = self.spots(rows)[np.arange(len(rows)), self.id[rows]]
        if not len(self.wide):
            return np.full(len(rows), np.inf)
        gap = np.linalg.norm(here[:, None] - self.wide, axis=-1)
        return np.asarray(2.0 * gap.min(1) / self.speed, np.float64)

    @cached_property
    def wide(self) -> Floats:
        """Nodes [m, 2] of the planning grid where an agent leaves room for another to pass."""
        grid, world = self.guide.grid, self.setup.world
        points = grid.point(*np.indices(grid.shape)).reshape(-1, 2).astype(np.float32)
        return np.asarray(points[world.obstacles.signed_distance(points) >= 2.0 * world.radius])

    def restart(self, rows: Ints) -> None:
        """See `StandingBlock.restart`: roles are forgotten."""
        super().restart(rows)
        self.stance_now[rows], self.until[rows], self.until_place[rows] = AS_EVER, 0, 0

    def token(self, rows: Ints) -> dict[str, NDArray[np.integer]]:
        """See `SituatedBlock.token`: who has drawn to yield says so."""
        fields = super().token(rows)
        fields["role"] = np.where(self.stance_now[rows] == YIELDS, 1, fields["role"])
        fields["mode"] = (self.stance_now[rows] != AS_EVER).astype(np.int64)
        return fields

