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
from typing import Any

import torch
from pydantic import Field

from envs.geometry import Obstacles, distance_and_gradient
from policies.diffusion import GUIDANCE
from policies.diffusion.guidance import Guidance


@dataclass(frozen=True)
class Neighbourhood:
    """What a batch of agents must stay clear of, as tensors on the core's device.

    Attributes:
        basis: [waypoint, P], spline basis at the way-point times.
        discs: [agents, disc, waypoint, 2], metres; where a peer may be at each way-point time.
        radius: [agents, disc, waypoint], metres of centre distance to keep.
        weight: [agents, disc]; zero switches a disc off.
        obstacles: the static map, as `Obstacles` on a CPU or as its tensors elsewhere.
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

    @cached_property
    def box(self) -> torch.Tensor:
        """Corners [agents, disc, 2, 2] of where a way-point can be charged by a disc."""
        reach = self.radius.amax(-1, keepdim=True)
        return torch.stack([self.discs.amin(2) - reach, self.discs.amax(2) + reach], dim=2)


@GUIDANCE.register("consistency")
class Consistency(Guidance):
    """Pushes plans apart from believed peers and obstacles, in metres, without the network's gradient."""

    eta: float = Field(0.8, gt=0.0, description="step size at full noise; annealed as σ/(σ + 0.1)")
    discount: float = Field(0.98, gt=0.0, le=1.0, description="weight lost per way-point into the future")
    inner_steps: int = Field(2, ge=1, description="corrections per denoising step once the noise is low")
    obstacle_weight: float = Field(1.0, ge=0.0, description="weight of the static map against peers")

    def apply(self, control: torch.Tensor, sigma: float, problem: object) -> torch.Tensor:
        assert isinstance(problem, Neighbourhood)
        carry = problem.basis.T / problem.basis.sum(0)[:, None].clamp_min(1e-6)
        eta = max(self.eta * sigma / (sigma + 0.1), 0.25)
        # Early estimates are blurred: one correction for peers then; walls and care as they settle.
        settled = sigma <= 0.4
        for _ in range(self.inner_steps if settled else 1):
            _, push = self.cost(along(problem.basis, control), problem, walls=settled)
            length = push.norm(dim=-1, keepdim=True)
            push = push * (problem.step / length.clamp_min(problem.step))
            moved = along(carry, eta * push)
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
        decay = self.discount ** torch.arange(points.shape[-2], device=points.device)
        # Discs one by one keep the working set in cache: [agents, samples, waypoint] per step. Most are
        # far from every sample of an agent, as the bounding boxes tell.
        x, y = points[..., 0].contiguous(), points[..., 1].contiguous()
        total = torch.zeros_like(x)
        push_x, push_y = torch.zeros_like(x), torch.zeros_like(x)
        active = problem.weight > 0.0
        for k, part in enumerate((x.flatten(1), y.flatten(1))):
            low, high = problem.box[..., 0, k], problem.box[..., 1, k]
            active = active & (part.amin(1)[:, None] < high) & (part.amax(1)[:, None] > low)
        for m in range(problem.discs.shape[1]):
            rows = torch.nonzero(active[:, m])[:, 0]
            if not len(rows):
                continue
            disc = problem.discs[rows, m, None]
            dx, dy = x[rows] - disc[..., 0], y[rows] - disc[..., 1]
            distance = torch.sqrt(dx * dx + dy * dy + 1e-12)
            hinge = (problem.radius[rows, m, None] - distance).clamp_min(0.0)
            force = hinge * problem.weight[rows, m, None, None]
            total[rows] += force * hinge
            scale = force / distance
            push_x[rows] += scale * dx
            push_y[rows] += scale * dy
        if walls and problem.obstacles is not None and self.obstacle_weight > 0.0:
            if isinstance(problem.obstacles, Obstacles):
                # The same formula on the same memory; numpy's blocks stay in the cache, three times faster.
                parts = problem.obstacles.distance_and_gradient(points.detach().numpy())
                distance, gradient = (torch.from_numpy(part) for part in parts)
            else:
                distance, gradient = distance_and_gradient(problem.obstacles, points)
            hinge = (problem.clearance[:, None, None] - distance).clamp_min(0.0)
            total += self.obstacle_weight * hinge * hinge
            push_x += self.obstacle_weight * hinge * gradient[..., 0]
            push_y += self.obstacle_weight * hinge * gradient[..., 1]
        return (total * decay).sum(-1), torch.stack([push_x * decay, push_y * decay], dim=-1)


def along(rows: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """``rows`` [n, m] applied to ``vectors`` [..., m, 2] → [..., n, 2], as one matrix product for all."""
    return (vectors.transpose(-1, -2) @ rows.T).transpose(-1, -2)


def limit_speed(control: torch.Tensor, speed: torch.Tensor) -> torch.Tensor:
    """Shorten increments of control points so that the spline never exceeds v_max.

    A clamped B-spline's velocity is a convex combination of its increments divided by their
    knot spans (de Boor 1978, ch. X), so bounding every increment bounds the speed everywhere.

    Args:
        control: [..., P, 2], metres. speed: [P − 1], metres allowed per increment.
    """
    step = control[..., 1:, :] - control[..., :-1, :]
    length = step.norm(dim=-1, keepdim=True)
    step = step * (speed[:, None] / length.clamp_min(1e-9)).clamp_max(1.0)
    return torch.cat([control[..., :1, :], control[..., :1, :] + torch.cumsum(step, dim=-2)], dim=-2)
