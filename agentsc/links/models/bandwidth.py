"""A radio that sends at a finite rate."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentsc.links import LINKS, LinkModel, Site
from agentsc.links.queue import SenderQueue, at_rate


@LINKS.register("bandwidth")
class Bandwidth(LinkModel):
    """Every sender has one radio of finite rate with a finite queue; a packet takes bits / rate to send.

    First come, first served. A packet that finds ``queue`` others waiting is dropped (``tail``), or takes the
    place of the one that waited longest (``head``), so that what is sent is fresher. A dropped packet is lost
    to all receivers. With packets of one size this is the queue D/D/1/K, or M/D/1/K under Poisson arrivals,
    with K = queue + 1.

    Reference: D. Gross, J. F. Shortle, J. M. Thompson and C. M. Harris, Fundamentals of Queueing Theory,
    4th ed., Wiley 2008, chapter 5.
    """

    reasons: ClassVar[tuple[str, ...]] = ("queue",)

    kbps: float = Field(
        gt=0.0, allow_inf_nan=False, examples=[10.0], description="rate, 1000 bits per second"
    )
    queue: int = Field(8, ge=1, le=65536, description="packets that may wait, besides the one being sent")
    drop: Literal["tail", "head"] = Field(
        "tail", description="which packet goes when no place is left: the newest (tail) or the oldest (head)"
    )

    def stage(self, site: Site) -> SenderQueue:
        return SenderQueue(at_rate(self.kbps * 1e3), self.queue, self.drop == "head", site.lanes, site.nodes)
