"""Radios that reach so far and no farther."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agentsc.links import LINKS, Held, LinkModel, Pairs, Surroundings
from agentsc.links.hop import known
from agentsc.links.reach import within


@LINKS.register("range")
class Range(LinkModel):
    """Packets reach everyone within a distance of their sender, and nobody else."""

    reasons: ClassVar[tuple[str, ...]] = ("range",)

    metres: float = Field(gt=0.0, allow_inf_nan=False, description="distance that a radio reaches, metres")

    @property
    def restricts(self) -> bool:
        return True

    def audience(self, packets: Held, agents: int, around: Surroundings) -> Pairs:
        return within(packets.lane, packets.sender, known(around.position), self.metres, agents)
