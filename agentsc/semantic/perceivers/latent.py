"""Sampling in the task's own space: maps, not pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.semantic import PERCEIVERS
from agentsc.semantic.perceiver import Delivered, Station, Understood, entropy_bits
from agentsc.semantic.perceivers.soft_map import SoftMap
from envs import keyed
from policies.scene.categorical import decided
from policies.scene.machine import MAP_CODEC, MAP_PRIOR
from policies.scene.model import Arrival, ImageRequest

Floats = NDArray[np.float32]


@PERCEIVERS.register("latent")
class Latent(SoftMap):
    """Maps drawn from a diffusion prior over maps, given the symbols of `soft-map`; averaged, then decided.

    Sampling starts around what the codec's decoder says and is pulled by what arrived, through the codec's encoder,
    as images are by `variance-aware`. The decoder's own probabilities count as one more sample.
    """

    needs: ClassVar[tuple[str, ...]] = (MAP_CODEC, MAP_PRIOR)

    steps: int = Field(4, ge=2, description="denoising steps, one network call each")
    samples: int = Field(1, ge=1, le=64, description="maps drawn and averaged")
    strength: float = Field(0.3, gt=0.0, description="noise-to-signal ratio σ/α that sampling starts at")
    guidance: Literal["variance-aware", "none"] = Field(
        "variance-aware", description="how samples follow what arrived: a likelihood, or only through their start"
    )
    iterations: int = Field(2, ge=1, description="conjugate-gradient steps, each through the encoder twice")

    def understand(self, station: Station, delivered: Delivered, keys: NDArray[np.uint64]) -> Understood:
        assert delivered.arrival is not None
        start = station.decode_map(delivered.arrival)
        soft, calls = self.draw(station, delivered.arrival, start, keys)
        return Understood(decided(soft), calls, rows={"entropy": entropy_bits(start)})

    def draw(
        self, station: Station, arrival: Arrival, start: Floats, keys: NDArray[np.uint64]
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Class probabilities [B, classes, H, W], the mean of all draws and the decoder's, and calls [B]."""
        guided = self.guidance == "variance-aware"
        request = ImageRequest(
            MAP_PRIOR, keys, arrival if guided else None,
            guidance=f"pigdm:variance=data,iterations={self.iterations}" if guided else "",
            start=(2.0 * start - 1.0).astype(np.float32), start_ratio=self.strength, steps=self.steps,
        )  # fmt: skip
        replies = station.core.sample_many(
            replace(request, keys=keyed.hash_words(keys, keyed.stream_id("again"), number))
            for number in range(self.samples)
        )
        drawn = [np.clip(0.5 * (reply.x + 1.0), 0.0, 1.0) for reply in replies]
        return np.mean([start, *drawn], axis=0), replies[0].calls * self.samples
