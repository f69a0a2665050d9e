"""Pictures regenerated from a noisy class map, for a detector that knows only pictures."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import maximum_filter, uniform_filter

from agentsc.semantic import PERCEIVERS
from agentsc.semantic.budget import Budget, most_that_fit
from agentsc.semantic.perceiver import (
    Delivered,
    Perceiver,
    Seen,
    Sent,
    Station,
    Understood,
    entropy_bits,
    one_hot,
    softmax,
)
from envs.scenery import CLASSES
from policies.scene.map_code import coarser, finer
from policies.scene.model import Arrival
from policies.scene.paint import PAINTER, PaintRequest

Floats = NDArray[np.float32]
SIDES = (2, 4, 8, 16, 32)
"""Cells per side that maps are sent at; each takes three uses."""
SCALE = 3.0**0.5
"""Of a one-hot vector, so that the three complex symbols of a cell have mean energy 1."""


@PERCEIVERS.register("gesco")
class Gesco(Perceiver):
    """A noisy one-hot map, denoised; a picture is drawn from it, and segmented as any picture would be.

    Every number of the one-hot map is half of a symbol, without any code. Of maps that do not fit the channel uses a
    coarser one is sent.

    Reference: Grassucci et al., "Generative semantic communication: diffusion models beyond bit recovery", 2023.
    """

    needs: ClassVar[tuple[str, ...]] = (PAINTER,)
    painter: ClassVar[str] = PAINTER

    denoise: Literal["average-max", "posterior"] = Field(
        "average-max", description="of the noisy map: 3 × 3 mean, then maximum, as published; or each cell's posterior"
    )
    steps: int = Field(12, ge=2, description="denoising steps, two network calls each (one with weight 1)")
    weight: float = Field(2.0, ge=0.0, description="of classifier-free guidance")

    def send(self, station: Station, seen: Seen, budget: Budget) -> Sent:
        counts = tuple(len(CLASSES) // 2 * side**2 for side in SIDES if side <= station.size)
        side = SIDES[counts.index(most_that_fit(counts, budget.uses))]
        hot = one_hot(coarser(seen.labels, int(np.log2(station.size // side))))
        cells = SCALE * hot.transpose(0, 2, 3, 1).reshape(len(hot), -1, 2).astype(np.float64)
        return Sent(symbols=cells[..., 0] + 1j * cells[..., 1])

    def understand(self, station: Station, delivered: Delivered, keys: NDArray[np.uint64]) -> Understood:
        assert delivered.arrival is not None
        received, posterior = noisy_map(delivered.arrival)
        if self.denoise == "posterior":
            found = posterior.argmax(axis=1).astype(np.uint8)
        else:
            smooth = uniform_filter(received, (0, 0, 3, 3), mode="nearest")
            found = maximum_filter(smooth, (0, 0, 3, 3), mode="nearest").argmax(axis=1).astype(np.uint8)
        rgb, calls = self.paint(station, one_hot(finer(found, station.size)), keys)
        return Understood(station.look(rgb)[0], calls, rgb, rows={"entropy": entropy_bits(posterior)})

    def paint(self, station: Station, guide: Floats, keys: NDArray[np.uint64]) -> tuple[Floats, NDArray[np.int64]]:
        """Pictures in [0, 1] of class probabilities, and calls [B]."""
        reply = station.core.sample(PaintRequest(self.painter, keys, guide, self.weight, steps=self.steps))
        return np.asarray(0.5 * (np.clip(reply.x, -1.0, 1.0) + 1.0), np.float32), reply.calls


def noisy_map(arrival: Arrival) -> tuple[Floats, Floats]:
    """A one-hot map as it arrived, gains undone, and the posterior of each cell given its own symbols, alike likely a
    priori: both float32 [B, classes, side, side]. Symbols that never came count as zeros.
    """
    gain = arrival.gain[..., 0]  # repetitions are combined, so gains are real
    each = np.where(gain > 0.0, 1.0 / np.maximum(gain, 1e-9), 0.0)[..., None]
    batch, count = gain.shape
    cells = count // (len(CLASSES) // 2)
    side = int(round(cells**0.5))

    def planes(values: NDArray) -> Floats:
        return np.asarray(values.reshape(batch, side, side, len(CLASSES)).transpose(0, 3, 1, 2), np.float32)

    # log p(r | class) = (2 g a r − g² a²) / N0 + …, with a the scale and r the class's own number.
    own = arrival.received * gain[..., None] * 2.0 * SCALE - (SCALE * gain[..., None]) ** 2
    return planes(arrival.received * each / SCALE), softmax(planes(own / arrival.noise_variance[:, None, None]))
