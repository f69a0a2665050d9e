"""Independent losses."""

from __future__ import annotations

from typing import ClassVar

from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel, happens


@LINKS.register("erasure")
class Erasure(LinkModel):
    """Every packet is lost with the same probability, independently for every receiver."""

    reasons: ClassVar[tuple[str, ...]] = ("erasure",)

    p: float = Field(ge=0.0, le=1.0, allow_inf_nan=False, description="erasure probability per packet")

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        return Effect({"erasure": happens(draw.packet, self.p)})
