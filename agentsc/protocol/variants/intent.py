"""The protocol `intent`: agree on an order once, then say how far you are. The fewest bits per agreement.

How it goes, and which module has which part of it: `agentsc.protocol.courses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.courses.beliefs import BelievingBlock
from agentsc.protocol.courses.phases import MOST_LAG
from agentsc.protocol.courses.rallies import RallyBlock
from agentsc.protocol.joint.proposals import How
from agentsc.protocol.variants.negotiated import Negotiated


@PROTOCOLS.register("intent")
class Intent(Negotiated):
    """Wishes instead of plans: all work out the same course from them, and tell how far they are along it."""

    attempts: int = Field(100, ge=1, description="orders of agents tried until everybody has a route")
    repairs: int = Field(40, ge=0, description="neighbourhoods searched to improve the routes after that")
    patience_s: float = Field(8.0, gt=0.0, description="who has not heard all wishes by then negotiates plan by plan")
    ahead_ticks: int = Field(32, ge=1, le=MOST_LAG - 1, description="ticks ahead to which an agent commits")
    renew_s: float = Field(1.0, ge=0.0, description="least time on a course before somebody calls for another one")
    silence_s: float | None = Field(
        4.0, gt=0.0, description="who is held up by a peer silent for so long goes on without it; null: waits for ever"
    )

    proposals: int = Field(4, ge=0, description="ways per agent that are drawn from the prior for a course; 0 is none")
    proposals_for: Literal["patterned", "every"] = Field(
        "patterned", description="maps on which courses keep to proposals: those with a motion pattern, or every one"
    )
    tube: float = Field(3.0, gt=0.0, description="how far a course may be from a proposal, in radii")
    against: float = Field(
        30.0, ge=1.0, description="proposals: a way straight against the pattern counts as so many times its length"
    )
    drawn: How = Field(
        "joint", description="proposals: by the prior, guided to keep clear of one another; each alone; or just routes"
    )

    @property
    def restarts(self) -> bool:
        """A restarted process comes back by a rally, if those are allowed."""
        return self.silence_s is not None

    def block(self, setup: Setup, ids: Sequence[int]) -> IntentBlock:
        return IntentBlock(self, setup, ids)


class IntentBlock(RallyBlock, BelievingBlock):
    """Rows that agree on courses, go on without the silent, and believe something of where their peers will be."""
