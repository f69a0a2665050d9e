"""Random access in slots."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from agentsc.links import LINKS, Held, Site, Stage
from agentsc.links.access.link import AccessLink
from agentsc.links.access.slots import next_slot
from agentsc.links.access.stage import PlannedStage
from agentsc.links.packets import Doubles


@LINKS.register("slotted-aloha")
class SlottedAloha(AccessLink):
    """Slotted ALOHA: every packet is sent in one of the next ``slots`` slots, drawn at random.

    n senders that all have a packet for the same m slots: each survives with (1 − 1/m)^(n − 1). For many senders and
    slots that is e^(−G), G = n/m packets per slot, and the throughput G e^(−G). A packet longer than a slot occupies
    the next ones, too.

    Reference: L. G. Roberts, ALOHA packet system with and without slots and capture, ACM SIGCOMM Computer
    Communication Review 5 (1975).
    """

    slot_ms: float = Field(gt=0.0, allow_inf_nan=False, examples=[5.0], description="length of a slot, milliseconds")
    slots: int | None = Field(
        None, ge=1, le=1 << 20, description="slots to choose from; none: as many as a message round holds"
    )

    def stage(self, site: Site) -> Stage:
        slot_s = self.slot_ms * 1e-3
        slots = max(int(site.round_s / slot_s + 1e-9), 1) if self.slots is None else self.slots

        def start(packets: Held, ready_s: Doubles, draw: Doubles) -> Doubles:
            drawn = next_slot(packets.at_s, slot_s) + np.floor(draw * slots)
            # A radio that is still busy with its last packet takes the next slot.
            return np.maximum(drawn, next_slot(ready_s, slot_s)) * slot_s

        return PlannedStage(self, site, start)
