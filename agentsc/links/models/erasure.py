"""Independent losses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Keys, LinkModel, happens


@LINKS.register("erasure")
class Erasure(LinkModel):
    """Every packet is lost with the same probability, independently for every receiver."""

    p: float = Field(ge=0.0, le=1.0, allow_inf_nan=False, description="erasure probability per packet")

    def loss(self, key: Keys, state: NDArray | None) -> tuple[NDArray[np.bool_], None]:
        return happens(key, self.p), None
