"""Losses in bursts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel, happens
from envs.keyed import hash_words


@LINKS.register("gilbert-elliott")
class GilbertElliott(LinkModel):
    """Losses in bursts: every ordered pair is in a good or a bad state, and changes packet by packet.

    The chain of a pair starts in its stationary law and steps once per packet on that pair, after
    the packet. With a lossless good and a dead bad state the loss is p / (p + r), the mean burst
    1 / r packets, and the autocorrelation of losses k packets apart (1 − p − r)^k.

    Reference: E. N. Gilbert, Capacity of a burst-noise channel, Bell System Technical Journal 39
    (1960); E. O. Elliott, Estimates of error rates for codes on burst-noise channels, ibid. 42 (1963).
    """

    reasons: ClassVar[tuple[str, ...]] = ("burst",)

    p: float = Field(ge=0.0, le=1.0, allow_inf_nan=False, description="probability of good → bad per packet")
    r: float = Field(ge=0.0, le=1.0, allow_inf_nan=False, description="probability of bad → good per packet")
    p_good: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False, description="loss probability while good")
    p_bad: float = Field(1.0, ge=0.0, le=1.0, allow_inf_nan=False, description="loss probability while bad")

    @model_validator(mode="after")
    def _moves(self) -> GilbertElliott:
        if self.p + self.r <= 0.0:
            raise ValueError("p + r must be positive, got 0 (a chain that never moves has no stationary law)")
        return self

    def initial(self, draw: Draw) -> NDArray[np.bool_]:
        return happens(draw.pair, self.p / (self.p + self.r))

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        bad, key = np.asarray(state, bool), draw.packet
        after = np.where(bad, ~happens(key, self.r), happens(key, self.p))
        if self.p_good == 0.0 and self.p_bad == 1.0:
            return Effect({"burst": bad}, state=after)
        fresh = hash_words(key, 1)  # the loss is drawn apart from the step
        lost = np.where(bad, happens(fresh, self.p_bad), happens(fresh, self.p_good))
        return Effect({"burst": lost}, state=after)
