"""Whole plans on the air, every tick, raw; nobody is asked. What coordination costs without a code.

Reference: J. Tordesillas and J. P. How, "MADER: trajectory planner in multiagent and dynamic
environments", IEEE Transactions on Robotics 38(1), 2022; here without its check and recheck
steps, so two agents that commit at the same time, or that miss each other's packets, may collide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentsc.baselines._unasked import Floats, Ints, UnaskedBlock, nothing
from agentsc.intent.codec import Message, decode, encode
from agentsc.intent.fields import TRAJECTORY
from agentsc.protocol import PROTOCOLS, Deliveries, Packets, SampleReply, Setup
from agentsc.protocol.grants import clear_of_peers
from agentsc.protocol.planner import PlanningVariant


@PROTOCOLS.register("full-trajectory")
class FullTrajectory(PlanningVariant):
    """Every agent broadcasts its whole plan as float32 way-points every tick, and commits without asking."""

    def block(self, setup: Setup, ids: Sequence[int]) -> FullTrajectoryBlock:
        return FullTrajectoryBlock(self, setup, ids)


class FullTrajectoryBlock(UnaskedBlock):
    """The newest trajectory received of a peer is its plan, in guidance and in the exact checks alike."""

    variant: PlanningVariant

    def __init__(self, variant: PlanningVariant, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        self.waypoints = self.horizon + 1
        # What a peer has published stands: everybody has right of way over everybody else.
        self.intents.priority[:] = 3
        self.heeded = np.ones(self.intents.priority.shape, bool)
        """Bool [row, peer]: whose trajectories a row takes in."""

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """Replace what is known of a peer's plan by anything newer."""
        tick = self.tick(clock)
        self.advance(tick)
        if not len(inbox):
            return
        message, good = decode(inbox.payload, inbox.payload_bits, self.setup.spec)
        good &= (message.kind == TRAJECTORY) & (message.waypoint_count == self.waypoints)
        np.add.at(self.counters.invalid, inbox.lane, ~good[inbox.packet])
        kept = np.flatnonzero(good[inbox.packet])
        if not len(kept):
            return
        packet = inbox.packet[kept]
        row = inbox.lane[kept] * len(self.ids) + np.searchsorted(self.ids, inbox.receiver[kept])
        peer = message.id[packet].astype(np.int64)
        start = message.waypoint_t0[packet].astype(np.int64)
        # Delays may bring several packets of one sender at once, and old ones after newer ones.
        order = np.lexsort((start, peer, row))
        row, peer, start, packet = row[order], peer[order], start[order], packet[order]
        pair = row * self.agents + peer
        newest = np.append(pair[1:] != pair[:-1], True) & self.heeded[row, peer]
        newest &= start > self.knowledge.plans.seq[row, peer, 0]
        row, peer, start, packet = row[newest], peer[newest], start[newest], packet[newest]
        path = message.waypoints[packet, : self.waypoints]
        self.knowledge.plans.put((row, peer, np.zeros_like(row)), start, start, path)
        self.knowledge.heard[row, peer] = start * self.setup.rounds

    def _whose_turn(self, tick: int) -> Ints:
        """Besides the usual turns: everyone who hears of a plan that crosses its own, at once."""
        start = np.full(len(self.rows), tick + 1)
        path = self.executed(self.rows, start[:, None] + np.arange(self.waypoints))
        clear = clear_of_peers(self.knowledge, self.rows, path, start, self.id, self.distance)
        self.retry[~clear] = tick
        return super()._whose_turn(tick)

    def _score(self, rows: Ints, points: Floats) -> Floats:
        """A plan that crosses a peer's is worth nothing, the one being executed included."""
        cost = super()._score(rows, points)
        row, which = np.indices(cost.shape).reshape(2, -1)
        mine = self.due[rows[row]]
        clear = clear_of_peers(
            self.knowledge, mine, points[row, which], self._start[rows[row]], self.id[mine], self.distance
        )
        return np.asarray(np.where(clear.reshape(cost.shape), cost, np.inf), np.float32)

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Decide; then, once per tick, publish the plan from the next tick on."""
        self.adopt(sampled)
        rows = np.flatnonzero(self.active[self.lane])
        return nothing() if clock % self.setup.rounds else self.publish(rows, clock)

    def publish(self, rows: Ints, clock: int) -> Packets:
        """A packet of each of ``rows``: its plan from the next tick on."""
        if not len(rows):
            return nothing()
        start = self.now + 1  # the earliest tick at which a plan chosen now takes effect
        message = Message.blank(len(rows), self.setup.spec, waypoints=self.waypoints)
        message.kind[:] = TRAJECTORY
        message.id[:] = self.id[rows]
        message.clock[:] = clock & 0xFFFF
        message.waypoint_t0[:] = start
        message.waypoint_count[:] = self.waypoints
        ticks = np.broadcast_to(start + np.arange(self.waypoints), (len(rows), self.waypoints))
        message.waypoints[:] = self.executed(rows, ticks)
        data, bits = encode(message, self.setup.spec)
        return Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits)
