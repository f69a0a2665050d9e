"""Radios with a line of sight among echoes."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from agentsc.links import LINKS
from agentsc.links.hop import Keys
from agentsc.links.packets import Doubles
from agentsc.links.radio.link import RadioLink


@LINKS.register("rician")
class Rician(RadioLink):
    """A radio in Rician block fading: a line of sight that is k_db stronger than all echoes together.

    Outage at a threshold γ is 1 − Q₁(√(2K), √(2 (1 + K) γ/γ̄)), Marcum's Q; −∞ dB would be Rayleigh.

    Reference: G. L. Stüber, Principles of Mobile Communication, 4th ed., 2017, section 2.1.
    """

    k_db: float = Field(6.0, ge=-40.0, le=40.0, description="power of the line of sight over that of echoes, dB")

    @property
    def rician(self) -> float:
        return float(10.0 ** (0.1 * self.k_db))

    def gains(self, keys: Keys) -> Doubles:
        from agentsc.links.radio import _kernels

        gain = np.empty(len(keys))
        _kernels.block_gain(keys, self.rician, gain)
        return gain[:, None]
