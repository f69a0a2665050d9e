"""Priors whose denoiser, flow and posterior are known exactly: the test bed of everything else.

Both are drop-in denoisers for any process, and a fallback where no network is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from envs import keyed
from envs.errors import ConfigError
from policies.diffusion.operators import Linear
from policies.diffusion.process import Process


class GaussianMixturePrior:
    """x_0 ~ Σ_k w_k N(μ_k, Σ_k), for rows of any shape.

    Args:
        weights: [K], positive; normalised here. means: [K, d]. covariances: [K, d, d], symmetric and
            positive semi-definite. shape: of a row, with d numbers; (d,) if left out.

    Raises:
        ConfigError: shapes that do not fit each other, or a covariance that is not positive semi-definite.
    """

    def __init__(
        self,
        weights: torch.Tensor,
        means: torch.Tensor,
        covariances: torch.Tensor,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        count, dim = means.shape
        self.shape = shape or (dim,)
        if covariances.shape != (count, dim, dim) or weights.shape != (count,):
            raise ConfigError(
                f"covariances must have shape {(count, dim, dim)} and weights {(count,)} for means of shape "
                f"{tuple(means.shape)}, got {tuple(covariances.shape)} and {tuple(weights.shape)}"
            )
        if math.prod(self.shape) != dim:
            raise ConfigError(f"shape must hold {dim} numbers, got {self.shape}")
        if not bool((weights > 0.0).all()):
            raise ConfigError("weights must be positive (shares of the mixture's components)")
        values, vectors = torch.linalg.eigh(covariances)
        if bool((values < -1e-6 * values.abs().amax()).any()):
            raise ConfigError("covariances must be positive semi-definite, got a negative eigenvalue")
        self.weights, self.means = weights / weights.sum(), means
        self.values, self.vectors = values.clamp_min(0.0), vectors

    @property
    def dim(self) -> int:
        """Numbers in a row."""
        return self.means.shape[1]

    @property
    def covariances(self) -> torch.Tensor:
        """[K, d, d]."""
        return (self.vectors * self.values[:, None, :]) @ self.vectors.mT

    def denoiser(self, process: Process) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """``denoise(x, t) = E[x_0 | x_t = x]``, differentiable."""
        return lambda x, t: self.clean(x, process.alpha(t), process.sigma(t))

    def clean(self, x: torch.Tensor, alpha: float, sigma: float) -> torch.Tensor:
        """E[x_0 | α x_0 + σ ε = x] for x [batch, *shape]."""
        if sigma == 0.0:
            return x / alpha
        flat = x.flatten(1)
        local, gap = self._local(flat, alpha)
        spread = alpha * alpha * self.values + sigma * sigma
        clean = (
            self.means + ((local * (alpha * self.values / spread))[..., None, :] @ self.vectors.mT)[..., 0, :]
        )
        share = torch.softmax(self._log_evidence(local, spread), dim=1)
        return (share[..., None] * clean).sum(1).reshape(x.shape)

    def log_density(self, x: torch.Tensor, alpha: float = 1.0, sigma: float = 0.0) -> torch.Tensor:
        """log p_t(x) [batch] of the noisy marginal; of the prior itself as it stands."""
        local, _ = self._local(x.flatten(1), alpha)
        spread = alpha * alpha * self.values + sigma * sigma
        norm = -0.5 * self.dim * math.log(2.0 * math.pi)
        return torch.logsumexp(self._log_evidence(local, spread), dim=1) + norm

    def _local(self, flat: torch.Tensor, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
        """x − α μ_k in every component's eigenbasis, [batch, K, d], and in the data's."""
        gap = flat[:, None] - alpha * self.means
        return (gap[..., None, :] @ self.vectors)[..., 0, :], gap

    def _log_evidence(self, local: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
        return self.weights.log() - 0.5 * (local.square() / spread + spread.log()).sum(-1)

    def sample(self, keys: NDArray[np.uint64], dtype: torch.dtype | None = None) -> torch.Tensor:
        """One exact sample per key, [len(keys), *shape]."""
        dtype = dtype or self.means.dtype
        pick = keyed.uniform(keys, keyed.stream_id("component"))
        edges = self.weights.double().cumsum(0).numpy()
        component = torch.as_tensor(np.minimum(np.searchsorted(edges, pick, side="right"), len(edges) - 1))
        draws = torch.as_tensor(
            keyed.normal(keys, (self.dim,), keyed.stream_id("exact")), dtype=self.means.dtype
        )
        scaled = draws * self.values[component].sqrt()
        rows = self.means[component] + (self.vectors[component] @ scaled[..., None])[..., 0]
        return rows.reshape(len(keys), *self.shape).to(dtype)

    def posterior(self, y: torch.Tensor, operator: Linear, noise: float) -> GaussianMixturePrior:
        """p(x_0 | y) for one measurement y [m] = A x_0 + n, n ~ N(0, noise² I): again a mixture.

        Raises:
            ConfigError: an operator or measurement whose shape does not fit.
        """
        matrix = operator.matrix.to(self.means)
        if matrix.dim() != 2 or matrix.shape[1] != self.dim or y.shape != (matrix.shape[0],):
            raise ConfigError(
                f"operator must be [m, {self.dim}] and y [m], got {tuple(matrix.shape)} and {tuple(y.shape)}"
            )
        covariances = self.covariances
        across = covariances @ matrix.T
        seen = matrix @ across + noise**2 * torch.eye(len(y), dtype=matrix.dtype)
        gain = torch.linalg.solve(seen, across.mT).mT
        gap = y.to(matrix) - self.means @ matrix.T
        means = self.means + (gain @ gap[..., None])[..., 0]
        reduced = covariances - gain @ across.mT
        _, logdet = torch.linalg.slogdet(seen)
        fit = (gap[:, None] @ torch.linalg.solve(seen, gap[..., None]))[:, 0, 0]
        weights = torch.softmax(self.weights.log() - 0.5 * (fit + logdet), dim=0).clamp_min(1e-300)
        return GaussianMixturePrior(weights, means, 0.5 * (reduced + reduced.mT), self.shape)

    def mean(self) -> torch.Tensor:
        """[d]."""
        return self.weights @ self.means

    def covariance(self) -> torch.Tensor:
        """[d, d] of the whole mixture."""
        centred = self.means - self.mean()
        within = (self.weights[:, None, None] * self.covariances).sum(0)
        return within + (self.weights[:, None] * centred).T @ centred

    def flow(self, x: torch.Tensor, process: Process, t: float, s: float) -> torch.Tensor:
        """The exact probability-flow ODE from time ``t`` to ``s``, for one number per row.

        In one dimension the flow keeps ranks, so it is F_s⁻¹(F_t(x)) with the marginals' distribution
        functions; the inverse is found by bisection to the last bit.

        Raises:
            ConfigError: rows of more than one number.
        """
        if self.dim != 1:
            raise ConfigError(f"flow is known in closed form for one number a row, got {self.dim}")
        x = x.double()
        rank, upper = self._ranks(x, process, t)
        reach = 40.0 * (
            process.alpha(s) * (self.means.abs().max() + self.values.max().sqrt()) + process.sigma(s)
        )
        low, high = torch.full_like(x, -float(reach)), torch.full_like(x, float(reach))
        for _ in range(200):
            middle = 0.5 * (low + high)
            below, above = self._ranks(middle, process, s)
            # In the upper tail the complement keeps its digits.
            left = torch.where(rank < 0.5, below < rank, above > upper)
            low, high = torch.where(left, middle, low), torch.where(left, high, middle)
        return 0.5 * (low + high)

    def _ranks(self, x: torch.Tensor, process: Process, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        alpha, sigma = process.alpha(t), process.sigma(t)
        spread = (alpha * alpha * self.values[:, 0] + sigma * sigma).double().sqrt()
        z = (x - alpha * self.means[:, 0].double()) / spread
        lower = (self.weights * torch.special.ndtr(z)).sum(1, keepdim=True)
        return lower, (self.weights * torch.special.ndtr(-z)).sum(1, keepdim=True)


class GaussianPrior(GaussianMixturePrior):
    """x_0 ~ N(mean, covariance), with its flow known in any number of dimensions.

    Args:
        mean: [d]. covariance: [d, d]. shape: of a row.
    """

    def __init__(
        self, mean: torch.Tensor, covariance: torch.Tensor, shape: tuple[int, ...] | None = None
    ) -> None:
        super().__init__(torch.ones(1, dtype=mean.dtype), mean[None], covariance[None], shape)

    def flow(self, x: torch.Tensor, process: Process, t: float, s: float) -> torch.Tensor:
        """The exact probability-flow ODE: every principal direction scales with its standard deviation."""

        def spread(time: float) -> torch.Tensor:
            return (process.alpha(time) ** 2 * self.values[0] + process.sigma(time) ** 2).sqrt()

        local = (x.flatten(1) - process.alpha(t) * self.means[0]) @ self.vectors[0]
        moved = (local * (spread(s) / spread(t))) @ self.vectors[0].T + process.alpha(s) * self.means[0]
        return moved.reshape(x.shape)

    def consistency(self, process: Process) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """The exact consistency function f(x, t): the end point at t = 0 of the flow through (x, t)."""
        return lambda x, t: self.flow(x, process, t, 0.0)
