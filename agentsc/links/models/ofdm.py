"""Radios with many carriers, over a channel with echoes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from agentsc.links import LINKS
from agentsc.links.hop import Keys
from agentsc.links.packets import Doubles
from agentsc.links.radio.link import RadioLink


@LINKS.register("ofdm")
class Ofdm(RadioLink):
    """A radio with OFDM over a channel of Rayleigh taps: subcarriers fade differently, and a packet uses them all.

    Tap l, one sample later than the one before, has a mean power proportional to e^(−l / decay); the cyclic prefix is
    longer than the channel, so subcarriers do not disturb each other. The gain of each is exponential; two that are
    m apart correlate as |Σ p_l e^(−2πi m l / S)|². Uncoded packets have as many bits on every subcarrier, coded ones
    see the mean capacity and dispersion.

    Reference: A. Goldsmith, Wireless Communications, 2005, chapter 12.
    """

    taps: int = Field(4, ge=1, le=64, description="taps of the channel, one sample apart")
    decay: float = Field(2.0, gt=0.0, allow_inf_nan=False, description="taps over which mean power falls to 1/e")
    subcarriers: int = Field(16, ge=1, le=1024, description="that a packet is spread over")

    @field_validator("coherence")
    @classmethod
    def _per_packet(cls, value: Any) -> Any:
        if value != "packet":
            raise ValueError(f"must be packet, got {value} (taps are drawn for every packet)")
        return value

    @property
    def profile(self) -> NDArray[np.float64]:
        """Mean power of each tap, summing to 1."""
        power = np.exp(-np.arange(self.taps) / self.decay)
        return np.asarray(power / power.sum())

    def gains(self, keys: Keys) -> Doubles:
        from agentsc.links.radio import _kernels

        gain = np.empty((len(keys), self.subcarriers))
        _kernels.multipath_gain(keys, self.profile, gain)
        return gain
