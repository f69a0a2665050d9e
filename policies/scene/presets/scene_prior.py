"""The image prior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from policies.scene.presets import SCENES, ScenePreset

if TYPE_CHECKING:
    from policies.scene.tasks import Task


@SCENES.register("scene-prior")
class SceneDiffusion(ScenePreset):
    """Diffusion prior over images of arenas, from above and onboard: what receivers know before they hear anything."""

    kind: ClassVar[str] = "scene-prior"
    width: int = Field(48, ge=4, multiple_of=4, description="channels of the finest level of the U-Net")
    multipliers: tuple[int, ...] = Field((1, 2, 2), min_length=1, description="of the width, per level")
    unshuffle: int = Field(2, ge=1, description="pixels of a block per axis")
    ratio_mean: float = Field(-1.2, description="mean of ln(σ/α) in training")
    ratio_std: float = Field(1.3, gt=0.0, description="its standard deviation")
    steps: int = Field(20000, ge=1, description="optimiser steps")
    learning_rate: float = Field(7e-4, gt=0.0, description="peak rate; warmed up, then cosine decay")

    @property
    def spec(self) -> dict[str, Any]:
        return {"width": self.width, "multipliers": list(self.multipliers), "unshuffle": self.unshuffle}

    def task(self) -> Task:
        from policies.scene.tasks.denoising import Denoising

        return Denoising(self)
