"""Measuring a prior: an expert is perfect by its own measure, draws are keyed, guidance adds up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from policies.diffusion import SOLVERS
from policies.trajectory.context import feature_count
from policies.trajectory.demonstrations import Problem
from policies.trajectory.evaluate import TUNING_SEED, Drawn, Way, draw, interval, problems, quality
from policies.trajectory.prior import Denoiser, PriorSpec, TrajectoryPrior


@pytest.fixture(scope="module")
def posed() -> list[Problem]:
    return problems(TUNING_SEED, 1, 24)


@pytest.fixture(scope="module")
def prior() -> TrajectoryPrior:
    torch.manual_seed(0)
    made = TrajectoryPrior(PriorSpec(width=32, blocks=2), np.full(20, 0.02, np.float32))
    torch.nn.init.normal_(made.network.exit.weight, std=0.1)
    made.network.eval().requires_grad_(False)
    return made


def test_the_expert_is_perfect_by_its_own_measure(posed: list[Problem]) -> None:
    for problem in posed:
        control = np.repeat(problem.control[:, None], 2, axis=1)
        found = quality(problem, Drawn(control, np.zeros((len(control), 2, 20), np.float32), 0.0, 0.0))
        assert found["collision_free"].mean() > 0.97
        np.testing.assert_allclose(found["min_ade"], 0.0, atol=1e-6)
        np.testing.assert_allclose(found["diversity"], 0.0, atol=1e-6)
        moving = np.isfinite(found["length_ratio"])
        np.testing.assert_allclose(found["length_ratio"][moving], 1.0, rtol=1e-5)


def test_a_plan_through_a_wall_is_not_free(posed: list[Problem]) -> None:
    problem = next(each for each in posed if len(each.obstacles.boxes))
    box = problem.obstacles.boxes[0]
    control = np.repeat(problem.control[:, None], 2, axis=1)
    control[:, 1, 5:] = box[:2]
    found = quality(problem, Drawn(control, np.zeros((len(control), 2, 20), np.float32), 0.0, 0.0))
    assert found["collision_free"].max() <= 0.5


def test_problems_are_drawn_alike_in_any_company(posed: list[Problem], prior: TrajectoryPrior) -> None:
    way = Way(prior.times(3), SOLVERS.create("ancestral"))
    whole, some = draw(prior, posed[1], 4, way), draw(prior, posed[1].first(8), 4, way)
    np.testing.assert_allclose(whole.residual[:8], some.residual, atol=1e-6)
    assert whole.calls == 3.0 and whole.cpu_s > 0.0
    assert not np.allclose(draw(prior, posed[1], 4, way, seed=1).residual, whole.residual, atol=1e-3)


def test_guidance_of_weight_one_changes_nothing_and_costs_twice(
    posed: list[Problem], prior: TrajectoryPrior
) -> None:
    plain = draw(prior, posed[0], 2, Way(prior.times(4)))
    told = draw(prior, posed[0], 2, Way(prior.times(4), wrap=lambda d: d.guided(1.0)))
    np.testing.assert_allclose(told.residual, plain.residual, atol=1e-5)
    assert (plain.calls, told.calls) == (4.0, 8.0)


def test_guidance_goes_on_from_the_untold_through_the_told(prior: TrajectoryPrior) -> None:
    features = torch.randn(5, feature_count(12))
    x = torch.randn(5, 3, 20)
    told = Denoiser.bind(prior, features)(x, 0.5)
    untold = Denoiser.bind(prior, torch.zeros_like(features))(x, 0.5)
    guided = Denoiser.bind(prior, features).guided(1.5)(x, 0.5)
    torch.testing.assert_close(guided, told + 0.5 * (told - untold), rtol=1e-4, atol=1e-5)
    assert float((told - untold).abs().max()) > 1e-3


def test_intervals_cover_the_mean_and_leave_out_what_is_not_there() -> None:
    values = np.r_[np.arange(50.0), np.nan]
    found = interval(values)
    low, high = found["ci95"]
    assert found["mean"] == 24.5 and found["n"] == 50 and low < 24.5 < high
    # The bootstrap of a mean is close to normal here.
    assert high - low == pytest.approx(2 * 1.96 * np.arange(50.0).std() / 50**0.5, rel=0.15)
    assert interval(values) == found


def test_only_the_wanted_problems_are_kept(posed: list[Problem]) -> None:
    assert all(len(each.context) == len(each.control) == 24 for each in posed)
    assert posed[0].first(3).context.features.shape[0] == 3
