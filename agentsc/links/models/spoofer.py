"""Packets that are not from whom they say."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentsc.links import LINKS, Site, Station
from agentsc.links.hostile import Spoofer as SpoofingStation
from agentsc.links.models._hostile import HostileLink


@LINKS.register("spoofer")
class Spoofer(HostileLink):
    """A hostile radio sends packets in the name of agents, well formed and with checksums that hold.

    It hears everything and knows the format, but no key: see ``authentication``. Its packets fare like all others
    in the links of the medium; where they are heard depends on those.
    """

    reasons: ClassVar[tuple[str, ...]] = ("crc",)

    what: Literal["grants", "plans", "noise", "progress", "wishes"] = Field(
        "grants",
        description="grants: every proposal is granted in the name of all; plans: an agent's plan somewhere else; "
        "noise: an agent's intent and status with random contents; progress: an agent is said to be far along its "
        "course; wishes: an agent is said to want to somewhere else, at random",
    )

    def station(self, site: Site, number: int) -> Station:
        return SpoofingStation(site, number, *self.at_work, what=self.what)
