"""Channels that flip bits."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel


@LINKS.register("bit-errors")
class BitErrors(LinkModel):
    """Every bit of a packet arrives wrong with probability p, independently: the binary symmetric channel.

    A packet of L bits has a wrong one with 1 − (1 − p)^L. The checksum refuses all but about 2^-16 of those, 2^-8 for a
    bare token; what it lets pass is delivered as it is.
    """

    reasons: ClassVar[tuple[str, ...]] = ("crc",)

    p: float = Field(ge=0.0, le=1.0, allow_inf_nan=False, description="probability per bit")

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        return Effect(error_rate=np.full(len(hop), self.p))
