"""A few steps of a diffusion that was trained for what the codec's images lack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.semantic import DECODERS
from agentsc.semantic.receiver import DrawingDecoder, Receiver, refined
from policies.scene.model import Arrival, ImageReply
from policies.scene.shipped import REFINER


@DECODERS.register("conditional")
class Conditional(DrawingDecoder):
    """The codec's image, and in 1 to 4 steps what it lacks, from a network trained on the codec's images.

    The network removes noise from the residual, given the image, the symbols and how well they were received. One step
    gives a mean, several a draw; without ``stochastic`` all noise is in the start.
    Reference: Whang et al., "Deblurring via stochastic refinement", 2022; Yang and Mandt, "Lossy image compression with
    conditional diffusion models", 2023; Yang, Zhang and Cai, "Rate-adaptive generative semantic communication using
    conditional diffusion models", 2024 (CDM-JSCC: behind a codec for channels).
    """

    steps: int = Field(2, ge=1, description="denoising steps, one network call each")
    stochastic: bool = Field(True, description="fresh noise at every step, or none after the start")
    strength: float = Field(0.5, gt=0.0, description="noise-to-signal ratio σ/α that sampling starts at")
    last_ratio: float = Field(0.03, gt=0.0, description="σ/α of the last noise level")

    @property
    def models(self) -> tuple[str, ...]:
        return (REFINER,)

    def draw(self, receiver: Receiver, arrival: Arrival, keys: Sequence[NDArray[np.uint64]]) -> list[ImageReply]:
        return refined(
            receiver, arrival, keys, start_ratio=self.strength, steps=self.steps, last_ratio=self.last_ratio,
            solver="ancestral" if self.stochastic else "dpm-solver++",
        )  # fmt: skip


@DECODERS.register("conditional-posterior")
class ConditionalPosterior(Conditional):
    """`conditional` from more noise in more steps: draws that differ by as much as is not known of the image.

    All noise is in the start, where residuals of any image lie within it, and the probability-flow ODE makes the draw;
    the last level is far below a residual's own spread. Few steps with fresh noise draw too near to their mean.
    Reference: Song et al., "Score-based generative modeling through stochastic differential equations", 2021 (PF-ODE).
    """

    steps: int = Field(8, ge=1, description="denoising steps, one network call each")
    stochastic: bool = Field(False, description="fresh noise at every step, or none after the start")
    strength: float = Field(3.0, gt=0.0, description="noise-to-signal ratio σ/α that sampling starts at")
    last_ratio: float = Field(0.01, gt=0.0, description="σ/α of the last noise level")
