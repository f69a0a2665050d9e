"""The source code of the separation baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from policies.scene.presets import SCENES, ScenePreset

if TYPE_CHECKING:
    from policies.scene.tasks import Task


@SCENES.register("ntc")
class Ntc(ScenePreset):
    """Learned transform code of images with forecasts for an entropy coder: all rates in one network."""

    kind: ClassVar[str] = "ntc"
    learning_rate: float = Field(2e-3, gt=0.0, description="peak rate; warmed up, then cosine decay")
    slices: tuple[int, ...] = Field((4, 8, 12), min_length=1, description="channels forecast together, in order")
    fine: int = Field(32, ge=4, multiple_of=4, description="channels at half resolution")
    coarse: int = Field(64, ge=4, multiple_of=4, description="channels at quarter resolution")
    blocks: int = Field(2, ge=1, description="residual blocks per level")
    context: int = Field(40, ge=4, multiple_of=4, description="channels of the forecasts")

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "slices": list(self.slices), "fine": self.fine, "coarse": self.coarse, "blocks": self.blocks,
            "context": self.context,
        }  # fmt: skip

    def task(self) -> Task:
        from policies.scene.tasks.transforming import Transforming

        return Transforming(self)
