"""Measurements y = A(x) + n of clean data, for posterior sampling.

x is [batch, *shape] and y is [batch, m]; operators flatten what they need to.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from envs.errors import ConfigError


class Operator(ABC):
    """A differentiable map from data to noiseless measurements, one row at a time."""

    linear = False

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x [batch, *shape] → [batch, m]."""

    @abstractmethod
    def adjoint(self, u: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """(∂A/∂x)ᵀ u at ``x``: [batch, m] → like x; a linear operator ignores where."""

    @abstractmethod
    def forward_derivative(self, v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """(∂A/∂x) v at ``x``: like x → [batch, m]."""

    def check(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Raises:
        ConfigError: measurements of another shape than this operator makes of data like ``x``.
        """
        with torch.no_grad():
            try:
                made = self(x)
            except (RuntimeError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise ConfigError(
                    f"operator must take data of shape {tuple(x.shape)}, which it cannot ({reason}): give one "
                    f"for {math.prod(x.shape[1:])} numbers a row"
                ) from None
        if made.shape != y.shape:
            raise ConfigError(
                f"measurement must have the operator's shape {tuple(made.shape)}, got {tuple(y.shape)} ([batch, m])"
            )


class Linear(Operator):
    """A matrix, the same for all rows or one for each.

    Args:
        matrix: [m, d] or [batch, m, d], with d the numbers of one row of data.

    Raises:
        ConfigError: not two or three dimensions, or not finite.
    """

    linear = True

    def __init__(self, matrix: torch.Tensor) -> None:
        if matrix.dim() not in (2, 3):
            raise ConfigError(
                f"operator.matrix must be [m, d] or [batch, m, d], got shape {tuple(matrix.shape)}"
            )
        if not bool(torch.isfinite(matrix).all()):
            raise ConfigError("operator.matrix must be finite, got NaN or inf")
        self.matrix = matrix

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return (self.matrix @ x.flatten(1)[..., None])[..., 0]

    def adjoint(self, u: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return (self.matrix.mT @ u[..., None])[..., 0].reshape(x.shape)

    def forward_derivative(self, v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self(v)

    @cached_property
    def svd(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """U [.., m, k], singular values [.., k], Vᵀ [.., k, d] with k = min(m, d)."""
        return torch.linalg.svd(self.matrix, full_matrices=False)

    def solve(self, residual: torch.Tensor, variance: float, noise: float) -> torch.Tensor:
        """(variance A Aᵀ + noise² I)⁻¹ r for r [batch, m]."""
        u, singular, _ = self.svd
        along = (u.mT @ residual[..., None])[..., 0]
        inside = along / (variance * singular**2 + noise**2) - along / noise**2
        return (u @ inside[..., None])[..., 0] + residual / noise**2


class Mask(Linear):
    """Keeps the chosen numbers of every row: inpainting. Copies numbers; the matrix is only made if asked for.

    Args:
        keep: bool, shape of one row of data.

    Raises:
        ConfigError: not bool, or nothing is kept.
    """

    def __init__(self, keep: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
        if keep.dtype != torch.bool or not bool(keep.any()):
            raise ConfigError(f"mask.keep must be bool with at least one True, got {keep.dtype}")
        self.keep, self._dtype = keep, dtype
        self._places = keep.flatten().nonzero().flatten()

    @cached_property
    def matrix(self) -> torch.Tensor:  # type: ignore[override]
        """[m, d], rows of the identity."""
        return torch.eye(self.keep.numel(), dtype=self._dtype, device=self.keep.device)[self._places]

    @cached_property
    def svd(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The identity, ones, and the matrix itself."""
        count = len(self._places)
        ones = torch.ones(count, dtype=self._dtype, device=self.keep.device)
        return torch.diag(ones), ones, self.matrix

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1:] != self.keep.shape:
            raise ValueError(f"mask is for rows of shape {tuple(self.keep.shape)}")
        return x.flatten(1).index_select(1, self._places)

    def adjoint(self, u: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        spread = u.new_zeros(len(u), self.keep.numel())
        return spread.index_copy_(1, self._places, u).reshape(x.shape)

    def solve(self, residual: torch.Tensor, variance: float, noise: float) -> torch.Tensor:
        return residual / (variance + noise**2)


class Nonlinear(Operator):
    """Any differentiable function of rows.

    Args:
        function: x [batch, *shape] → [batch, m]; rows must not influence each other.
    """

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.function = function

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)

    def adjoint(self, u: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            at = x.detach().requires_grad_(True)
            (product,) = torch.autograd.grad(self.function(at), at, u)
        return product

    def forward_derivative(self, v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        # The derivative along v as the derivative of the adjoint with respect to u: works for any operator
        # that supports reverse mode.
        with torch.enable_grad():
            at = x.detach().requires_grad_(True)
            out = self.function(at)
            u = torch.zeros_like(out, requires_grad=True)
            (pulled,) = torch.autograd.grad(out, at, u, create_graph=True)
            (product,) = torch.autograd.grad(pulled, u, v)
        return product


class Retained(Nonlinear):
    """A `Nonlinear` that keeps its graph at the last place: many products there cost less than half.

    For iterations that ask for derivatives at one place again and again, as conjugate gradients do. A place is known by
    the tensor object, which must not be changed in between.
    """

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(function)
        self._place: torch.Tensor | None = None
        self._at = self._out = self._dual = self._pulled = torch.empty(0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self._settle(x, twice=False)
        return self._out.detach()

    def _settle(self, x: torch.Tensor, twice: bool) -> None:
        """Graphs at ``x``; with ``twice`` that of the adjoint, too."""
        with torch.enable_grad():
            if self._place is not x:
                self._place, self._pulled = x, torch.empty(0)
                self._at = x.detach().requires_grad_(True)
                self._out = self.function(self._at)
            if twice and not len(self._pulled):
                self._dual = torch.zeros_like(self._out, requires_grad=True)
                (self._pulled,) = torch.autograd.grad(self._out, self._at, self._dual, create_graph=True)

    def adjoint(self, u: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        self._settle(x, twice=False)
        (product,) = torch.autograd.grad(self._out, self._at, u, retain_graph=True)
        return product

    def forward_derivative(self, v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        self._settle(x, twice=True)
        (product,) = torch.autograd.grad(self._pulled, self._dual, v, retain_graph=True)
        return product


@dataclass(frozen=True)
class Measurement:
    """What was measured: y = A(x_0) + n with n ~ N(0, noise² I).

    Attributes:
        y: [batch, m]. operator: A. noise: standard deviation of each number of y.
    """

    y: torch.Tensor
    operator: Operator
    noise: float

    def __post_init__(self) -> None:
        if not self.noise > 0.0:
            raise ConfigError(
                f"measurement.noise must be positive, got {self.noise} (standard deviation of each number; "
                "use a small one for exact measurements)"
            )
        bad = ~torch.isfinite(self.y).flatten(1).all(1)
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            raise ConfigError(f"measurement.y must be finite, got NaN or inf in row {row}")

    def residual(self, x0: torch.Tensor) -> torch.Tensor:
        """y − A(x̂_0), [batch, m]."""
        return self.y - self.operator(x0)
