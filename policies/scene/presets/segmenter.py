"""The network that understands scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from policies.scene.presets import SCENES, ScenePreset

if TYPE_CHECKING:
    from policies.scene.tasks import Task


@SCENES.register("segmenter")
class Segmenter(ScenePreset):
    """A class for every pixel, and the features that the Fréchet distance FD-task is taken on."""

    kind: ClassVar[str] = "segmenter"
    width: int = Field(48, ge=4, multiple_of=4, description="channels of the finest level")
    multipliers: tuple[int, ...] = Field((1, 2, 2), min_length=1, description="of the width, per level")
    blocks: int = Field(2, ge=1, description="residual blocks per level and direction")
    features: int = Field(32, ge=2, description="numbers that describe an image")
    steps: int = Field(14000, ge=1, description="optimiser steps")

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "width": self.width, "multipliers": list(self.multipliers), "blocks": self.blocks,
            "features": self.features,
        }  # fmt: skip

    def task(self) -> Task:
        from policies.scene.tasks.understanding import Understanding

        return Understanding(self)
