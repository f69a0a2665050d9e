"""Packets whose author can be verified."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agentsc.links import LINKS, LinkModel, Site
from agentsc.links.parts import Seal
from agentsc.links.tags import TagSeal


@LINKS.register("authentication")
class Authentication(LinkModel):
    """Every packet carries a tag made with the fleet's key; receivers refuse forged packets, and repeated ones.

    The tag is SipHash-2-4 cut to ``bits``, over contents, author and the author's round counter, so a forger passes
    with probability 2^-bits. Received rounds of every author are remembered in a sliding window of 64 rounds:
    what comes again, or is older than the window, is dropped. Tags are bits on the air and are counted as such.
    Who has the key can forge: it protects from outsiders, not from a captured agent.
    """

    reasons: ClassVar[tuple[str, ...]] = ("forged", "repeat")

    bits: int = Field(32, ge=8, le=64, description="bits of the tag, added to every packet")

    @property
    def sealed_bits(self) -> int:
        return self.bits

    def seal(self, site: Site) -> Seal:
        return TagSeal(self.bits, site)
