"""Learning to denoise demonstrations."""

from __future__ import annotations

import math

import numpy as np
import torch

from policies.trajectory.demonstrations import Demonstrations
from policies.trajectory.prior import TrajectoryPrior
from policies.trajectory.recipes import Recipe


class Denoising(Recipe):
    """x0-prediction at uniform times, weighted by the truncated signal-to-noise ratio.

    Args:
        data: demonstrations; their standard deviations are the units of the states.
        steps: optimiser steps. batch: rows per step.
        condition_dropout: share of rows trained without their condition. device: torch device.
    """

    def __init__(
        self,
        data: Demonstrations,
        steps: int,
        batch: int,
        condition_dropout: float = 0.0,
        device: str = "cpu",
    ) -> None:
        self._steps, self.batch, self.condition_dropout = steps, batch, condition_dropout
        self.scale = torch.as_tensor(np.maximum(data.residual.std(0), 1e-4).astype(np.float32), device=device)
        self.features = torch.as_tensor(data.features, device=device)
        self.clean = torch.as_tensor(data.residual, device=device) / self.scale

    @property
    def steps(self) -> int:
        return self._steps

    def loss(
        self, prior: TrajectoryPrior, average: TrajectoryPrior, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        network, device = prior.network, self.clean.device
        rows = torch.randint(len(self.features), (self.batch,), generator=generator).to(device)
        t = torch.rand(self.batch, generator=generator).to(device)
        noise = torch.randn(self.batch, self.clean.shape[1], generator=generator).to(device)
        told = torch.rand(self.batch, generator=generator).to(device) >= self.condition_dropout
        x0 = self.clean[rows]
        x = prior.process.diffuse(x0, noise, t)
        # An untold row sees the null condition (all zeros), so that one network is also the
        # unconditional prior that classifier-free guidance needs.
        modulations = network.modulations(network.embed(self.features[rows] * told[:, None]), t)
        error = (network(x[:, None], modulations)[:, 0] - x0).square().mean(1)
        # Truncated-SNR weights keep early (noisy) times from drowning in late (easy) ones.
        loss = (cosine_snr(t).clamp(0.2, 5.0) * error).mean()
        return loss, error.detach().mean()


def cosine_snr(t: torch.Tensor) -> torch.Tensor:
    """Signal-to-noise ratio α²/σ² of the cosine process at times ``t``."""
    return 1.0 / torch.tan(0.5 * math.pi * t.clamp(1e-3, 1 - 1e-3)).square()
