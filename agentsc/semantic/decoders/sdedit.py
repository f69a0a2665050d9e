"""Noise the decoder's image, and denoise it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agentsc.semantic import DECODERS
from agentsc.semantic.receiver import SamplingDecoder


@DECODERS.register("sdedit")
class SDEdit(SamplingDecoder):
    """The codec's image, noised and denoised by the prior; what arrived is not looked at again.

    Reference: Meng et al., "SDEdit", 2022, algorithm 1.
    """

    steps: int = Field(8, ge=2, description="denoising steps, one network call each")
    strength: float = Field(0.05, gt=0.0, description="noise-to-signal ratio σ/α that the image is brought to")

    def plan(self, cbr: float, snr_db: float) -> dict[str, Any]:
        return {"start_ratio": self.strength, "solver": "dpm-solver++"}
