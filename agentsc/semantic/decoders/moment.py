"""Moment matching."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agentsc.semantic import DECODERS
from agentsc.semantic.receiver import SamplingDecoder


@DECODERS.register("moment")
class Moment(SamplingDecoder):
    """Posterior sampling with the prior's covariance at every noise level; exact for Gaussian images and a linear code.

    Reference: Boys et al., "Tweedie moment projected diffusions", 2023, eq. 7; Rozet et al., "Learning diffusion priors
    from observations", 2024, section 4.2.
    """

    steps: int = Field(10, ge=2, description="denoising steps, one network call each")
    iterations: int = Field(1, ge=1, description="conjugate-gradient steps, each through prior and encoder")
    strength: float = Field(0.1, gt=0.0, description="noise-to-signal ratio σ/α that sampling starts at")
    last_ratio: float = Field(0.02, gt=0.0, description="σ/α of the last noise level")

    def plan(self, cbr: float, snr_db: float) -> dict[str, Any]:
        return {
            "guidance": f"moment:iterations={self.iterations}",
            "solver": "dpm-solver++",
            "start_ratio": 10.0 if self.start == "noise" else self.strength,
            "last_ratio": self.last_ratio,
        }
