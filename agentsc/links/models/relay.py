"""Packets that are sent on."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import BeforeValidator, Field

from agentsc.links import LINKS, Held, LinkModel, Site
from agentsc.links.flight import Deliveries
from agentsc.links.hop import happens
from agentsc.links.models.markov import numbers
from agentsc.links.parts import Relay as RelayPart
from envs.keyed import hash_words

Agent = Annotated[int, Field(ge=0, le=65535)]


class Flooding(RelayPart):
    """Everyone who relays sends on what it has not had before, until packets have made their hops.

    Args:
        site: where. hops: most that a packet makes. p: probability of sending on. only: who relays; None for all.
    """

    def __init__(self, site: Site, hops: int, p: float, only: tuple[int, ...] | None) -> None:
        self.site, self.hops, self.p = site, hops, p
        self._relays = np.full(site.agents, only is None)
        if only is not None:
            self._relays[[agent for agent in only if agent < site.agents]] = True

    def forward(self, found: Deliveries, clock: int) -> Held:
        """See `Relay.forward`."""
        sends = self._relays[found.receiver] & (found.hops[found.packet] + 1 < self.hops)
        key = hash_words(self.site.seeds[found.lane], found.sent_clock, found.sender, found.receiver, -9)
        return found.onward(np.flatnonzero(sends & happens(key, self.p)), clock * self.site.round_s)


@LINKS.register("relay")
class Relay(LinkModel):
    """Agents send on what they receive, so that it goes farther than a radio reaches: flooding, or gossip for p < 1.

    A relayed packet leaves in the message round in which it came, as its author wrote it, and takes a round per hop
    like any other. Every agent takes a packet once and drops what comes again: author and round tell packets apart,
    in a sliding window of 64 rounds. ``hops`` counts the first one, so ``hops=1`` relays nothing. What is relayed
    counts as bits of who sends it on.

    Reference: Z. J. Haas, J. Y. Halpern and L. Li, Gossip-based ad hoc routing, IEEE/ACM Transactions on Networking 14
    (2006).
    """

    reasons: ClassVar[tuple[str, ...]] = ("repeat",)

    hops: int = Field(3, ge=1, le=255, description="radio hops that a packet makes at most")
    p: float = Field(1.0, ge=0.0, le=1.0, allow_inf_nan=False, description="probability of sending a packet on")
    only: Annotated[tuple[Agent, ...], BeforeValidator(numbers)] | None = Field(
        None, description="numbers of the agents that relay, separated by '/'; none: all"
    )

    def relay(self, site: Site) -> RelayPart:
        return Flooding(site, self.hops, self.p, self.only)
