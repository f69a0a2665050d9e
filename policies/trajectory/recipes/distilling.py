"""Learning from another prior to sample in few steps."""

from __future__ import annotations

from typing import Any

import torch

from envs.errors import ConfigError
from policies.diffusion.distillation import Distillation, distillation_loss
from policies.trajectory.demonstrations import Demonstrations
from policies.trajectory.prior import Denoiser, PriorSpec, TrajectoryPrior
from policies.trajectory.recipes import Recipe

_GROUPS = 8
"""Intervals drawn per batch; all rows of a group share one, and with it one time."""
_SAMPLES = 4
"""Noises drawn per demonstration, whose condition is embedded once for all of them."""


class Distilling(Recipe):
    """Regresses a student, which starts as the teacher without some of its blocks, on a method's targets.

    Args:
        data: demonstrations, whose noisy states the student must know.
        teacher: the prior to learn from. student: the architecture of the one that learns.
        method: which targets. batch: demonstrations per step.
        steps: of all phases together; the first, whose student lost some blocks, takes two shares.

    Raises:
        ConfigError: fewer steps than phases, or a student whose plans are of another kind.
    """

    def __init__(
        self,
        data: Demonstrations,
        teacher: TrajectoryPrior,
        student: PriorSpec,
        method: Distillation,
        steps: int,
        batch: int,
    ) -> None:
        if steps <= method.phases:
            raise ConfigError(f"steps must be above {method.phases}, got {steps} (phases of the method)")
        kind = (teacher.spec.control_points, teacher.spec.horizon_ticks)
        if (student.control_points, student.horizon_ticks) != kind:
            raise ConfigError(
                f"control_points and horizon_ticks must be the teacher's, {kind[0]} and {kind[1]}, "
                f"got {student.control_points} and {student.horizon_ticks}"
            )
        self._steps, self.batch, self.method = steps, batch, method
        self.teacher, self.student, self.scale = teacher, student, teacher.scale
        self.features = torch.as_tensor(data.features, device=teacher.device)
        self.clean = torch.as_tensor(data.residual, device=teacher.device) / teacher.scale
        self.number = 0

    @property
    def steps(self) -> int:
        return self._steps

    def phase(self, step: int) -> tuple[int, int]:
        shares = self.method.phases + 1
        edges = [0, *(self._steps * k // shares for k in range(2, shares + 1))]
        number = sum(step >= edge for edge in edges[1:-1])
        return edges[number], edges[number + 1] - edges[number]

    def begin(self, step: int, prior: TrajectoryPrior, average: TrajectoryPrior) -> None:
        if step == 0:
            prior.network.inherit(self.teacher.network)
            average.network.inherit(self.teacher.network)
        else:
            self.number += 1
            self._teach(average.network.state_dict())
            prior.network.load_state_dict(average.network.state_dict())

    def _teach(self, weights: dict[str, torch.Tensor]) -> None:
        """Put a student in the teacher's place."""
        teacher = TrajectoryPrior(self.student, self.scale.cpu().numpy(), device=str(self.scale.device))
        teacher.network.load_state_dict(weights)
        teacher.network.eval().requires_grad_(False)
        self.teacher = teacher

    def loss(
        self, prior: TrajectoryPrior, average: TrajectoryPrior, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        device = self.clean.device
        rows = torch.randint(len(self.features), (self.batch,), generator=generator).to(device)
        noise = torch.randn(self.batch, _SAMPLES, self.clean.shape[1], generator=generator).to(device)
        intervals = self.method.intervals(prior.process, self.number)
        picks = torch.randint(len(intervals), (_GROUPS,), generator=generator).tolist()
        features, x0 = self.features[rows], self.clean[rows][:, None].expand(-1, _SAMPLES, -1)
        embedding = prior.network.embed(features)
        with torch.no_grad():
            taught, averaged = self.teacher.network.embed(features), average.network.embed(features)
        parts = [
            distillation_loss(
                self.method,
                prior.process,
                Denoiser(prior, embedding[group]),
                Denoiser(self.teacher, taught[group]),
                Denoiser(average, averaged[group]),
                x0[group],
                noise[group],
                intervals[pick],
            )
            for group, pick in zip(torch.arange(self.batch).chunk(_GROUPS), picks, strict=False)
        ]
        loss, error = (torch.cat(values).mean() for values in zip(*parts, strict=True))
        return loss, error

    def state(self) -> dict[str, Any]:
        return {"number": self.number, "teacher": self.teacher.network.state_dict() if self.number else {}}

    def restore(self, state: dict[str, Any]) -> None:
        self.number = int(state["number"])
        if self.number:
            self._teach(state["teacher"])
