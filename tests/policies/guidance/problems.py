"""Linear Gaussian measurements of priors whose posterior is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from envs import keyed
from policies.diffusion import GUIDANCE, PROCESSES, SOLVERS
from policies.diffusion.distances import energy_distance, sliced_wasserstein
from policies.diffusion.exact import GaussianMixturePrior, GaussianPrior
from policies.diffusion.guidance import Term
from policies.diffusion.operators import Linear, Measurement
from policies.diffusion.sampling import Sampler
from policies.diffusion.schedule import grid

DOUBLE = torch.float64
PROCESS = PROCESSES.create("vp-cosine")


def draws(name: str, *shape: int) -> torch.Tensor:
    """Standard normal numbers that belong to a name."""
    key = np.array([keyed.stream_id(name)], np.uint64)
    return torch.as_tensor(keyed.normal(key, shape), dtype=DOUBLE)[0]


def keys(first: int, count: int) -> np.ndarray:
    """Keys that no other ``first`` shares."""
    return keyed.hash_words(keyed.stream_id("tests"), first, np.arange(count))


def correlated(dim: int = 8, scale: float = 0.3) -> GaussianPrior:
    """A Gaussian whose directions differ in scale by a factor of ten in variance."""
    rotation = torch.linalg.qr(draws("rotation", dim, dim))[0]
    values = scale**2 * torch.logspace(0.0, -1.0, dim, dtype=DOUBLE)
    return GaussianPrior(0.2 * draws("mean", dim), rotation @ torch.diag(values) @ rotation.T)


def modes(dim: int = 4, count: int = 6) -> GaussianMixturePrior:
    """Well separated clusters of different shapes."""
    roots = 0.2 * draws("roots", count, dim, dim)
    covariances = roots @ roots.mT + 0.02 * torch.eye(dim, dtype=DOUBLE)
    return GaussianMixturePrior(
        1.0 + torch.arange(count, dtype=DOUBLE), 1.2 * draws("modes", count, dim), covariances
    )


@dataclass(frozen=True)
class Posed:
    """A prior, a measurement of it, and the exact posterior."""

    prior: GaussianMixturePrior
    measured: int
    snr_db: float = 10.0
    samples: int = 1000

    @cached_property
    def operator(self) -> Linear:
        return Linear(draws("operator", self.measured, self.prior.dim) / math.sqrt(self.prior.dim))

    @cached_property
    def noise(self) -> float:
        power = (self.operator.matrix @ self.prior.covariance() @ self.operator.matrix.T).diagonal().mean()
        return float(power.sqrt()) * 10.0 ** (-self.snr_db / 20.0)

    @cached_property
    def y(self) -> torch.Tensor:
        truth = self.prior.sample(keys(1, 1))
        return (self.operator(truth) + self.noise * draws("measurement noise", 1, self.measured))[0]

    @cached_property
    def posterior(self) -> GaussianMixturePrior:
        return self.prior.posterior(self.y, self.operator, self.noise)

    @cached_property
    def exact(self) -> list[torch.Tensor]:
        return [self.posterior.sample(keys(100 + k, self.samples)) for k in range(4)]

    @cached_property
    def floor(self) -> float:
        """Sliced Wasserstein distance between exact sample sets of this size."""
        pairs = [(a, b) for a in range(4) for b in range(a)]
        return float(np.mean([sliced_wasserstein(self.exact[a], self.exact[b]) for a, b in pairs]))

    def measurement(self, rows: int) -> Measurement:
        return Measurement(self.y.expand(rows, -1), self.operator, self.noise)

    def sampler(self, solver: str, steps: int, last_ratio: float = 0.01) -> Sampler:
        variance = float(self.prior.covariance().diagonal().mean())
        times = grid(PROCESS, steps, "log-snr", last_ratio=last_ratio)
        return Sampler(
            PROCESS, self.prior.denoiser(PROCESS), SOLVERS.create(solver), times, data_variance=variance
        )

    def draw(self, guidance: str, solver: str, steps: int, **options: object) -> torch.Tensor:
        term = Term(GUIDANCE.create(guidance, **options), self.measurement(self.samples))
        return self.sampler(solver, steps).draw(keys(2, self.samples), self.prior.shape, [term], dtype=DOUBLE)

    def excess(self, samples: torch.Tensor) -> float:
        """Distance to the exact posterior, in units of the floor."""
        return float(np.mean([sliced_wasserstein(samples, each) for each in self.exact])) / self.floor

    def energy(self, samples: torch.Tensor) -> float:
        """Energy distance to the exact posterior."""
        return float(np.mean([energy_distance(samples, each) for each in self.exact]))
