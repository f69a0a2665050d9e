"""A link without faults."""

from __future__ import annotations

from agentsc.links import LINKS, LinkModel


@LINKS.register("perfect")
class Perfect(LinkModel):
    """Every packet arrives by the next message round."""
