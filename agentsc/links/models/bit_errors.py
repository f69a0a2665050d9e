"""Bits that arrive wrong."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel


@LINKS.register("bit-errors")
class BitErrors(LinkModel):
    """The binary symmetric channel: every bit arrives wrong with the same probability, independently of all others.

    A packet of n bits arrives without a wrong one with (1 − p)^n. The others are lost, but for those whose
    checksum happens to hold.

    Reference: R. G. Gallager, Information Theory and Reliable Communication, 1968, section 1.3.
    """

    reasons: ClassVar[tuple[str, ...]] = ("crc",)
    omits: ClassVar[tuple[str, ...]] = (
        "obstacles, fading and interference: a radio's surroundings do not change what it receives",
        "contention: senders do not disturb each other",
        "bursts of errors: bits go wrong one by one",
    )

    p: float = Field(
        ge=0.0, le=1.0, allow_inf_nan=False, examples=[0.001], description="probability that a bit arrives wrong"
    )

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        return Effect(error_rate=np.full(len(hop), self.p))
