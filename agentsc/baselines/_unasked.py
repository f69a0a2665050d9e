"""Planning without asking: what is chosen is executed, whatever anybody else may be up to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol import Packets, SampleReply
from agentsc.protocol.planner import PlanningBlock

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class UnaskedBlock(PlanningBlock):
    """The planner of our protocol, without its grants: a chosen plan is committed at once."""

    def consider(self, sampled: SampleReply | None) -> Ints:
        """Choose among the samples; the choice becomes the pending plan of the rows [n] returned.

        Who finds nothing feasible keeps the plan it has.
        """
        if sampled is None:
            return np.zeros(0, np.int64)
        new, _, table = self.choose(sampled)
        rows = self.due[new]
        table.seq[:] = self.own.seq[rows, 1] + 1
        self.pending.copy((rows,), table, (slice(None),))
        np.add.at(self.counters.proposals, self.lane[rows], 1)
        return rows

    def adopt(self, sampled: SampleReply | None) -> None:
        """Choose, and commit at once."""
        self.commit(self.consider(sampled))


def nothing() -> Packets:
    """No packets."""
    none = np.zeros(0, np.int32)
    return Packets(none, none, np.zeros((0, 0), np.uint8), none)
