"""Packets that come again."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agentsc.links import LINKS, Site, Station
from agentsc.links.hostile import Replayer as ReplayingStation
from agentsc.links.models._hostile import HostileLink


@LINKS.register("replayer")
class Replayer(HostileLink):
    """A hostile radio repeats what agents sent some time before, bit by bit.

    It acts in a round with probability p, and then repeats all packets of that earlier round.
    """

    reasons: ClassVar[tuple[str, ...]] = ("crc",)

    age: int = Field(20, ge=1, le=65535, description="message rounds after which packets are repeated")

    def station(self, site: Site, number: int) -> Station:
        return ReplayingStation(site, number, *self.at_work, age=self.age)
