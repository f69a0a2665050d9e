"""Processes that die and come back, or come late: what they have to learn before they commit anything.

A process that dies loses what it knows: locks, its pending proposal, which sequence numbers it used. What remains is
its vehicle, which executes the committed plan to its end and can say which that is; the roster; the forks
(`agentsc.protocol.forks`); and a clock. The clock is what tells one life from the next: every packet carries the round
in which it was sent, so the *round of the restart* is the epoch, and nothing has to be counted or acknowledged.

A restarted row takes in only statuses that were sent after the restart, and proposes nothing until

1. the start of every proposal of its earlier life has passed: nobody answers those any more, so no late verdict on one
   can be taken for one on a new proposal (they are named by three bits); and
2. of each peer whose grantor it may be, it has learnt a committed plan that has started: from a packet that showed
   it with nothing else pending, or by locking it when it was proposed. Either way it has known at some time after the
   restart what the peer had pending, and locked it. Grants of its earlier life count for no later proposal: a verdict
   counts only for proposals made before it was given.

It asks peers for their plans (`agentsc.protocol.notes`), and answers theirs at once: a grantor that commits nothing
need not know what it has locked before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass
class Processes:
    """Which rows' processes run, and what those that were restarted still wait for.

    Attributes:
        running: bool [row]. recovering: bool [row], restarted and not ready to propose.
        until: int64 [row], last tick at which a proposal of the earlier life may be answered.
    """

    running: Flags
    recovering: Flags
    until: Ints

    @classmethod
    def all_there(cls, rows: int) -> Processes:
        """Everybody runs from the start."""
        return cls(np.ones(rows, bool), np.zeros(rows, bool), np.full(rows, -1, np.int64))

    def stop(self, rows: Ints) -> None:
        """Processes die."""
        self.running[rows] = False

    def start(self, rows: Ints, until: int) -> None:
        """Processes start and know nothing."""
        self.running[rows] = self.recovering[rows] = True
        self.until[rows] = until

    def missing(self, guards: Flags, committed_known: Flags) -> Flags:
        """What recovering rows still have to learn of peers: bool [row, peer].

        Args:
            guards: bool [row, peer], whose grantor each row may be. committed_known: bool [row, peer].
        """
        return guards & ~committed_known & self.recovering[:, None]

    def ready(self, missing: Flags, tick: int) -> None:
        """Rows that miss nothing, and whose earlier proposals are past, have recovered."""
        self.recovering &= missing.any(1) | (tick <= self.until)
