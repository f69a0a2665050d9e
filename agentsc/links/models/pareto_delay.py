"""Heavy-tailed delays."""

from __future__ import annotations

from numpy.typing import NDArray
from pydantic import Field, model_validator

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel, uniform


@LINKS.register("pareto-delay")
class ParetoDelay(LinkModel):
    """Every packet arrives late by a Pareto-distributed time up to a cap; a few come very late, out of order.

    The bounded Pareto law: P(delay ≤ x) = (1 − (ms / x)^shape) / (1 − (ms / cap_ms)^shape) for ms ≤ x ≤ cap_ms.
    A shape of at most 2 has infinite variance without the cap, of at most 1 an infinite mean.

    Reference: M. E. Crovella and A. Bestavros, Self-similarity in World Wide Web traffic, IEEE/ACM
    Transactions on Networking 5 (1997).
    """

    ms: float = Field(
        gt=0.0, allow_inf_nan=False, examples=[20.0], description="least delay and scale, milliseconds"
    )
    shape: float = Field(1.5, ge=0.05, le=100.0, description="tail index: smaller is heavier")
    cap_ms: float = Field(10_000.0, gt=0.0, allow_inf_nan=False, description="greatest delay, milliseconds")

    @model_validator(mode="after")
    def _bounded(self) -> ParetoDelay:
        if self.cap_ms <= self.ms:
            raise ValueError(
                f"cap_ms must be above ms, {self.ms:g}, got {self.cap_ms:g} (raise it or lower ms)"
            )
        return self

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        within = 1.0 - (self.ms / self.cap_ms) ** self.shape
        return Effect(delay_s=self.ms * 1e-3 * (1.0 - uniform(draw.packet) * within) ** (-1.0 / self.shape))
