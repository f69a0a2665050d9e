"""The noise process and its solvers on Gaussian data, where every marginal is known exactly."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.diffusion import SOLVERS
from policies.diffusion.process import CosineVP

PROCESS = CosineVP()
MEAN, STD = 1.3, 0.4


def exact(x: torch.Tensor, t: float) -> torch.Tensor:
    """E[x_0 | x_t] for x_0 ~ N(MEAN, STD²): the posterior mean of a Gaussian seen through noise."""
    alpha, var = PROCESS.alpha(t), PROCESS.sigma(t) ** 2
    gain = alpha * STD**2 / (alpha**2 * STD**2 + var)
    return MEAN + gain * (x - alpha * MEAN)


def draw(solver: str, steps: int, count: int = 200_000, **options: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(steps)
    start = torch.randn(count, generator=generator, dtype=torch.float64)
    noise = lambda _: torch.randn(count, generator=generator, dtype=torch.float64)  # noqa: E731
    return SOLVERS.create(solver, **options).solve(PROCESS, exact, start, PROCESS.times(steps), noise)


@given(st.floats(0.0, 1.0))
def test_the_process_preserves_variance(t: float) -> None:
    assert PROCESS.alpha(t) ** 2 + PROCESS.sigma(t) ** 2 == pytest.approx(1.0)


@given(st.floats(0.01, 1.0), st.integers(0, 2**31))
def test_noise_and_clean_estimate_are_inverse(t: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    x = PROCESS.diffuse(x0, noise, torch.full((3,), t, dtype=torch.float64))
    torch.testing.assert_close(x, PROCESS.alpha(t) * x0 + PROCESS.sigma(t) * noise)
    torch.testing.assert_close(PROCESS.epsilon(x, x0, t), noise)


def test_ends_of_the_process_are_data_and_noise() -> None:
    x0, noise = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(PROCESS.diffuse(x0, noise, torch.zeros(5)), x0)
    torch.testing.assert_close(PROCESS.diffuse(x0, noise, torch.ones(5)), noise)


def test_times_fall_evenly_to_zero_and_bad_grids_are_refused() -> None:
    assert PROCESS.times(4) == [1.0, 0.75, 0.5, 0.25, 0.0] and PROCESS.times(2, 0.5) == [0.5, 0.25, 0.0]
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        PROCESS.times(0)
    with pytest.raises(ValueError, match="start must be in"):
        PROCESS.times(3, 1.5)


def test_ddim_converges_at_first_order_to_the_exact_flow() -> None:
    """x_t ↦ MEAN + STD·x_1 is the exact flow from noise to data; DDIM is its first-order integrator."""
    start = torch.linspace(-3.0, 3.0, 13, dtype=torch.float64)
    ddim = SOLVERS.create("ddim")
    error = []
    for steps in (16, 32, 64, 128):
        got = ddim.solve(PROCESS, exact, start, PROCESS.times(steps), lambda _: pytest.fail("drew noise"))
        error.append(float((got - (MEAN + STD * start)).abs().max()))
    orders = [math.log2(a / b) for a, b in zip(error[:-1], error[1:], strict=True)]
    assert error[-1] < 0.02 and all(0.8 < order < 1.2 for order in orders), (error, orders)


@pytest.mark.parametrize(
    ("solver", "options"), [("ancestral", {}), ("ddim", {"eta": 0.0}), ("ddim", {"eta": 1.0})]
)
def test_samples_have_the_exact_mean_and_spread(solver: str, options: dict[str, float]) -> None:
    sample = draw(solver, 200, **options)
    assert float(sample.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(sample.std()) == pytest.approx(STD, rel=0.03)
    rough = draw(solver, 4, **options)
    assert abs(float(rough.std()) - STD) > abs(float(sample.std()) - STD)


def test_ancestral_step_is_the_posterior_of_the_forward_process() -> None:
    """With x̂_0 the truth, one step from t to s has the exact marginal of x_s."""
    count, t, s = 400_000, 0.7, 0.3
    generator = torch.Generator().manual_seed(1)
    x0 = torch.full((count,), 0.8, dtype=torch.float64)
    noise, fresh = torch.randn(2, count, generator=generator, dtype=torch.float64)
    x = PROCESS.alpha(t) * x0 + PROCESS.sigma(t) * noise
    for solver in (SOLVERS.create("ancestral"), SOLVERS.create("ddim", eta=1.0)):
        earlier = solver.step(PROCESS, x, x0, t, s, lambda: fresh)
        assert float(earlier.mean()) == pytest.approx(PROCESS.alpha(s) * 0.8, abs=0.005)
        assert float(earlier.std()) == pytest.approx(PROCESS.sigma(s), rel=0.01)
        # Jointly, too: x_t given x_s is the forward step.
        ratio = PROCESS.alpha(t) / PROCESS.alpha(s)
        assert float((x * earlier).mean() - x.mean() * earlier.mean()) == pytest.approx(
            ratio * PROCESS.sigma(s) ** 2, rel=0.02
        )


def test_full_eta_is_ancestral_sampling() -> None:
    generator = torch.Generator().manual_seed(2)
    x, x0, fresh = torch.randn(3, 50, generator=generator, dtype=torch.float64)
    steps = [SOLVERS.create(*args[:1], **args[1]) for args in (("ancestral", {}), ("ddim", {"eta": 1.0}))]
    first, second = (solver.step(PROCESS, x, x0, 0.8, 0.5, lambda: fresh) for solver in steps)
    torch.testing.assert_close(first, second)


def test_solve_reports_every_evaluation_and_ends_at_the_estimate() -> None:
    seen: list[int] = []
    x = torch.ones(3)
    out = SOLVERS.create("ddim").solve(
        PROCESS, lambda x, t: x * 0.0 + t, x, PROCESS.times(3), lambda _: x, lambda k, *_: seen.append(k)
    )
    assert seen == [0, 1, 2]
    torch.testing.assert_close(out, torch.full((3,), 1.0 / 3.0))
