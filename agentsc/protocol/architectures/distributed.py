"""Everybody for itself."""

from __future__ import annotations

from agentsc.protocol.architectures import ARCHITECTURES, Architecture


@ARCHITECTURES.register("distributed")
class Distributed(Architecture):
    """Every vehicle carries its own machine; words go by radio from each to all."""
