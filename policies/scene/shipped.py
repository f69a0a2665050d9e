"""The shipped scene models, ready for a core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from envs.errors import ConfigError
from policies.core import DiffusionCore
from policies.diffusion.parameterisation import denoiser
from policies.diffusion.process.cosine import CosineVP
from policies.diffusion.solvers import Denoise
from policies.models import Precision
from policies.scene.codec import ImageCodec, JsccCodec
from policies.scene.digital import TransformCodec, TransformModel
from policies.scene.files import described, fingerprint, load
from policies.scene.map_code import MapCode, MapModel
from policies.scene.model import CodecModel, ImageModel, SceneModel
from policies.scene.paint import PAINTER, PaintModel
from policies.scene.refine import RefineModel

CODEC, PRIOR, SEGMENTER = "jscc", "scene-prior", "segmenter"
TRANSFORM, REFINER, MAPS = "ntc", "conditional", "map-coder"
"""Names of the models, in the core and among the weights; the last three are only loaded for decoders that ask."""


def denoiser_of(network: torch.nn.Module, sigma_data: float) -> Denoise:
    """x, t → clean estimate, of a network with EDM preconditioning."""
    return denoiser(network, "edm", CosineVP(), sigma_data)


def scene_core(
    weights: Mapping[str, Path | str] | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
    also: Sequence[str] = (),
) -> tuple[DiffusionCore, ImageCodec]:
    """A core with codec, prior and segmenter, and the codec.

    Args:
        weights: name of a model → its file, in place of the shipped ones. device: where they live.
        precision: of the prior's forward passes. also: names of further models.

    Raises:
        ConfigError: a file that is missing or unfit, files for images of different sizes, an unknown device or
            precision.
    """
    files = dict(weights or {})
    coder, _, _ = load("jscc", files.get(CODEC), device)
    prior, spec, _ = load("scene-prior", files.get(PRIOR), device)
    segmenter, _, _ = load("segmenter", files.get(SEGMENTER), device)
    codec = JsccCodec(coder, int(spec["data_size"]))
    sigma = float(spec["data_sigma"])
    models: dict[str, Any] = {
        CODEC: CodecModel(codec, device),
        PRIOR: ImageModel(
            denoiser_of(prior, sigma), CosineVP(), codec, data_variance=sigma**2, device=device, precision=precision
        ),
        SEGMENTER: SceneModel(segmenter, device),
    }
    for name in also:
        models[name] = _FURTHER[name](files.get(name), device, precision, codec)
    check_sizes([CODEC, PRIOR, SEGMENTER, *also], files)
    if REFINER in also:
        _check_refiner(files)
    return DiffusionCore(models), codec


def check_sizes(names: Sequence[str], files: Mapping[str, Path | str]) -> None:
    """Raises ConfigError unless all these networks were made for images of one size."""
    sizes = {name: described(name, files.get(name))[1]["preset"]["size"] for name in names}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ConfigError(
            f"weights must be made for images of one size, got {said} (pixels per side): train the others with "
            f"agentsc train NAME:size={max(sizes.values())}"
        )


def _check_refiner(files: Mapping[str, Path | str]) -> None:
    """Raises ConfigError if the refiner was trained on the images of another codec than the one in use."""
    codec, wanted = fingerprint(CODEC, files.get(CODEC)), described(REFINER, files.get(REFINER))[0]["data_codec"]
    if codec != wanted:
        raise ConfigError(
            f"weights.{REFINER} must be made for the codec in use ({codec}), got one that refines images of codec "
            f"{wanted}: train it with agentsc train {REFINER}:codec=FILE"
        )


def _transform(path: Path | str | None, device: str, precision: Precision, codec: ImageCodec) -> TransformModel:
    network, spec, _ = load(TRANSFORM, path, device)
    return TransformModel(TransformCodec(network, spec["data_mean"], int(spec["data_size"]), device))


def _refiner(path: Path | str | None, device: str, precision: Precision, codec: ImageCodec) -> RefineModel:
    network, spec, _ = load(REFINER, path, device)
    process, sigma = CosineVP(), float(spec["data_sigma"])

    def clean(residual: torch.Tensor, t: float, *known: torch.Tensor) -> torch.Tensor:
        def predict(scaled: torch.Tensor, noise: float) -> torch.Tensor:
            made: torch.Tensor = network.refine(scaled, scaled.new_full((len(scaled),), noise), *known)
            return made

        return denoiser(predict, "edm", process, sigma)(residual, t)

    return RefineModel(clean, process, codec, sigma, device=device, precision=precision)


def _painter(path: Path | str | None, device: str, precision: Precision, codec: ImageCodec) -> PaintModel:
    network, spec, _ = load(PAINTER, path, device)
    return PaintModel(network, float(spec["data_sigma"]), int(spec["data_size"]), device)


def _maps(path: Path | str | None, device: str, precision: Precision, codec: ImageCodec) -> MapModel:
    return MapModel(MapCode.load({} if path is None else {MAPS: path}))


_FURTHER: dict[str, Callable[[Path | str | None, str, Precision, ImageCodec], Any]] = {
    TRANSFORM: _transform,
    REFINER: _refiner,
    PAINTER: _painter,
    MAPS: _maps,
}
