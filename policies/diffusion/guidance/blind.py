"""Blind estimation: the unknown operator has a prior of its own and is denoised in parallel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field

from envs.errors import ConfigError
from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance.dps import DPS
from policies.diffusion.operators import Measurement


@dataclass(frozen=True)
class BlindMeasurement(Measurement):
    """A measurement whose operator takes rows (signal, operator's parameters), see `compose.joint`.

    Attributes:
        signal: how many numbers of a row are the signal; the rest are the operator's parameters.
    """

    signal: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.signal < 1:
            raise ConfigError(
                f"measurement.signal must be at least 1, got {self.signal} (numbers of the signal)"
            )


@GUIDANCE.register("blind-dps")
class BlindDPS(DPS):
    """DPS on signal and operator at once, each with a step of its own; `moment` on the same problem is unbiased.

    Any likelihood term runs blind: give it a joint denoiser (`compose.joint`) and an operator on joint rows.
    Reference: Chung et al., "Parallel diffusion models of operator and image for blind inverse problems",
    2023, algorithm 1.
    """

    operator_scale: float = Field(0.3, gt=0.0, description="multiplies the step of the operator's parameters")

    def shift(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        assert isinstance(problem, BlindMeasurement)
        moved = super().shift(at, problem)
        return torch.cat(
            [moved[:, : problem.signal], self.operator_scale / self.scale * moved[:, problem.signal :]], 1
        )
