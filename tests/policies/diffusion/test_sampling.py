"""Samplers: keyed noise, warm starts, guidance folded in, and errors that name their cause."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from envs import keyed
from envs.errors import ConfigError, RunError
from policies.diffusion import PROCESSES, SOLVERS
from policies.diffusion.distances import gaussian_wasserstein
from policies.diffusion.exact import GaussianMixturePrior, GaussianPrior
from policies.diffusion.process import Process
from policies.diffusion.sampling import KeyedNoise, Sampler
from policies.diffusion.schedule import grid, with_returns
from policies.diffusion.solvers import Moment

ALL: dict[str, Process] = {name: PROCESSES.create(name) for name in PROCESSES}
COSINE = ALL["vp-cosine"]
KEYS = keyed.hash_words(5, np.arange(12))
SHAPE = (2, 3)


def prior(dtype: torch.dtype = torch.float32) -> GaussianMixturePrior:
    """Three separate modes in six dimensions."""
    means = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    covariances = torch.tensor([0.05, 0.1, 0.2], dtype=torch.float64)[:, None, None] * torch.eye(6).double()
    return GaussianMixturePrior(torch.ones(3, dtype=dtype), means.to(dtype), covariances.to(dtype), SHAPE)


def sampler(name: str, steps: int = 6, process: Process = COSINE, **options: Any) -> Sampler:
    return Sampler(process, prior().denoiser(process), SOLVERS.create(name, **options), grid(process, steps))


@pytest.mark.parametrize("name", list(SOLVERS))
@pytest.mark.parametrize("returns", [False, True])
def test_a_row_is_bit_identical_alone_in_any_batch_and_in_any_order(name: str, returns: bool) -> None:
    one = sampler(name, **({"eta": 0.7} if name == "ddim" else {}))
    if returns:
        one = Sampler(one.process, one.denoise, one.solver, with_returns(one.times, 2, 2))
    together = one.draw(KEYS, SHAPE)
    order = np.random.default_rng(0).permutation(len(KEYS))
    assert torch.equal(one.draw(KEYS[order], SHAPE), together[torch.as_tensor(order)])
    for row in (0, 7):
        assert torch.equal(one.draw(KEYS[row : row + 1], SHAPE)[0], together[row])
    assert torch.equal(one.draw(KEYS[3:8], SHAPE), together[3:8])
    assert len({tuple(row) for row in together.flatten(1).tolist()}) == len(KEYS)


def test_every_draw_of_keyed_noise_is_its_own() -> None:
    noise = KeyedNoise(KEYS, SHAPE)
    draws = [noise.initial(), *(noise(step, draw) for step in range(4) for draw in range(3))]
    assert all(draw.shape == (len(KEYS), *SHAPE) and draw.dtype == torch.float32 for draw in draws)
    flat = torch.stack(draws).flatten().tolist()
    assert len(set(flat)) == len(flat)
    assert torch.equal(noise(2, 1), noise(2, 1))
    assert KeyedNoise(KEYS, SHAPE, torch.float64)(0).dtype == torch.float64


def test_keyed_noise_is_standard_normal() -> None:
    count = 40_000
    draws = KeyedNoise(keyed.hash_words(9, np.arange(count)), (2,), torch.float64)(3, 1)
    assert draws.mean().abs() < 4.0 / math.sqrt(2 * count)
    torch.testing.assert_close(draws.T.cov(), torch.eye(2, dtype=torch.float64), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("process", ALL.values(), ids=ALL)
@pytest.mark.parametrize("start", [0.15, 0.5, 0.85])
def test_sdedit_from_exact_data_gives_exact_data(process: Process, start: float) -> None:
    """Noised to the start time, data have the exact marginal there; the flow takes it to the prior itself."""
    gauss = GaussianPrior(torch.tensor([0.5, -1.0]).double(), torch.tensor([[0.6, 0.2], [0.2, 0.3]]).double())
    times = grid(process, 256, start=start)
    one = Sampler(process, gauss.denoiser(process), SOLVERS.create("heun"), times)
    keys = keyed.hash_words(3, np.arange(4000))
    data = gauss.sample(keyed.hash_words(4, np.arange(4000)))
    got = one.draw(keys, (2,), start=data, dtype=torch.float64)
    noised = (
        process.alpha(start) * data + process.sigma(start) * KeyedNoise(keys, (2,), torch.float64).initial()
    )
    torch.testing.assert_close(got, gauss.flow(noised, process, start, 0.0), rtol=0.0, atol=5e-4)
    # As far from the prior as a set of exact samples of this size: 4 standard errors of mean and spread.
    floor = 4.0 * math.sqrt(float(gauss.covariance().trace()) / 4000)
    assert gaussian_wasserstein(got.mean(0), got.T.cov(), gauss.mean(), gauss.covariance()) < floor


@pytest.mark.parametrize("name", ["ddim", "dpm-solver++", "ancestral", "predictor-corrector"])
def test_a_warm_start_stays_the_closer_the_later_it_starts(name: str) -> None:
    guess = torch.full((len(KEYS), *SHAPE), 0.6)
    gaps = []
    for start in (0.05, 0.2, 0.4, 0.6, 0.9):
        one = Sampler(COSINE, prior().denoiser(COSINE), SOLVERS.create(name), grid(COSINE, 30, start=start))
        gaps.append(float((one.draw(KEYS, SHAPE, start=guess) - guess).flatten(1).norm(dim=1).mean()))
    assert gaps == sorted(gaps) and gaps[0] < 0.5 * gaps[-1], gaps


def test_a_sampler_shows_every_step_to_its_callback_and_takes_what_it_returns() -> None:
    seen: list[Moment] = []

    def watch(moment: Moment) -> torch.Tensor:
        seen.append(moment)
        return torch.zeros_like(moment.x)

    one = sampler("ddim", 4)
    end = Sampler(one.process, one.denoise, one.solver, one.times, callback=watch).draw(KEYS, SHAPE)
    assert [moment.k for moment in seen] == [0, 1, 2, 3] and torch.equal(end, torch.zeros(len(KEYS), *SHAPE))


def test_without_terms_a_run_is_the_solver_itself() -> None:
    one = sampler("heun")
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    assert torch.equal(one.run(x), one.solver.solve(COSINE, one.denoise, x, one.times))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_have_the_dtype_asked_for(dtype: torch.dtype) -> None:
    one = Sampler(COSINE, prior(dtype).denoiser(COSINE), SOLVERS.create("ancestral"), grid(COSINE, 4))
    assert one.draw(KEYS, SHAPE, dtype=dtype).dtype == dtype


def test_bad_starts_are_refused() -> None:
    one = sampler("ddim")
    with pytest.raises(ConfigError, match=r"start must have shape \(12, 2, 3\), got \(12, 6\)"):
        one.draw(KEYS, SHAPE, start=torch.zeros(12, 6))
    with pytest.raises(ConfigError, match="start must be finite, got NaN or inf"):
        one.draw(KEYS, SHAPE, start=torch.full((12, *SHAPE), math.nan))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_sample_that_is_not_finite_is_named_and_the_others_are_spared(bad: float) -> None:
    clean = prior().denoiser(COSINE)

    def broken(x: torch.Tensor, t: float) -> torch.Tensor:
        out = clean(x, t).clone()
        out[3] = bad if t < 0.5 else out[3]
        return out

    one = sampler("ddim")
    poisoned = Sampler(COSINE, broken, one.solver, one.times)
    with pytest.raises(RunError, match=r"NaN or inf in rows \[3\] of 12"):
        poisoned.draw(KEYS, SHAPE)
    noise = KeyedNoise(KEYS, SHAPE)
    rest = [row for row in range(12) if row != 3]
    assert torch.equal(poisoned.run(noise.initial())[rest], one.run(noise.initial())[rest])
