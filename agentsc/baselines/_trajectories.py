"""Whole trajectories over the air, and how a planner respects those that it has heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agentsc.baselines._unasked import Flags, Floats, Ints, UnaskedBlock, nothing
from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import OPTIMISED, WAYPOINT_KINDS
from agentsc.protocol import Deliveries, Packets, Setup
from agentsc.protocol.situation import PlanningVariant


class Heard(NamedTuple):
    """Trajectories received in one round, one entry per receiver and packet.

    row, peer: int64 [n], who heard whom. sent: int64 [n], round of sending. start: int64 [n], tick of the
    first way-point. optimised: bool [n], the sender does not follow it yet. path: float32 [n, H + 1, 2], metres.
    """

    row: Ints
    peer: Ints
    sent: Ints
    start: Ints
    optimised: Flags
    path: Floats

    def take(self, index: Ints | Flags) -> Heard:
        """Some of the entries."""
        return Heard._make(column[index] for column in self)

    def newest(self) -> Heard:
        """The last one sent of every receiver and sender: delays may bring several at once, and in any order."""
        order = np.lexsort((self.sent, self.peer, self.row))
        row, peer = self.row[order], self.peer[order]
        last = np.append((row[1:] != row[:-1]) | (peer[1:] != peer[:-1]), True)
        return self.take(order[last[: len(order)]])


class TrajectoryBlock(UnaskedBlock):
    """What a peer has published stands, in guidance and in the exact checks alike: everybody yields to it."""

    def __init__(self, variant: PlanningVariant, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        self.waypoints = self.horizon + 1
        # Nobody's rank counts: everybody has right of way over everybody else.
        self.intents.priority[:] = 3

    def heard(self, inbox: Deliveries, clock: int) -> Heard:
        """The good trajectories among what was delivered, to agents whose lanes still run."""
        lead = int(self.lead.max())
        message, packet, lane, place, peer, sent = self.receive(inbox, clock, lead, self._whole)
        path = message.waypoints[packet, : self.waypoints]
        if not len(packet):  # where no packet is good there is no room for way-points either
            path = np.zeros((0, self.waypoints, 2), np.float32)
        return Heard(
            row=lane * len(self.ids) + place,
            peer=peer,
            sent=sent,
            start=message.waypoint_t0[packet].astype(np.int64),
            optimised=message.kind[packet] == OPTIMISED,
            path=path,
        )

    def _whole(self, message: Message) -> Flags:
        return np.isin(message.kind, WAYPOINT_KINDS) & (message.waypoint_count == self.waypoints)

    def packets(self, rows: Ints, kind: Ints | int, start: Ints | int, path: Floats, clock: int) -> Packets:
        """One trajectory per row [n] on the air.

        Args:
            kind: TRAJECTORY or OPTIMISED, [n] or one for all. start: ticks, likewise. path: [n, H + 1, 2].
        """
        if not len(rows):
            return nothing()
        message = Message.blank(len(rows), self.setup.spec, waypoints=self.waypoints)
        message.kind[:], message.id[:], message.clock[:] = kind, self.id[rows], clock & 0xFFFF
        message.waypoint_t0[:], message.waypoint_count[:], message.waypoints[:] = start, self.waypoints, path
        data, bits = encode(message, self.setup.spec)
        return Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits)

    def _whose_turn(self, tick: int) -> Ints:
        """Besides the usual turns: everyone who hears of a plan that crosses its own, at once."""
        start = np.full(len(self.rows), tick + 1)
        path = self.executed(self.rows, start[:, None] + np.arange(self.waypoints))
        self.retry[~self.clear_of_peers(self.rows, path, start)] = tick
        return super()._whose_turn(tick)

    def _score(self, rows: Ints, points: Floats) -> Floats:
        """A plan that crosses a peer's is worth nothing, the one being executed included."""
        cost = super()._score(rows, points)
        row, which = np.indices(cost.shape).reshape(2, -1)
        clear = self.clear_of_peers(self.due[rows[row]], points[row, which], self._start[rows[row]])
        return np.asarray(np.where(clear.reshape(cost.shape), cost, np.inf), np.float32)
