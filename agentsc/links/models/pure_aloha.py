"""Random access without slots."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from agentsc.links import LINKS, Held, Site, Stage
from agentsc.links.access.link import AccessLink
from agentsc.links.access.stage import PlannedStage
from agentsc.links.packets import Doubles


@LINKS.register("pure-aloha")
class PureAloha(AccessLink):
    """Pure ALOHA: every packet is sent at a random time within a window, whoever else may be sending.

    A packet survives if no other one begins within its own length before or after it begins. At a load of G packets per
    packet length that is e^(−2G) for Poisson traffic, so the throughput is G e^(−2G).

    Reference: N. Abramson, The ALOHA system, AFIPS Fall Joint Computer Conference 1970.
    """

    window_ms: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="in which packets are spread, ms; none: one message round"
    )

    def stage(self, site: Site) -> Stage:
        window_s = site.round_s if self.window_ms is None else self.window_ms * 1e-3

        def start(packets: Held, ready_s: Doubles, draw: Doubles) -> Doubles:
            # A radio that is still busy with its last packet sends this one right after it.
            return np.maximum(ready_s, packets.at_s + draw * window_s)

        return PlannedStage(self, site, start)
