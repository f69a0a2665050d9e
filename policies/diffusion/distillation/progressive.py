"""Progressive distillation: two steps of the teacher become one of the student, again and again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field

from envs.errors import ConfigError
from policies.diffusion.distillation import DISTILLATIONS, Distillation
from policies.diffusion.process import Process
from policies.diffusion.solvers import Denoise
from policies.diffusion.solvers.ddim import DDIM


@DISTILLATIONS.register("progressive")
class Progressive(Distillation):
    """Halves the number of DDIM steps phase by phase; the student is then sampled with DDIM on that grid.

    Reference: Salimans and Ho, "Progressive distillation for fast sampling of diffusion models", 2022,
    algorithm 2.
    """

    teacher_steps: int = Field(16, ge=2, description="DDIM steps of the first teacher")
    student_steps: int = Field(2, ge=1, description="DDIM steps of the last student; teacher_steps / 2^n")

    @property
    def phases(self) -> int:
        halvings = (self.teacher_steps // self.student_steps).bit_length() - 1
        if halvings < 1 or self.student_steps * 2**halvings != self.teacher_steps:
            raise ConfigError(
                f"teacher_steps must be student_steps times a power of two, got {self.teacher_steps} "
                f"and {self.student_steps} (every phase halves the steps)"
            )
        return halvings

    def intervals(self, process: Process, phase: int) -> list[list[float]]:
        # Grids even in t^(1/power) are nested: every other time of one is the next one.
        if not 0 <= phase < self.phases:
            raise ConfigError(f"phase must be below {self.phases}, got {phase} (halvings of the steps)")
        times = self._grid(process, self.teacher_steps >> phase)
        return [times[k : k + 3] for k in range(0, len(times) - 1, 2)]

    def target(
        self, process: Process, teacher: Denoise, average: Denoise, x: torch.Tensor, interval: Sequence[float]
    ) -> torch.Tensor:
        return jump_target(process, teacher, x, interval)


def jump_target(process: Process, teacher: Denoise, x: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
    """The clean estimate at ``times[0]`` whose single DDIM step lands where the teacher's steps do.

    Solves x_s = α_s x̃ + (σ_s/σ_t) (x_t − α_t x̃) for x̃, with x_s from DDIM steps along ``times``.
    Reference: Salimans and Ho 2022, algorithm 2 and appendix G.
    """
    t, s = times[0], times[-1]
    reached = DDIM(eta=0.0).solve(process, teacher, x, list(times))
    kept = process.sigma(s) / process.sigma(t)
    return (reached - kept * x) / (process.alpha(s) - kept * process.alpha(t))
