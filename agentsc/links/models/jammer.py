"""Radios that drown others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel
from agentsc.links.hop import known
from agentsc.links.radio.budget import free_space_db, log_distance_db
from envs.errors import ConfigError
from envs.keyed import hash_words, uniform


@LINKS.register("jammer")
class Jammer(LinkModel):
    """A radio that sends noise: receivers near it hear nothing while it is on, or hear worse.

    It is on for a share ``duty`` of every period, from a time that is drawn for every period and episode; what counts
    is when a packet's last bit leaves. Without a power, packets are lost at every receiver within ``metres``: the loss
    there is ``duty``. With ``tx_dbm``, noise reaches receivers over a log-distance path, and the radio link behind it
    in the specification weighs it.
    """

    reasons: ClassVar[tuple[str, ...]] = ("jammed",)

    x: float = Field(0.0, allow_inf_nan=False, description="where it stands, metres")
    y: float = Field(0.0, allow_inf_nan=False, description="where it stands, metres")
    metres: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="distance within which receivers are deaf; none: everywhere"
    )
    tx_dbm: float | None = Field(None, allow_inf_nan=False, description="or: its power, dBm, for a radio to weigh")
    carrier_ghz: float = Field(2.4, gt=0.0, allow_inf_nan=False, description="for the first metre's path loss, GHz")
    exponent: float = Field(2.0, gt=0.0, allow_inf_nan=False, description="of path loss over distance")
    duty: float = Field(1.0, ge=0.0, le=1.0, allow_inf_nan=False, description="share of time that it is on")
    period_s: float = Field(1.0, gt=0.0, allow_inf_nan=False, description="it is on once in every period, seconds")
    begin_s: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="when it begins, seconds")
    end_s: float | None = Field(None, ge=0.0, allow_inf_nan=False, description="when it ends, seconds; none: never")

    @model_validator(mode="after")
    def _either(self) -> Jammer:
        if self.metres is not None and self.tx_dbm is not None:
            raise ValueError("give either metres (who is deaf) or tx_dbm (a radio weighs it), got both")
        return self

    def check(self, agents: int, beside: Sequence[LinkModel] = ()) -> None:
        behind = list(beside)[next((i for i, link in enumerate(beside) if link is self), 0) + 1 :]
        if self.tx_dbm is not None and not any(link.weighs_interference for link in behind):
            raise ConfigError(
                "link.jammer.tx_dbm needs a radio link with a budget behind it, got none "
                "(e.g. jammer:tx_dbm=10+vehicular, or give metres instead)"
            )

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
        if self.metres is None and self.tx_dbm is None:
            return Effect({"jammed": deaf})
        spot = known(hop.around.position)[hop.lane[hop.packet], hop.receiver].astype(np.float64)
        gap = np.hypot(spot[:, 0] - self.x, spot[:, 1] - self.y)
        if self.tx_dbm is None:
            assert self.metres is not None
            return Effect({"jammed": deaf & (gap <= self.metres)})
        loss = log_distance_db(gap, float(free_space_db(1.0, self.carrier_ghz * 1e9)), 1.0, self.exponent)
        return Effect(interference_mw=10.0 ** (0.1 * (self.tx_dbm - loss)) * deaf)
