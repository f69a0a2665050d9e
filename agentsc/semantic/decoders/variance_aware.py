"""A likelihood that knows how uncertain the clean estimate is."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agentsc.semantic import DECODERS
from agentsc.semantic.receiver import SamplingDecoder


@DECODERS.register("variance-aware")
class VarianceAware(SamplingDecoder):
    """ΠGDM with the data's variance and the encoder linearised at x̂_0: no step size to tune.

    Reference: Song et al., "Pseudoinverse-guided diffusion models", 2023, eq. 7–8; the variance is that of isotropic
    data, ρ² v/(ρ² + v), instead of the published one for v = 1.
    """

    steps: int = Field(10, ge=2, description="denoising steps, one network call each")
    iterations: int = Field(2, ge=1, description="conjugate-gradient steps, each through the encoder twice")
    strength: float = Field(0.1, gt=0.0, description="noise-to-signal ratio σ/α that sampling starts at")

    def plan(self, cbr: float, snr_db: float) -> dict[str, Any]:
        return {
            "guidance": f"pigdm:variance=data,iterations={self.iterations}",
            "solver": "dpm-solver++",
            "start_ratio": self.strength if self.start == "decoder" else 10.0,
        }
