"""Radios that send when they have something to say."""

from __future__ import annotations

from pydantic import Field

from agentsc.links import LINKS, Held, Site, Stage
from agentsc.links.access.link import AccessLink
from agentsc.links.access.stage import PlannedStage
from agentsc.links.packets import Doubles


@LINKS.register("half-duplex")
class HalfDuplex(AccessLink):
    """Radios of finite rate that send at once: whoever sends at the same time hears nothing, and collides.

    ``jitter_ms`` delays every packet by a uniform time, or else all who speak in a message round drown each other.
    Two packets of length T that start within a jitter J overlap with probability 1 − (1 − T/J)² for T < J.
    """

    jitter_ms: float = Field(
        0.0, ge=0.0, allow_inf_nan=False, description="longest random delay before sending, milliseconds"
    )

    def stage(self, site: Site) -> Stage:
        def start(packets: Held, ready_s: Doubles, draw: Doubles) -> Doubles:
            return ready_s + draw * (self.jitter_ms * 1e-3)

        return PlannedStage(self, site, start)
