"""Radios that reach their nearest neighbours."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Ints, LinkModel, Pairs
from agentsc.links.reach import nearest


@LINKS.register("k-nearest")
class KNearest(LinkModel):
    """Packets reach the k agents nearest to their sender, and nobody else; hearing need not be mutual."""

    reasons: ClassVar[tuple[str, ...]] = ("topology",)
    restricts: ClassVar[bool] = True

    k: int = Field(ge=1, le=65535, examples=[2], description="number of agents that a packet reaches")

    def audience(self, lane: Ints, sender: Ints, position: NDArray[np.floating]) -> Pairs:
        return nearest(lane, sender, position, self.k)
