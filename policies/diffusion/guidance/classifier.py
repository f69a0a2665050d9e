"""Classifier guidance: the gradient of a classifier that has seen noisy states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pydantic import Field

from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Likelihood


@dataclass(frozen=True)
class NoisyClassifier:
    """log p(y | x_t) of the wanted class or condition.

    Attributes:
        log_probability: (x [batch, …], t) → [batch], differentiable in x; rows independent.
    """

    log_probability: Callable[[torch.Tensor, float], torch.Tensor]


@GUIDANCE.register("classifier")
class ClassifierGuidance(Likelihood):
    """x̂_0 moves along ∇log p(y | x_t) of a classifier of noisy states; exact if the classifier is.

    Reference: Dhariwal and Nichol, "Diffusion models beat GANs on image synthesis", 2021, algorithm 1.
    """

    scale: float = Field(1.0, ge=0.0, description="1 samples the posterior, more sharpens it")

    def shift(self, at: Estimate, problem: NoisyClassifier) -> torch.Tensor:
        with torch.enable_grad():
            x = at.x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(problem.log_probability(x, at.t).sum(), x)
        return (self.scale * at.process.sigma(at.t) ** 2 / at.process.alpha(at.t)) * gradient
