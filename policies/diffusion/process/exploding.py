"""Variance exploding: data keep their scale, noise grows."""

from __future__ import annotations

from pydantic import Field

from policies.diffusion import PROCESSES
from policies.diffusion.process import Process, T


@PROCESSES.register("ve")
class VE(Process):
    """Variance exploding: x_t = x_0 + σ(t) ε with σ = σ_max t; any grid of noise levels is a grid of times.

    Reference: Song et al. 2021, eq. 30, with the linear σ(t) of Karras et al., "Elucidating the
    design space of diffusion-based generative models", 2022, table 1. Samplers choose the levels
    they visit by a grid (`schedule.karras`); at t = 1 the data must be lost in the noise.
    """

    sigma_max: float = Field(80.0, gt=0.0, description="noise at t = 1, in units of the data")

    def alpha(self, t: T) -> T:
        return 0.0 * t + 1.0

    def sigma(self, t: T) -> T:
        return self.sigma_max * t

    def rates(self, t: float) -> tuple[float, float]:
        return 0.0, self.sigma_max

    def time_of(self, ratio: float) -> float:
        return min(max(ratio / self.sigma_max, 0.0), 1.0)
