"""A decision at once, and a better one a little later."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.semantic import PERCEIVERS
from agentsc.semantic.perceiver import Delivered, Station, Understood, entropy_bits
from agentsc.semantic.perceivers.latent import Latent
from policies.scene.categorical import decided


@PERCEIVERS.register("hybrid")
class Hybrid(Latent):
    """A provisional map from the first symbols, by the codec's decoder; refined by `latent` when all have come.

    The refined map is decided by the mean of the decoder's probabilities of all symbols and those of the samples.
    """

    first: float = Field(0.5, gt=0.0, le=1.0, description="share of the channel uses that the first decision waits for")

    @property
    def early(self) -> float | None:
        return self.first

    def understand(self, station: Station, delivered: Delivered, keys: NDArray[np.uint64]) -> Understood:
        assert delivered.arrival is not None and delivered.early is not None
        provisional = station.decode_map(delivered.early)
        start = station.decode_map(delivered.arrival)
        soft, calls = self.draw(station, delivered.arrival, start, keys)
        return Understood(
            decided(soft), calls, provisional=decided(provisional),
            rows={"entropy": entropy_bits(provisional)},
        )  # fmt: skip
