"""Choosing times: the programme finds the best of all choices, and they beat an even grid."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from envs import keyed
from envs.errors import ConfigError
from policies.diffusion.exact import GaussianMixturePrior
from policies.diffusion.process.cosine import CosineVP
from policies.diffusion.pruning import best_times, step_errors
from policies.diffusion.schedule import grid
from policies.diffusion.solvers.ddim import DDIM

PROCESS = CosineVP()
MIXTURE = GaussianMixturePrior(
    torch.tensor([0.4, 0.6], dtype=torch.float64),
    torch.tensor([[-1.2], [0.8]], dtype=torch.float64),
    torch.tensor([[[0.01]], [[0.04]]], dtype=torch.float64),
)


def noise(seed: int) -> torch.Tensor:
    return torch.as_tensor(keyed.normal(keyed.hash_words(seed, np.arange(1500)), (1,)), dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
def test_no_other_choice_costs_less(steps: int) -> None:
    times = [1.0 - k / 7 for k in range(8)]
    errors = np.triu(np.random.default_rng(steps).uniform(size=(8, 8)), 1)
    errors[errors == 0.0] = np.inf
    chosen = [times.index(t) for t in best_times(times, errors, steps)]
    costs = [
        sum(errors[i, j] for i, j in zip((0, *inner), (*inner, 7), strict=True))
        for inner in combinations(range(1, 7), steps - 1)
    ]
    assert len(chosen) == steps + 1 and chosen[0] == 0 and chosen[-1] == 7
    assert sum(errors[i, j] for i, j in zip(chosen[:-1], chosen[1:], strict=True)) == pytest.approx(
        min(costs)
    )


def test_errors_are_those_of_the_final_sample() -> None:
    times, x, denoise = grid(PROCESS, 6), noise(1), MIXTURE.denoiser(PROCESS)
    errors = step_errors(PROCESS, denoise, x, times)
    ddim = DDIM(eta=0.0)
    whole = ddim.solve(PROCESS, denoise, x, times)
    skipped = ddim.solve(PROCESS, denoise, x, [*times[:2], *times[4:]])
    assert errors[1, 4] == pytest.approx(float((whole - skipped).abs().mean()))
    straight = ddim.solve(PROCESS, denoise, x, [times[0], times[-1]])
    assert errors[0, 6] == pytest.approx(float((whole - straight).abs().mean()))
    assert np.all(np.diag(errors, 1) == 0.0) and np.all(np.isinf(errors[np.tril_indices(7)]))


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_chosen_times_beat_an_even_grid_on_other_samples(steps: int) -> None:
    denoise, fine = MIXTURE.denoiser(PROCESS), grid(PROCESS, 16)
    times = best_times(fine, step_errors(PROCESS, denoise, noise(1), fine), steps)
    x = noise(2)
    exact = MIXTURE.flow(x, PROCESS, 1.0, 0.0)
    ddim = DDIM(eta=0.0)

    def error(walked: list[float]) -> float:
        return float((ddim.solve(PROCESS, denoise, x, walked) - exact).abs().mean())

    assert error(times) < error(grid(PROCESS, steps))


@pytest.mark.parametrize("steps", [0, 4])
def test_more_steps_than_intervals_are_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match=rf"steps must be in \[1, 3\], got {steps}"):
        best_times([1.0, 0.6, 0.3, 0.0], np.zeros((4, 4)), steps)
