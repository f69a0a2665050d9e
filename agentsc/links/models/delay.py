"""Late packets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Keys, LinkModel


@LINKS.register("delay")
class Delay(LinkModel):
    """Every packet arrives late, by ms plus a uniform part of jitter_ms, which may reorder packets."""

    ms: float = Field(ge=0.0, allow_inf_nan=False, description="least delay, milliseconds")
    jitter_ms: float = Field(
        0.0, ge=0.0, allow_inf_nan=False, description="width of the uniform random part on top, milliseconds"
    )

    @property
    def random(self) -> bool:
        return self.jitter_ms > 0.0

    def delay_s(self, key: Keys) -> NDArray[np.float64] | float:
        if not self.random:
            return self.ms * 1e-3
        share = (key >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return np.asarray((self.ms + self.jitter_ms * share) * 1e-3)
