"""Late packets."""

from __future__ import annotations

from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel, uniform


@LINKS.register("delay")
class Delay(LinkModel):
    """Every packet arrives late, by ms plus a uniform part of jitter_ms, which may reorder packets."""

    ms: float = Field(ge=0.0, allow_inf_nan=False, description="least delay, milliseconds")
    jitter_ms: float = Field(
        0.0, ge=0.0, allow_inf_nan=False, description="width of the uniform random part on top, milliseconds"
    )

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        if self.jitter_ms == 0.0:
            return Effect(delay_s=self.ms * 1e-3)
        return Effect(delay_s=(self.ms + self.jitter_ms * uniform(draw.packet)) * 1e-3)
