"""One for all."""

from __future__ import annotations

from agentsc.protocol.architectures import ARCHITECTURES, Hosted


@ARCHITECTURES.register("centralised")
class Centralised(Hosted):
    """All machines run at one hub in the middle; goals go up by radio, steps come down: if it dies, all stand."""
