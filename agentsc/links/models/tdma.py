"""A slot for everybody."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from agentsc.links import LINKS, Held, Site, Stage
from agentsc.links.access.link import AccessLink
from agentsc.links.access.slots import next_slot
from agentsc.links.access.stage import PlannedStage
from agentsc.links.packets import Doubles
from envs.errors import ConfigError


@LINKS.register("tdma")
class Tdma(AccessLink):
    """Time division: agent i sends in slot i of a frame, and nobody else does.

    A packet waits for its sender's next slot: half a frame on average if it comes at any time. One that is longer
    than a slot goes on in the same slot of the next frames. With fewer slots than agents, i and i + slots share one,
    and collide where both are heard.
    """

    slot_ms: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="length of a slot, ms; none: a message round over all slots"
    )
    slots: int | None = Field(None, ge=1, le=65536, description="slots in a frame; none: one for every agent")
    guard_us: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="left free at the end of a slot, us")

    def stage(self, site: Site) -> Stage:
        slots = site.nodes if self.slots is None else self.slots
        slot_s = site.round_s / slots if self.slot_ms is None else self.slot_ms * 1e-3
        usable, frame = slot_s - self.guard_us * 1e-6, slot_s * slots
        if usable <= 0.0:
            raise ConfigError(
                f"link.tdma.guard_us must be below a slot's {1e6 * slot_s:g}, got {self.guard_us:g} (us left free)"
            )

        def start(packets: Held, ready_s: Doubles, draw: Doubles) -> Doubles:
            own_s = packets.sender % slots * slot_s
            return next_slot(ready_s - own_s, frame) * frame + own_s

        def pieces(airtime_s: Doubles) -> Doubles:
            more = np.maximum(np.ceil(airtime_s / usable - 1e-9) - 1.0, 0.0)
            return more * frame + airtime_s - more * usable

        return PlannedStage(self, site, start, pieces, channels=slots)
