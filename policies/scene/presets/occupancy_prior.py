"""What stands where nobody has looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from policies.scene.presets import SCENES, ScenePreset

if TYPE_CHECKING:
    from policies.scene.tasks import Task


@SCENES.register("occupancy-prior")
class OccupancyPrior(ScenePreset):
    """Chance that a cell nobody has seen is filled, given those that somebody has."""

    kind: ClassVar[str] = "occupancy-prior"
    images: int = Field(1_000_000, ge=64, description="maps of the training bank: those of seeds 0 to images − 1")
    width: int = Field(32, ge=4, description="channels")
    steps: int = Field(3000, ge=1, description="optimiser steps")
    batch: int = Field(16, ge=2, description="maps per optimiser step")
    learning_rate: float = Field(2e-3, gt=0.0, description="peak rate; warmed up, then cosine decay")
    precision: Any = Field("float32", description="of training's forward passes")

    @property
    def spec(self) -> dict[str, Any]:
        return {"width": self.width}

    def task(self) -> Task:
        from policies.scene.tasks.filling import Filling

        return Filling(self)
