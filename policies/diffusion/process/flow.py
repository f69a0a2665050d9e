"""The straight path of flow matching."""

from __future__ import annotations

from policies.diffusion import PROCESSES
from policies.diffusion.process import Process, T


@PROCESSES.register("flow")
class Flow(Process):
    """Flow matching, rectified flow: x_t = (1 − t) x_0 + t ε, whose velocity is ε − x_0.

    Here noise is at t = 1, as in every process of this engine; the papers count time the other way.
    Reference: Lipman et al., "Flow matching for generative modeling", 2023, eq. 22 (σ_min = 0);
    Liu, Gong and Liu, "Flow straight and fast", 2023, eq. 1.
    """

    def alpha(self, t: T) -> T:
        return 1.0 - t

    def sigma(self, t: T) -> T:
        return 1.0 * t

    def rates(self, t: float) -> tuple[float, float]:
        return -1.0, 1.0

    def time_of(self, ratio: float) -> float:
        ratio = min(ratio, 1e100)
        return ratio / (1.0 + ratio)
