"""Learning what class maps look like, by denoising them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from envs.scenery import CLASSES, TRAINED
from policies.scene.presets.map_prior import MapDiffusion
from policies.scene.tasks.denoising import Denoising


class MapDenoising(Denoising):
    """EDM's objective as `Denoising` has it, on maps: −1 in every channel but 1 in that of a cell's class."""

    def __init__(self, preset: MapDiffusion) -> None:
        super().__init__(preset)  # type: ignore[arg-type]

    def scenes(
        self, seeds: np.ndarray, families: tuple[str, ...] = TRAINED
    ) -> tuple[torch.Tensor, torch.Tensor]:
        _, labels = super().scenes(seeds, families)
        return 2.0 * nn.functional.one_hot(labels, len(CLASSES)).movedim(-1, 1).float() - 1.0, labels
