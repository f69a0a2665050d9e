"""Inpainting by replacement: measured parts of the state are overwritten by noised measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field

from envs.errors import ConfigError
from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Guidance
from policies.diffusion.operators import Linear, Mask, Measurement
from policies.diffusion.solvers import Moment


class _Replacement(Guidance):
    """x ← x + A⁺(α y + σ A z − A x) at every new state; A⁺ is the pseudoinverse."""

    def correct(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        return at.x0

    def after(
        self, moment: Moment, problem: Measurement, noise: Callable[[], torch.Tensor]
    ) -> torch.Tensor | None:
        operator = problem.operator
        assert isinstance(operator, Linear)
        alpha, sigma = moment.process.alpha(moment.s), moment.process.sigma(moment.s)
        wanted = alpha * problem.y + (sigma * operator(noise()) if sigma > 0.0 else 0.0)
        u, singular, rotation = operator.svd
        along = (u.mT @ (wanted - operator(moment.x))[..., None])[..., 0]
        seen = singular > 1e-6 * singular.amax(-1, keepdim=True)
        inverse = torch.where(seen, 1.0 / singular.clamp_min(1e-12), torch.zeros_like(singular))
        shift = (rotation.mT @ (along * inverse)[..., None])[..., 0]
        return moment.x + shift.reshape(moment.x.shape)


@GUIDANCE.register("repaint")
class RePaint(_Replacement):
    """Known parts of the state are taken from the noised measurement; harmonised by a grid with returns.

    Use with `schedule.with_returns`. Treats the measurement as exact; biased without resampling.
    Reference: Lugmayr et al., "RePaint", 2022, algorithm 1.
    """

    def after(
        self, moment: Moment, problem: Measurement, noise: Callable[[], torch.Tensor]
    ) -> torch.Tensor | None:
        if not isinstance(problem.operator, Mask):
            raise ConfigError(
                "guidance.repaint needs a Mask operator, got another one (use ilvr for any matrix)"
            )
        return super().after(moment, problem, noise)


@GUIDANCE.register("ilvr")
class ILVR(_Replacement):
    """The measured (e.g. low-frequency) part of the state follows the noised measurement, down to a level.

    Treats the measurement as exact; biased.
    Reference: Choi et al., "ILVR", 2021, algorithm 1.
    """

    until: float = Field(0.0, ge=0.0, le=1.0, description="time at which replacement stops")

    def after(self, moment: Moment, problem: Any, noise: Callable[[], torch.Tensor]) -> torch.Tensor | None:
        if not isinstance(problem.operator, Linear):
            raise ConfigError(
                "guidance.ilvr needs a linear operator, got a nonlinear one (use moment or dps)"
            )
        return super().after(moment, problem, noise) if moment.s >= self.until else None
