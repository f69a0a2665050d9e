"""Classifier-free guidance: extrapolate from the unconditional to the conditional estimate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field

from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Guidance
from policies.diffusion.solvers import Denoise


@dataclass(frozen=True)
class Unconditional:
    """The model without its condition (the sampler's own denoiser is the conditional one)."""

    denoise: Denoise


@GUIDANCE.register("classifier-free")
class ClassifierFree(Guidance):
    """x̂_0 = x̂_0(∅) + weight (x̂_0(c) − x̂_0(∅)): 0 ignores the condition, 1 samples it, more sharpens it.

    Reference: Ho and Salimans, "Classifier-free diffusion guidance", 2022, eq. 6 (weight = 1 + w there).
    """

    weight: float = Field(1.5, ge=0.0, description="γ: strength of the condition")

    def correct(self, at: Estimate, problem: Unconditional) -> torch.Tensor:
        free = problem.denoise(at.x, at.t)
        return free + self.weight * (at.x0 - free)
