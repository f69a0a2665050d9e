"""Semantic-first: the class map itself, entropy-coded, as an error-protected packet."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links.radio import packet_error
from agentsc.links.radio.link import LADDER
from agentsc.links.radio.modulation import BITS
from agentsc.semantic import PERCEIVERS
from agentsc.semantic.budget import Budget
from agentsc.semantic.perceiver import Delivered, Perceiver, Seen, Sent, Station, Understood
from agentsc.semantic.simplify import fit
from envs import keyed


@PERCEIVERS.register("map")
class MapFirst(Perceiver):
    """The sender's class map, entropy-coded and sent as a packet; simplified to the best that fits the bits.

    What is lost leaves the receiver with its prior: the commonest class everywhere.
    """

    code: Literal["capacity", "ldpc"] = Field(
        "capacity", description="error protection: an ideal code (lost in outage), or blocks of 5G LDPC as tabulated"
    )
    backoff_db: float = Field(
        0.0, ge=0.0, le=60.0, description="the packet is cut to what the link carries at so much less SNR"
    )
    target: float = Field(0.01, gt=0.0, lt=1.0, description="block error that the mode is chosen for, with ldpc")

    def room(self, budget: Budget) -> int:
        """Information bits that a packet may have: no more than the budget's, and what the protection carries."""
        snr_db = budget.snr_db - self.backoff_db
        ideal = math.log2(1.0 + 10.0 ** (0.1 * snr_db))
        each = ideal if self.code == "capacity" else self._mode(snr_db)[1]
        return min(budget.bits, math.floor(budget.uses * each + 1e-9))

    def send(self, station: Station, seen: Seen, budget: Budget) -> Sent:
        room = self.room(budget)
        packed = [fit(station.code, labels, room) for labels in seen.labels]
        return Sent(
            packets=[None if each is None else each.packet for each in packed],
            bits=np.asarray([0 if each is None else each.bits for each in packed], np.int64),
        )

    def understand(self, station: Station, delivered: Delivered, keys: NDArray[np.uint64]) -> Understood:
        assert delivered.packets is not None
        labels = station.nothing(len(delivered.packets))
        for row, packet in enumerate(delivered.packets):
            if packet is not None:
                labels[row] = station.code.decode(packet)
        return Understood(labels, np.zeros(len(labels), np.int64))

    def arrives(
        self, bits: NDArray[np.int64], carried: NDArray[np.float64], keys: NDArray[np.uint64], budget: Budget
    ) -> NDArray[np.bool_]:
        if self.code == "capacity":
            return super().arrives(bits, carried, keys, budget)
        # The flat channel of the same mean capacity, and all blocks must come.
        snr = np.exp2(carried / budget.uses) - 1.0
        curve = packet_error.read_curves(packet_error.SHIPPED)[self._mode(budget.snr_db - self.backoff_db)[0]]
        lost = packet_error.tabulated(curve, snr, bits)
        return np.asarray(keyed.uniform(keys, keyed.stream_id("ldpc")) >= lost)

    def _mode(self, snr_db: float) -> tuple[int, float]:
        """Number and bits per use of the fastest mode whose blocks come with the target at that SNR, or the slowest."""
        curves = packet_error.read_curves(packet_error.SHIPPED)
        snr = np.asarray([10.0 ** (0.1 * snr_db)])
        good = [
            (BITS[name] * rate, mode)
            for mode, (name, rate) in enumerate(LADDER)
            if mode == 0 or float(packet_error.tabulated(curves[mode], snr, curves[mode].bits)[0]) <= self.target
        ]
        each, mode = max(good)
        return mode, each
