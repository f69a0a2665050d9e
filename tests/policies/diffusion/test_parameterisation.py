"""Conversions between what networks predict: exact both ways, for every process."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs.errors import ConfigError
from policies.diffusion import PROCESSES
from policies.diffusion.parameterisation import (
    TARGETS,
    Target,
    denoiser,
    from_clean,
    preconditioning,
    to_clean,
)
from policies.diffusion.process import Process

ALL: dict[str, Process] = {name: PROCESSES.create(name) for name in PROCESSES}
every_process = pytest.mark.parametrize("process", ALL.values(), ids=ALL)
every_target = pytest.mark.parametrize("target", TARGETS)
INSIDE = st.floats(0.02, 0.98)


def pair(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    x0, noise = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x0, noise


@every_process
@every_target
@given(t=INSIDE, spread=st.floats(0.1, 4.0), seed=st.integers(0, 2**31))
def test_conversions_are_exact_both_ways(
    process: Process, target: Target, t: float, spread: float, seed: int
) -> None:
    x0, noise = pair(seed)
    x = process.alpha(t) * x0 + process.sigma(t) * noise
    output = from_clean(target, x0, x, process, t, spread)
    torch.testing.assert_close(to_clean(target, output, x, process, t, spread), x0, rtol=1e-8, atol=1e-8)
    # And from an output that no x_0 made.
    back = from_clean(target, to_clean(target, noise, x, process, t, spread), x, process, t, spread)
    torch.testing.assert_close(back, noise, rtol=1e-7, atol=1e-7)


@every_process
@given(t=INSIDE, seed=st.integers(0, 2**31))
def test_targets_are_what_they_are_called(process: Process, t: float, seed: int) -> None:
    x0, noise = pair(seed)
    alpha, sigma, step = process.alpha(t), process.sigma(t), 1e-5
    x = alpha * x0 + sigma * noise
    made = {target: from_clean(target, x0, x, process, t) for target in TARGETS}
    torch.testing.assert_close(made["x0"], x0)
    torch.testing.assert_close(made["epsilon"], noise)
    torch.testing.assert_close(made["v"], alpha * noise - sigma * x0)
    later, earlier = (process.alpha(u) * x0 + process.sigma(u) * noise for u in (t + step, t - step))
    torch.testing.assert_close(made["velocity"], (later - earlier) / (2 * step), rtol=1e-4, atol=1e-6)
    # Karras et al. 2022, table 1, written out for x/α and σ/α.
    level = sigma / alpha
    skip, out = 1.0 / (1.0 + level**2), level / math.sqrt(1.0 + level**2)
    torch.testing.assert_close(made["edm"], (x0 - skip * x / alpha) / out)


@every_process
@given(t=st.floats(0.001, 1.0), spread=st.floats(0.05, 20.0))
def test_edm_inputs_and_targets_have_unit_variance(process: Process, t: float, spread: float) -> None:
    skip, out, scale, _ = preconditioning(process, t, spread)
    alpha, sigma = process.alpha(t), process.sigma(t)
    assert scale**2 * (alpha**2 * spread**2 + sigma**2) == pytest.approx(1.0)
    # (x_0 − skip x)/out with x = α x_0 + σ ε, x_0 of variance spread² and ε of variance 1.
    data, noise = (1.0 - skip * alpha) / out, skip * sigma / out
    assert data**2 * spread**2 + noise**2 == pytest.approx(1.0)
    # Least amplification of the network's errors: x̂_0 regressed on x leaves exactly out².
    assert skip == pytest.approx(alpha * spread**2 / (alpha**2 * spread**2 + sigma**2))


@every_process
def test_edm_is_continuous_at_pure_noise(process: Process) -> None:
    at, near = preconditioning(process, 1.0, 0.5), preconditioning(process, 1.0 - 1e-7, 0.5)
    assert at[:3] == pytest.approx(near[:3], abs=1e-5)
    assert all(math.isfinite(number) for number in at)
    if process.alpha(1.0) < 1e-12:
        # Nothing is known there: the network's output is the whole estimate, in units of the data.
        assert at[:3] == pytest.approx((0.0, 0.5, 1.0), abs=1e-12)


@every_process
@every_target
def test_a_network_that_knows_the_answer_gives_it(process: Process, target: Target) -> None:
    x0, noise = pair(3)
    t, spread = 0.4, 0.7
    x = process.alpha(t) * x0 + process.sigma(t) * noise
    seen: list[tuple[torch.Tensor, float]] = []

    def network(given: torch.Tensor, time: float) -> torch.Tensor:
        seen.append((given, time))
        return from_clean(target, x0, x, process, t, spread)

    torch.testing.assert_close(denoiser(network, target, process, spread)(x, t), x0)
    (given, time), (_, _, scale, level) = seen[0], preconditioning(process, t, spread)
    torch.testing.assert_close(given, scale * x if target == "edm" else x)
    assert time == (level if target == "edm" else t)


@pytest.mark.parametrize("target", ["x0", "v", "velocity", "edm"])
@pytest.mark.parametrize("name", ["vp-cosine", "flow"])
def test_all_but_epsilon_are_finite_at_pure_noise(target: Target, name: str) -> None:
    x, output = pair(5)
    assert torch.isfinite(to_clean(target, output, x, ALL[name], 1.0)).all()


def test_an_unknown_target_is_named() -> None:
    x = torch.zeros(1, 2)
    wrong: Target = "noise"  # type: ignore[assignment]
    for call in (
        lambda: denoiser(lambda x, t: x, wrong, ALL["flow"]),
        lambda: to_clean(wrong, x, x, ALL["flow"], 0.5),
        lambda: from_clean(wrong, x, x, ALL["flow"], 0.5),
    ):
        with pytest.raises(
            ConfigError, match="target must be one of x0, epsilon, v, velocity, edm, got 'noise'"
        ):
            call()
