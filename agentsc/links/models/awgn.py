"""Radios without fading."""

from __future__ import annotations

import numpy as np

from agentsc.links import LINKS
from agentsc.links.hop import Keys
from agentsc.links.packets import Doubles
from agentsc.links.radio.link import RadioLink


@LINKS.register("awgn")
class Awgn(RadioLink):
    """A radio with noise and nothing else: what path loss, shadowing and obstacles leave of the signal.

    Bit error rate Q(√(2 γ)) for bpsk, Q(√γ) for qpsk, γ = E_s/N_0; packet error by ``decoding``.

    Reference: J. G. Proakis, Digital Communications, 4th ed., 2001, section 5.2.
    """

    @property
    def fades(self) -> bool:
        return False

    def gains(self, keys: Keys) -> Doubles:
        return np.ones((len(keys), 1))
