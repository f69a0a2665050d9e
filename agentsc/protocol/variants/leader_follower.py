"""Leaders plan as ever; followers are given the leader's committed plan as an anchor, and plan to their slot of it.

The leader is the agent of highest rank, the lowest number, that a follower still hears: whoever has not been heard for
`silence_s` leads nobody any more, and the next rank does; nor does who has left others behind at the gap of a
formation. A leader shows its committed plan with every token; that packet is the anchor: intent token, status and plan.
A slot is the follower's place in the world's shape, or a place in the leader's convoy for whoever goes the same way
behind it. Everybody else plans as in `negotiated`.

All commit under the rule of `negotiated` (grants and locks): an anchor steers what is proposed, never what may be
executed. So followers that disagree about who leads propose worse plans, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.situation import Flags, Ints
from agentsc.protocol.terms import TERMS, ReconciliationTerm
from agentsc.protocol.terms.anchor import AnchorTerm
from agentsc.protocol.terms.formation import within
from agentsc.protocol.variants.negotiated import Negotiated, NegotiatedBlock


@PROTOCOLS.register("leader-follower")
class LeaderFollower(Negotiated):
    """Followers plan to their slots of the committed plan that the highest rank in reach shows as an anchor."""

    follow: float = Field(6.0, ge=0.0, description="seconds charged for being one slot off all the time; 0 is off")
    silence_s: float = Field(3.0, gt=0.0, description="a leader that was not heard for so long leads no more")

    def reconciliation(self, setup: Setup) -> tuple[ReconciliationTerm, ...]:
        """See `PlanningVariant.reconciliation`: the anchor first."""
        anchor: ReconciliationTerm = TERMS.create("anchor", weight=self.follow)
        named = super().reconciliation(setup)
        if self.follow == 0.0 or not anchor.offered(setup.world) or any(isinstance(t, AnchorTerm) for t in named):
            return named
        return anchor, *named

    def block(self, setup: Setup, ids: Sequence[int]) -> LeaderFollowerBlock:
        return LeaderFollowerBlock(self, setup, ids)


class LeaderFollowerBlock(NegotiatedBlock):
    """The round of `negotiated` with leaders; who leads whom is each row's own view."""

    variant: LeaderFollower

    def __init__(self, variant: LeaderFollower, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        self.silence = int(np.ceil(variant.silence_s / setup.world.dt * setup.rounds))

    def leader(self) -> Ints:
        """See `ReconcilingBlock.leader`: the lowest of those heard lately, and of the row itself."""
        heard = np.maximum(self.knowledge.heard, 0) >= self.clock - self.silence
        shape = self.setup.world.shape
        if shape is not None and shape.gap is not None:
            heard &= ~self._apart(shape.gap)
        heard[self.rows, self.id] = True
        return np.asarray(heard.argmax(1), np.int64)

    def _apart(self, gap: tuple[float, float, float, float]) -> Flags:
        """bool [row, agent]: the gap is between them; no shape is kept across it."""
        spots = self.spots(self.rows)
        here = spots[self.rows, self.id][:, None]
        apart = np.zeros(spots.shape[:2], bool)
        for share in np.linspace(0.0, 1.0, 5, dtype=np.float32):
            apart |= within(gap, here * (1 - share) + spots * share)
        return apart

    def anchors(self, clock: int, quiet: Flags) -> Flags:
        """See `NegotiatedBlock.anchors`: leaders show what they follow."""
        return np.asarray(self.leader() == self.id) if self.terms else super().anchors(clock, quiet)
