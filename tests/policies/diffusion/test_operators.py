"""Operators: adjoints and derivatives against each other, and measurements that do not fit."""

from __future__ import annotations

import math

import pytest
import torch

from envs.errors import ConfigError
from policies.diffusion.operators import Linear, Mask, Measurement, Nonlinear, Operator

SHAPE = (2, 3)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


KEEP = torch.tensor([[True, False, True], [False, False, True]])
OPERATORS: dict[str, Operator] = {
    "linear": Linear(normal(4, 6, seed=1)),
    "linear, one a row": Linear(normal(5, 4, 6, seed=2)),
    "mask": Mask(KEEP, torch.float64),
    "nonlinear": Nonlinear(
        lambda x: torch.stack([x.flatten(1).square().sum(1), x[:, 0, 0].sin() * x[:, 1, 2]], 1)
    ),
}
every = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


@every
def test_the_adjoint_is_the_transpose_of_the_derivative(operator: Operator) -> None:
    x, v = normal(5, *SHAPE, seed=3), normal(5, *SHAPE, seed=4)
    u = normal(5, operator(x).shape[1], seed=5)
    left = (operator.forward_derivative(v, x) * u).sum(1)
    torch.testing.assert_close(left, (v * operator.adjoint(u, x)).flatten(1).sum(1))


@every
def test_the_derivative_is_that_of_finite_differences(operator: Operator) -> None:
    x, v, step = normal(5, *SHAPE, seed=3), normal(5, *SHAPE, seed=4), 1e-6
    slope = (operator(x + step * v) - operator(x - step * v)) / (2 * step)
    torch.testing.assert_close(operator.forward_derivative(v, x), slope, rtol=1e-6, atol=1e-8)


def test_a_mask_is_the_matrix_that_it_says() -> None:
    mask, x = Mask(KEEP, torch.float64), normal(5, *SHAPE)
    dense = Linear(mask.matrix)
    torch.testing.assert_close(mask(x), dense(x))
    torch.testing.assert_close(mask.adjoint(mask(x), x), dense.adjoint(mask(x), x))
    torch.testing.assert_close(mask.solve(mask(x), 0.7, 0.3), dense.solve(mask(x), 0.7, 0.3))
    torch.testing.assert_close(mask(x), x[:, KEEP])
    with pytest.raises(ConfigError, match=r"operator must take data of shape \(5, 3, 2\)"):
        mask.check(x.mT, torch.zeros(5, 3))


def test_the_singular_values_give_the_matrix_back() -> None:
    for operator in (OPERATORS["linear"], OPERATORS["linear, one a row"]):
        assert isinstance(operator, Linear)
        u, s, vh = operator.svd
        torch.testing.assert_close((u * s[..., None, :]) @ vh, operator.matrix)


def test_operators_and_measurements_that_do_not_fit_are_refused() -> None:
    x = normal(5, *SHAPE)
    with pytest.raises(
        ConfigError, match=r"operator must take data of shape \(5, 2, 3\).*for 6 numbers a row"
    ):
        Linear(torch.zeros(4, 7, dtype=torch.float64)).check(x, torch.zeros(5, 4))
    with pytest.raises(
        ConfigError, match=r"measurement must have the operator's shape \(5, 4\), got \(5, 3\)"
    ):
        OPERATORS["linear"].check(x, torch.zeros(5, 3))
    with pytest.raises(
        ConfigError, match=r"operator.matrix must be \[m, d\] or \[batch, m, d\], got shape \(6,\)"
    ):
        Linear(torch.zeros(6))
    with pytest.raises(ConfigError, match="operator.matrix must be finite"):
        Linear(torch.full((2, 2), math.inf))


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan])
def test_a_measurement_needs_noise_and_finite_numbers(noise: float) -> None:
    with pytest.raises(ConfigError, match="measurement.noise must be positive"):
        Measurement(torch.zeros(5, 4), OPERATORS["linear"], noise)
    y = torch.zeros(5, 4)
    y[2, 1] = math.nan
    with pytest.raises(ConfigError, match="measurement.y must be finite, got NaN or inf in row 2"):
        Measurement(y, OPERATORS["linear"], 0.1)


def test_the_residual_is_what_is_left_to_explain() -> None:
    x, operator = normal(5, *SHAPE), OPERATORS["nonlinear"]
    torch.testing.assert_close(
        Measurement(operator(x) + 0.5, operator, 1.0).residual(x), torch.full((5, 2), 0.5).double()
    )
