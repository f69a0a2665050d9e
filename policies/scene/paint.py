"""Pictures from class maps: the model that regenerates what a detector, or a person, is to see."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs.errors import ConfigError
from envs.scenery import CLASSES
from policies.diffusion import GUIDANCE, SOLVERS
from policies.diffusion.guidance import Term
from policies.diffusion.guidance.classifier_free import Unconditional
from policies.diffusion.parameterisation import denoiser
from policies.diffusion.process.cosine import CosineVP
from policies.diffusion.sampling import KeyedNoise, Sampler
from policies.diffusion.schedule import grid
from policies.models import Meter, check_keys, check_rows, device_of
from policies.scene.model import EvenModel, Floats, ImageReply, tensor_of

PAINTER = "map-to-scene"
"""Name of the model, in a core and among the weights."""


@dataclass(frozen=True)
class PaintRequest:
    """Pictures to be drawn from class maps.

    Attributes:
        model: name. keys: uint64 [batch]; all noise of a row comes from its key.
        guide: float32 [batch, classes, H, W], class probabilities of every cell.
        weight: of classifier-free guidance: 1 samples given the map, more keeps closer to it.
        solver: ``NAME:key=value,…``. steps: denoising steps; with a weight other than 1 two network calls each.
        start: float32 [batch, 3, H, W] in [−1, 1], pictures that sampling starts around, or None.
        start_ratio: noise-to-signal ratio σ/α that sampling starts at.
    """

    model: str
    keys: NDArray[np.uint64]
    guide: Floats
    weight: float = 2.0
    solver: str = "dpm-solver++"
    steps: int = 12
    start_ratio: float = 20.0
    start: Floats | None = None


class PaintModel(EvenModel[PaintRequest, ImageReply]):
    """Pictures in [−1, 1] from class maps, with classifier-free guidance.

    Args:
        network: `SpadeUNet`, or its int8 copy. sigma_data: of the images. size: pixels per side. device: its place.

    Reference: Grassucci et al., "Generative semantic communication: diffusion models beyond bit recovery", 2023.
    """

    def __init__(self, network: Any, sigma_data: float, size: int, device: str = "cpu") -> None:
        self.network, self.sigma_data, self.size, self.device = network, sigma_data, size, device_of(device)
        self.process = CosineVP()

    def check(self, request: PaintRequest) -> None:
        check_keys(request.keys)
        check_rows("guide", request.guide, len(request.keys), (len(CLASSES), self.size, self.size))
        if request.start is not None:
            check_rows("start", request.start, len(request.keys), (3, self.size, self.size))
        if not (request.weight >= 0.0 and 0.0 < request.start_ratio < np.inf):
            raise ConfigError(
                f"weight must be at least 0 and start_ratio positive, got {request.weight:g} and "
                f"{request.start_ratio:g}"
            )
        SOLVERS.parse(request.solver)
        self._times(request)

    def key(self, request: PaintRequest) -> Hashable:
        return request.weight, request.solver, request.steps, request.start_ratio, request.start is None

    def serve(self, request: PaintRequest, meter: Meter) -> ImageReply:
        guide = tensor_of(request.guide, self.device)
        before = meter.calls

        def given(condition: torch.Tensor) -> Any:
            places = self.network.places(condition)

            def network(x: torch.Tensor, noise: float) -> torch.Tensor:
                with meter.forward(len(x)):
                    return self.network.draw(x, noise, places).float()

            return denoiser(network, "edm", self.process, self.sigma_data)

        times = self._times(request)
        noise = KeyedNoise(request.keys, (3, self.size, self.size), device=self.device)
        with torch.no_grad():
            sampler = Sampler(self.process, given(guide), SOLVERS.parse(request.solver), times, noise)
            terms = []
            if request.weight != 1.0:
                term = GUIDANCE.create("classifier-free", weight=request.weight)
                terms.append(Term(term, Unconditional(given(torch.zeros_like(guide)))))
            x = self.process.sigma(times[0]) * noise.initial()
            if request.start is not None:
                x = x + self.process.alpha(times[0]) * tensor_of(request.start, self.device)
            x = sampler.run(x, terms)
        return ImageReply(x.cpu().numpy(), np.full(len(x), meter.calls - before))

    def _times(self, request: PaintRequest) -> list[float]:
        return grid(
            self.process, request.steps, "log-snr", start=self.process.time_of(request.start_ratio), last_ratio=0.02
        )
