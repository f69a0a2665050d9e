"""Grants and locks: the rule that keeps committed plans apart whatever the radio does.

For every pair one agent is the *grantor*: the lower id, unless the role moves (`agentsc.protocol.forks`). An agent
executes a new plan only after each of its grantors has granted exactly that plan. A grantor
grants when the plan keeps clear of its own committed and pending plans, and then *locks* it: it
commits to nothing that comes near a locked plan. A lock is released only when its owner shows
that it executes a later plan, or has given the locked one up. Losing, delaying, repeating or
reordering packets can therefore only keep locks alive for longer.

Invariant: the plan that i executes is always in the lock set of every grantor of i, and every
plan that a grantor executes was clear of its lock set when committed. Hence committed plans of
any two agents are clear of each other, at all times, under any loss. Assumptions, proof and limits
are in docs/safety.md. For contrast, MADER and RMADER check once more after a delay instead
(Tordesillas and How 2022; Kondo et al. 2023), which needs bounded delays.

Slots: index 0 holds a peer's committed plan, index 1 its latest live proposal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.plans import PlanTable, boxes, gaps, separated

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass
class Knowledge:
    """What each row (an agent of the block) knows of each peer.

    Attributes:
        plans: [row, peer, 2]; locks where the row is the peer's grantor, hearsay elsewhere.
        confirmed: bool [row, peer]; slot 1 is known to be committed but has not started yet.
        clock: int64 [row, peer], round of the newest status processed, −1 before the first.
        heard: int64 [row, peer], round in which the newest packet of any kind was sent, −1 if none.
    """

    plans: PlanTable
    confirmed: Flags
    clock: Ints
    heard: Ints

    @classmethod
    def of_roster(cls, starts: Floats, horizon: int) -> Knowledge:
        """Everyone rests at its starting position [row, peer, 2] until heard of."""
        rows, peers = starts.shape[:2]
        plans = PlanTable.resting(np.repeat(starts[:, :, None], 2, axis=2), horizon)
        plans.valid[:, :, 1] = False
        never = np.full((rows, peers), -1, np.int64)
        return cls(plans, np.zeros((rows, peers), bool), never, never.copy())

    def status(self, row: Ints, peer: Ints, clock: Ints, committed: Ints, pending: Ints) -> None:
        """Release what newer statuses show to be over. Rows × peers are unique and news only.

        Args:
            row, peer: [n]. clock: [n], the sender's round, later than any processed before.
            committed, pending: [n], sequence numbers the sender executes and proposes.
        """
        plans = self.plans
        self.clock[row, peer] = clock
        live = plans.valid[row, peer, 1]
        seq = plans.seq[row, peer, 1]
        won = live & (seq == committed)
        self.confirmed[row[won], peer[won]] = True
        # A peer proposes anew only once its committed plan has started: the older one is over.
        over = won & (pending != committed)
        self.promote(row[over], peer[over])
        dead = live & ~won & (seq != pending)
        plans.valid[row[dead], peer[dead], 1] = False

    def promote(self, row: Ints, peer: Ints) -> None:
        """Slot 1 becomes the committed plan; the one before it is released."""
        zero, one = np.zeros_like(row), np.ones_like(row)
        self.plans.copy((row, peer, zero), self.plans, (row, peer, one))
        self.plans.valid[row, peer, one] = False
        self.confirmed[row, peer] = False

    def advance(self, tick: int) -> None:
        """Promote confirmed plans that have started."""
        row, peer = np.nonzero(self.confirmed & (self.plans.start[:, :, 1] <= tick))
        if len(row):
            self.promote(row, peer)


def verdicts(
    own: PlanTable, own_pending: PlanTable, row: Ints, path: Floats, start: Ints, distance: float
) -> Flags:
    """Whether a row may grant each plan: it keeps clear of the row's committed and pending plans.

    Args:
        own: [row, 2], the plan executed before its latest commitment took effect, and that one.
        own_pending: [row]. row: [n], who is asked. path: [n, H + 1, 2]. start: [n], ticks.
        distance: centre distance to keep, metres.
    """
    ok = np.ones(len(row), bool)
    box = boxes(path)
    tables = (own.take((row, 0)), False), (own.take((row, 1)), True), (own_pending.take((row,)), True)
    for table, late in tables:
        near = (gaps(box, table.box) < distance) & table.valid
        ok &= separated(path, start, table.path, table.start, distance, np.full(len(row), late), near)
    return ok


def clear_of_peers(
    knowledge: Knowledge, row: Ints, path: Floats, start: Ints, self_id: Ints, distance: float
) -> Flags:
    """Whether plans keep clear of everything their rows know or have locked.

    Args:
        row: [n]. path: [n, H + 1, 2]. start: [n], ticks. self_id: [n], excluded.
        distance: centre distance to keep, metres.
    """
    from agentsc.protocol import _kernels

    ok = np.ones(len(row), bool)
    # Bounding boxes first, over all peers at once; then only the pairs that may touch.
    box, known = boxes(path), knowledge.plans
    close = np.empty((len(row), known.seq.shape[1]), bool)
    for slot in (0, 1):
        _kernels.close_peers(box, row, self_id, known.box, known.valid, distance, slot, close)
        n, peer = np.nonzero(close)
        if not len(n):
            continue
        clear = separated(
            path[n],
            start[n],
            known.path[row[n], peer, slot],
            known.start[row[n], peer, slot],
            distance,
            np.full(len(n), slot == 1),
            np.ones(len(n), bool),
        )
        np.logical_and.at(ok, n, clear)
    return ok
