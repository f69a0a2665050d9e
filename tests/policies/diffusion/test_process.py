"""Noise processes against numerics, every registered one and the corners of its parameters."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.diffusion import PROCESSES
from policies.diffusion.process import Process

ALL: dict[str, Process] = {name: PROCESSES.create(name) for name in PROCESSES} | {
    "vp-linear, constant": PROCESSES.create("vp-linear", beta_min=9.0, beta_max=9.0),
    "vp-linear, falling": PROCESSES.create("vp-linear", beta_min=15.0, beta_max=5.0),
    "vp-linear, from zero": PROCESSES.create("vp-linear", beta_min=0.0, beta_max=20.0),
    "ve, small": PROCESSES.create("ve", sigma_max=3.0),
}
VP = [name for name in ALL if name.startswith("vp")]
INSIDE = st.floats(0.01, 0.99)
every = pytest.mark.parametrize("process", ALL.values(), ids=ALL)


@every
@given(t=INSIDE)
def test_rates_are_the_derivatives(process: Process, t: float) -> None:
    step = 1e-5
    for rate, curve in zip(process.rates(t), (process.alpha, process.sigma), strict=True):
        assert rate == pytest.approx((curve(t + step) - curve(t - step)) / (2 * step), rel=1e-5, abs=1e-8)


@every
@given(t=st.floats(1e-4, 0.999))
def test_the_time_of_a_ratio_is_its_inverse(process: Process, t: float) -> None:
    assert process.time_of(process.ratio(t)) == pytest.approx(t, rel=1e-9)
    assert process.time_at_angle(process.angle(t)) == pytest.approx(t, rel=1e-9)
    assert process.log_snr(t) == pytest.approx(-math.log(process.ratio(t)))


@every
@given(ratio=st.one_of(st.floats(0.0, 1e300), st.just(math.inf)))
def test_every_ratio_has_a_time(process: Process, ratio: float) -> None:
    time = process.time_of(ratio)
    assert 0.0 <= time <= 1.0
    if process.ratio(1e-6) < ratio < process.ratio(0.999):
        assert process.ratio(time) == pytest.approx(ratio, rel=1e-6)


@every
@given(t=st.floats(1e-6, 1e-3))
def test_times_near_the_data_keep_their_digits(process: Process, t: float) -> None:
    # α = cos and σ = √(−expm1) are themselves exact to rounding, so their inverse can be.
    assert process.time_of(process.sigma(t) / process.alpha(t)) == pytest.approx(t, rel=1e-10)


@every
def test_ends_are_data_and_noise(process: Process) -> None:
    assert (process.alpha(0.0), process.sigma(0.0)) == (1.0, 0.0)
    assert process.angle(0.0) == 0.0 and process.log_snr(0.0) == math.inf and process.ratio(0.0) == 0.0
    assert process.time_of(0.0) == 0.0 and process.time_of(math.inf) == 1.0
    assert process.time_at_angle(0.5 * math.pi) == 1.0


@pytest.mark.parametrize("name", list(PROCESSES))
def test_with_its_defaults_a_process_loses_the_data(name: str) -> None:
    # σ/α at t = 1: infinite for cosine and flow, 152 for linear β, σ_max = 80 for ve.
    assert ALL[name].ratio(1.0) >= 80.0


@pytest.mark.parametrize("name", VP)
@given(t=st.floats(0.0, 1.0))
def test_variance_preserving_processes_preserve_it(name: str, t: float) -> None:
    assert ALL[name].alpha(t) ** 2 + ALL[name].sigma(t) ** 2 == pytest.approx(1.0, abs=1e-15)


@every
@given(times=st.tuples(INSIDE, INSIDE))
def test_noise_only_grows(process: Process, times: tuple[float, float]) -> None:
    s, t = sorted(times)
    assert process.alpha(s) >= process.alpha(t) and process.sigma(s) <= process.sigma(t)
    assert process.angle(s) <= process.angle(t)


@every
@given(times=st.tuples(INSIDE, INSIDE, INSIDE))
def test_transitions_compose(process: Process, times: tuple[float, float, float]) -> None:
    r, s, t = sorted(times)
    (first, var_first), (then, var_then) = process.transition(r, s), process.transition(s, t)
    whole, var_whole = process.transition(r, t)
    assert whole == pytest.approx(first * then)
    assert var_whole == pytest.approx(
        then**2 * var_first + var_then, rel=1e-9, abs=1e-12 * process.sigma(t) ** 2
    )
    assert process.transition(0.0, t) == pytest.approx((process.alpha(t), process.sigma(t) ** 2))


@every
@given(t=INSIDE)
def test_the_drift_is_the_limit_of_a_transition(process: Process, t: float) -> None:
    f, variance_rate = process.drift(t)
    short = 1e-6
    scale, variance = process.transition(t, t + short)
    assert (scale - 1.0) / short == pytest.approx(f, rel=1e-3, abs=1e-6)
    # The variance is a difference of two σ²: rounding of σ² divided by the step is what can be seen.
    rounding = 4e-16 * process.sigma(t) ** 2 / short
    assert variance / short == pytest.approx(variance_rate, rel=1e-3, abs=1e-8 + 4 * rounding)


def test_the_drift_is_infinite_at_pure_noise() -> None:
    assert PROCESSES.create("flow").drift(1.0) == (-math.inf, math.inf)


@every
@given(t=st.floats(0.02, 1.0), seed=st.integers(0, 2**31))
def test_noise_and_clean_estimate_are_inverse(process: Process, t: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, 3, 4, 2, generator=generator, dtype=torch.float64)
    x = process.diffuse(x0, noise, torch.full((3,), t, dtype=torch.float64))
    torch.testing.assert_close(x, process.alpha(t) * x0 + process.sigma(t) * noise)
    torch.testing.assert_close(process.epsilon(x, x0, t), noise)


@every
def test_rows_are_diffused_to_their_own_times(process: Process) -> None:
    times = torch.linspace(0.0, 1.0, 5, dtype=torch.float64)
    ones = torch.ones(5, 2, 2, dtype=torch.float64)
    data, noise = process.diffuse(ones, 0.0 * ones, times), process.diffuse(0.0 * ones, ones, times)
    for row, t in enumerate(times.tolist()):
        torch.testing.assert_close(data[row], process.alpha(t) * ones[row])
        torch.testing.assert_close(noise[row], process.sigma(t) * ones[row])
