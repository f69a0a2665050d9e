"""Vanilla DiffCom."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from agentsc.semantic import DECODERS
from agentsc.semantic.receiver import SamplingDecoder


def published_step(zeta: float, snr_db: float) -> str:
    """The term of step ``zeta`` on ‖y − E(x̂_0)‖, for measurements that come in units of √(N0/2)."""
    return f"dps:step=normalised,scale={zeta * math.sqrt(0.5 * 10.0 ** (-0.1 * snr_db))!r}"


@DECODERS.register("diffcom")
class DiffCom(SamplingDecoder):
    """Ancestral sampling from noise, pulled by the gradient of ‖y − E(x̂_0)‖ through prior and encoder.

    ``zeta`` is the step of the published algorithm, in units of symbols; the fewer steps there are, the larger it wants
    to be.
    Reference: Wang et al., "DiffCom: channel received signal is a natural condition to guide diffusion posterior
    sampling", 2024, algorithm 1.
    """

    steps: int = Field(40, ge=2, description="denoising steps, one network call and one backward pass each")
    start: Literal["decoder", "noise"] = Field("noise", description="around the codec's image, or from noise")
    zeta: float = Field(1.0, gt=0.0, description="step of the pull, of the gradient of the norm")

    def plan(self, cbr: float, snr_db: float) -> dict[str, Any]:
        return {"guidance": published_step(self.zeta, snr_db), "solver": "ancestral", "start_ratio": 10.0}
