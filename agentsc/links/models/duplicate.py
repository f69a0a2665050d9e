"""Packets that come twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel, happens, uniform
from envs.keyed import hash_words


@LINKS.register("duplicate")
class Duplicate(LinkModel):
    """Some packets come twice: the copy follows by a uniform time, and fares on its own in the links behind.

    Of a packet that a link before has lost there is no copy; links behind lose and delay packet and copy
    independently, those with memory in the same state.
    """

    p: float = Field(ge=0.0, le=1.0, allow_inf_nan=False, description="probability of a copy per packet")
    ms: float = Field(
        0.0, ge=0.0, allow_inf_nan=False, description="longest time by which the copy follows, milliseconds"
    )

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        rows = np.flatnonzero(happens(draw.packet, self.p))
        later = uniform(hash_words(draw.packet[rows], 1)) * (self.ms * 1e-3)
        return Effect(copied=rows, copy_delay_s=later)
