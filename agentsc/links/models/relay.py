"""Packets that are sent on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import BeforeValidator, Field

from agentsc.links import LINKS, Held, LinkModel, Site
from agentsc.links.flight import Deliveries
from agentsc.links.hop import happens
from agentsc.links.models.markov import numbers
from agentsc.links.parts import Relay as RelayPart
from envs.errors import ConfigError
from envs.keyed import hash_words

Agent = Annotated[int, Field(ge=0, le=65535)]


class Flooding(RelayPart):
    """Everyone who relays sends on what it has not had before, until packets have made their hops.

    Args:
        site: where. hops: most that a packet makes. p: probability of sending on. only: who relays; None for all.
    """

    def __init__(self, site: Site, hops: int, p: float, only: Sequence[int] | None) -> None:
        self.site, self.hops, self.p = site, hops, p
        self._relays = np.full(site.agents, only is None)
        self._relays[list(only or ())] = True

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

    Without losses, flooding reaches those within ``hops`` edges of the author, each in as many rounds as a shortest
    path has edges. On a line with loss e per hop and probability p, the agent h hops away is reached with
    (1 − e)^h p^(h−1). One packet costs at most one transmission of each agent.

    Reference: Z. J. Haas, J. Y. Halpern and L. Li, Gossip-based ad hoc routing, IEEE/ACM Transactions on Networking 14
    (2006).
    """

    reasons: ClassVar[tuple[str, ...]] = ("repeat",)

    hops: int = Field(3, ge=1, le=255, description="radio hops that a packet makes at most")
    p: float = Field(1.0, ge=0.0, le=1.0, allow_inf_nan=False, description="probability of sending a packet on")
    only: Annotated[tuple[Agent, ...], BeforeValidator(numbers)] | None = Field(
        None, description="numbers of the agents that relay, separated by '/'; none: all"
    )

    def check(self, agents: int, beside: Sequence[LinkModel] = ()) -> None:
        """See `LinkModel.check`."""
        for agent in self.only or ():
            if agent >= agents:
                raise ConfigError(
                    f"link.relay.only must name agents 0 to {agents - 1}, got {agent} (numbers of those that relay)"
                )
        if sum(isinstance(link, Relay) for link in beside) > 1:
            raise ConfigError("link.relay must be given once, got it more often (each would send on every packet)")

    def relay(self, site: Site) -> RelayPart:
        return Flooding(site, self.hops, self.p, self.only)
