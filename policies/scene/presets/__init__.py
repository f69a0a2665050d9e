"""Training presets of scene networks: each names a network, its size and the scenes it learns from."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from envs.registry import Plugin, Registry

if TYPE_CHECKING:
    # Presets are listed where torch must not be loaded.
    from policies.scene.tasks import Task

SCENES = Registry("presets", "policies.scene.presets")
HELD_OUT_SEED = 1_000_000_000
"""Scenes from this seed on are never trained on."""


class ScenePreset(Plugin):
    """How to make one scene network."""

    kind: ClassVar[str]
    """Of the file, see `policies.scene.files.NETWORKS`."""

    images: int = Field(1_000_000, ge=64, description="scenes of the training bank: those of seeds 0 to images − 1")
    size: int = Field(32, ge=16, multiple_of=16, description="pixels per side")
    steps: int = Field(12000, ge=1, description="optimiser steps")
    batch: int = Field(32, ge=2, description="images per optimiser step")
    learning_rate: float = Field(1e-3, gt=0.0, description="peak rate; warmed up, then cosine decay")
    ema: float = Field(0.998, gt=0.0, lt=1.0, description="decay of the averaged weights that are kept")
    precision: Literal["float32", "bfloat16"] = Field("bfloat16", description="of training's forward passes")
    held_out: int = Field(512, ge=16, description="images that quality is measured on")
    seed: int = Field(1, ge=0, description="key of the scenes' order, the noise and the initial weights")

    @property
    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Arguments of the network."""

    @abstractmethod
    def task(self) -> Task:
        """What its training minimises and how its quality is measured."""
