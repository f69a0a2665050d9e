"""What the codec's images lack, drawn in few steps: diffusion of the residual given the image."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from envs.errors import ConfigError
from policies.diffusion import SOLVERS
from policies.diffusion.process import Process
from policies.diffusion.sampling import KeyedNoise, Sampler
from policies.diffusion.schedule import grid
from policies.models import Meter, Precision, autocast, check_keys, check_rows, device_of
from policies.networks.conditional import TOLD
from policies.scene.codec import ImageCodec
from policies.scene.model import EvenModel, Floats, ImageReply

Refine = Callable[[torch.Tensor, float, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy residual, time, image, seen, told) → clean estimate of the residual, all [batch, …]."""


@dataclass(frozen=True)
class RefineRequest:
    """Images to be refined.

    Attributes:
        model: name. keys: uint64 [batch]; all noise of a row comes from its key.
        image: float32 [batch, *shape] in [−1, 1], of least squared error.
        symbols: their linear estimates, float32 [batch, n, 2]. variance: float32 [batch, n], what is left of theirs.
        told: float32 [batch, 3], see `conditional.reception`.
        start_ratio: noise-to-signal ratio σ/α that sampling starts at. solver: ``NAME:key=value,…``.
        steps, last_ratio: of the grid, see `schedule.grid`.
    """

    model: str
    keys: NDArray[np.uint64]
    image: Floats
    symbols: Floats
    variance: Floats
    told: Floats
    start_ratio: float = 0.5
    solver: str = "ancestral"
    steps: int = 2
    last_ratio: float = 0.03


class RefineModel(EvenModel[RefineRequest, ImageReply]):
    """Residuals from a conditional denoiser, added to their images.

    Args:
        refine: the denoiser. process: the noise that it removes. codec: whose images are refined.
        spread: standard deviation of residuals. device: where it lives. precision: of forward passes.
    """

    def __init__(
        self,
        refine: Refine,
        process: Process,
        codec: ImageCodec,
        spread: float,
        *,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self.device, self.precision = device_of(device), precision
        autocast(self.device, precision)
        self.refine, self.process, self.codec, self.spread = refine, process, codec, spread

    def check(self, request: RefineRequest) -> None:
        check_keys(request.keys)
        count = request.variance.shape[-1]
        check_rows("image", request.image, len(request.keys), self.codec.shape)
        check_rows("symbols", request.symbols, len(request.keys), (count, 2))
        check_rows("variance", request.variance, len(request.keys), (count,))
        if count not in self.codec.counts:
            raise ConfigError(f"symbols must be as many as the codec sends ({self.codec.counts}), got {count}")
        check_rows("told", request.told, len(request.keys), (TOLD,))
        if not 0.0 < request.start_ratio < np.inf:
            raise ConfigError(
                f"start_ratio must be positive and finite, got {request.start_ratio:g} (σ/α at the start)"
            )
        SOLVERS.parse(request.solver)
        self._times(request)

    def key(self, request: RefineRequest) -> Hashable:
        return request.variance.shape[1], request.start_ratio, request.solver, request.steps, request.last_ratio

    def serve(self, request: RefineRequest, meter: Meter) -> ImageReply:
        before, times = meter.calls, self._times(request)
        image, symbols, variance, told = (
            torch.as_tensor(np.array(each, np.float32), device=self.device)
            for each in (request.image, request.symbols, request.variance, request.told)
        )
        seen = self.codec.seen(symbols, variance)

        def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
            with meter.forward(len(x)), autocast(self.device, self.precision):
                return self.refine(x, t, image, seen, told).float()

        noise = KeyedNoise(request.keys, self.codec.shape, device=self.device)
        sampler = Sampler(
            self.process, denoise, SOLVERS.parse(request.solver), times, noise, data_variance=self.spread**2
        )
        alpha, sigma = self.process.alpha(times[0]), self.process.sigma(times[0])
        with torch.no_grad():
            # Sampling starts where residuals of their own spread would be at that time.
            x = (sigma**2 + (alpha * self.spread) ** 2) ** 0.5 * noise.initial()
            x = image + sampler.run(x)
        return ImageReply(x.cpu().numpy(), np.full(len(x), meter.calls - before))

    def _times(self, request: RefineRequest) -> list[float]:
        return grid(
            self.process, request.steps, "log-snr", start=self.process.time_of(request.start_ratio),
            last_ratio=min(request.last_ratio, 0.5 * request.start_ratio),
        )  # fmt: skip
