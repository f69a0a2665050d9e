"""Solvers: pure functions from noise to a sample, one file each.

A solver knows nothing of networks or tasks. It calls ``denoise(x, t) → x̂_0``; guidance has
already been folded into that function by the core.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch

from envs.registry import Plugin
from policies.diffusion.process import CosineVP

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
"""(x [batch, …], time) → clean estimate of the same shape."""
Noise = Callable[[int], torch.Tensor]
"""Step number → standard normal draws shaped like x, keyed per sample."""


class Solver(Plugin):
    """Integrates the reverse process on a decreasing grid of times that ends at 0."""

    @abstractmethod
    def step(
        self,
        process: CosineVP,
        x: torch.Tensor,
        x0: torch.Tensor,
        t: float,
        s: float,
        noise: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        """x at time ``s`` < ``t`` from x at ``t`` and the clean estimate at ``t``."""

    def solve(
        self,
        process: CosineVP,
        denoise: Denoise,
        x: torch.Tensor,
        times: list[float],
        noise: Noise,
        callback: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None,
    ) -> torch.Tensor:
        """The sample at time 0.

        Args:
            x: the state at ``times[0]``, [batch, …].
            times: decreasing, last one 0.
            noise: fresh keyed normal draws for step k.
            callback: called with (step, x, x̂_0) after every evaluation.
        """
        for k, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
            x0 = denoise(x, t)
            if callback is not None:
                callback(k, x, x0)
            x = x0 if s == 0.0 else self.step(process, x, x0, t, s, lambda k=k: noise(k))  # type: ignore[misc]
        return x
