"""Radios that drown others."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel
from agentsc.links.hop import known
from envs.keyed import hash_words, uniform


@LINKS.register("jammer")
class Jammer(LinkModel):
    """Receivers near a jammer hear nothing while it is on.

    It is on for a share ``duty`` of every period, from a time that is drawn for every period and episode; a packet is
    lost at a receiver within ``metres`` if it is on when the packet's last bit leaves. So the loss there is ``duty``.
    """

    reasons: ClassVar[tuple[str, ...]] = ("jammed",)

    x: float = Field(0.0, allow_inf_nan=False, description="where it stands, metres")
    y: float = Field(0.0, allow_inf_nan=False, description="where it stands, metres")
    metres: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="distance within which receivers are deaf; none: everywhere"
    )
    duty: float = Field(1.0, ge=0.0, le=1.0, allow_inf_nan=False, description="share of time that it is on")
    period_s: float = Field(1.0, gt=0.0, allow_inf_nan=False, description="it is on once in every period, seconds")
    begin_s: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="when it begins, seconds")
    end_s: float | None = Field(None, ge=0.0, allow_inf_nan=False, description="when it ends, seconds; none: never")

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        on = hop.sent_s >= self.begin_s
        if self.end_s is not None:
            on &= hop.sent_s < self.end_s
        if self.duty < 1.0:
            period, phase = np.divmod(hop.sent_s / self.period_s, 1.0)
            # A burst may run over the end of its period: then it goes on from the beginning.
            begin = uniform(hash_words(draw.seeds[hop.lane], -3, period.astype(np.int64)))
            on &= (phase - begin) % 1.0 < self.duty
        deaf = on[hop.packet]
        if self.metres is not None:
            spot = known(hop.around.position)[hop.lane[hop.packet], hop.receiver]
            deaf = deaf & (np.hypot(spot[:, 0] - self.x, spot[:, 1] - self.y) <= self.metres)
        return Effect({"jammed": deaf})
