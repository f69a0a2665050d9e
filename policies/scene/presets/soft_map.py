"""The codec of soft class maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from policies.scene.presets import SCENES, ScenePreset

if TYPE_CHECKING:
    from policies.scene.tasks import Task


@SCENES.register("soft-map")
class SoftMap(ScenePreset):
    """Joint source–channel coding of class maps: told the SNR, 32 rates, fading, symbols that never arrive."""

    kind: ClassVar[str] = "soft-map"
    planes: int = Field(8, ge=1, description="planes of symbols, each in four phases that are a rate of their own")
    fine: int = Field(24, ge=4, multiple_of=4, description="channels at half resolution")
    coarse: int = Field(48, ge=4, multiple_of=4, description="channels at quarter resolution")
    blocks: int = Field(2, ge=1, description="residual blocks per level")
    snr_low_db: float = Field(-3.0, description="lowest SNR that is trained for")
    snr_high_db: float = Field(25.0, description="highest")
    rarity: float = Field(
        0.0, ge=0.0, le=1.0, description="a class counts as its share of the cells to the power of minus this"
    )
    steps: int = Field(12000, ge=1, description="optimiser steps")

    @property
    def spec(self) -> dict[str, Any]:
        return {"planes": self.planes, "fine": self.fine, "coarse": self.coarse, "blocks": self.blocks}

    def task(self) -> Task:
        from policies.scene.tasks.map_coding import MapCoding

        return MapCoding(self)
