"""Generation-optional: a picture, or a better map, is generated only where it is likely to help."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.semantic import PERCEIVERS
from agentsc.semantic.perceiver import Delivered, Station, Understood, entropy_bits
from agentsc.semantic.perceivers.gesco import Gesco
from agentsc.semantic.perceivers.latent import Latent
from policies import rows
from policies.scene.categorical import decided
from policies.scene.machine import MAP_CODEC, MAP_PRIOR
from policies.scene.model import Arrival
from policies.scene.paint import PAINTER


@PERCEIVERS.register("gated")
class Gated(Latent):
    """The soft map as received where it is sure or the link good; elsewhere it is regenerated first.

    It is regenerated if its mean entropy is above ``entropy`` and the SNR that its symbols met below ``good_db``:
    as in `latent`, or by way of a picture that is drawn from it and segmented, as in `gesco`.
    """

    needs: ClassVar[tuple[str, ...]] = (MAP_CODEC, MAP_PRIOR, PAINTER)

    generator: Literal["latent", "picture"] = Field("latent", description="what regenerates: maps, or a picture")
    mode: Literal["gate", "always", "never"] = Field("gate", description="who decides; the others are for comparison")
    entropy: float = Field(0.5, ge=0.0, description="bits per cell above which a map is unsure")
    good_db: float = Field(15.0, description="SNR of its symbols from which a link is good, dB")

    def understand(self, station: Station, delivered: Delivered, keys: NDArray[np.uint64]) -> Understood:
        assert delivered.arrival is not None
        arrival = delivered.arrival
        soft = station.decode_map(arrival)
        unsure, quality = entropy_bits(soft), met_db(arrival)
        chosen = (unsure > self.entropy) & (quality < self.good_db)
        if self.mode != "gate":
            chosen = np.full(len(soft), self.mode == "always")
        labels, calls = decided(soft), np.zeros(len(soft), np.int64)
        which = np.flatnonzero(chosen)
        if len(which):
            part, own = rows.take(arrival, which), keys[which]
            if self.generator == "latent":
                made, spent = self.draw(station, part, soft[which], own)
                labels[which] = decided(made)
            else:
                painter: Gesco = PERCEIVERS.create("gesco")
                rgb, spent = painter.paint(station, soft[which], own)
                labels[which] = station.look(rgb)[0]
            calls[which] = spent
        return Understood(labels, calls, rows={"entropy": unsure, "met_db": quality, "regenerated": chosen * 1.0})


def met_db(arrival: Arrival) -> NDArray[np.float64]:
    """SNR that the symbols of each scene met, as the receiver knows it: mean |g|² over N0, dB, [B]."""
    power = (arrival.gain.astype(np.float64) ** 2).sum(axis=2).mean(axis=1)
    return np.asarray(10.0 * np.log10(np.maximum(power / arrival.noise_variance, 1e-9)))
