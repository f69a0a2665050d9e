"""The shipped scene models, ready for a core."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from policies.core import DiffusionCore
from policies.diffusion.parameterisation import denoiser
from policies.diffusion.process.cosine import CosineVP
from policies.diffusion.solvers import Denoise
from policies.models import Precision
from policies.scene.codec import ImageCodec, JsccCodec
from policies.scene.files import load
from policies.scene.model import CodecModel, ImageModel, SceneModel

CODEC, PRIOR, SEGMENTER = "jscc", "scene-prior", "segmenter"
"""Names of the models, in the core and among the weights."""


def denoiser_of(network: torch.nn.Module, sigma_data: float) -> Denoise:
    """x, t → clean estimate, of a network with EDM preconditioning."""
    return denoiser(network, "edm", CosineVP(), sigma_data)


def scene_core(
    weights: Mapping[str, Path | str] | None = None, device: str = "cpu", precision: Precision = "float32"
) -> tuple[DiffusionCore, ImageCodec]:
    """A core with codec, prior and segmenter, and the codec.

    Args:
        weights: name of a model → its file, in place of the shipped ones. device: where they live.
        precision: of the prior's forward passes.

    Raises:
        ConfigError: a file that is missing or unfit, an unknown device or precision.
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
    return DiffusionCore(models), codec
