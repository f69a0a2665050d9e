"""Silence: every agent plans as if it were alone. The floor that coordination is measured from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentsc.baselines._unasked import Ints, UnaskedBlock, nothing
from agentsc.protocol import PROTOCOLS, Deliveries, Packets, SampleReply, Setup
from agentsc.protocol.situation import PlanningVariant


@PROTOCOLS.register("silent")
class Silent(PlanningVariant):
    """No messages and no knowledge of peers: the same prior and map guidance, each agent for itself."""

    def block(self, setup: Setup, ids: Sequence[int]) -> SilentBlock:
        return SilentBlock(self, setup, ids)


class SilentBlock(UnaskedBlock):
    """No peer enters foresight, guidance or checks: not even the roster, that is, where peers start."""

    variant: Silent

    def __init__(self, variant: Silent, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        self.knowledge.plans.valid[:] = False

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """There is nothing to hear."""
        self.advance(self.tick(clock))

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Decide, and say nothing."""
        self.adopt(sampled)
        return nothing()

    def _nearest(self, rows: Ints, tick: int) -> Ints:
        return np.zeros((len(rows), 0), np.int64)
