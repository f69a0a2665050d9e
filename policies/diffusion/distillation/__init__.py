"""Distillation: a student learns to do in few steps what its teacher does in many, one file per method.

Every method says two things: over which intervals of time the student must learn to jump, and what
clean estimate it must give at the start of one. Both speak only of ``denoise(x, t) → x̂_0``, so they
serve trajectories and images alike. All rows of a call share one interval; a trainer splits its batch
into groups, draws an interval for each and regresses the student on `Distillation.target`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from pydantic import Field

from envs.registry import Plugin, Registry
from policies.diffusion.process import Process
from policies.diffusion.schedule import grid
from policies.diffusion.solvers import Denoise

DISTILLATIONS = Registry("distillations", "policies.diffusion.distillation")


class Distillation(Plugin):
    """How a student learns from a teacher. Training goes through `phases`, easiest first."""

    power: float = Field(1.5, gt=0.0, description="times even in t^(1/power); must be the sampler's grid")

    @property
    @abstractmethod
    def phases(self) -> int:
        """How often the averaged student becomes the next teacher, and one."""

    @abstractmethod
    def intervals(self, process: Process, phase: int) -> list[list[float]]:
        """Decreasing times per interval: the student jumps from the first, the teacher walks them all.

        Raises:
            ConfigError: parameters that no grid fits.
        """

    @abstractmethod
    def target(
        self, process: Process, teacher: Denoise, average: Denoise, x: torch.Tensor, interval: Sequence[float]
    ) -> torch.Tensor:
        """The clean estimate that the student must give for ``x`` at ``interval[0]``; without gradient.

        Args:
            teacher: what is distilled. average: the student with averaged weights.
            x: [batch, …], a state of the forward process. interval: one of `intervals`.
        """

    def weight(self, process: Process, t: float) -> float:
        """Of the squared error of a clean estimate at time ``t``: the signal-to-noise ratio within [1, 10].

        Reference: "truncated SNR" of Salimans and Ho 2022, section 4; the upper bound keeps the easy,
        nearly clean states from drowning the others.
        """
        return min(max(process.ratio(t) ** -2, 1.0), 10.0)

    def _grid(self, process: Process, steps: int) -> list[float]:
        return grid(process, steps, "power", power=self.power)


def distillation_loss(
    method: Distillation,
    process: Process,
    student: Denoise,
    teacher: Denoise,
    average: Denoise,
    x0: torch.Tensor,
    noise: torch.Tensor,
    interval: Sequence[float],
) -> tuple[torch.Tensor, torch.Tensor]:
    """(weighted loss, plain error), both [batch], of a group of rows that share an interval.

    Args:
        student: the one that learns; its graph is kept.
        x0: [batch, …], data. noise: standard normal, like x0.
    """
    t = interval[0]
    x = process.alpha(t) * x0 + process.sigma(t) * noise
    with torch.no_grad():
        target = method.target(process, teacher, average, x, interval)
    error = (student(x, t) - target).square().flatten(1).mean(1)
    return method.weight(process, t) * error, error.detach()
