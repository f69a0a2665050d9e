"""The soft class map through learned joint source–channel coding."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.semantic import PERCEIVERS
from agentsc.semantic.budget import Budget, most_that_fit
from agentsc.semantic.perceiver import Delivered, Perceiver, Seen, Sent, Station, Understood, entropy_bits, softmax
from policies.scene.categorical import decided
from policies.scene.machine import MAP_CODEC


@PERCEIVERS.register("soft-map")
class SoftMap(Perceiver):
    """Class probabilities as analog symbols; the codec's own decoder says what they were.

    With ``users`` or ``dropped`` an image sends only some of its symbols, and the decoder fills in the rest from what
    maps look like: it was trained with symbols that never come.
    """

    needs: ClassVar[tuple[str, ...]] = (MAP_CODEC,)

    sharpen: float = Field(2.0, gt=0.0, description="power that the sender raises class probabilities to")
    users: int = Field(1, ge=1, le=64, description="users that share the channel uses by turns, image by image")
    dropped: float = Field(0.0, ge=0.0, lt=1.0, description="share of its own uses that an image leaves to others")

    @property
    def shares(self) -> tuple[int, float]:
        return self.users, self.dropped

    def send(self, station: Station, seen: Seen, budget: Budget) -> Sent:
        assert station.maps is not None
        count = most_that_fit(station.maps.counts, budget.uses)
        soft = softmax((self.sharpen * np.log(np.maximum(seen.soft, 1e-9))).astype(np.float32))
        return Sent(symbols=station.encode_map(soft, budget.snr_db, count))

    def understand(self, station: Station, delivered: Delivered, keys: NDArray[np.uint64]) -> Understood:
        assert delivered.arrival is not None
        soft = station.decode_map(delivered.arrival)
        return Understood(
            decided(soft), np.zeros(len(soft), np.int64), rows={"entropy": entropy_bits(soft)}
        )
