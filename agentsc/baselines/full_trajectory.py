"""Whole plans on the air, every tick, raw; nobody is asked. What coordination costs without a code.

Reference: J. Tordesillas and J. P. How, "MADER: trajectory planner in multiagent and dynamic
environments", IEEE Transactions on Robotics 38(1), 2022; here without its check and recheck
steps (see `agentsc.baselines.mader`), so two agents that commit at the same time, or that miss each
other's packets, may collide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentsc.baselines._trajectories import TrajectoryBlock
from agentsc.baselines._unasked import Ints, nothing
from agentsc.intent.fields import TRAJECTORY
from agentsc.protocol import PROTOCOLS, Deliveries, Packets, SampleReply, Setup
from agentsc.protocol.situation import PlanningVariant


@PROTOCOLS.register("full-trajectory")
class FullTrajectory(PlanningVariant):
    """Every agent broadcasts its whole plan as float32 way-points every tick, and commits without asking."""

    def block(self, setup: Setup, ids: Sequence[int]) -> FullTrajectoryBlock:
        return FullTrajectoryBlock(self, setup, ids)


class FullTrajectoryBlock(TrajectoryBlock):
    """The newest trajectory received of a peer is its plan."""

    variant: PlanningVariant

    def __init__(self, variant: PlanningVariant, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        self.heeded = np.ones(self.intents.priority.shape, bool)
        """Bool [row, peer]: whose trajectories a row takes in."""

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """Replace what is known of a peer's plan by anything newer."""
        self.advance(self.tick(clock))
        if not len(inbox):
            return
        heard = self.heard(inbox, clock).newest()
        news = heard.start > self.knowledge.plans.seq[heard.row, heard.peer, 0]
        row, peer, sent, start, _, path = heard.take(news & self.heeded[heard.row, heard.peer])
        self.knowledge.plans.put((row, peer, np.zeros_like(row)), start, start, path)
        self.knowledge.heard[row, peer] = sent

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Decide; then, once per tick, publish the plan from the next tick on."""
        self.adopt(sampled)
        rows = np.flatnonzero(self.active[self.lane])
        return nothing() if clock % self.setup.rounds else self.publish(rows, clock)

    def publish(self, rows: Ints, clock: int) -> Packets:
        """A packet of each of ``rows``: its plan from the next tick on, the earliest at which one chosen now counts."""
        start = self.now + 1
        ticks = np.broadcast_to(start + np.arange(self.waypoints), (len(rows), self.waypoints))
        return self.packets(rows, TRAJECTORY, start, self.executed(rows, ticks), clock)
