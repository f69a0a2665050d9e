"""Tasks: what one optimiser step of a scene network minimises, and how it is judged; one file each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from envs import camera, keyed, scenery
from envs.scenery import HELD_OUT, TRAINED
from policies.scene.presets import HELD_OUT_SEED, ScenePreset

Measured = dict[str, Any]
"""{"mean": …, "ci95": [low, high], "n": …}."""


class Task(ABC):
    """A training objective over scenes. Its draws come from the generator of the step alone."""

    def __init__(self, preset: ScenePreset) -> None:
        self.preset = preset

    @property
    def spec(self) -> dict[str, Any]:
        """What goes into the file beside the weights."""
        return self.preset.spec

    @property
    def data(self) -> str:
        """What it learns from, for the card."""
        size = self.preset.size
        return f"scenes of {size} × {size} pixels, half from above and half onboard (`envs.camera`)"

    @abstractmethod
    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss to minimise, plain error to report), scalars."""

    @abstractmethod
    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        """Quality on scenes that training has not seen: name → figures with intervals."""

    @abstractmethod
    def describe(self, held_out: dict[str, Any]) -> list[str]:
        """Lines of Markdown for the card."""

    def seeds(self, generator: torch.Generator) -> NDArray[np.int64]:
        """Scenes of one batch, int64 [batch]."""
        return torch.randint(self.preset.images, (self.preset.batch,), generator=generator).numpy()

    def scenes(
        self, seeds: NDArray[np.int64], families: tuple[str, ...] = TRAINED
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images [batch, 3, size, size] in [−1, 1] and classes int64 [batch, size, size] of those seeds.

        Half are views from above, half onboard; the seed decides.
        """
        drawn = scenery.draw(seeds, families)
        above = keyed.uniform(seeds, keyed.stream_id("view")) < 0.5
        first, second = (camera.render(drawn, self.preset.size, view) for view in ("birds-eye", "onboard"))
        rgb = np.where(above[:, None, None, None], first.rgb, second.rgb)
        labels = np.where(above[:, None, None], first.labels, second.labels)
        return torch.as_tensor(2.0 * rgb - 1.0), torch.as_tensor(labels.astype(np.int64))

    def unseen(self, families: tuple[str, ...] = TRAINED) -> tuple[torch.Tensor, torch.Tensor]:
        """As `scenes`, of the seeds held out."""
        return self.scenes(HELD_OUT_SEED + np.arange(self.preset.held_out), families)


SETS = {"trained families": TRAINED, "held-out families": HELD_OUT}
"""What quality is measured on; the seeds are new in both."""


def measured(values: torch.Tensor | NDArray) -> Measured:
    """Mean with a normal 95 % interval over n independent images."""
    values = np.asarray(values, np.float64)
    half = 1.959963984540054 * values.std(ddof=1) / math.sqrt(len(values))
    mean = float(values.mean())
    return {"mean": mean, "ci95": [mean - half, mean + half], "n": len(values)}


def cell(figure: Measured, digits: int = 2) -> str:
    """``mean [low, high]`` for a table."""
    low, high = figure["ci95"]
    return f"{figure['mean']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
