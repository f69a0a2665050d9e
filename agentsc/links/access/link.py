"""What every access link has in common: rates, hearing, half-duplex radios, collisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import Draw, Effect, Hop, LinkModel
from agentsc.links.hop import known
from envs.errors import ConfigError


class AccessLink(LinkModel):
    """Base of all access links; see ``docs/access.md``."""

    reasons: ClassVar[tuple[str, ...]] = ("queue", "half-duplex", "collision")
    omits: ClassVar[tuple[str, ...]] = ("acknowledgements and retries: packets are broadcasts",)

    kbps: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="rate, 1000 bits per second; none: that of the radio link"
    )
    preamble_us: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="before every packet, microseconds")
    metres: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="distance within which transmissions disturb; none: everywhere"
    )
    queue: int = Field(8, ge=1, le=65536, description="packets of a sender that may wait; more are dropped")
    half_duplex: bool = Field(True, description="radios hear nothing while they send")

    def check(self, agents: int, beside: Sequence[LinkModel] = ()) -> None:
        if self.kbps is None and not any(link.sets_rate for link in beside):
            raise ConfigError(
                "an access link must know how fast radios send: give kbps, or add a radio link such as rayleigh"
            )

    @property
    def rate_bps(self) -> float | None:
        """Bits per second; None where the radio says."""
        return None if self.kbps is None else 1e3 * self.kbps

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        from agentsc.links.access import _kernels

        found = hop.overlaps
        if found is None or not len(found.sender):
            return Effect()
        busy, collision = np.empty(len(hop), bool), np.empty(len(hop), bool)
        square = np.inf if self.metres is None else self.metres**2
        spot = np.zeros((1, 1, 2))
        if self.metres is not None:
            spot = np.ascontiguousarray(known(hop.around.position), np.float64)
        _kernels.fates(
            hop.lane, hop.packet, hop.receiver, found.begin, found.sender, spot, square, self.half_duplex,
            not hop.around.weighed, busy, collision,
        )  # fmt: skip
        return Effect({"half-duplex": busy, "collision": collision & ~busy})
