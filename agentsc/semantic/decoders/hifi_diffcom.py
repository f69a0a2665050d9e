"""DiffCom with a confirming constraint and a start that fits the channel."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agentsc.semantic import DECODERS
from agentsc.semantic.decoders.diffcom import published_step
from agentsc.semantic.receiver import SamplingDecoder


@DECODERS.register("hifi-diffcom")
class HiFiDiffCom(SamplingDecoder):
    """DiffCom from the codec's image, which samples must also confirm: x_mse ≈ D(H† H E(x̂_0)).

    Sampling starts at the noise level whose signal-to-noise ratio α²/σ² is (1 + snr)^(5 CBR).
    Reference: Wang et al., "DiffCom", 2024, section IV (confirming constraint, adaptive initialisation).
    """

    zeta: float = Field(0.25, gt=0.0, description="step of the pull towards what arrived")
    gamma: float = Field(0.25, gt=0.0, description="step of the pull towards the codec's image")

    def plan(self, cbr: float, snr_db: float) -> dict[str, Any]:
        snr = 10.0 ** (0.1 * snr_db)
        return {
            "guidance": published_step(self.zeta, snr_db),
            "confirm": f"dps:step=normalised,scale={self.gamma!r}",
            "solver": "ancestral",
            "start_ratio": (1.0 + snr) ** (-2.5 * cbr),
        }
