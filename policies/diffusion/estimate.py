"""What a guidance term is given: a clean estimate and what the denoiser knows of its uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from policies.diffusion.process import Process
from policies.diffusion.solvers import Denoise

PURE_NOISE = 1e-3
"""Below this α the state says nothing about the data: measurements cannot be weighed against it."""


@dataclass(frozen=True)
class Estimate:
    """The clean estimate x̂_0 = E[x_0 | x_t] of one evaluation, with products of its covariance.

    Attributes:
        process, denoise: where it came from. x: the state [batch, …] at time ``t``.
        s: the time that the solver goes to next, None inside a step of several calls.
        x0: the clean estimate, of x's shape; a term that has corrected it passes on `with_clean`.
        data_variance: variance of the data, for approximations that do without the Jacobian.
        noise: draw number → standard normal draws like x, fresh at every evaluation.
    """

    process: Process
    denoise: Denoise
    x: torch.Tensor
    t: float
    s: float | None
    x0: torch.Tensor
    data_variance: float = 1.0
    noise: Callable[[int], torch.Tensor] | None = None
    _leaf: torch.Tensor | None = field(default=None, repr=False)
    _graph: torch.Tensor | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        process: Process,
        denoise: Denoise,
        x: torch.Tensor,
        t: float,
        s: float | None,
        gradient: bool,
        data_variance: float = 1.0,
        noise: Callable[[int], torch.Tensor] | None = None,
    ) -> Estimate:
        """Evaluate the denoiser once, keeping its graph if a ``gradient`` will be asked for."""
        if not gradient:
            return cls(process, denoise, x, t, s, denoise(x, t), data_variance, noise)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            graph = denoise(leaf, t)
        return cls(process, denoise, x, t, s, graph.detach(), data_variance, noise, leaf, graph)

    def with_clean(self, x0: torch.Tensor) -> Estimate:
        """The same evaluation with a corrected clean estimate; covariances stay the denoiser's."""
        return replace(self, x0=x0)

    @property
    def informative(self) -> bool:
        """False at pure noise, where no correction makes sense."""
        return self.process.alpha(self.t) >= PURE_NOISE

    @property
    def variance(self) -> float:
        """Posterior variance of isotropic Gaussian data: ρ² v/(ρ² + v) with ρ = σ/α and v the data's variance.

        Reference: Song et al., "Pseudoinverse-guided diffusion models", 2023, section 3.2 (v = 1 there).
        """
        noise, data = self.process.sigma(self.t) ** 2, self.process.alpha(self.t) ** 2 * self.data_variance
        return noise * self.data_variance / (noise + data)

    def pull_back(self, u: torch.Tensor) -> torch.Tensor:
        """(∂x̂_0/∂x_t)ᵀ u by backpropagation through the network, for u like x0."""
        if self._graph is None or self._leaf is None:
            raise RuntimeError("pull_back needs an estimate made with gradient=True")
        (product,) = torch.autograd.grad(self._graph, self._leaf, u.to(self._graph.dtype), retain_graph=True)
        return product

    def covariance(self, u: torch.Tensor, backprop: bool = True) -> torch.Tensor:
        """Cov[x_0 | x_t] u.

        With backpropagation this is (σ²/α) (∂x̂_0/∂x_t)ᵀ u, exact for the posterior mean of any prior;
        without, the isotropic `variance` stands in for it.

        Reference: second-order Tweedie formula, Efron 2011; Boys et al., "Tweedie moment projected
        diffusions", 2023, proposition 1.
        """
        if not backprop:
            return self.variance * u
        return (self.process.sigma(self.t) ** 2 / self.process.alpha(self.t)) * self.pull_back(u)
