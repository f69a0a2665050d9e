"""Radios that reach their nearest neighbours."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agentsc.links import LINKS, Held, LinkModel, Pairs, Surroundings
from agentsc.links.hop import known
from agentsc.links.reach import nearest


@LINKS.register("k-nearest")
class KNearest(LinkModel):
    """Packets reach the k agents nearest to their sender, and nobody else; hearing need not be mutual."""

    reasons: ClassVar[tuple[str, ...]] = ("topology",)

    k: int = Field(ge=1, le=65535, examples=[2], description="number of agents that a packet reaches")

    @property
    def restricts(self) -> bool:
        return True

    def audience(self, packets: Held, agents: int, around: Surroundings) -> Pairs:
        return nearest(packets.lane, packets.sender, known(around.position), self.k, agents)
