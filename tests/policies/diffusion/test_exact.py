"""Exact priors against quadrature, autograd, brute-force weights and the change of variables."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs import keyed
from envs.errors import ConfigError
from policies.diffusion import PROCESSES
from policies.diffusion.estimate import Estimate
from policies.diffusion.exact import GaussianMixturePrior, GaussianPrior
from policies.diffusion.operators import Linear
from policies.diffusion.process import Process

ALL: dict[str, Process] = {name: PROCESSES.create(name) for name in PROCESSES}
every_process = pytest.mark.parametrize("process", ALL.values(), ids=ALL)
TIMES = (0.02, 0.3, 0.7, 0.95)


def line(*rows: tuple[float, float, float]) -> GaussianMixturePrior:
    """A mixture on a line from (weight, mean, standard deviation)."""
    weight, mean, std = torch.tensor(rows, dtype=torch.float64).T
    return GaussianMixturePrior(weight, mean[:, None], std.square()[:, None, None])


MIXTURE = line((0.3, -1.2, 0.3), (0.5, 0.4, 0.2), (0.2, 1.5, 0.5))


def spread(dim: int, count: int, seed: int, shape: tuple[int, ...] | None = None) -> GaussianMixturePrior:
    """A mixture of correlated components with nothing special about it."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(count, dim, dim, generator=generator, dtype=torch.float64) / math.sqrt(dim)
    means = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    weights = 0.5 + torch.rand(count, generator=generator, dtype=torch.float64)
    covariances = 0.3 * root @ root.mT + 0.02 * torch.eye(dim, dtype=torch.float64)
    return GaussianMixturePrior(weights, means, covariances, shape)


def moments_by_quadrature(x: torch.Tensor, alpha: float, sigma: float) -> tuple[torch.Tensor, ...]:
    """log p_t(x), E[x_0 | x] and Var[x_0 | x] by the rectangle rule on a fine grid of x_0, each [batch]."""
    x0 = torch.linspace(-6.0, 6.0, 60_001, dtype=torch.float64)
    density = torch.zeros_like(x0)
    for weight, mean, std in ((0.3, -1.2, 0.3), (0.5, 0.4, 0.2), (0.2, 1.5, 0.5)):
        density += weight * torch.exp(-0.5 * ((x0 - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
    seen = torch.exp(-0.5 * ((x - alpha * x0) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    joint = density * seen
    total = joint.sum(1)
    mean = (joint * x0).sum(1) / total
    variance = (joint * (x0 - mean[:, None]) ** 2).sum(1) / total
    return (total * float(x0[1] - x0[0])).log(), mean, variance


@every_process
@pytest.mark.parametrize("t", TIMES)
def test_denoiser_covariance_and_density_are_those_of_quadrature(process: Process, t: float) -> None:
    alpha, sigma = process.alpha(t), process.sigma(t)
    x = (
        alpha * MIXTURE.mean()
        + math.hypot(alpha, sigma) * torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    )
    log_density, mean, variance = moments_by_quadrature(x, alpha, sigma)
    at = Estimate.of(process, MIXTURE.denoiser(process), x, t, None, gradient=True)
    torch.testing.assert_close(at.x0[:, 0], mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(MIXTURE.log_density(x, alpha, sigma), log_density, rtol=1e-8, atol=1e-8)
    # (σ²/α) ∂x̂_0/∂x is the posterior variance.
    torch.testing.assert_close(at.covariance(torch.ones_like(x))[:, 0], variance, rtol=1e-6, atol=1e-9)


@every_process
@pytest.mark.parametrize("t", TIMES)
def test_covariance_of_a_gaussian_is_the_closed_form(process: Process, t: float) -> None:
    prior = spread(5, 1, seed=4)
    gauss = GaussianPrior(prior.means[0], prior.covariances[0])
    alpha, sigma = process.alpha(t), process.sigma(t)
    wanted = torch.linalg.inv(
        torch.linalg.inv(gauss.covariance()) + (alpha / sigma) ** 2 * torch.eye(5, dtype=torch.float64)
    )
    x = torch.randn(5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    at = Estimate.of(process, gauss.denoiser(process), x, t, None, gradient=True)
    torch.testing.assert_close(at.covariance(torch.eye(5, dtype=torch.float64)), wanted, rtol=1e-7, atol=1e-9)


@every_process
@given(t=st.floats(0.02, 0.98), seed=st.integers(0, 2**31))
def test_the_score_is_the_gradient_of_the_log_density(process: Process, t: float, seed: int) -> None:
    prior = spread(4, 3, seed)
    alpha, sigma = process.alpha(t), process.sigma(t)
    x = process.diffuse(
        prior.sample(keyed.hash_words(seed, np.arange(6))),
        torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64),
        torch.full((6,), t, dtype=torch.float64),
    ).requires_grad_(True)
    (gradient,) = torch.autograd.grad(prior.log_density(x, alpha, sigma).sum(), x)
    score = (alpha * prior.clean(x.detach(), alpha, sigma) - x.detach()) / sigma**2
    torch.testing.assert_close(score, gradient, rtol=1e-7, atol=1e-7)


def test_without_noise_the_clean_estimate_is_the_state() -> None:
    x = torch.randn(3, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(MIXTURE.denoiser(ALL["flow"])(x, 0.0), x)


def test_at_pure_noise_the_clean_estimate_is_the_mean() -> None:
    prior = spread(4, 3, seed=8)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(prior.denoiser(ALL["flow"])(x, 1.0), prior.mean().expand(3, 4))


@given(seed=st.integers(0, 2**31), noise=st.floats(0.05, 3.0), rows=st.integers(1, 4))
def test_the_posterior_is_bayes_rule(seed: int, noise: float, rows: int) -> None:
    """log p(x | y) − log p(x) − log p(y | x) is the same for every x: it is −log p(y)."""
    prior, generator = spread(3, 4, seed), torch.Generator().manual_seed(seed)
    operator = Linear(torch.randn(rows, 3, generator=generator, dtype=torch.float64))
    y = torch.randn(rows, generator=generator, dtype=torch.float64)
    posterior = prior.posterior(y, operator, noise)
    x = posterior.sample(keyed.hash_words(seed, np.arange(20)))
    likelihood = -0.5 * ((y - operator(x)) / noise).square().sum(1)
    evidence = prior.log_density(x) + likelihood - posterior.log_density(x)
    torch.testing.assert_close(evidence, evidence[:1].expand(20), rtol=1e-6, atol=1e-6)


def test_the_posterior_agrees_with_brute_force_importance_weights() -> None:
    prior = spread(3, 4, seed=2)
    operator = Linear(torch.tensor([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]], dtype=torch.float64))
    y, noise = torch.tensor([0.4, -0.7], dtype=torch.float64), 0.5
    x = prior.sample(keyed.hash_words(7, np.arange(200_000)))
    weight = torch.softmax(-0.5 * ((y - operator(x)) / noise).square().sum(1), dim=0)
    posterior = prior.posterior(y, operator, noise)
    mean = weight @ x
    error = (weight.square() @ (x - mean).square()).sqrt()
    assert ((mean - posterior.mean()).abs() < 4.0 * error).all() and float(error.max()) < 0.01
    spread_by_weights = (weight[:, None] * (x - mean)).T @ (x - mean)
    torch.testing.assert_close(spread_by_weights, posterior.covariance(), rtol=0.05, atol=0.01)


@pytest.mark.parametrize("matrix", [torch.zeros(1, 2), torch.zeros(2, 3, 3)])
def test_a_measurement_that_does_not_fit_is_refused(matrix: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=r"operator must be \[m, 3\] and y \[m\]"):
        spread(3, 2, seed=0).posterior(torch.zeros(1), Linear(matrix), 0.1)


@every_process
@pytest.mark.parametrize(("t", "s"), [(0.9, 0.4), (0.4, 0.05), (0.6, 0.0), (0.2, 0.8)])
def test_the_flow_keeps_marginals(process: Process, t: float, s: float) -> None:
    """Change of variables: log p_t(x) = log p_s(y) + log |dy/dx|, for y the flow of x."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    x = (
        alpha * MIXTURE.mean()
        + math.hypot(alpha, sigma) * torch.linspace(-1.5, 1.5, 11, dtype=torch.float64)[:, None]
    )
    step = 1e-5 * math.hypot(alpha, sigma)
    y = MIXTURE.flow(x, process, t, s)
    slope = (MIXTURE.flow(x + step, process, t, s) - MIXTURE.flow(x - step, process, t, s)) / (2 * step)
    there = MIXTURE.log_density(y, process.alpha(s), process.sigma(s)) + slope[:, 0].log()
    torch.testing.assert_close(MIXTURE.log_density(x, alpha, sigma), there, rtol=1e-5, atol=1e-5)


@every_process
@pytest.mark.parametrize("prior", [MIXTURE, GaussianPrior(MIXTURE.means[0], MIXTURE.covariances[0])])
def test_the_flow_composes_and_turns_back(process: Process, prior: GaussianMixturePrior) -> None:
    x = (
        math.hypot(process.alpha(0.9), process.sigma(0.9))
        * torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    )
    between = prior.flow(x, process, 0.9, 0.35)
    whole = prior.flow(x, process, 0.9, 0.1)
    torch.testing.assert_close(prior.flow(between, process, 0.35, 0.1), whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(prior.flow(between, process, 0.35, 0.9), x, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(prior.flow(x, process, 0.9, 0.9), x, rtol=1e-9, atol=1e-9)


@every_process
def test_the_gaussian_flow_is_the_flow_of_a_mixture_of_one(process: Process) -> None:
    one = line((1.0, 0.7, 0.3))
    gauss = GaussianPrior(one.means[0], one.covariances[0])
    x = process.sigma(0.9) * torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(gauss.flow(x, process, 0.9, 0.1), one.flow(x, process, 0.9, 0.1))


@every_process
def test_the_gaussian_flow_carries_the_covariance(process: Process) -> None:
    """In any number of dimensions: the flow is affine, and its matrix takes one marginal to the other."""
    prior = spread(4, 1, seed=3)
    gauss, eye = GaussianPrior(prior.means[0], prior.covariances[0]), torch.eye(4, dtype=torch.float64)
    origin = gauss.flow(torch.zeros(1, 4, dtype=torch.float64), process, 0.8, 0.2)
    matrix = (gauss.flow(eye, process, 0.8, 0.2) - origin).T

    def marginal(t: float) -> tuple[torch.Tensor, torch.Tensor]:
        covariance = process.alpha(t) ** 2 * gauss.covariance() + process.sigma(t) ** 2 * eye
        return process.alpha(t) * gauss.mean(), covariance

    (mean, covariance), (wanted_mean, wanted) = marginal(0.8), marginal(0.2)
    torch.testing.assert_close(matrix @ mean + origin[0], wanted_mean)
    torch.testing.assert_close(matrix @ covariance @ matrix.T, wanted)


def test_the_flow_of_a_mixture_is_known_on_a_line_only() -> None:
    with pytest.raises(ConfigError, match="flow is known in closed form for one number a row, got 2"):
        spread(2, 2, seed=0).flow(torch.zeros(1, 2), ALL["flow"], 0.5, 0.1)


def test_samples_have_the_moments_of_the_prior() -> None:
    prior, count = spread(3, 4, seed=9), 200_000
    x = prior.sample(keyed.hash_words(3, np.arange(count)))
    centred = x - prior.mean()
    error = prior.covariance().diagonal().div(count).sqrt()
    assert (centred.mean(0).abs() < 4.0 * error).all()
    torch.testing.assert_close(centred.T @ centred / count, prior.covariance(), rtol=0.02, atol=0.01)
    torch.testing.assert_close(prior.mean(), prior.weights @ prior.means)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_of_any_shape_do_not_depend_on_each_other(dtype: torch.dtype) -> None:
    """As for images: shape (3, 8, 8), and every row the same in any company and order."""
    shape, process = (3, 8, 8), ALL["vp-cosine"]
    wide = spread(192, 3, seed=5, shape=shape)
    prior = GaussianMixturePrior(
        wide.weights.to(dtype), wide.means.to(dtype), wide.covariances.to(dtype), shape
    )
    keys = keyed.hash_words(1, np.arange(6))
    x = prior.sample(keys)
    assert x.shape == (6, *shape) and x.dtype == dtype
    assert torch.equal(prior.sample(keys[4:]), x[4:]) and torch.equal(
        prior.sample(keys[::-1].copy()), x.flip(0)
    )
    clean = prior.denoiser(process)(x, 0.5)
    assert clean.shape == x.shape and clean.dtype == dtype
    assert torch.equal(prior.denoiser(process)(x[2:4], 0.5), clean[2:4])
    assert torch.equal(prior.denoiser(process)(x.flip(0), 0.5), clean.flip(0))
    assert prior.log_density(x).shape == (6,)
    flat = GaussianMixturePrior(prior.weights, prior.means, prior.covariances)
    torch.testing.assert_close(flat.denoiser(process)(x.flatten(1), 0.5), clean.flatten(1))


def test_bad_mixtures_are_refused() -> None:
    one, eye = torch.ones(1), torch.eye(2)[None]
    for arguments, sentence in (
        ((one, torch.zeros(1, 2), torch.eye(3)[None]), r"covariances must have shape \(1, 2, 2\)"),
        ((torch.ones(2), torch.zeros(1, 2), eye), r"weights \(1,\)"),
        ((one, torch.zeros(1, 2), eye, (3,)), r"shape must hold 2 numbers, got \(3,\)"),
        ((-one, torch.zeros(1, 2), eye), "weights must be positive"),
        ((one, torch.zeros(1, 2), -eye), "covariances must be positive semi-definite"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            GaussianMixturePrior(*arguments)
