"""What hostile stations have in common."""

from __future__ import annotations

import math

from pydantic import Field

from agentsc.links import LinkModel


class HostileLink(LinkModel):
    """A radio that is none of the agents', at a place, for a time."""

    x: float = Field(0.0, allow_inf_nan=False, description="where it stands, metres")
    y: float = Field(0.0, allow_inf_nan=False, description="where it stands, metres")
    begin_s: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="when it begins, seconds")
    end_s: float | None = Field(None, ge=0.0, allow_inf_nan=False, description="when it ends, seconds; none: never")
    p: float = Field(1.0, ge=0.0, le=1.0, allow_inf_nan=False, description="probability of acting, per round")

    @property
    def stations(self) -> int:
        return 1

    @property
    def at_work(self) -> tuple[tuple[float, float], float, float, float]:
        """Place, begin, end and probability, as stations take them."""
        return (self.x, self.y), self.begin_s, math.inf if self.end_s is None else self.end_s, self.p
