"""The prior over class maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from policies.scene.presets import SCENES, ScenePreset

if TYPE_CHECKING:
    from policies.scene.tasks import Task


@SCENES.register("map-prior")
class MapDiffusion(ScenePreset):
    """Diffusion prior over class maps: what receivers know of maps before they hear anything."""

    kind: ClassVar[str] = "map-prior"
    width: int = Field(32, ge=4, multiple_of=4, description="channels of the finest level of the U-Net")
    multipliers: tuple[int, ...] = Field((1, 2, 2), min_length=1, description="of the width, per level")
    ratio_mean: float = Field(0.3, description="mean of ln(σ/α) in training")
    ratio_std: float = Field(1.0, gt=0.0, description="its standard deviation")
    steps: int = Field(6000, ge=1, description="optimiser steps")

    @property
    def spec(self) -> dict[str, Any]:
        return {"channels": 6, "width": self.width, "multipliers": list(self.multipliers)}

    def task(self) -> Task:
        from policies.scene.tasks.map_denoising import MapDenoising

        return MapDenoising(self)
