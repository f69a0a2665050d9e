"""The few-step decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from policies.scene.presets import SCENES, ScenePreset

if TYPE_CHECKING:
    from policies.scene.tasks import Task


@SCENES.register("conditional")
class Conditional(ScenePreset):
    """What the codec's images lack: diffusion of the residual given the image, over all channels; for few steps."""

    kind: ClassVar[str] = "conditional"
    learning_rate: float = Field(1.5e-3, gt=0.0, description="peak rate; warmed up, then cosine decay")
    width: int = Field(48, ge=4, multiple_of=4, description="channels of the finest level of the U-Net")
    multipliers: tuple[int, ...] = Field((1, 2, 2), min_length=1, description="of the width, per level")
    unshuffle: int = Field(2, ge=1, description="pixels of a block per axis")
    ratio_mean: float = Field(-1.8, description="mean of ln(σ/α) in training")
    ratio_std: float = Field(1.2, gt=0.0, description="its standard deviation")
    snr_low_db: float = Field(-3.0, description="lowest SNR that is trained for")
    snr_high_db: float = Field(20.0, description="highest")
    codec: str = Field("", description="file of the codec whose images are refined; empty for the shipped jscc")

    @property
    def spec(self) -> dict[str, Any]:
        return {"width": self.width, "multipliers": list(self.multipliers), "unshuffle": self.unshuffle}

    def task(self) -> Task:
        from policies.scene.tasks.refining import Refining

        return Refining(self)
