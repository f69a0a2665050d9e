"""Images from class maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from policies.scene.presets import SCENES, ScenePreset

if TYPE_CHECKING:
    from policies.scene.tasks import Task


@SCENES.register("map-to-scene")
class MapToScene(ScenePreset):
    """Diffusion model of images given their class map: regenerates a picture that a detector can be run on."""

    kind: ClassVar[str] = "map-to-scene"
    width: int = Field(32, ge=4, multiple_of=4, description="channels of the finest level of the U-Net")
    multipliers: tuple[int, ...] = Field((1, 2, 2), min_length=1, description="of the width, per level")
    guide: int = Field(24, ge=4, multiple_of=4, description="channels that the map is described by")
    ratio_mean: float = Field(-0.8, description="mean of ln(σ/α) in training")
    ratio_std: float = Field(1.3, gt=0.0, description="its standard deviation")
    drop: float = Field(0.15, ge=0.0, lt=1.0, description="share of images whose map is left out, for guidance")
    steps: int = Field(15000, ge=1, description="optimiser steps")

    @property
    def spec(self) -> dict[str, Any]:
        return {"width": self.width, "multipliers": list(self.multipliers), "guide": self.guide}

    def task(self) -> Task:
        from policies.scene.tasks.regenerating import Regenerating

        return Regenerating(self)
