"""Posterior methods against deepinv's: scores on the same state, and distance to the exact posterior at equal cost.

deepinv works on x/α with noise σ/α, and gives −∇ log p(y | x/α). Our terms shift the clean estimate by
(σ²/α) ∇ log p(y | x), which is (σ/α)² times the score there.

Tolerances: its denoisers see float32, and its conjugate gradients add 1e-8 to their denominators, which near
convergence leaves 6e-5 of the score. Ours, in double, is within 1e-10 of the dense solution there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from envs import keyed
from policies.diffusion import GUIDANCE, PROCESSES, SOLVERS
from policies.diffusion.distances import sliced_wasserstein
from policies.diffusion.estimate import Estimate
from policies.diffusion.exact import GaussianMixturePrior, GaussianPrior
from policies.diffusion.guidance import Term
from policies.diffusion.operators import Linear, Measurement
from policies.diffusion.sampling import Sampler
from policies.diffusion.schedule import grid

deepinv = pytest.importorskip("deepinv")
DIM, MEASURED, DOUBLE = 16, 10, torch.float64
ROWS, SETS = 1000, 4
Record = Callable[[str, object], None]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def gaussian() -> GaussianPrior:
    """Directions that differ by a factor of 30 in variance."""
    rotation = torch.linalg.qr(normal(0, DIM, DIM))[0]
    values = 0.3 * torch.logspace(0.0, -1.5, DIM, dtype=DOUBLE)
    return GaussianPrior(0.3 * normal(1, DIM), rotation @ torch.diag(values) @ rotation.T)


def mixture() -> GaussianMixturePrior:
    """Four such clouds, apart from each other."""
    one = gaussian().covariance()
    return GaussianMixturePrior(
        1.0 + torch.arange(4, dtype=DOUBLE), 1.5 * normal(2, 4, DIM), 0.3 * one.expand(4, -1, -1)
    )


PRIORS = {"gaussian": gaussian(), "mixture": mixture()}
OPERATOR = Linear(normal(3, MEASURED, DIM) / DIM**0.5)
NOISE = 0.1


class Counted(torch.autograd.Function):
    """The identity; counts backward passes."""

    calls: Counter[str] = Counter()

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to keep."""

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        Counted.calls["backward"] += 1
        return gradient


class Network(torch.nn.Module):
    """The exact denoiser of a prior, as a network of theirs: (x, σ) → x̂_0 for x [batch, 1, 1, d]."""

    def __init__(self, prior: GaussianMixturePrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, x: torch.Tensor, sigma: torch.Tensor | float, **_: Any) -> torch.Tensor:
        Counted.calls["forward"] += 1
        level = float(torch.as_tensor(sigma).flatten()[0])
        rows = Counted.apply(x).to(DOUBLE).reshape(len(x), DIM)
        return self.prior.clean(rows, 1.0, level).reshape(x.shape).to(x.dtype)


def physics() -> Any:
    def forward(x: torch.Tensor, **_: Any) -> torch.Tensor:
        return (x.reshape(len(x), DIM) @ OPERATOR.matrix.T.to(x)).reshape(len(x), 1, 1, MEASURED)

    def adjoint(y: torch.Tensor, **_: Any) -> torch.Tensor:
        return (y.reshape(len(y), MEASURED) @ OPERATOR.matrix.to(y)).reshape(len(y), 1, 1, DIM)

    return deepinv.physics.LinearPhysics(
        A=forward, A_adjoint=adjoint, noise_model=deepinv.physics.GaussianNoise(sigma=NOISE)
    )


def peer(name: str, prior: GaussianMixturePrior, **options: Any) -> Any:
    return getattr(deepinv.sampling, f"{name}DataFidelity")(denoiser=Network(prior), **options)


CONVERGED = {"cg_max_iter": 100, "cg_tol": 1e-7}
PAIRS = {
    "dps, annealed": ("dps", {"step": "annealed"}, "DPS", {"guidance": "annealed"}),
    "pigdm": ("pigdm", {"variance": "unit"}, "PiGDM", CONVERGED),
    "moment": ("moment", {"iterations": 50, "tolerance": 1e-8}, "MomentMatching", CONVERGED),
}
LEVELS = (0.1, 0.4, 0.8)
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
every_process = pytest.mark.parametrize("name", ["ve", "vp-cosine", "vp-linear", "flow"])


def at(name: str, prior: GaussianMixturePrior, t: float) -> tuple[Estimate, torch.Tensor, Measurement]:
    """An evaluation at time ``t``, with an earlier time to go to, and a measurement."""
    process = PROCESSES.create(name, **({"sigma_max": 2.0} if name == "ve" else {}))
    x0 = prior.sample(keyed.hash_words(4, np.arange(12)))
    x = process.alpha(t) * x0 + process.sigma(t) * normal(5, 12, DIM)
    y = OPERATOR(prior.sample(keyed.hash_words(6, np.arange(12)))) + NOISE * normal(7, 12, MEASURED)
    made = Estimate.of(process, prior.denoiser(process), x, t, 0.8 * t, gradient=True)
    return made, y, Measurement(y, OPERATOR, NOISE)


def gradient(peer: Any, at: Estimate, y: torch.Tensor) -> torch.Tensor:
    """Their −∇ log p(y | x/α), [batch, d]."""
    alpha, level = at.process.alpha(at.t), at.process.ratio(at.t)
    x = (at.x / alpha).reshape(-1, 1, 1, DIM)
    made = peer.grad(x, y.reshape(-1, 1, 1, MEASURED), physics(), torch.tensor(level, dtype=DOUBLE))
    return made.detach().to(DOUBLE).reshape(-1, DIM)


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@every_process
@every_prior
@pytest.mark.parametrize("method", PAIRS)
@pytest.mark.parametrize("t", LEVELS)
def test_scores_agree(
    name: str, prior: GaussianMixturePrior, method: str, t: float, record_property: Record
) -> None:
    ours, options, theirs, their_options = PAIRS[method]
    here, y, problem = at(name, prior, t)
    got = GUIDANCE.create(ours, **options).shift(here, problem)
    wanted = -(here.process.ratio(t) ** 2) * gradient(peer(theirs, prior, **their_options), here, y)
    found = relative(got, wanted)
    record_property("relative difference", found)
    print(f"{method} on {name}, t = {t}: relative difference {found:.1e}")
    assert found < (1e-4 if "cg_tol" in their_options else 1e-6)


@every_process
@every_prior
@pytest.mark.parametrize("t", LEVELS)
def test_the_published_step_of_dps_agrees(name: str, prior: GaussianMixturePrior, t: float) -> None:
    """x_s ← x_s − ∇ ‖y − A x̂_0‖ after an ancestral step: what our shift of x̂_0 does to x_s."""
    here, y, problem = at(name, prior, t)
    shift = GUIDANCE.create("dps").shift(here, problem)
    process, s = here.process, 0.8 * t
    _, var_step = process.transition(s, t)
    moved = process.alpha(s) * var_step / process.sigma(t) ** 2 * shift
    wanted = -gradient(peer("DPS", prior), here, y) / process.alpha(t)
    assert relative(moved, wanted) < 1e-6


@every_prior
def test_three_iterations_of_conjugate_gradients_do_not_solve_the_system(
    prior: GaussianMixturePrior, record_property: Record
) -> None:
    """deepinv's default; ours stops at a relative residual, at most 16 iterations. 10 measurements, converged CG."""
    worst = {"theirs": 0.0, "ours": 0.0}
    for t in LEVELS:
        here, y, problem = at("vp-cosine", prior, t)
        exact = GUIDANCE.create("moment", iterations=100, tolerance=1e-12).shift(here, problem)
        short = -(here.process.ratio(t) ** 2) * gradient(peer("MomentMatching", prior), here, y)
        worst["theirs"] = max(worst["theirs"], relative(short, exact))
        worst["ours"] = max(worst["ours"], relative(GUIDANCE.create("moment").shift(here, problem), exact))
    for who, found in worst.items():
        record_property(who, found)
        print(f"moment matching with default iterations, {who}: relative error of the score {found:.1e}")
    assert worst["ours"] < 1e-3 < 1e-2 < worst["theirs"]


@every_process
@pytest.mark.parametrize("t", LEVELS)
def test_the_score_of_moment_matching_is_the_dense_solution(name: str, t: float) -> None:
    """Which of the two is nearer to (A C Aᵀ + σ_y²)⁻¹ with the closed form of C: ours by five digits."""
    prior = PRIORS["gaussian"]
    here, y, problem = at(name, prior, t)
    matrix, eye = OPERATOR.matrix, torch.eye(DIM, dtype=DOUBLE)
    covariance = torch.linalg.inv(torch.linalg.inv(prior.covariance()) + eye / here.process.ratio(t) ** 2)
    seen = matrix @ covariance @ matrix.T + NOISE**2 * torch.eye(MEASURED, dtype=DOUBLE)
    dense = (covariance @ matrix.T @ torch.linalg.solve(seen, problem.residual(here.x0).T)).T
    got = GUIDANCE.create("moment", iterations=50, tolerance=1e-10).shift(here, problem)
    assert relative(got, dense) < 1e-9


def posed(prior: GaussianMixturePrior) -> tuple[torch.Tensor, list[torch.Tensor], float]:
    """A measurement [m], exact sets of its posterior, and the distance between two of them."""
    truth = prior.sample(keyed.hash_words(8, np.arange(1)))
    y = (OPERATOR(truth) + NOISE * normal(9, 1, MEASURED))[0]
    posterior = prior.posterior(y, OPERATOR, NOISE)
    exact = [posterior.sample(keyed.hash_words(10 + k, np.arange(ROWS))) for k in range(SETS)]
    pairs = [sliced_wasserstein(exact[a], exact[b]) for a in range(SETS) for b in range(a)]
    return y, exact, float(np.mean(pairs))


def ours(
    prior: GaussianMixturePrior, y: torch.Tensor, name: str, steps: int, solver: str = "dpm-solver++"
) -> torch.Tensor:
    """Our sampler on the process and the network of theirs."""
    process, network = PROCESSES.create("ve", sigma_max=10.0), Network(prior)
    times = grid(process, steps, "log-snr", last_ratio=0.01)
    sampler = Sampler(process, lambda x, t: network(x, process.sigma(t)), SOLVERS.create(solver), times,
                      data_variance=float(prior.covariance().diagonal().mean()))  # fmt: skip
    term = Term(GUIDANCE.create(name), Measurement(y.expand(ROWS, -1), OPERATOR, NOISE))
    return sampler.draw(keyed.hash_words(20, np.arange(ROWS)), (DIM,), [term], dtype=DOUBLE)


def theirs(
    prior: GaussianMixturePrior, y: torch.Tensor, name: str, steps: int, **options: Any
) -> torch.Tensor:
    """Their posterior sampler with its own solver on its exploding process, from σ = 10 to 0.01."""
    sde = deepinv.sampling.VarianceExplodingDiffusion(sigma_min=0.01, sigma_max=10.0, alpha=0.0)
    model = deepinv.sampling.PosteriorDiffusion(
        data_fidelity=peer(name, prior), denoiser=Network(prior), sde=sde, minus_one_one=False,
        solver=deepinv.sampling.EulerSolver(timesteps=torch.linspace(1.0, 0.0, steps + 1, dtype=DOUBLE)),
    )  # fmt: skip
    start = 10.0 * normal(21, ROWS, 1, 1, DIM)
    made = model(y.expand(ROWS, -1).reshape(ROWS, 1, 1, MEASURED), physics(), x_init=start)
    return made.detach().to(DOUBLE).reshape(ROWS, DIM)


BUDGET = 600
"""Calls of the network, forward and backward, that a sample may take."""


def compared(
    prior: GaussianMixturePrior, draws: dict[str, Callable[[torch.Tensor], torch.Tensor]], record: Record
) -> dict[str, float]:
    """Sliced Wasserstein distance to the exact posterior in units of the floor, each within the budget."""
    y, exact, floor = posed(prior)
    found = {}
    for who, draw in draws.items():
        Counted.calls.clear()
        made = draw(y)
        calls = sum(Counted.calls.values())
        assert calls <= BUDGET
        found[who] = float(np.mean([sliced_wasserstein(made, each) for each in exact])) / floor
        record(f"{who}: network calls, distance in floors", (calls, found[who]))
        print(f"{who}: {calls} network calls, sliced Wasserstein {found[who]:.2f} × the floor {floor:.4f}")
    return found


@pytest.mark.parametrize(
    ("method", "steps", "peer_name", "peer_steps"),
    [("moment", 50, "MomentMatching", 100), ("pigdm", 300, "PiGDM", 300)],
)
def test_at_equal_network_calls_ours_is_nearer_to_a_gaussian_posterior(
    method: str, steps: int, peer_name: str, peer_steps: int, record_property: Record
) -> None:
    prior = PRIORS["gaussian"]
    draws = {
        f"{method}, ours": lambda y: ours(prior, y, method, steps),
        f"{method}, deepinv": lambda y: theirs(prior, y, peer_name, peer_steps),
    }
    mine, peers = compared(prior, draws, record_property).values()
    assert mine < 0.6 * peers
    if method == "moment":
        assert mine < 1.2


def test_on_a_mixture_moment_matching_is_biased_whoever_does_it(record_property: Record) -> None:
    """A posterior of one mode in four: a few rows in a thousand end in another, and they make the distance.

    Too few to rank the two; with the deterministic solver ours has more of them than deepinv, with the
    ancestral one fewer. The scores agree, and so does the bias.
    """
    prior = PRIORS["mixture"]
    draws = {
        "moment, ours, dpm-solver++": lambda y: ours(prior, y, "moment", 50),
        "moment, ours, ancestral": lambda y: ours(prior, y, "moment", 50, solver="ancestral"),
        "moment, deepinv": lambda y: theirs(prior, y, "MomentMatching", 100),
    }
    found = compared(prior, draws, record_property)
    assert all(2.0 < each < 20.0 for each in found.values())
