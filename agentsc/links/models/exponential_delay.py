"""Delays without memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel, uniform


@LINKS.register("exponential-delay")
class ExponentialDelay(LinkModel):
    """Every packet arrives late by ms plus an exponential part, independently, so packets overtake each other.

    P(delay > ms + t) = exp(−t / mean_ms).
    """

    mean_ms: float = Field(
        gt=0.0, allow_inf_nan=False, examples=[40.0], description="mean of the exponential part, milliseconds"
    )
    ms: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="least delay, milliseconds")

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        return Effect(delay_s=(self.ms - self.mean_ms * np.log1p(-uniform(draw.packet))) * 1e-3)
