"""The codec of the human scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from policies.scene.presets import SCENES, ScenePreset

if TYPE_CHECKING:
    from policies.scene.tasks import Task


@SCENES.register("jscc")
class Jscc(ScenePreset):
    """Joint source–channel coding of images: told the SNR, eight rates, channels with and without fading."""

    kind: ClassVar[str] = "jscc"
    planes: int = Field(8, ge=1, description="planes of symbols; each is 1/48 channel use per number of the image")
    fine: int = Field(32, ge=4, multiple_of=4, description="channels at half resolution")
    coarse: int = Field(64, ge=4, multiple_of=4, description="channels at quarter resolution")
    blocks: int = Field(2, ge=1, description="residual blocks per level")
    snr_low_db: float = Field(-3.0, description="lowest SNR that is trained for")
    snr_high_db: float = Field(20.0, description="highest")

    @property
    def spec(self) -> dict[str, Any]:
        return {"planes": self.planes, "fine": self.fine, "coarse": self.coarse, "blocks": self.blocks}

    def task(self) -> Task:
        from policies.scene.tasks.coding import Coding

        return Coding(self)
