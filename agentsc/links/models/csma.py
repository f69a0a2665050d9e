"""Radios that listen before they send."""

from __future__ import annotations

import math

from pydantic import Field

from agentsc.links import LINKS, Site, Stage
from agentsc.links.access.link import AccessLink
from agentsc.links.access.stage import SensingStage


@LINKS.register("csma")
class Csma(AccessLink):
    """Carrier sense with random back-off, as radios of IEEE 802.11 broadcast: no acknowledgement, no retry.

    A packet draws a back-off of 0 to ``cw`` slots and counts it down while the medium has been idle for ``difs_us``; it
    stops counting while others are heard. Two that come to zero less than a slot apart collide, since neither hears
    the other in time, and so do radios that do not sense each other (``sense_m``): hidden nodes. Agents all speak
    when a message round begins; ``jitter_ms`` spreads what they say. A busy period counts as one slot, so n radios
    that always have a packet send in a slot with τ = 2 / (cw + 2), and a packet collides with 1 − (1 − τ)^(n − 1).

    Reference: G. Bianchi, Performance analysis of the IEEE 802.11 distributed coordination function, IEEE Journal on
    Selected Areas in Communications 18 (2000), section IV, with one back-off stage.
    """

    difs_us: float = Field(58.0, ge=0.0, allow_inf_nan=False, description="the medium must be idle for so long, us")
    slot_us: float = Field(13.0, gt=0.0, allow_inf_nan=False, description="slot of the back-off, us")
    cw: int = Field(15, ge=0, le=65535, description="longest back-off, slots")
    jitter_ms: float = Field(
        0.0, ge=0.0, allow_inf_nan=False, description="longest random delay before a packet contends, milliseconds"
    )
    sense_m: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="distance within which radios sense each other; none: everywhere"
    )

    def stage(self, site: Site) -> Stage:
        return SensingStage(
            self, site, self.difs_us * 1e-6, self.slot_us * 1e-6, self.cw, self.jitter_ms * 1e-3,
            math.inf if self.sense_m is None else self.sense_m,
        )  # fmt: skip
