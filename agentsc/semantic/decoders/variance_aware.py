"""A likelihood that knows how uncertain the clean estimate is."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agentsc.semantic import DECODERS
from agentsc.semantic.receiver import SamplingDecoder


@DECODERS.register("variance-aware")
class VarianceAware(SamplingDecoder):
    """ΠGDM with the data's variance and the encoder linearised at x̂_0.

    Sampling starts at the codec's image or a refined one, which is further from the truth than the noise level says,
    and nothing but the measurement can tell: ``pull`` makes up for that. With 1 the correction is that of the paper,
    and what is drawn fits the symbols less well.
    Reference: Song et al., "Pseudoinverse-guided diffusion models", 2023, eq. 7–8; the variance is that of isotropic
    data, ρ² v/(ρ² + v), instead of the published one for v = 1.
    """

    steps: int = Field(6, ge=2, description="denoising steps, one network call each")
    iterations: int = Field(1, ge=1, description="conjugate-gradient steps; all but one cost a Jacobian product more")
    pull: float | None = Field(
        None, gt=0.0,
        description="multiplies the correction towards what arrived; by default 8 from an image, 1 from noise",
    )  # fmt: skip
    strength: float = Field(0.05, gt=0.0, description="noise-to-signal ratio σ/α that sampling starts at")

    def plan(self, cbr: float, snr_db: float) -> dict[str, Any]:
        drawn_around = self.start != "noise"
        pull = self.pull or (8.0 if drawn_around else 1.0)
        return {
            "guidance": f"pigdm:variance=data,scale={pull!r},iterations={self.iterations}",
            "solver": "dpm-solver++",
            "start_ratio": self.strength if drawn_around else 10.0,
        }
