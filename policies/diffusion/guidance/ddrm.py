"""Denoising diffusion restoration: transitions per singular direction of a linear measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field

from envs.errors import ConfigError
from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import PURE_NOISE, Estimate
from policies.diffusion.guidance import Guidance
from policies.diffusion.operators import Linear, Measurement

if TYPE_CHECKING:
    from policies.diffusion.sampling import Sampler


@GUIDANCE.register("ddrm")
class DDRM(Guidance):
    """Replaces measured singular directions by y while noise exceeds theirs; owns its transitions.

    Needs no gradient of the network. Biased: below the measurement's noise it trusts x̂_0 over the prior's
    spread.
    Reference: Kawar et al., "Denoising diffusion restoration models", 2022, eq. 7–8 with η and η_b.
    """

    eta: float = Field(
        0.85, ge=0.0, le=1.0, description="η: fresh noise in unmeasured and settled directions"
    )
    eta_b: float = Field(
        1.0, ge=0.0, le=1.0, description="η_b: weight of y against x̂_0 in measured directions"
    )

    def correct(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        return at.x0

    def run(self, sampler: Sampler, problem: Measurement, x: torch.Tensor) -> torch.Tensor:
        if not isinstance(problem.operator, Linear):
            raise ConfigError(
                "guidance.ddrm needs a linear operator, got a nonlinear one (use moment or dps)"
            )
        process, shape = sampler.process, x.shape
        u, singular, rotation = problem.operator.svd
        seen = singular > 1e-6 * singular.amax(-1, keepdim=True)
        safe = torch.where(seen, singular, torch.ones_like(singular))
        target = torch.where(seen, (u.mT @ problem.y[..., None])[..., 0] / safe, torch.zeros_like(singular))
        level = torch.where(seen, problem.noise / safe, torch.full_like(singular, torch.inf))

        def inside(v: torch.Tensor) -> torch.Tensor:
            return (rotation @ v[..., None])[..., 0]

        def outside(v: torch.Tensor) -> torch.Tensor:
            return (rotation.mT @ v[..., None])[..., 0]

        # In units of the data (x/α), at levels ρ = σ/α; pure noise is clipped to a finite level.
        latest = process.time_of(1.0 / PURE_NOISE)
        times = [min(t, latest) for t in sampler.times]
        ratio = process.ratio(times[0])
        start = x.flatten(1) / process.sigma(sampler.times[0])
        known = ratio > level
        width = torch.where(
            known, (ratio**2 - level.clamp_max(ratio) ** 2).sqrt(), torch.full_like(level, ratio)
        )
        along = torch.where(known, target, torch.zeros_like(target)) + width * inside(start)
        state = ratio * (start - outside(inside(start))) + outside(along)
        for k, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
            now, then = process.ratio(t), process.ratio(s)
            clean = sampler.denoise((process.alpha(t) * state).reshape(shape), t).flatten(1)
            if then == 0.0:
                return clean.reshape(shape)
            fresh = sampler.noise(k).flatten(1)
            keep = (1.0 - self.eta**2) ** 0.5 * then
            free = clean + keep * (state - clean) / now + self.eta * then * fresh
            estimate = inside(clean)
            settled = estimate + keep * (target - estimate) / level + self.eta * then * inside(fresh)
            spread = (then**2 - (self.eta_b * level.clamp_max(then)) ** 2).clamp_min(0.0).sqrt()
            driven = (1.0 - self.eta_b) * estimate + self.eta_b * target + spread * inside(fresh)
            measured = torch.where(then < level, settled, driven)
            measured = torch.where(seen, measured, inside(free))
            state = free - outside(inside(free)) + outside(measured)
        return (process.alpha(times[-1]) * state).reshape(shape)
