"""Every solver converges to the exact distribution, with the order that it claims.

How errors are measured, without Monte Carlo noise, is said in `experiments/solver_orders.py`.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import polars as pl
import pytest
import solver_orders as orders
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.diffusion import PROCESSES, SOLVERS
from policies.diffusion.distances import energy_distance, sliced_wasserstein
from policies.diffusion.exact import GaussianPrior
from policies.diffusion.process import Process
from policies.diffusion.sampling import Sampler
from policies.diffusion.schedule import grid, with_returns
from policies.diffusion.solvers import Moment, Step

ROOT = Path(__file__).parents[3]


PROCESSES_HERE: dict[str, Process] = orders.processes()
NAMES = sorted({case.solver for case in (*orders.DETERMINISTIC, *orders.STOCHASTIC)} | {"consistency"})
every_process = pytest.mark.parametrize("process", PROCESSES_HERE.values(), ids=PROCESSES_HERE)
deterministic = pytest.mark.parametrize("case", orders.DETERMINISTIC, ids=lambda case: case.label)
stochastic = pytest.mark.parametrize("case", orders.STOCHASTIC, ids=lambda case: case.label)


def test_every_registered_solver_is_verified_here() -> None:
    assert set(SOLVERS) == set(NAMES)


@every_process
@deterministic
def test_deterministic_solvers_have_the_order_they_claim(process: Process, case: orders.Case) -> None:
    """Largest error of the map of a mixture, t = 0.98 to 0.02: slope within 0.1 of the claim from 32 steps on."""
    steps = (32, 64, 128, 256)
    errors = [orders.map_error(process, case, n) for n in steps]
    assert orders.slope(steps, errors, 32) == pytest.approx(case.order, abs=0.1), errors


@every_process
@deterministic
def test_deterministic_solvers_reach_the_data(process: Process, case: orders.Case) -> None:
    """To t = 0: the clean estimate as the last step leaves order 2 at most.

    A log-SNR grid grows longer as its last ratio falls with 1/steps, so its order 2 holds up to a logarithm:
    the length of a step is log(2nρ)/n for ρ = σ/α at the start, 10 to 150 here, and so the slope at 90 steps
    is 2 − 2/log(2nρ), 1.73 to 1.80.
    """
    steps = (32, 64, 128, 256)
    errors = [orders.map_error(process, case, n, end=0.0) for n in steps]
    least = case.order_at_zero - (0.3 if case.spacing == "log-snr" else 0.1)
    assert least <= orders.slope(steps, errors, 32) <= case.order_at_zero + 0.1, errors


@every_process
@stochastic
@pytest.mark.parametrize("end", [orders.END, 0.0])
def test_stochastic_solvers_have_weak_order_one(process: Process, case: orders.Case, end: float) -> None:
    """2-Wasserstein distance to the exact Gaussian marginal: slope within 0.1 of 1 from 256 steps on."""
    steps = (256, 512, 1024)
    errors = [orders.weak_error(process, case, n, end=end) for n in steps]
    assert orders.slope(steps, errors, 256) == pytest.approx(1.0, abs=0.1), errors
    assert errors[-1] < 4e-3


@pytest.mark.parametrize("case", (*orders.STOCHASTIC, *orders.DETERMINISTIC), ids=lambda case: case.label)
def test_moments_step_by_step_are_those_of_the_whole_run(case: orders.Case) -> None:
    """The measure itself: impulses of every draw of a whole run, against moments carried through the steps."""
    process, prior, steps = PROCESSES_HERE["vp-cosine"], orders.gaussian(), 12
    times = grid(process, steps, case.spacing, start=0.98)
    mean, covariance = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    solver, denoise = case.create(steps), prior.denoiser(process)
    whole = orders.affine_moments(process, denoise, solver, times, mean, covariance, case.draws)
    if case.solver != "dpm-solver++":  # which remembers the step before
        for t, s in pairwise(times):
            mean, covariance = orders.affine_moments(
                process, denoise, solver, [t, s], mean, covariance, case.draws
            )
        torch.testing.assert_close(whole, (mean, covariance))
    count, generator = 50_000, torch.Generator().manual_seed(0)

    def noise(step: int, draw: int = 0) -> torch.Tensor:
        return torch.randn(count, 2, generator=generator, dtype=torch.float64)

    drawn = solver.solve(process, denoise, noise(0), times, noise)
    error = (whole[1].diagonal() / count).sqrt()
    assert ((drawn.mean(0) - whole[0]).abs() < 5.0 * error).all()
    torch.testing.assert_close(drawn.T.cov(), whole[1], rtol=0.03, atol=0.01)


@pytest.mark.parametrize("r", [0.1, 0.16, 0.5])
@pytest.mark.parametrize("name", ["vp-cosine", "ve"])
def test_the_corrector_has_the_bias_of_unadjusted_langevin(name: str, r: float) -> None:
    """Its stationary variance is V/(1 − δ/2V) with δ = 2 (r σ)²: what more steps at fixed r cannot remove."""
    process, variance, s = PROCESSES_HERE[name], 0.4, 0.3
    prior = GaussianPrior(
        torch.zeros(1, dtype=torch.float64), torch.tensor([[variance]], dtype=torch.float64)
    )
    # The corrector forgets where it started: contraction 1 − δ/V a turn.
    turns = 200 + int(20.0 / r**2)
    solver = SOLVERS.create("predictor-corrector", corrections=turns, langevin_snr=r)
    level = process.alpha(s) ** 2 * variance + process.sigma(s) ** 2
    _, made = orders.affine_moments(
        process, prior.denoiser(process), solver, [s + 1e-3, s], torch.zeros(1, dtype=torch.float64),
        torch.full((1, 1), 5.0, dtype=torch.float64), 1 + turns,
    )  # fmt: skip
    step = 2.0 * (r * process.sigma(s)) ** 2
    assert float(made) == pytest.approx(level / (1.0 - step / (2.0 * level)), rel=1e-6)


def test_at_a_fixed_step_the_correctors_bias_falls_with_two_thirds_of_an_order() -> None:
    """To t = 0, in the asymptotic range, which the largest step reaches at 1,000 steps and the default far later.

    The slope comes up to 2/3 from below, as the predictor's error has the other sign; within 0.05 is asserted.
    """
    case = orders.Case("largest step", "predictor-corrector", 2.0 / 3.0, {"langevin_snr": 1.0}, draws=2)
    steps = (1024, 2048, 4096)
    errors = [orders.weak_error(PROCESSES_HERE["vp-cosine"], case, n, end=0.0) for n in steps]
    assert orders.slope(steps, errors, 1024) == pytest.approx(case.order, abs=0.05), errors
    # Where the grid ends before 0 the bias stays: nothing is gained from four times the steps.
    first, last = (orders.weak_error(PROCESSES_HERE["vp-cosine"], case, n, end=0.3) for n in (64, 256))
    assert last > 0.8 * first > 0.01, (first, last)


@every_process
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_a_consistency_function_is_exact_at_any_number_of_steps(process: Process, steps: int) -> None:
    prior, start = orders.gaussian(), 0.9
    alpha, eye = process.alpha(start), torch.eye(2, dtype=torch.float64)
    mean, covariance = orders.affine_moments(
        process, prior.consistency(process), SOLVERS.create("consistency"), grid(process, steps, start=start),
        alpha * prior.mean(), alpha**2 * prior.covariance() + process.sigma(start) ** 2 * eye, 1,
    )  # fmt: skip
    torch.testing.assert_close(mean, prior.mean())
    torch.testing.assert_close(covariance, prior.covariance())


@pytest.mark.parametrize(
    ("case", "steps"),
    [
        (case, 16 if case.label == "rk4" else 64)
        for case in (*orders.DETERMINISTIC, *orders.STOCHASTIC[:-1], orders.FIXED)
    ],
    ids=lambda value: value.label if isinstance(value, orders.Case) else str(value),
)
def test_samples_of_many_modes_in_ten_dimensions_are_as_near_as_exact_ones(
    case: orders.Case, steps: int
) -> None:
    """At most a tenth farther than the farthest of fifteen pairs of exact sets of 300 rows, in both distances.

    A rough check of all parts together: 8 ancestral steps fail it, 12 do not. The orders are the sharp one.
    """
    process, prior = PROCESSES_HERE["vp-cosine"], orders.modes()
    exact = [prior.sample(orders.keys(number)[:300]) for number in range(6)]
    times = grid(process, steps, case.spacing, last_ratio=orders.LAST_RATIO)
    sampler = Sampler(process, prior.denoiser(process), case.create(steps), times)
    made = sampler.draw(orders.keys(50)[:300], (10,), dtype=torch.float64)
    for distance in (sliced_wasserstein, energy_distance):
        floor = max(distance(one, other) for one, other in combinations(exact, 2))
        assert sum(distance(made, each) for each in exact) / 6 < 1.1 * floor


def step_of(process: Process, x: torch.Tensor, x0: torch.Tensor, t: float, s: float, z: torch.Tensor) -> Step:
    return Step(process, lambda x, t: x0, 0, t, s, x, x0, None, lambda draw: z)


@every_process
@given(times=st.tuples(st.floats(0.05, 0.98), st.floats(0.05, 0.98)), x0=st.floats(-3.0, 3.0))
def test_an_ancestral_step_is_the_posterior_of_the_forward_process(
    process: Process, times: tuple[float, float], x0: float
) -> None:
    """With x̂_0 the truth, (x_s, x_t) has the joint distribution of the forward process: mean and covariance."""
    s, t = min(times), max(times) + 0.01
    alpha, sigma = process.alpha(t), process.sigma(t)
    # Affine in the two normals behind x_t and behind the step: response to none, to the first, to the second.
    normals = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    clean = torch.full((3, 1), x0, dtype=torch.float64)
    x = alpha * clean + sigma * normals[:, :1]
    for solver in (SOLVERS.create("ancestral"), SOLVERS.create("ddim", eta=1.0)):
        earlier = solver.step(step_of(process, x, clean, t, s, normals[:, 1:]))
        through, fresh = (earlier[1:] - earlier[0]).flatten().tolist()
        assert float(earlier[0]) == pytest.approx(process.alpha(s) * x0, abs=1e-9)
        assert through**2 + fresh**2 == pytest.approx(process.sigma(s) ** 2)
        ratio, _ = process.transition(s, t)
        assert through * sigma == pytest.approx(ratio * process.sigma(s) ** 2)


@every_process
def test_full_eta_is_ancestral_sampling_and_no_eta_draws_nothing(process: Process) -> None:
    x, x0, z = torch.randn(3, 50, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    at = step_of(process, x, x0, 0.8, 0.5, z)
    torch.testing.assert_close(SOLVERS.create("ddim", eta=1.0).step(at), SOLVERS.create("ancestral").step(at))
    torch.testing.assert_close(SOLVERS.create("ddim").step(at), at.ddim())


@pytest.mark.parametrize("case", orders.DETERMINISTIC, ids=lambda case: case.label)
def test_deterministic_solvers_need_no_noise_and_others_say_that_they_do(case: orders.Case) -> None:
    process, x = PROCESSES_HERE["flow"], torch.ones(2, 1)
    case.create(4).solve(process, lambda x, t: 0.5 * x, x, grid(process, 4, case.spacing))
    with pytest.raises(ValueError, match="this solver draws noise"):
        SOLVERS.create("ancestral").solve(process, lambda x, t: 0.5 * x, x, grid(process, 4))


@pytest.mark.parametrize("name", NAMES)
def test_calls_per_step_are_those_that_the_docstring_counts(name: str) -> None:
    calls: Counter[str] = Counter()
    process, steps = PROCESSES_HERE["flow"], 10

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        calls[name] += 1
        return 0.5 * x

    times = grid(process, steps, start=0.9, end=0.1)
    SOLVERS.create(name).solve(process, denoise, torch.ones(2, 1), times, lambda k, draw=0: torch.zeros(2, 1))
    assert calls[name] == steps * {"heun": 2, "rk4": 4, "predictor-corrector": 2}.get(name, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("process", list(PROCESSES))
def test_every_solver_is_finite_from_pure_noise_to_data(name: str, process: str) -> None:
    noising, denoise = PROCESSES.create(process), orders.gaussian().denoiser(PROCESSES.create(process))
    x = noising.sigma(1.0) * torch.randn(
        4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    end = SOLVERS.create(name).solve(
        noising, denoise, x, grid(noising, 5), lambda k, draw=0: torch.ones_like(x)
    )
    assert torch.isfinite(end).all()


def test_the_callback_sees_every_step_and_may_replace_the_state() -> None:
    process, prior = PROCESSES_HERE["vp-cosine"], orders.gaussian()
    times, x = grid(process, 4), torch.ones(3, 2, dtype=torch.float64)
    seen: list[Moment] = []
    end = SOLVERS.create("ddim").solve(process, prior.denoiser(process), x, times, callback=seen.append)
    assert [(moment.k, moment.t, moment.s) for moment in seen] == [
        (k, t, s) for k, (t, s) in enumerate(pairwise(times))
    ]
    torch.testing.assert_close(seen[0].x0, prior.denoiser(process)(x, 1.0))
    assert torch.equal(seen[-1].x, end)

    def replace(moment: Moment) -> torch.Tensor | None:
        return torch.full_like(moment.x, 7.0) if moment.k == 3 else None

    replaced = SOLVERS.create("ddim").solve(process, prior.denoiser(process), x, times, callback=replace)
    torch.testing.assert_close(replaced, torch.full((3, 2), 7.0, dtype=torch.float64))


@every_process
def test_a_return_to_more_noise_has_the_right_marginal(process: Process) -> None:
    """RePaint's way back: from the exact marginal at s, forward noise gives the exact one at t, whatever the solver."""
    prior, eye = orders.gaussian(), torch.eye(2, dtype=torch.float64)
    s, t = 0.2, 0.7
    made = orders.affine_moments(
        process, prior.denoiser(process), SOLVERS.create("ddim"), [s, t],
        process.alpha(s) * prior.mean(), process.alpha(s) ** 2 * prior.covariance() + process.sigma(s) ** 2 * eye, 1,
    )  # fmt: skip
    wanted = process.alpha(t) ** 2 * prior.covariance() + process.sigma(t) ** 2 * eye
    torch.testing.assert_close(made, (process.alpha(t) * prior.mean(), wanted))


@pytest.mark.parametrize("case", (*orders.DETERMINISTIC, *orders.STOCHASTIC), ids=lambda case: case.label)
def test_a_walk_with_returns_keeps_the_distribution(case: orders.Case) -> None:
    """As exact as the walk without: returns add nothing of their own, and multistep solvers start again after one."""
    process, prior, steps = PROCESSES_HERE["vp-cosine"], orders.gaussian(), 256
    solver = SOLVERS.create(case.solver, **case.options)
    times = with_returns(grid(process, steps, case.spacing, start=0.98, last_ratio=1e-3), 64, 2)
    alpha, eye = process.alpha(0.98), torch.eye(2, dtype=torch.float64)
    mean, covariance = alpha * prior.mean(), alpha**2 * prior.covariance() + process.sigma(0.98) ** 2 * eye
    made = orders.affine_moments(
        process, prior.denoiser(process), solver, times, mean, covariance, max(case.draws, 1)
    )
    # Twice the error of 256 steps of the slowest solver (0.0105), which a marginal of the wrong size exceeds.
    assert orders.gaussian_wasserstein(*made, prior.mean(), prior.covariance()) < 0.021


def test_published_orders_are_those_of_the_rows() -> None:
    folder = ROOT / "experiments" / "results" / "solver-orders"
    assert orders.summary(pl.read_csv(folder / "rows.csv")) == (folder / "summary.md").read_text()
