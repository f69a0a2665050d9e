"""Caches: computed as often as asked, near the whole path, and no row feels its batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from envs import keyed
from envs.errors import ConfigError
from policies.diffusion import SOLVERS
from policies.diffusion.caching import ReusedEstimate, ReusedFeatures
from policies.diffusion.exact import GaussianPrior
from policies.diffusion.process.cosine import CosineVP
from policies.diffusion.schedule import grid
from policies.trajectory.prior import Denoiser, PriorSpec, SplitDenoiser, TrajectoryPrior

PROCESS = CosineVP()
SPEC = PriorSpec(control_points=8, horizon_ticks=16, width=32, blocks=3)


def prior() -> TrajectoryPrior:
    torch.manual_seed(0)
    made = TrajectoryPrior(SPEC, np.full(SPEC.state_dim, 0.1, np.float32))
    torch.nn.init.normal_(made.network.exit.weight, std=0.1)
    made.network.eval().requires_grad_(False)
    return made


def bound(made: TrajectoryPrior, rows: int = 16) -> Denoiser:
    features = torch.as_tensor(
        keyed.normal(keyed.hash_words(1, np.arange(rows)), (made.network.encoder[0].in_features,))
    )
    return Denoiser.bind(made, features)


def noise(rows: int, samples: int = 3) -> torch.Tensor:
    return torch.as_tensor(keyed.normal(keyed.hash_words(2, np.arange(rows)), (samples, SPEC.state_dim)))


def test_a_kept_estimate_is_a_longer_ddim_step() -> None:
    """With DDIM, an estimate that holds for two steps is one step of twice the length."""
    exact = GaussianPrior(torch.tensor([0.3, -0.2]), torch.diag(torch.tensor([1.0, 0.2])))
    denoise, times = exact.denoiser(PROCESS), grid(PROCESS, 8)
    x = torch.as_tensor(keyed.normal(keyed.hash_words(0, np.arange(32)), (2,)))
    ddim = SOLVERS.create("ddim")
    calls: list[float] = []

    def counted(x: torch.Tensor, t: float) -> torch.Tensor:
        calls.append(t)
        return denoise(x, t)

    cached = ddim.solve(PROCESS, ReusedEstimate(counted, 2), x, times)
    torch.testing.assert_close(cached, ddim.solve(PROCESS, denoise, x, times[::2]), rtol=0, atol=1e-5)
    assert calls == times[:-1:2]


@pytest.mark.parametrize("every", [2, 3])
def test_features_are_reused_as_often_as_asked(every: int) -> None:
    made = prior()
    whole, cached = bound(made), bound(made)
    times, x, ddim = made.times(12), noise(16), SOLVERS.create("ddim")
    reference = ddim.solve(PROCESS, whole, x, times)
    reused = ddim.solve(PROCESS, ReusedFeatures(SplitDenoiser(cached), every), x, times)
    assert whole.calls == pytest.approx(12.0)
    assert cached.calls == pytest.approx(12.0 / 3 + (12.0 / every) * 2 / 3)
    once = ddim.solve(PROCESS, ReusedFeatures(SplitDenoiser(bound(made)), 1), x, times)
    torch.testing.assert_close(once, reference, rtol=0, atol=1e-5)
    change = float((reused - reference).square().mean().sqrt())
    assert 1e-6 < change < 0.2 * float(reference.square().mean().sqrt())


@pytest.mark.parametrize("solver", ["ddim", "heun", "dpm-solver++"])
def test_rows_of_a_cached_path_do_not_feel_their_batch(solver: str) -> None:
    made, x, times = prior(), noise(16), prior().times(6)
    walk = SOLVERS.create(solver)
    alone = Denoiser(made, bound(made).embedding[:8])
    for wrap in (lambda d: ReusedFeatures(SplitDenoiser(d), 2), lambda d: ReusedEstimate(d, 2)):
        together = walk.solve(PROCESS, wrap(bound(made)), x, times)
        apart = walk.solve(PROCESS, wrap(Denoiser(made, alone.embedding)), x[:8], times)
        torch.testing.assert_close(together[:8], apart, rtol=0, atol=1e-6)


def test_a_path_that_turns_back_starts_afresh() -> None:
    seen: list[float] = []

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        seen.append(t)
        return x

    cached = ReusedEstimate(denoise, 3)
    for t in (0.9, 0.7, 0.5, 0.3, 0.9, 0.7):
        cached(torch.zeros(2, 1), t)
    assert seen == [0.9, 0.3, 0.9]


def test_a_cache_that_never_computes_is_refused() -> None:
    with pytest.raises(ConfigError, match="every must be at least 1, got 0"):
        ReusedEstimate(lambda x, t: x, 0)
