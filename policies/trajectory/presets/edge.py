"""The prior that fits on a vehicle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from policies.trajectory import presets
from policies.trajectory.presets import PRIORS, Preset

if TYPE_CHECKING:
    from policies.trajectory.demonstrations import Demonstrations
    from policies.trajectory.recipes import Recipe


@PRIORS.register("edge")
class Edge(Preset):
    """Smallest trajectory prior: distilled from another one to one or two network calls a plan."""

    blocks: int = presets.blocks(2)
    steps: int = presets.steps(6000)
    batch: int = presets.batch(128)
    sampling_steps: int = presets.sampling_steps(2)
    teacher: str = Field("region", description="shipped prior, or weights file, to distil")
    method: Literal["progressive", "consistency"] = Field(
        "progressive", description="how it is distilled, see policies.diffusion.distillation"
    )
    teacher_steps: int = Field(8, ge=2, description="steps of the teacher on its grid")

    def recipe(self, data: Demonstrations, device: str) -> Recipe:
        from policies.diffusion.distillation import DISTILLATIONS
        from policies.trajectory.prior import WEIGHTS, TrajectoryPrior
        from policies.trajectory.recipes.distilling import Distilling

        options = {"teacher_steps": self.teacher_steps}
        if self.method == "progressive":
            options["student_steps"] = self.sampling_steps
        method = DISTILLATIONS.create(self.method, **options)
        shipped = WEIGHTS / f"{self.teacher}.safetensors"
        teacher = TrajectoryPrior.load(shipped if shipped.is_file() else self.teacher, device)
        return Distilling(data, teacher, self.spec, method, self.steps, self.batch)
