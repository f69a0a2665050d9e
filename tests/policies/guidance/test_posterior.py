"""Every posterior method against the exact posterior of Gaussian and Gaussian-mixture priors."""

from __future__ import annotations

from dataclasses import replace

import posterior_methods as script
import pytest
import torch
from problems import DOUBLE, Posed, correlated, draws, keys, modes

from policies.diffusion import GUIDANCE
from policies.diffusion.exact import GaussianPrior
from policies.diffusion.guidance import Term
from policies.diffusion.operators import Linear, Mask, Measurement, Nonlinear
from policies.diffusion.schedule import with_returns

GAUSSIAN = Posed(correlated(), 4)
MIXTURE = Posed(modes(), 2)

UNBIASED = [
    ("moment", "ddim", 200, {}),
    ("moment", "heun", 40, {}),
    ("moment", "dpm-solver++", 40, {}),
    ("moment", "ancestral", 400, {}),
    ("daps", "consistency", 40, {}),
]
BIASED = [
    ("dps", "ancestral", 200, {"scale": 0.3}),
    ("dps", "ancestral", 200, {"step": "annealed"}),
    ("dps", "ancestral", 200, {"step": "gaussian", "scale": 0.1}),
    ("pigdm", "ddim", 100, {"variance": "unit"}),
    ("pigdm", "ancestral", 200, {"backprop": False}),
    ("moment", "ancestral", 200, {"backprop": False}),
    ("moment", "ancestral", 200, {"solve": "diagonal"}),
    ("daps", "consistency", 100, {"covariance": "isotropic", "flow_steps": 4}),
    ("ddrm", "ddim", 100, {}),
    ("red-diff", "ddim", 200, {"rate": 0.02}),
    ("ilvr", "ancestral", 200, {}),
]


@pytest.mark.parametrize(("guidance", "solver", "steps", "options"), UNBIASED)
def test_methods_that_use_the_denoisers_covariance_reach_the_floor(
    guidance: str, solver: str, steps: int, options: dict[str, object]
) -> None:
    excess = GAUSSIAN.excess(GAUSSIAN.draw(guidance, solver, steps, **options))
    assert excess <= 1.2, f"{excess:.2f} x the distance between two exact sets"


@pytest.mark.parametrize(("guidance", "solver", "steps", "options"), BIASED)
def test_methods_that_do_without_it_are_biased_but_use_the_measurement(
    guidance: str, solver: str, steps: int, options: dict[str, object]
) -> None:
    """Their bias is shown, not hidden; and none of them samples the prior as if nothing had been measured."""
    drawn = GAUSSIAN.draw(guidance, solver, steps, **options)
    assert GAUSSIAN.excess(drawn) > 1.5
    unmeasured = GAUSSIAN.prior.sample(keys(3, GAUSSIAN.samples))

    def misfit(samples: torch.Tensor) -> float:
        return float((GAUSSIAN.operator(samples) - GAUSSIAN.y).norm(dim=1).mean())

    assert misfit(drawn) < 0.6 * misfit(unmeasured)


def test_on_a_mixture_the_better_approximation_is_nearer() -> None:
    """The exactness of moment matching is a Gaussian's; on modes it stays ahead of DPS, behind the floor."""
    moment = MIXTURE.energy(MIXTURE.draw("moment", "heun", 40))
    daps = MIXTURE.energy(MIXTURE.draw("daps", "consistency", 60))
    dps = MIXTURE.energy(MIXTURE.draw("dps", "ancestral", 200))
    assert max(moment, daps) < 0.5 * dps


def test_weighted_particles_are_right_where_gaussian_approximations_are_not() -> None:
    """Sixteen modes seen through two numbers: which modes remain is what moment matching gets wrong."""
    posed = Posed(modes(8, 16), 2, samples=600)
    moment = posed.energy(posed.draw("moment", "heun", 40))
    twisted = posed.energy(posed.draw("twisted", "ancestral", 120, population=100))
    assert twisted < 0.35 * moment
    assert GAUSSIAN.excess(GAUSSIAN.draw("twisted", "ancestral", 200, population=100)) < 1.3


def test_populations_of_particles_do_not_depend_on_each_other() -> None:
    sampler = GAUSSIAN.sampler("ancestral", 12)
    y = (GAUSSIAN.y + draws("other measurements", 3, 4)).repeat_interleave(10, dim=0)

    def draw(rows: slice) -> torch.Tensor:
        term = Term(
            GUIDANCE.create("twisted", population=10), Measurement(y[rows], GAUSSIAN.operator, GAUSSIAN.noise)
        )
        return sampler.draw(keys(11, 30)[rows], (8,), [term], dtype=DOUBLE)

    torch.testing.assert_close(draw(slice(10, 20)), draw(slice(0, 30))[10:20], atol=1e-9, rtol=1e-9)


def test_without_backpropagation_moment_matching_is_pseudoinverse_guidance() -> None:
    options = {"backprop": False}
    moment = GAUSSIAN.draw("moment", "ddim", 20, tolerance=1e-9, **options)
    torch.testing.assert_close(moment, GAUSSIAN.draw("pigdm", "ddim", 20, **options), atol=1e-6, rtol=1e-5)


def test_isotropic_data_make_pseudoinverse_guidance_exact() -> None:
    posed = Posed(GaussianPrior(draws("mean", 6), 0.25 * torch.eye(6, dtype=DOUBLE)), 3)
    assert posed.excess(posed.draw("pigdm", "heun", 40)) <= 1.2
    assert posed.excess(posed.draw("pigdm", "heun", 40, variance="unit")) > 1.5


def test_a_nonlinear_operator_that_is_linear_gives_the_same_samples() -> None:
    linear = GAUSSIAN.operator
    sampler = GAUSSIAN.sampler("ddim", 20)
    for name, options in (("moment", {}), ("pigdm", {"iterations": 40}), ("dps", {"step": "annealed"})):
        term = GUIDANCE.create(name, **options)
        rows = GAUSSIAN.y.expand(20, -1)
        drawn = [
            sampler.draw(
                keys(4, 20), (8,), [Term(term, Measurement(rows, operator, GAUSSIAN.noise))], dtype=DOUBLE
            )
            for operator in (linear, Nonlinear(linear))
        ]
        torch.testing.assert_close(*drawn, atol=1e-4, rtol=1e-3)
    daps = GUIDANCE.create("daps")
    sampler = GAUSSIAN.sampler("consistency", 20)
    drawn = [
        sampler.draw(
            keys(4, 20), (8,), [Term(daps, Measurement(rows, operator, GAUSSIAN.noise))], dtype=DOUBLE
        )
        for operator in (linear, Nonlinear(linear))
    ]
    torch.testing.assert_close(*drawn, atol=1e-6, rtol=1e-5)


def test_a_cubic_measurement_is_sampled_near_its_exact_posterior() -> None:
    """One number seen through x + x³: the posterior by quadrature, methods by linearisation."""
    prior = GaussianPrior(torch.zeros(1, dtype=DOUBLE), torch.eye(1, dtype=DOUBLE))
    axis = torch.linspace(-5.0, 5.0, 4001, dtype=DOUBLE)
    y, noise = 1.5, 0.5
    weight = torch.exp(-0.5 * axis**2 - 0.5 * ((axis + axis**3 - y) / noise) ** 2)
    mean = float((weight * axis).sum() / weight.sum())
    std = float((weight * (axis - mean) ** 2).sum() / weight.sum()) ** 0.5
    posed = Posed(prior, 1)
    measurement = Measurement(torch.full((4000, 1), y, dtype=DOUBLE), Nonlinear(lambda x: x + x**3), noise)
    for name, solver, steps, options in (
        ("moment", "heun", 60, {}),
        ("daps", "consistency", 60, {}),
        ("daps", "consistency", 60, {"covariance": "isotropic", "langevin_steps": 60}),
    ):
        term = Term(GUIDANCE.create(name, **options), measurement)
        drawn = posed.sampler(solver, steps).draw(keys(5, 4000), (1,), [term], dtype=DOUBLE)
        assert float(drawn.mean()) == pytest.approx(mean, abs=0.15), name
        assert float(drawn.std()) == pytest.approx(std, rel=0.35), name


def test_repaint_keeps_what_is_known_and_resampling_brings_the_rest_nearer() -> None:
    posed = Posed(correlated(), 4)
    keep = torch.tensor([True, False] * 4)
    truth = posed.prior.sample(keys(6, 1))
    mask = Mask(keep, DOUBLE)
    exact = posed.prior.posterior(mask(truth)[0], mask, 1e-3)
    measurement = Measurement(mask(truth).expand(1000, -1), mask, 1e-3)
    gaps = []
    for repeats in (1, 8):
        sampler = posed.sampler("ancestral", 60)
        times = with_returns(sampler.times, 4, repeats)
        drawn = replace(sampler, times=times).draw(
            keys(7, 1000), (8,), [Term(GUIDANCE.create("repaint"), measurement)], dtype=DOUBLE
        )
        torch.testing.assert_close(drawn[:, keep], truth[:, keep].expand(1000, -1))
        gaps.append(
            float((drawn.mean(0) - exact.mean()).norm())
            + float((torch.cov(drawn.T) - exact.covariance()).norm())
        )
    assert gaps[1] < 0.6 * gaps[0]


@pytest.mark.parametrize("name", ["dps", "pigdm", "moment", "daps", "ddrm", "red-diff", "ilvr"])
def test_a_row_does_not_depend_on_its_batch(name: str) -> None:
    """Rows with measurements of their own, some of which settle sooner than others."""
    solver = "consistency" if name == "daps" else "ancestral"
    sampler = GAUSSIAN.sampler(solver, 12)
    y = GAUSSIAN.y + draws("other measurements", 40, 4)

    def draw(rows: list[int]) -> torch.Tensor:
        term = Term(GUIDANCE.create(name), Measurement(y[rows], GAUSSIAN.operator, GAUSSIAN.noise))
        return sampler.draw(keys(8, 40)[rows], (8,), [term], dtype=DOUBLE)

    whole = draw(list(range(40)))
    for rows in ([3], [7, 1, 30], list(range(39, -1, -1))):
        torch.testing.assert_close(draw(rows), whole[rows], atol=1e-9, rtol=1e-9)


def test_images_channels_and_plans_are_the_same_to_a_method() -> None:
    """The same numbers in another shape give the same samples."""
    flat = correlated()
    cube = GaussianPrior(flat.mean(), flat.covariance(), (2, 2, 2))
    for name in ("moment", "ddrm", "dps", "daps"):
        solver = "consistency" if name == "daps" else "ddim"
        term = Term(GUIDANCE.create(name), GAUSSIAN.measurement(5))
        one = GAUSSIAN.sampler(solver, 10).draw(keys(9, 5), (8,), [term], dtype=DOUBLE)
        other = Posed(cube, 4).sampler(solver, 10).draw(keys(9, 5), (2, 2, 2), [term], dtype=DOUBLE)
        torch.testing.assert_close(other.flatten(1), one, atol=1e-9, rtol=1e-9)


def test_one_operator_per_row() -> None:
    matrices = draws("matrices", 6, 3, 8)
    y = draws("rows", 6, 3)
    term = GUIDANCE.create("moment", tolerance=1e-9)
    sampler = GAUSSIAN.sampler("ddim", 10)
    together = sampler.draw(
        keys(10, 6), (8,), [Term(term, Measurement(y, Linear(matrices), 0.1))], dtype=DOUBLE
    )
    for row in range(6):
        alone = Measurement(y[row : row + 1], Linear(matrices[row]), 0.1)
        drawn = sampler.draw(keys(10, 6)[row : row + 1], (8,), [Term(term, alone)], dtype=DOUBLE)
        torch.testing.assert_close(drawn[0], together[row], atol=1e-6, rtol=1e-6)


def test_the_published_table_is_that_of_the_committed_rows() -> None:
    """And the claims of docs/guidance.md hold in it."""
    rows = script.finished(script.OUT / "rows.csv")
    assert len(rows) == 2 * script.REPETITIONS * (1 + len(script.METHODS))
    text, ratios = script.summarise(rows)
    assert text == (script.OUT / "summary.md").read_text(), "run experiments/posterior_methods.py"
    for method in script.METHODS:
        exact = method.label == "DAPS, denoiser's covariance" or "CG" in method.label
        assert (ratios["gaussian", method.label]["mean"] <= 1.2) == (exact or method.guidance == "twisted")
        assert (ratios["mixture", method.label]["mean"] <= 1.2) == (method.guidance == "twisted")
