"""Consistency distillation: the student gives one answer along each of the teacher's paths, its end point."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import Field

from policies.diffusion import SOLVERS
from policies.diffusion.distillation import DISTILLATIONS, Distillation
from policies.diffusion.parameterisation import preconditioning
from policies.diffusion.process import Process
from policies.diffusion.solvers import Denoise


@DISTILLATIONS.register("consistency")
class Consistency(Distillation):
    """Neighbours on the teacher's path must agree; the student is then sampled with `consistency` or DDIM.

    The boundary condition f(x, 0) = x can be built into the student, see `boundary`; a student without it is
    never asked at 0, since the last interval's target is the end of the path itself.
    Reference: Song et al., "Consistency models", 2023, algorithm 2.
    """

    teacher_steps: int = Field(18, ge=2, description="intervals that the teacher's path is cut into")
    solver: str = Field(
        "heun", description="deterministic solver that walks one interval of the teacher's path"
    )

    @property
    def phases(self) -> int:
        return 1

    def intervals(self, process: Process, phase: int) -> list[list[float]]:
        times = self._grid(process, self.teacher_steps)
        return [list(pair) for pair in zip(times[:-1], times[1:], strict=True)]

    def target(
        self, process: Process, teacher: Denoise, average: Denoise, x: torch.Tensor, interval: Sequence[float]
    ) -> torch.Tensor:
        return neighbour_target(process, teacher, average, x, interval, self.solver)

    def weight(self, process: Process, t: float) -> float:
        """1, as in section 5.1 of the paper."""
        return 1.0


def neighbour_target(
    process: Process,
    teacher: Denoise,
    average: Denoise,
    x: torch.Tensor,
    interval: Sequence[float],
    solver: str = "heun",
) -> torch.Tensor:
    """f⁻(x̂_s, s), where the teacher's path through x at ``t`` is at x̂_s one interval later.

    At the end of the path f⁻(x, 0) = x holds, so the teacher alone says what is right there.
    Reference: Song et al. 2023, eq. 6–7.
    """
    s = interval[-1]
    reached = SOLVERS.create(solver).solve(process, teacher, x, list(interval))
    return reached if process.sigma(s) == 0.0 else average(reached, s)


def boundary(
    process: Process, network: Callable[[torch.Tensor, float], torch.Tensor], sigma_data: float = 1.0
) -> Denoise:
    """f(x, t) = c_skip x + c_out F(x, t) with c_skip = 1/α = 1 and c_out = 0 at t = 0, exactly.

    Reference: Song et al. 2023, eq. 5; the coefficients are those of Karras et al. 2022, which hold
    the condition at σ = 0 where the paper's are shifted to hold it at its smallest σ.
    """

    def consistent(x: torch.Tensor, t: float) -> torch.Tensor:
        skip, out, _, _ = preconditioning(process, t, sigma_data)
        return skip * x + out * network(x, t)

    return consistent
