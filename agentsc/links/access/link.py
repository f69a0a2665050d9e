"""What every access link has in common: rates, hearing, half-duplex radios, collisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import Draw, Effect, Hop, LinkModel
from envs.errors import ConfigError


class AccessLink(LinkModel):
    """Base of all access links; see ``docs/access.md``."""

    reasons: ClassVar[tuple[str, ...]] = ("queue", "half-duplex", "collision")
    omits: ClassVar[tuple[str, ...]] = (
        "acknowledgements and retries: packets are broadcasts",
        "propagation time: everybody hears a transmission while it is sent",
    )

    kbps: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="rate, 1000 bits per second; none: that of the radio link"
    )
    preamble_us: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="before every packet, microseconds")
    metres: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="distance within which transmissions disturb; none: everywhere"
    )
    queue: int = Field(8, ge=1, le=65536, description="packets that may wait, besides the one whose turn it is")
    drop: Literal["tail", "head"] = Field(
        "tail", description="which packet goes when no place is left: the newest (tail) or the oldest (head)"
    )
    half_duplex: bool = Field(True, description="radios hear nothing while they send")

    def check(self, agents: int, beside: Sequence[LinkModel] = ()) -> None:
        if self.kbps is None and not any(link.sets_rate for link in beside):
            raise ConfigError(
                "an access link must know how fast radios send: give kbps, or add a radio link such as rayleigh"
            )
        if sum(isinstance(link, AccessLink) for link in beside) > 1:
            raise ConfigError("a medium must have at most one access link, got several: leave one of them")

    @property
    def rate_bps(self) -> float | None:
        """Bits per second; None where the radio says."""
        return None if self.kbps is None else 1e3 * self.kbps

    @property
    def preamble_s(self) -> float:
        """Seconds before every packet."""
        return self.preamble_us * 1e-6

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        from agentsc.links.access import fates

        air = hop.around.air
        if air is None:
            return Effect()
        metres = math.inf if self.metres is None else self.metres
        busy, collision = fates(hop, air, metres, self.half_duplex, not hop.around.weighed)
        return Effect({"half-duplex": busy, "collision": collision & ~busy})
