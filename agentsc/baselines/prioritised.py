"""Decentralised prioritised planning: who ranks lower plans around what it has received, and gives way.

Ranks are fixed: the lower id. Every agent broadcasts its whole trajectory when it changes, and
repeats it now and then, since a radio loses packets. It plans around the newest trajectories
received of higher-ranked agents only; when one arrives that crosses its own, it plans anew at
once. Nobody is asked and nothing is promised back: plans stay apart only if the trajectories of
higher-ranked agents arrive before they matter.

Reference: M. Cap, P. Novak, A. Kleiner and M. Selecky, "Prioritized planning algorithms for
trajectory coordination of multiple mobile robots", IEEE Transactions on Automation Science and
Engineering 12(3), 2015: the asynchronous decentralised algorithm (ADPP), with a receding horizon
in place of trajectories that reach the goal, and the diffusion prior in place of a roadmap search.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from agentsc.baselines._unasked import nothing
from agentsc.baselines.full_trajectory import FullTrajectoryBlock
from agentsc.protocol import PROTOCOLS, Packets, SampleReply, Setup
from agentsc.protocol.grants import Knowledge
from agentsc.protocol.situation import PlanningVariant

FAR = 1e3
"""Where an agent that nobody has heard of is taken to be, in sizes of the arena: out of everybody's way."""


@PROTOCOLS.register("prioritised")
class Prioritised(PlanningVariant):
    """Whole plans on the air when they change; each agent gives way to all that rank above it (lower ids)."""

    heartbeat_s: float = Field(0.5, gt=0.0, description="seconds after which an unchanged plan is sent again")

    def block(self, setup: Setup, ids: Sequence[int]) -> PrioritisedBlock:
        return PrioritisedBlock(self, setup, ids)


class PrioritisedBlock(FullTrajectoryBlock):
    """Full-trajectory exchange in which only higher-ranked agents count, and only once heard."""

    variant: Prioritised

    def __init__(self, variant: Prioritised, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        x0, y0, x1, y1 = setup.world.bounds
        away = np.full_like(setup.world.starts[self.lane], FAR * max(x1 - x0, y1 - y0))
        self.knowledge = Knowledge.of_roster(away, self.horizon)
        self.knowledge.plans.valid[:] = False
        self.heeded = np.arange(self.agents) < self.id[:, None]
        self.heartbeat = max(1, round(variant.heartbeat_s / setup.world.dt))
        self.sent_tick = np.full(len(self.rows), -self.heartbeat)
        self.sent_seq = self.own.seq[:, 1].copy()

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Decide; then publish plans that are new or have not been repeated for a while."""
        self.adopt(sampled)
        if clock % self.setup.rounds:
            return nothing()
        new = self.own.seq[:, 1] != self.sent_seq
        due = new | (self.now - self.sent_tick >= self.heartbeat)
        rows = np.flatnonzero(due & self.active[self.lane])
        self.sent_seq[rows], self.sent_tick[rows] = self.own.seq[rows, 1], self.now
        return self.publish(rows, clock)
