"""The predictor of the lossless map code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from policies.scene.presets import SCENES, ScenePreset

if TYPE_CHECKING:
    from policies.scene.tasks import Task


@SCENES.register("map-coder")
class MapCoder(ScenePreset):
    """What a cell of a class map is, given those before it: what maps are entropy-coded with."""

    kind: ClassVar[str] = "map-coder"
    reach: int = Field(4, ge=1, le=8, description="cells that a cell sees on every side")
    width: int = Field(96, ge=4, description="numbers of the first layer")
    hidden: int = Field(48, ge=4, description="numbers of the second")
    steps: int = Field(8000, ge=1, description="optimiser steps")
    learning_rate: float = Field(4e-3, gt=0.0, description="peak rate; warmed up, then cosine decay")
    ema: float = Field(0.99, gt=0.0, lt=1.0, description="decay of the averaged weights that are kept")

    @property
    def spec(self) -> dict[str, Any]:
        return {"reach": self.reach, "width": self.width, "hidden": self.hidden}

    def task(self) -> Task:
        from policies.scene.tasks.predicting import Predicting

        return Predicting(self)
