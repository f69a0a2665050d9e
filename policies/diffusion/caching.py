"""Caches along a sampler's path: what hardly changes from one step to the next is not computed again.

A cache is made for one run of a sampler and counts its evaluations, not its rows, so that a row's
result does not depend on the batch it rides in. It starts afresh where the time goes up again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch

from envs.errors import ConfigError
from policies.diffusion.solvers import Denoise


class Split(Protocol):
    """A denoiser in a shallow and a deep part: x̂_0 = finish(h + deep(h)) with h = shallow(x)."""

    def shallow(self, x: torch.Tensor, t: float) -> torch.Tensor:
        """First features of the state."""

    def deep(self, hidden: torch.Tensor, t: float) -> torch.Tensor:
        """What the deep part adds to them; of their shape."""

    def finish(self, hidden: torch.Tensor, x: torch.Tensor, t: float) -> torch.Tensor:
        """Clean estimate from the features."""


@dataclass
class _Clock:
    """Says at which evaluations of a run to compute anew: the first and every ``every``-th."""

    every: int
    last: float = math.inf
    count: int = 0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"every must be at least 1, got {self.every} (evaluations per computation)")

    def due(self, t: float) -> bool:
        if t > self.last:
            self.count = 0
        due = self.count % self.every == 0
        self.last, self.count = t, self.count + 1
        return due


@dataclass
class ReusedEstimate:
    """Interval reuse: the whole clean estimate is kept for ``every`` evaluations.

    Between two computations DDIM then walks straight on, as with a longer step; other solvers still
    profit from their own short ones.

    Args:
        denoise: any denoiser. every: evaluations per computation; 1 changes nothing.

    Reference: long seed paper, section III-C.4 (b).
    """

    denoise: Denoise
    every: int
    _kept: torch.Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._clock = _Clock(self.every)

    def __call__(self, x: torch.Tensor, t: float) -> torch.Tensor:
        if self._clock.due(t) or self._kept is None:
            self._kept = self.denoise(x, t)
        return self._kept


@dataclass
class ReusedFeatures:
    """Feature reuse: the shallow part sees every state; what the deep part adds is kept for a while.

    Args:
        split: a denoiser in two parts. every: evaluations per computation of the deep part.

    Reference: Ma, Fang and Wang, "DeepCache: accelerating diffusion models for free", 2024, section 3.2,
    with a residual trunk in place of a U-Net.
    """

    split: Split
    every: int
    _kept: torch.Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._clock = _Clock(self.every)

    def __call__(self, x: torch.Tensor, t: float) -> torch.Tensor:
        hidden = self.split.shallow(x, t)
        if self._clock.due(t) or self._kept is None:
            self._kept = self.split.deep(hidden, t)
        return self.split.finish(hidden + self._kept, x, t)
