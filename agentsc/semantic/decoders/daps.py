"""Decoupled annealing."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agentsc.semantic import DECODERS
from agentsc.semantic.receiver import SamplingDecoder


@DECODERS.register("daps")
class Daps(SamplingDecoder):
    """At every noise level a draw of the image given state and symbols, which is then noised to the next level.

    With ``covariance=denoiser`` the draw has the prior's own covariance and is exact for Gaussian images and a linear
    code; ``isotropic`` is the published one.
    Reference: Zhang et al., "Improving diffusion inverse problem solving with decoupled noise annealing", 2024.
    """

    steps: int = Field(6, ge=2, description="noise levels, one network call each")
    covariance: Literal["denoiser", "isotropic"] = Field("denoiser", description="spread of an image given its state")
    iterations: int = Field(2, ge=1, description="Krylov steps for the draw, each through prior and encoder")
    strength: float = Field(0.1, gt=0.0, description="noise-to-signal ratio σ/α that sampling starts at")
    last_ratio: float = Field(0.03, gt=0.0, description="σ/α of the last noise level")

    def plan(self, cbr: float, snr_db: float) -> dict[str, Any]:
        return {
            "guidance": f"daps:covariance={self.covariance},iterations={self.iterations}",
            "solver": "consistency",
            "start_ratio": 10.0 if self.start == "noise" else self.strength,
            "last_ratio": self.last_ratio,
        }
