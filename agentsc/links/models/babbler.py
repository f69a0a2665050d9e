"""Radios that do not stop talking."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agentsc.links import LINKS, Site, Station
from agentsc.links.hostile import Babbler as BabblingStation
from agentsc.links.models._hostile import HostileLink


@LINKS.register("babbler")
class Babbler(HostileLink):
    """A broken or hostile radio sends random bits: the babbling idiot of bus systems.

    Receivers drop them for their checksum, but for one in 2^16 or 2^8. The harm is done where the medium is shared:
    its packets take airtime, collide and interfere.

    Reference: C. Temple, Avoiding the babbling-idiot failure in a time-triggered communication system, FTCS 1998.
    """

    reasons: ClassVar[tuple[str, ...]] = ("crc",)

    bits: int = Field(256, ge=64, le=65536, description="length of its packets, bits")

    def station(self, site: Site, number: int) -> Station:
        return BabblingStation(site, number, *self.at_work, bits=self.bits)
