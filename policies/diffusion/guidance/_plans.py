"""Terms on plans beside the consistency term: pushes along the gradient of a charge, in metres.

The clean estimate's way-points move along −∂J/∂x, scaled to metres and clipped per way-point, and are carried back to
control points by the spline basis: as in `consistency`, without a pass through the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field

from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Guidance
from policies.diffusion.guidance.consistency import Frame, Neighbourhood, limit_speed


@dataclass(frozen=True)
class Steering:
    """The problem of a term on plans.

    Attributes:
        frame: what states mean. hood: the spline's basis and limits. charge: one of `policies.trajectory.terms`.
        length: metres over which the charge changes; a gradient times its square is a push.
    """

    frame: Frame
    hood: Neighbourhood
    charge: Any
    length: float


class PlanTerm(Guidance):
    """Base: lowers a charge of `policies.trajectory.terms` on the clean estimate."""

    weight: float = Field(1.0, ge=0.0, description="strength of the push; 0 switches it off")
    eta: float = Field(0.8, gt=0.0, description="step size at full noise; annealed as σ/(σ + 0.1)")
    inner_steps: int = Field(2, ge=1, description="corrections per denoising step once the noise is low")

    def correct(self, at: Estimate, problem: Steering) -> torch.Tensor:
        """See `Guidance.correct`; ``weight=0`` leaves the estimate as it is."""
        if self.weight == 0.0:
            return at.x0
        control = self.apply(problem.frame.decode(at.x0), at.process.sigma(at.t), problem)
        return problem.frame.encode(control)

    def apply(self, control: torch.Tensor, sigma: float, problem: Steering) -> torch.Tensor:
        """Corrected control points.

        Args:
            control: clean estimate [agents, samples, P, 2], metres. sigma: noise level of its state, in [0, 1].
        """
        hood, eta = problem.hood, max(self.eta * sigma / (sigma + 0.1), 0.25)
        for _ in range(self.inner_steps if sigma <= 0.4 else 1):
            points = hood.way(control)
            _, gradient = problem.charge.charge(points)
            # The mean over way-points gives each a share only: undone, so that a push is one of its own way-point.
            push = gradient * (-self.weight * problem.length**2 * points.shape[-2])
            length = torch.hypot(push[..., 0], push[..., 1])[..., None]
            moved = hood.carry(push * (eta * hood.step / length.clamp_min(hood.step)))
            moved[..., 0, :] = 0.0
            # A plan ends at rest: its last two control points are one.
            moved[..., -2:, :] = moved[..., -2:, :].mean(-2, keepdim=True)
            control = control + moved
        return limit_speed(control, hood.speed)
