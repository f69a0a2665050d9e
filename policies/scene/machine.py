"""Models of the machine scenario: soft class maps as signals, and pictures from class maps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs import camera
from envs.errors import ConfigError
from envs.scenery import CLASSES, TRAINED
from policies.core import DiffusionCore
from policies.diffusion.process.cosine import CosineVP
from policies.diffusion.quantisation import observe, quantise
from policies.diffusion.sampling import KeyedNoise
from policies.models import device_of
from policies.networks.map_jscc import MapJSCC
from policies.scene.categorical import map_denoiser
from policies.scene.codec import ImageCodec, placed
from policies.scene.files import load
from policies.scene.model import CodecModel, ImageModel
from policies.scene.paint import PAINTER, PaintModel
from policies.scene.shipped import CODEC, check_sizes, scene_core

MAP_CODEC, MAP_PRIOR, PAINTER_INT8 = "soft-map", "map-prior", "map-to-scene-int8"
"""Names of further models in a core; those of the first two are the names of their weights, too."""
MAP_VARIANCE = 4.0 * (1.0 / len(CLASSES)) * (1.0 - 1.0 / len(CLASSES))
"""Of a number of a map as a signal, if classes were alike likely."""
CALIBRATION_ROWS = 64
"""Images whose ranges the int8 painter's layers were observed on, of the training bank."""


class MapCodec(ImageCodec):
    """A trained `MapJSCC` for maps as signals: [classes, H, W], 2 p − 1 for a cell's class probabilities p.

    Args:
        network: trained. size: cells per side.
    """

    def __init__(self, network: MapJSCC, size: int = 32) -> None:
        self.network, self.shape = network, (len(CLASSES), size, size)
        self._phase = (size // 8) ** 2

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(self._phase * sent for sent in range(1, self.network.planes + 1))

    def encode(self, x: torch.Tensor, snr_db: torch.Tensor, count: int) -> torch.Tensor:
        symbols = self.network.encode(0.5 * (x + 1.0), snr_db, self._sent(x, count))
        return symbols.flatten(1, 3)[:, :count]

    def decode(self, estimate: torch.Tensor, variance: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
        side = self.shape[-1] // 8
        phases = placed(estimate, variance, (self.network.planes, side, side))
        scores = self.network.decode(*phases, snr_db, self._sent(variance, variance.shape[1]))
        return 2.0 * torch.softmax(scores, dim=1) - 1.0

    def _sent(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return torch.full((len(x),), count // self._phase, device=x.device)


def calibrated(network: torch.nn.Module, sigma_data: float, size: int) -> torch.nn.Module:
    """The int8 copy of a painter: ranges are those of noisy images of the training bank, with and without maps."""
    seen = camera.bank(0, CALIBRATION_ROWS, size, "both", TRAINED)
    x = torch.as_tensor(2.0 * seen.rgb - 1.0)
    hot = torch.nn.functional.one_hot(torch.as_tensor(seen.labels.astype(np.int64)), len(CLASSES)).movedim(-1, 1)
    noise = torch.as_tensor(KeyedNoise(np.arange(len(x), dtype=np.uint64), tuple(x.shape[1:])).initial())
    ratio = torch.exp(torch.linspace(np.log(0.02), np.log(20.0), len(x)))[:, None, None, None]
    scaled = (x + ratio * noise) * (ratio.square() + sigma_data**2).rsqrt()
    clock = 0.25 * ratio.flatten().log()

    def run() -> None:
        network(scaled, clock, hot.float())
        network(scaled, clock, torch.zeros(hot.shape))

    return quantise(network, observe(network, run))


def machine_core(
    needs: Collection[str],
    weights: Mapping[str, Path | str] | None = None,
    device: str = "cpu",
    pictures: Collection[str] = (),
) -> tuple[DiffusionCore, ImageCodec, MapCodec | None]:
    """A core with the models of `scene_core` and more; the codec of images; that of maps, if it is among them.

    Args:
        needs: names of further models. weights: name of a model → its file, in place of the shipped ones.
        pictures: names of further models of `scene_core`.

    Raises:
        ConfigError: a file that is missing or unfit, files for images of different sizes, or an int8 model that is to
            run elsewhere than on a CPU.
    """
    files, codec = dict(weights or {}), None
    more: dict[str, Any] = {}
    core, images = scene_core(weights, device, also=tuple(pictures))
    if MAP_CODEC in needs or MAP_PRIOR in needs:
        network, _, _ = load(MAP_CODEC, files.get(MAP_CODEC), device)
        codec = MapCodec(network, images.shape[-1])
        more[MAP_CODEC] = CodecModel(codec, device)
    if MAP_PRIOR in needs:
        prior, _, _ = load(MAP_PRIOR, files.get(MAP_PRIOR), device)
        assert codec is not None
        process = CosineVP()
        more[MAP_PRIOR] = ImageModel(
            map_denoiser(prior, process), process, codec, data_variance=MAP_VARIANCE, device=device
        )
    if PAINTER in needs or PAINTER_INT8 in needs:
        painter, spec, _ = load(PAINTER, files.get(PAINTER), device)
        sigma, size = float(spec["data_sigma"]), int(spec["data_size"])
        if PAINTER in needs:
            more[PAINTER] = PaintModel(painter, sigma, size, device)
        if PAINTER_INT8 in needs:
            if device_of(device).type != "cpu":
                raise ConfigError(f"device must be cpu with int8 networks, got {device!r} (q-gesco; or use gesco)")
            more[PAINTER_INT8] = PaintModel(calibrated(painter, sigma, size), sigma, size)
    check_sizes([CODEC, *(PAINTER if name == PAINTER_INT8 else name for name in needs)], files)
    return DiffusionCore({**core.models, **more}), images, codec
