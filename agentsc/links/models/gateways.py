"""Radios that talk through masts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel
from agentsc.links.hop import happens, known
from envs.keyed import hash_words


@LINKS.register("gateways")
class Gateways(LinkModel):
    """Agents talk through the gateway of their region, and gateways to each other over a backbone.

    Regions are squares of ``metres``, a gateway in the middle of each. A packet goes up to its sender's gateway,
    over the backbone to the others, and down to each receiver from its own. It arrives with (1 − up)(1 − down)
    within a region and (1 − up)(1 − backbone)(1 − down) between regions; receivers of one packet share the fate of
    its way up, those of one region also that over the backbone. While a gateway is dead its region neither sends nor
    hears.
    """

    reasons: ClassVar[tuple[str, ...]] = ("gateway", "uplink", "backbone", "downlink")

    metres: float = Field(
        gt=0.0, allow_inf_nan=False, examples=[4.0], description="side of a region, metres"
    )
    uplink_loss: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False, description="agent to gateway")
    backbone_loss: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False, description="gateway to gateway")
    downlink_loss: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False, description="gateway to agent")
    uplink_ms: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="agent to gateway, milliseconds")
    backbone_ms: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="gateway to gateway, milliseconds")
    downlink_ms: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="gateway to agent, milliseconds")
    dies_s: float | None = Field(None, ge=0.0, allow_inf_nan=False, description="when a gateway dies, seconds")
    back_s: float | None = Field(None, ge=0.0, allow_inf_nan=False, description="when it is back; none: never")
    dead_x: float = Field(0.0, allow_inf_nan=False, description="a place in its region, metres")
    dead_y: float = Field(0.0, allow_inf_nan=False, description="a place in its region, metres")

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        lane, sender = hop.lane[hop.packet], hop.sender[hop.packet]
        cell = np.floor(known(hop.around.position).astype(np.float64) / self.metres).astype(np.int64)
        region = (cell[..., 0] << 20) + cell[..., 1]
        begin, end = region[lane, sender], region[lane, hop.receiver]
        far = begin != end
        seeds = draw.seeds[hop.lane]
        up = happens(hash_words(seeds, hop.clock, hop.sender, hop.origin, -11), self.uplink_loss)[hop.packet]
        over = far & happens(
            hash_words(seeds[hop.packet], hop.clock[hop.packet], sender, hop.origin[hop.packet], end, -12),
            self.backbone_loss,
        )
        down = happens(hash_words(draw.packet, 3), self.downlink_loss)
        delay = 1e-3 * (self.uplink_ms + self.downlink_ms + self.backbone_ms * far)
        lost = {"uplink": up, "backbone": over, "downlink": down}
        if self.dies_s is not None:
            dead = (hop.sent_s >= self.dies_s) & (hop.sent_s < (np.inf if self.back_s is None else self.back_s))
            place = np.floor(np.array([self.dead_x, self.dead_y]) / self.metres).astype(np.int64)
            silent = (place[0] << 20) + place[1]
            lost = {"gateway": dead[hop.packet] & ((begin == silent) | (end == silent)), **lost}
        return Effect(lost, delay_s=delay)
