"""Guidance that is not about measurements alone: classifiers, products, unknown operators, several terms at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from problems import DOUBLE, PROCESS, Posed, correlated, draws, keys, modes

from envs.errors import ConfigError, RunError
from policies.diffusion import GUIDANCE, SOLVERS
from policies.diffusion.compose import joint
from policies.diffusion.distances import energy_distance
from policies.diffusion.exact import GaussianMixturePrior, GaussianPrior
from policies.diffusion.guidance import Term
from policies.diffusion.guidance.blind import BlindMeasurement
from policies.diffusion.guidance.classifier import NoisyClassifier
from policies.diffusion.guidance.classifier_free import Unconditional
from policies.diffusion.guidance.product import Experts
from policies.diffusion.operators import Linear, Mask, Measurement, Nonlinear
from policies.diffusion.sampling import Sampler
from policies.diffusion.schedule import grid

MIXTURE = modes()


def component(mixture: GaussianMixturePrior, number: int) -> GaussianPrior:
    return GaussianPrior(mixture.means[number], mixture.covariances[number])


def sampler_of(
    prior: GaussianMixturePrior, solver: str = "heun", steps: int = 60, **options: object
) -> Sampler:
    times = grid(PROCESS, steps, "log-snr")
    return Sampler(PROCESS, prior.denoiser(PROCESS), SOLVERS.create(solver, **options), times)


def near(samples: torch.Tensor, exact: GaussianMixturePrior, slack: float) -> None:
    """Mean and covariance as they should be, ``slack`` relative to the exact spread."""
    scale = float(torch.trace(exact.covariance()).sqrt())
    assert float((samples.mean(0) - exact.mean()).norm()) < slack * scale
    assert float((torch.cov(samples.T) - exact.covariance()).norm()) < slack * scale**2


def test_an_exact_classifier_picks_its_component() -> None:
    wanted = 2

    def log_probability(x: torch.Tensor, t: float) -> torch.Tensor:
        alpha, sigma = PROCESS.alpha(t), PROCESS.sigma(t)
        one = component(MIXTURE, wanted).log_density(x, alpha, sigma)
        return MIXTURE.weights[wanted].log() + one - MIXTURE.log_density(x, alpha, sigma)

    term = Term(GUIDANCE.create("classifier"), NoisyClassifier(log_probability))
    drawn = sampler_of(MIXTURE).draw(keys(20, 2000), (4,), [term], dtype=DOUBLE)
    near(drawn, component(MIXTURE, wanted), 0.08)
    ignored = Term(GUIDANCE.create("classifier", scale=0.0), NoisyClassifier(log_probability))
    free = sampler_of(MIXTURE).draw(keys(20, 50), (4,), dtype=DOUBLE)
    torch.testing.assert_close(sampler_of(MIXTURE).draw(keys(20, 50), (4,), [ignored], dtype=DOUBLE), free)


def test_classifier_free_weights_interpolate_and_extrapolate() -> None:
    conditional, free = component(MIXTURE, 2), Unconditional(MIXTURE.denoiser(PROCESS))
    sampler = sampler_of(conditional)

    def draw(weight: float) -> torch.Tensor:
        term = Term(GUIDANCE.create("classifier-free", weight=weight), free)
        return sampler.draw(keys(21, 1000), (4,), [term], dtype=DOUBLE)

    torch.testing.assert_close(draw(1.0), sampler.draw(keys(21, 1000), (4,), dtype=DOUBLE))
    torch.testing.assert_close(draw(0.0), sampler_of(MIXTURE).draw(keys(21, 1000), (4,), dtype=DOUBLE))
    # More than one sharpens: samples sit where the condition is more certain.
    certainty = lambda x: float((conditional.log_density(x) - MIXTURE.log_density(x)).mean())  # noqa: E731
    assert certainty(draw(3.0)) > certainty(draw(1.0)) > certainty(draw(0.0))


def test_a_product_of_gaussians_is_the_gaussian_that_multiplication_gives() -> None:
    first, second = correlated(4), GaussianPrior(0.3 * draws("second", 4), 0.09 * torch.eye(4, dtype=DOUBLE))
    one, two = (torch.linalg.inv(each.covariance()) for each in (first, second))
    spread = torch.linalg.inv(one + two)
    exact = GaussianPrior(spread @ (one @ first.mean() + two @ second.mean()), spread)
    experts = Experts([second.denoiser(PROCESS)], [1.0])
    term = Term(GUIDANCE.create("product"), experts)
    corrected = sampler_of(first, "predictor-corrector", 200, corrections=5, langevin_snr=0.3)
    gap = energy_distance(
        corrected.draw(keys(22, 1500), (4,), [term], dtype=DOUBLE), exact.sample(keys(23, 1500))
    )
    plain = energy_distance(
        sampler_of(first, "ddim", 200).draw(keys(22, 1500), (4,), [term], dtype=DOUBLE),
        exact.sample(keys(23, 1500)),
    )
    floor = energy_distance(exact.sample(keys(24, 1500)), exact.sample(keys(23, 1500)))
    assert (
        gap < 0.2 * plain and gap < floor + 0.004
    )  # without corrections the noised product is another density


def test_a_shared_reference_is_divided_out() -> None:
    """Two conditionals of one prior: p(x | a) p(x | b) / p(x), all Gaussian and known."""
    prior = correlated(4)
    rows = draws("two rows", 2, 4)
    y = torch.tensor([0.4, -0.2], dtype=DOUBLE)
    given = [prior.posterior(y[k : k + 1], Linear(rows[k : k + 1]), 0.3) for k in range(2)]
    both = prior.posterior(y, Linear(rows), 0.3)
    experts = Experts([given[1].denoiser(PROCESS)], [1.0], prior.denoiser(PROCESS))
    sampler = sampler_of(given[0], "predictor-corrector", 200, corrections=3)
    drawn = sampler.draw(keys(25, 2000), (4,), [Term(GUIDANCE.create("product"), experts)], dtype=DOUBLE)
    near(drawn, both, 0.15)


def test_an_unknown_gain_is_estimated_with_the_signal() -> None:
    """y = h x + n with Gaussian h and x: the posterior of h by quadrature."""
    signal = GaussianPrior(torch.tensor([0.8, -0.5, 0.3], dtype=DOUBLE), 0.09 * torch.eye(3, dtype=DOUBLE))
    gain = GaussianPrior(torch.tensor([1.0], dtype=DOUBLE), torch.tensor([[0.09]], dtype=DOUBLE))
    noise, y = 0.2, torch.tensor([1.1, -0.9, 0.2], dtype=DOUBLE)
    axis = torch.linspace(-1.0, 3.0, 4001, dtype=DOUBLE)
    spread = axis**2 * 0.09 + noise**2
    fit = ((y - axis[:, None] * signal.mean()) ** 2).sum(1) / spread + 3.0 * spread.log()
    weight = torch.exp(-0.5 * fit - 0.5 * (axis - 1.0) ** 2 / 0.09)
    mean = float((weight * axis).sum() / weight.sum())
    std = float((weight * (axis - mean) ** 2).sum() / weight.sum()) ** 0.5

    both = joint([(signal.denoiser(PROCESS), (3,)), (gain.denoiser(PROCESS), (1,))])
    operator = Nonlinear(lambda x: x[:, :3] * x[:, 3:])
    measurement = BlindMeasurement(y.expand(2000, -1), operator, noise, signal=3)

    def estimates(name: str, solver: str, steps: int, **options: object) -> torch.Tensor:
        sampler = Sampler(PROCESS, both, SOLVERS.create(solver), grid(PROCESS, steps, "log-snr"))
        term = Term(GUIDANCE.create(name, **options), measurement)
        return sampler.draw(keys(26, 2000), (4,), [term], dtype=DOUBLE)[:, 3]

    moment = estimates("moment", "heun", 40)
    assert float(moment.mean()) == pytest.approx(mean, abs=0.2 * std)
    assert float(moment.std()) == pytest.approx(std, rel=0.2)
    blind = estimates("blind-dps", "ancestral", 200, scale=0.3)
    assert abs(float(blind.mean()) - 1.0) > 0.3 * abs(mean - 1.0)  # it moved from the prior's mean …
    assert float(blind.mean()) == pytest.approx(mean, abs=1.5 * std)  # … to about the right place


def test_terms_add_up() -> None:
    """Two measurements as two terms, each exact on its own, and as one: alike, but not the same approximation."""
    posed = Posed(correlated(), 4)
    halves = [
        Measurement(posed.y[part].expand(1500, -1), Linear(posed.operator.matrix[part]), posed.noise)
        for part in (slice(0, 2), slice(2, 4))
    ]
    sampler = posed.sampler("ddim", 100)
    terms = [Term(GUIDANCE.create("moment"), half) for half in halves]
    both = sampler.draw(keys(27, 1500), (8,), terms, dtype=DOUBLE)
    one = sampler.draw(keys(27, 1500), (8,), terms[:1], dtype=DOUBLE)
    misfit = lambda x: float((posed.operator(x) - posed.y).norm(dim=1).mean())  # noqa: E731
    assert misfit(both) < 0.7 * misfit(one)


def test_a_callback_watches_beside_guidance() -> None:
    posed = Posed(correlated(), 4)
    seen: list[tuple[int, float]] = []
    sampler = replace(
        posed.sampler("ancestral", 6), callback=lambda moment: seen.append((moment.k, moment.s))
    )
    sampler.draw(keys(28, 3), (8,), [Term(GUIDANCE.create("ilvr"), posed.measurement(3))], dtype=DOUBLE)
    assert [k for k, _ in seen] == list(range(6)) and [s for _, s in seen] == sampler.times[1:]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Measurement(torch.zeros(2, 3), Linear(torch.ones(3, 8)), 0.0),
            "measurement.noise must be positive",
        ),
        (
            lambda: Measurement(torch.tensor([[0.0], [torch.nan]]), Linear(torch.ones(1, 8)), 0.1),
            "measurement.y must be finite, got NaN or inf in row 1",
        ),
        (lambda: Linear(torch.ones(8)), r"operator.matrix must be \[m, d\]"),
        (lambda: Linear(torch.full((2, 8), torch.inf)), "operator.matrix must be finite"),
        (lambda: Experts([], [1.0]), "weights must be one for each of 0 experts, got 1"),
        (
            lambda: BlindMeasurement(torch.zeros(1, 2), Linear(torch.ones(2, 3)), 0.1),
            "measurement.signal must be at least 1",
        ),
    ],
)
def test_bad_problems_are_refused(make: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make()  # type: ignore[operator]


def test_operators_and_solvers_that_do_not_fit_are_refused_before_any_work() -> None:
    prior = correlated()
    calls = []

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        calls.append(t)
        return prior.denoiser(PROCESS)(x, t)

    def draw(name: str, problem: object, solver: str = "ddim") -> None:
        sampler = Sampler(PROCESS, denoise, SOLVERS.create(solver), grid(PROCESS, 4, "log-snr"))
        sampler.draw(keys(29, 2), (8,), [Term(GUIDANCE.create(name), problem)], dtype=DOUBLE)

    wide = Linear(torch.ones(3, 9, dtype=DOUBLE))
    with pytest.raises(ConfigError, match=r"operator must take data of shape \(2, 8\)"):
        draw("moment", Measurement(torch.zeros(2, 3, dtype=DOUBLE), wide, 0.1))
    fits = Linear(torch.ones(3, 8, dtype=DOUBLE))
    with pytest.raises(
        ConfigError, match=r"measurement must have the operator's shape \(2, 3\), got \(2, 4\)"
    ):
        draw("moment", Measurement(torch.zeros(2, 4, dtype=DOUBLE), fits, 0.1))
    good = Measurement(torch.zeros(2, 3, dtype=DOUBLE), fits, 0.1)
    with pytest.raises(ConfigError, match="solver must be 'consistency' with DAPS, got DDIM"):
        draw("daps", good)
    bent = Measurement(torch.zeros(2, 8, dtype=DOUBLE), Nonlinear(torch.tanh), 0.1)
    with pytest.raises(ConfigError, match="guidance.ddrm needs a linear operator"):
        draw("ddrm", bent)
    assert not calls
    with pytest.raises(ConfigError, match="guidance.repaint needs a Mask operator"):
        draw("repaint", good)
    with pytest.raises(ConfigError, match="guidance.dps.step must be 'gaussian' or 'annealed'"):
        draw("dps", good, "rk4")
    kept = Measurement(torch.zeros(2, 1, dtype=DOUBLE), Mask(torch.tensor([True] + [False] * 7), DOUBLE), 0.1)
    draw("repaint", kept)


def test_a_row_that_blows_up_is_named() -> None:
    prior = correlated()

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        return prior.denoiser(PROCESS)(x, t) + torch.tensor([0.0, torch.nan, 0.0], dtype=DOUBLE)[:, None]

    sampler = Sampler(PROCESS, denoise, SOLVERS.create("ddim"), grid(PROCESS, 4))
    with pytest.raises(RunError, match=r"NaN or inf in rows \[1\] of 3"):
        sampler.draw(keys(30, 3), (8,), dtype=DOUBLE)
