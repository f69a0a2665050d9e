"""The codec's own decoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.semantic import DECODERS
from agentsc.semantic.receiver import Decoded, Decoder, Receiver
from policies.scene.model import Arrival


@DECODERS.register("jscc")
class Jscc(Decoder):
    """The trained decoder of the codec: one image of least mean squared error, no prior, no randomness.

    Reference: Bourtsoulatze, Burth Kurka and Gündüz, "Deep joint source-channel coding for wireless image
    transmission", 2019.
    """

    def decode(self, receiver: Receiver, arrival: Arrival, keys: NDArray[np.uint64]) -> Decoded:
        return Decoded(receiver.decode(arrival), np.zeros(len(keys), np.int64))
