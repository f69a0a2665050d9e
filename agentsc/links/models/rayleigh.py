"""Radios without a line of sight."""

from __future__ import annotations

import numpy as np

from agentsc.links import LINKS
from agentsc.links.hop import Keys
from agentsc.links.packets import Doubles
from agentsc.links.radio.link import RadioLink


@LINKS.register("rayleigh")
class Rayleigh(RadioLink):
    """A radio in Rayleigh block fading: the channel is complex Gaussian, and constant over a packet.

    Outage at a threshold γ is 1 − e^(−γ/γ̄). With coherence=motion the channel is that of Clarke's model at the
    places of both ends: over time its correlation is J₀(2π f_D τ), f_D = v / λ, for an agent at speed v.

    Reference: R. H. Clarke, A statistical theory of mobile-radio reception, Bell System Technical Journal 47 (1968).
    """

    def gains(self, keys: Keys) -> Doubles:
        from agentsc.links.radio import _kernels

        gain = np.empty(len(keys))
        _kernels.block_gain(keys, 0.0, gain)
        return gain[:, None]
