"""Solvers: pure functions from noise to a sample, one file each.

A solver knows nothing of networks or tasks. It calls ``denoise(x, t) → x̂_0``; guidance has
already been folded into that function. The callback is its one hook: it watches every step and
may replace the state.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from envs.registry import Plugin
from policies.diffusion.process import Process

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
"""(x [batch, …], time) → clean estimate of the same shape."""


class Noise(Protocol):
    """Standard normal draws shaped like the state, keyed per sample."""

    def __call__(self, step: int, draw: int = 0) -> torch.Tensor:
        """The ``draw``-th fresh draw of step ``step``; the same arguments give the same numbers."""


def no_noise(step: int, draw: int = 0) -> torch.Tensor:
    """For solvers that draw nothing."""
    raise ValueError("this solver draws noise: give it some (sampling.KeyedNoise)")


@dataclass(frozen=True)
class Step:
    """One interval of a solver's grid, from time ``t`` to ``s`` < ``t``.

    Attributes:
        k: number of the step. x: the state at ``t``. x0: the clean estimate at ``t``.
        before: (time, clean estimate) of the step before, None on the first or after a return to more noise.
        noise: draw number → standard normal draws shaped like x.
    """

    process: Process
    denoise: Denoise
    k: int
    t: float
    s: float
    x: torch.Tensor
    x0: torch.Tensor
    before: tuple[float, torch.Tensor] | None
    noise: Callable[[int], torch.Tensor]

    def ddim(self) -> torch.Tensor:
        """The state at ``s`` if the clean estimate held: α_s x̂_0 + σ_s ε̂."""
        process = self.process
        return process.alpha(self.s) * self.x0 + process.sigma(self.s) * process.epsilon(
            self.x, self.x0, self.t
        )


@dataclass(frozen=True)
class Moment:
    """What a callback is shown after a step: its interval and the state that it reached at ``s``."""

    process: Process
    k: int
    t: float
    s: float
    x0: torch.Tensor
    x: torch.Tensor


Callback = Callable[[Moment], torch.Tensor | None]
"""Shown every step; a tensor that it returns replaces the state."""


class Solver(Plugin):
    """Integrates the reverse process on a grid of times."""

    @abstractmethod
    def step(self, at: Step) -> torch.Tensor:
        """The state at ``at.s``; only called where σ(s) > 0."""

    def solve(
        self,
        process: Process,
        denoise: Denoise,
        x: torch.Tensor,
        times: list[float],
        noise: Noise = no_noise,
        callback: Callback | None = None,
    ) -> torch.Tensor:
        """The state at the last time; at σ = 0 that is the last clean estimate.

        Args:
            x: the state at ``times[0]``, [batch, …].
            times: decreasing; where it goes up, noise of the forward process is added (RePaint).
            noise: keyed standard normal draws; a deterministic solver needs none.
            callback: called after every step.
        """
        before: tuple[float, torch.Tensor] | None = None
        for k, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
            if s > t:
                scale, variance = process.transition(t, s)
                x, before = scale * x + variance**0.5 * noise(k), None
                continue
            x0 = denoise(x, t)
            if process.sigma(s) == 0.0:
                x = x0
            else:
                x = self.step(Step(process, denoise, k, t, s, x, x0, before, partial(noise, k)))
            before = (t, x0)
            if callback is not None:
                replaced = callback(Moment(process, k, t, s, x0, x))
                x = x if replaced is None else replaced
        return x
