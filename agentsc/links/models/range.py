"""Radios that reach so far and no farther."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Ints, LinkModel, Pairs
from agentsc.links.reach import within


@LINKS.register("range")
class Range(LinkModel):
    """Packets reach everyone within a distance of their sender, and nobody else."""

    reasons: ClassVar[tuple[str, ...]] = ("range",)
    restricts: ClassVar[bool] = True

    metres: float = Field(gt=0.0, allow_inf_nan=False, description="distance that a radio reaches, metres")

    def audience(self, lane: Ints, sender: Ints, position: NDArray[np.floating]) -> Pairs:
        return within(lane, sender, position, self.metres)
