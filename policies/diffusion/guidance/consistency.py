"""The multi-agent consistency term: keep clear of what peers intend and of the static map.

J(x) = Σ_{m,h} w_m γ^h max(0, R_mh − ‖x_h − y_mh‖)² + w_o Σ_h max(0, c − sdf(x_h))²

over way-points x_h = (B C)_h of a plan with control points C, peers' believed way-points y_mh
with clearances R_mh, and the map's signed distance. The clean estimate moves along −∂J/∂x,
clipped per way-point and carried back to control points by the spline basis.
Reference: agent-centric scenario of the seed paper, section V-C, step "reconciliation".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import Field

from envs.geometry import Obstacles, distance_and_gradient
from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Guidance


@dataclass(frozen=True)
class Neighbourhood:
    """What a batch of agents must stay clear of, as tensors on the core's device.

    Attributes:
        basis: [waypoint, P], spline basis at the way-point times.
        discs: [agents, disc, waypoint, 2], metres; where a peer may be at each way-point time.
        radius: [agents, disc, waypoint], metres of centre distance to keep.
        weight: [agents, disc]; zero switches a disc off.
        obstacles: the static map, as `Obstacles` for the compiled kernel on a CPU, as its tensors for the
            formula (on any device), or None.
        clearance: [agents], metres to keep from it.
        step: metres that one way-point may move at once.
        speed: metres between successive control points at v_max, [P − 1].
    """

    basis: torch.Tensor
    discs: torch.Tensor
    radius: torch.Tensor
    weight: torch.Tensor
    obstacles: Any
    clearance: torch.Tensor
    step: float
    speed: torch.Tensor

    def way(self, control: torch.Tensor) -> torch.Tensor:
        """Way-points [..., waypoint, 2] of control points [..., P, 2]."""
        return _times(control, self._outward)

    def carry(self, push: torch.Tensor) -> torch.Tensor:
        """Pushes on way-points [..., waypoint, 2] shared out to control points [..., P, 2]."""
        return _times(push, self._inward)

    @cached_property
    def _outward(self) -> torch.Tensor:
        return _side_by_side(self.basis)

    @cached_property
    def _inward(self) -> torch.Tensor:
        return _side_by_side(self.basis.T / self.basis.sum(0)[:, None].clamp_min(1e-6))

    @cached_property
    def plain(self) -> tuple[np.ndarray, ...]:
        """Discs, radii, weights, and the corners [agents, disc, 2, 2] of where a disc charges, as numpy arrays."""
        discs, radius, weight = (each.contiguous().numpy() for each in (self.discs, self.radius, self.weight))
        x, y = (np.ascontiguousarray(discs[..., k]) for k in (0, 1))
        low = np.stack([(x - radius).min(-1), (y - radius).min(-1)], axis=-1)
        high = np.stack([(x + radius).max(-1), (y + radius).max(-1)], axis=-1)
        return discs, radius, weight, np.stack([low, high], axis=2)


class Frame(Protocol):
    """How states of the sampler stand for control points."""

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """[agents, samples, state] → control points [agents, samples, P, 2], metres."""

    def encode(self, control: torch.Tensor) -> torch.Tensor:
        """Inverse of `decode`."""


@dataclass(frozen=True)
class Reconciliation:
    """The problem of the consistency term: what to keep clear of, and what states mean."""

    frame: Frame
    hood: Neighbourhood


@GUIDANCE.register("consistency")
class Consistency(Guidance):
    """Pushes plans apart from believed peers and obstacles, in metres, with or without the network's gradient."""

    eta: float = Field(0.8, gt=0.0, description="step size at full noise; annealed as σ/(σ + 0.1)")
    discount: float = Field(0.98, gt=0.0, le=1.0, description="weight lost per way-point into the future")
    inner_steps: int = Field(2, ge=1, description="corrections per denoising step once the noise is low")
    obstacle_weight: float = Field(1.0, ge=0.0, description="weight of the static map against peers")
    backprop: bool = Field(
        False,
        description="filter pushes through the denoiser's covariance, so that they keep to what the prior allows",
    )

    def correct(self, at: Estimate, problem: Reconciliation) -> torch.Tensor:
        control = self.apply(problem.frame.decode(at.x0), at.process.sigma(at.t), problem.hood)
        moved = problem.frame.encode(control)
        if not self.backprop or not at.informative:
            return moved
        # A push is minus a gradient in x̂_0; through the network it becomes Cov · push, here in units of the
        # isotropic covariance that the step size was chosen for.
        return at.x0 + at.covariance(moved - at.x0) / at.variance

    def apply(self, control: torch.Tensor, sigma: float, problem: Neighbourhood) -> torch.Tensor:
        """Corrected control points.

        Args:
            control: clean estimate [agents, samples, P, 2], metres.
            sigma: noise level of the state it came from, in [0, 1].
            problem: what to keep clear of.
        """
        eta = max(self.eta * sigma / (sigma + 0.1), 0.25)
        # Early estimates are blurred: one correction for peers then; walls and care as they settle.
        settled = sigma <= 0.4
        for _ in range(self.inner_steps if settled else 1):
            _, push = self.cost(problem.way(control), problem, walls=settled)
            length = torch.hypot(push[..., 0], push[..., 1])[..., None]
            push = push * (eta * problem.step / length.clamp_min(problem.step))
            moved = problem.carry(push)
            moved[..., 0, :] = 0.0
            control = control + moved
        return limit_speed(control, problem.speed)

    def cost(
        self, points: torch.Tensor, problem: Neighbourhood, walls: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """J [agents, samples] and its descent direction [agents, samples, waypoint, 2] in metres.

        Args:
            points: [agents, samples, waypoint, 2], metres. walls: count the static map too.
        """
        if points.is_cpu and (problem.obstacles is None or isinstance(problem.obstacles, Obstacles)):
            return self._compiled(points, problem, walls)
        return self._formula(points, problem, walls)

    def _formula(
        self, points: torch.Tensor, problem: Neighbourhood, walls: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """J as written above, for tensors on any device; the map must be given as tensors too."""
        total = torch.zeros_like(points[..., 0])
        push = torch.zeros_like(points)
        for m in range(problem.discs.shape[1]):  # one by one: all discs at once would fill the memory
            apart = points - problem.discs[:, m, None]
            distance = torch.sqrt((apart * apart).sum(-1) + 1e-12)
            hinge = (problem.radius[:, m, None] - distance).clamp_min(0.0)
            force = hinge * problem.weight[:, m, None, None]
            total = total + force * hinge
            push = push + (force / distance)[..., None] * apart
        if walls and problem.obstacles is not None:
            distance, gradient = distance_and_gradient(problem.obstacles, points)
            hinge = (problem.clearance[:, None, None] - distance).clamp_min(0.0)
            total = total + self.obstacle_weight * hinge * hinge
            push = push + (self.obstacle_weight * hinge)[..., None] * gradient
        decay = self.discount ** torch.arange(points.shape[-2], device=points.device)
        return (total * decay).sum(-1), push * decay[:, None]

    def _compiled(
        self, points: torch.Tensor, problem: Neighbourhood, walls: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same numbers on a CPU, to rounding."""
        from policies.diffusion.guidance import _kernels

        spots = points.contiguous().numpy()
        walls = walls and problem.obstacles is not None
        if walls:
            distance, gradient = problem.obstacles.distance_and_gradient(spots)
        else:
            distance, gradient = np.empty((0, 0, 0), np.float32), np.empty((0, 0, 0, 0), np.float32)
        decay = (self.discount ** np.arange(spots.shape[2])).astype(np.float32)
        weight = np.float32(self.obstacle_weight if walls else 0.0)
        cost, push = np.empty(spots.shape[:2], np.float32), np.empty_like(spots)
        clearance = problem.clearance.numpy()
        _kernels.consistency(
            spots, *problem.plain, decay, clearance, weight, distance, gradient, cost, push
        )  # fmt: skip
        return torch.from_numpy(cost), torch.from_numpy(push)


def _side_by_side(rows: torch.Tensor) -> torch.Tensor:
    """``rows`` [n, m] for vectors whose x and y stay side by side: (rows ⊗ identity)ᵀ, [2m, 2n].

    Half of the products are with zero, but it is one matrix product for all and nothing is transposed.
    """
    return torch.kron(rows.T.contiguous(), torch.eye(2, dtype=rows.dtype, device=rows.device))


def _times(vectors: torch.Tensor, doubled: torch.Tensor) -> torch.Tensor:
    """Rows applied to ``vectors`` [..., m, 2] → [..., n, 2]."""
    return (vectors.flatten(-2) @ doubled).unflatten(-1, (-1, 2))


def limit_speed(control: torch.Tensor, speed: torch.Tensor) -> torch.Tensor:
    """Shorten increments of control points so that the spline never exceeds v_max.

    A clamped B-spline's velocity is a convex combination of its increments divided by their
    knot spans (de Boor 1978, ch. X), so bounding every increment bounds the speed everywhere.

    Args:
        control: [..., P, 2], metres. speed: [P − 1], metres allowed per increment.
    """
    if control.is_cpu:
        from policies.diffusion.guidance import _kernels

        plans = control.contiguous().flatten(0, -3).numpy()
        limited = np.empty_like(plans)
        _kernels.limit_speed(plans, speed.numpy(), limited)
        return torch.from_numpy(limited).reshape(control.shape)
    return _limit_speed(control, speed)


def _limit_speed(control: torch.Tensor, speed: torch.Tensor) -> torch.Tensor:
    """The same on any device."""
    step = control[..., 1:, :] - control[..., :-1, :]
    length = torch.hypot(step[..., 0], step[..., 1])[..., None]
    step = step * (speed[:, None] / length.clamp_min(1e-9)).clamp_max(1.0)
    return torch.cat([control[..., :1, :], control[..., :1, :] + torch.cumsum(step, dim=-2)], dim=-2)
