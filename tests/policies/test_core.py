"""The core as a service: arrays of any shape, joined, cut, shared between threads; one bad row hurts nobody else."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from envs import keyed
from envs.errors import ConfigError, RunError
from policies.arrays import ArrayModel
from policies.core import DiffusionCore
from policies.diffusion.distances import sliced_wasserstein
from policies.diffusion.estimate import Estimate
from policies.diffusion.exact import GaussianPrior
from policies.diffusion.guidance import Likelihood
from policies.diffusion.operators import Mask, Measurement
from policies.diffusion.process.cosine import CosineVP
from policies.requests import ArrayRequest, Observation
from policies.rows import stack, take

SHAPE = (3, 8, 8)
DIM = 192
PROCESS = CosineVP()
KEEP = torch.zeros(SHAPE, dtype=torch.bool)
KEEP[:, :, :4] = True


class ExactLikelihood(Likelihood):
    """∇log p(y | x_t) of a Gaussian prior, with the denoiser's own covariance, for a mask."""

    prior: Any

    def shift(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        alpha, sigma = at.process.alpha(at.t), at.process.sigma(at.t)
        values, vectors = self.prior.values[0], self.prior.vectors[0]
        spread = vectors * (values * sigma**2 / (alpha**2 * values + sigma**2)) @ vectors.T
        rows = problem.operator.matrix  # type: ignore[attr-defined]
        seen = rows @ spread @ rows.T + problem.noise**2 * torch.eye(len(rows))
        # One row at a time: a row must not depend on how many others are solved for.
        gaps = problem.residual(at.x0)
        return torch.stack([spread @ rows.T @ torch.linalg.solve(seen, gap) for gap in gaps]).reshape(
            at.x0.shape
        )


@pytest.fixture(scope="module")
def prior() -> GaussianPrior:
    """Smooth images, so that the seen half says something about the other."""
    place = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in SHAPE))
    gaps = torch.cdist(place * torch.tensor([2.0, 1.0, 1.0]), place * torch.tensor([2.0, 1.0, 1.0]))
    covariance = 0.5 * torch.exp(-0.5 * (gaps / 2.0) ** 2) + 0.01 * torch.eye(DIM)
    return GaussianPrior(torch.linspace(-0.5, 0.5, DIM), covariance, SHAPE)


def model_of(prior: GaussianPrior, **options: Any) -> ArrayModel:
    options = {"steps": 12, "operators": {"left": Mask(KEEP)}} | options
    return ArrayModel(prior.denoiser(PROCESS), PROCESS, SHAPE, **options)


def keys_of(count: int, first: int = 0) -> NDArray[np.uint64]:
    return keyed.hash_words(11, np.arange(first, first + count))


def seen_of(prior: GaussianPrior, count: int, guidance: Any, noise: float = 0.2) -> Observation:
    truth = prior.sample(keyed.hash_words(5, np.arange(count)))
    return Observation(Mask(KEEP)(truth).numpy(), "left", noise, guidance)


@pytest.fixture(scope="module")
def requests(prior: GaussianPrior) -> dict[str, ArrayRequest]:
    exact = ExactLikelihood(prior=prior)
    start = prior.sample(keyed.hash_words(6, np.arange(40))).numpy()
    return {
        "bare": ArrayRequest("maps", keys_of(40)),
        "start": ArrayRequest("maps", keys_of(40), start=start, start_time=0.4),
        "posterior": ArrayRequest("maps", keys_of(40), seen_of(prior, 40, exact)),
        "matrix": ArrayRequest(
            "maps", keys_of(40),
            replace(seen_of(prior, 40, Shift()), operator=np.tile(Mask(KEEP).matrix.numpy(), (40, 1, 1))),
        ),
    }  # fmt: skip


class Shift(Likelihood):
    """Some correction that works with a matrix per row."""

    def shift(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        return 0.5 * problem.operator.adjoint(problem.residual(at.x0), at.x0)


@pytest.mark.parametrize("kind", ["bare", "start", "posterior", "matrix"])
def test_joining_and_cutting_changes_nothing(
    prior: GaussianPrior, requests: dict[str, ArrayRequest], kind: str
) -> None:
    asked = requests[kind]
    whole = DiffusionCore({"maps": model_of(prior)}).sample(asked).x
    assert whole.shape == (40, *SHAPE) and whole.dtype == np.float32 and np.isfinite(whole).all()
    for sizes, max_rows in (([40], 9), ([1] * 40, 1024), ([3, 30, 7], 13), ([7], 1024)):
        core = DiffusionCore({"maps": model_of(prior)}, max_rows)
        ends = np.cumsum(sizes).tolist()
        parts = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        replies = core.sample_many([take(asked, part) for part in parts])
        for part, reply in zip(parts, replies, strict=True):
            np.testing.assert_array_equal(reply.x, whole[part])
        assert core.statistics()["batches"] == -(-sum(sizes) // max_rows)


def test_samples_follow_the_prior_and_the_exact_posterior(prior: GaussianPrior) -> None:
    count = 400
    core = DiffusionCore({"maps": model_of(prior, steps=40)})
    bare = torch.as_tensor(core.sample(ArrayRequest("maps", keys_of(count))).x)
    exact = prior.sample(keyed.hash_words(8, np.arange(count)))
    floor = sliced_wasserstein(exact, prior.sample(keyed.hash_words(9, np.arange(count))))
    assert sliced_wasserstein(bare, exact) < 1.3 * floor
    one = seen_of(prior, 1, ExactLikelihood(prior=prior))
    same = replace(one, y=one.y.repeat(count, 0))
    drawn = torch.as_tensor(core.sample(ArrayRequest("maps", keys_of(count), same)).x)
    posterior = prior.posterior(torch.as_tensor(one.y[0]), Mask(KEEP), one.noise)
    draws = (posterior.sample(keyed.hash_words(k, np.arange(count))) for k in (8, 9))
    target, other = draws
    floor = sliced_wasserstein(target, other)
    assert sliced_wasserstein(drawn, target) < 1.3 * floor
    assert sliced_wasserstein(bare, target) > 3.0 * floor, "the measurement must have been used"


def test_only_what_fits_together_rides_together(
    prior: GaussianPrior, requests: dict[str, ArrayRequest]
) -> None:
    core = DiffusionCore({"maps": model_of(prior), "other": model_of(prior)})
    bare, posterior = requests["bare"], requests["posterior"]
    assert posterior.observation is not None
    asked = [
        bare, posterior, replace(bare, keys=keys_of(5, 40)), replace(bare, model="other"),
        replace(posterior, observation=replace(posterior.observation, noise=0.3)), requests["start"],
    ]  # fmt: skip
    tickets = core.submit_many(asked)
    assert not any(ticket.done for ticket in tickets)
    rows = [ticket.result().report.batch_rows for ticket in tickets]
    assert rows == [45, 40, 45, 40, 40, 40]
    told = core.statistics()
    assert (told["requests"], told["batches"], told["rows"], told["max_batch_rows"]) == (6, 5, 205, 45)
    assert told["mean_batch_rows"] == 41.0 and told["network_calls"] == 5 * 12
    assert told["models"]["other"]["requests"] == 1 and told["models"]["maps"]["batches"] == 4
    assert 0.0 < told["network_s"] < told["busy_s"] and told["queue_s"] > 0.0
    for ticket in tickets:
        report = ticket.result().report
        assert report.queue_s >= 0.0 and 0.0 < report.network_s < told["network_s"]


def test_a_row_that_blows_up_is_attributed_and_costs_nobody_else_anything(prior: GaussianPrior) -> None:
    clean = prior.denoiser(PROCESS)
    victim = keys_of(12)[7:8]
    # The row is recognised by the noise that it starts from, which is a function of its key.
    mark = float(keyed.normal(victim, SHAPE, 0, 0)[0, 0, 0, 0])

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        x0 = clean(x, t)
        hit = (x[:, 0, 0, 0] - mark).abs() < 1e-6
        return torch.where(hit[:, None, None, None], x0 * float("inf"), x0)

    core = DiffusionCore({"maps": ArrayModel(denoise, PROCESS, SHAPE, steps=6)})
    sound = DiffusionCore({"maps": ArrayModel(clean, PROCESS, SHAPE, steps=6)})
    asked = [ArrayRequest("maps", keys_of(12)[part]) for part in (slice(0, 4), slice(4, 9), slice(9, 12))]
    tickets, expected = core.submit_many(asked), sound.sample_many(asked)
    with pytest.raises(
        RunError, match=r"model 'maps' produced NaN or inf in row 3 of a request of 5: .*\(check the"
    ):
        tickets[1].result()
    for number in (0, 2):
        np.testing.assert_array_equal(tickets[number].result().x, expected[number].x)
    assert core.statistics()["batches"] == 1, "they rode together"
    np.testing.assert_array_equal(core.sample(asked[0]).x, expected[0].x)


def test_a_batch_that_fails_is_heard_of_by_all_of_its_requests_and_nobody_else(prior: GaussianPrior) -> None:
    def broken(x: torch.Tensor, t: float) -> torch.Tensor:
        raise RuntimeError("out of memory")

    core = DiffusionCore({"maps": model_of(prior), "broken": ArrayModel(broken, PROCESS, SHAPE)})
    tickets = core.submit_many([ArrayRequest(name, keys_of(3)) for name in ("broken", "maps", "broken")])
    for number in (0, 2):
        with pytest.raises(RuntimeError, match="out of memory"):
            tickets[number].result()
    assert np.isfinite(tickets[1].result().x).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "map"}, "model 'map' is not known: did you mean 'maps'"),
        ({"keys": np.arange(3)}, r"keys must be uint64 \[batch\] with at least one row, got int64 \[3\]"),
        ({"keys": keys_of(0)}, r"keys must be uint64 \[batch\] with at least one row, got uint64 \[0\]"),
        ({"start": np.zeros((3, 3, 8, 7), np.float32)}, r"start must have shape \[3, 3, 8, 8\], got \[3, 3, 8, 7\]"),
        ({"start": np.full((3, *SHAPE), np.nan, np.float32)}, "start must be finite, got NaN or inf in row 0"),
        ({"start_time": 0.5}, "start_time must be 1 without a start, got 0.5"),
        ({"start": np.zeros((3, *SHAPE), np.float32), "start_time": 0.0}, r"start_time must be in \(0, 1\], got 0.0"),
        ({"y": lambda y: np.where(np.arange(3)[:, None] == 2, np.inf, y)}, "observation.y must be finite, .* row 2"),
        ({"y": lambda y: y[:, :5]}, r"measurement must have the operator's shape \(3, 96\), got \(3, 5\)"),
        ({"y": lambda y: y[:2]}, r"observation.y must have shape \[3, …\], got \[2, 96\]"),
        ({"operator": "lft"}, "observation.operator 'lft' is not known: did you mean 'left'"),
        ({"operator": np.zeros((3, 96, 7), np.float32)}, "operator must take data of shape .* for 192 numbers a row"),
        ({"noise": 0.0}, "measurement.noise must be positive, got 0.0"),
        ({"guidance": "wishing"}, "guidance 'wishing' is not known"),
    ],
)  # fmt: skip
def test_requests_that_do_not_fit_are_refused_and_nothing_is_computed(
    prior: GaussianPrior, change: dict[str, Any], sentence: str
) -> None:
    asked = ArrayRequest("maps", keys_of(3))
    seen = seen_of(prior, 3, Shift())
    inner = {name: value for name, value in change.items() if hasattr(seen, name)}
    if inner:
        inner = {k: v(seen.y) if isinstance(v, Callable) else v for k, v in inner.items()}
        asked = replace(asked, observation=replace(seen, **inner))
    asked = replace(asked, **{k: v for k, v in change.items() if k not in inner})
    core = DiffusionCore({"maps": model_of(prior)})
    with pytest.raises(ConfigError, match=sentence):
        core.submit(asked)
    with pytest.raises(ConfigError, match=rf"requests\[1\]\.{sentence}"):
        core.sample_many([ArrayRequest("maps", keys_of(2)), asked])
    core.flush()
    assert core.statistics()["requests"] == 0


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("steps", 0, "steps must be at least 1, got 0"),
        ("solver", "dimm", "solver 'dimm' is not known"),
        ("solver", "ddim:eta", r"solver must be NAME:key=value,…, got 'ddim:eta' \('eta' is no key=value\)"),
        ("solver", "ddim:eta=0.1,eta=0.2", "solver.ddim.eta must be given once"),
        ("precision", "float8", "precision must be one of float32, bfloat16, got 'float8'"),
        ("device", "abacus", "device must be cpu or cuda, got 'abacus'"),
    ],
)
def test_models_that_cannot_be_are_refused(
    prior: GaussianPrior, option: str, value: Any, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        model_of(prior, **{option: value})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_gpu_that_is_not_there_is_refused(prior: GaussianPrior) -> None:
    with pytest.raises(ConfigError, match="device must be one that is here, got 'cuda' without a usable GPU"):
        model_of(prior, device="cuda")


def test_a_core_needs_room_for_a_row() -> None:
    with pytest.raises(ConfigError, match="max_rows must be at least 1, got 0"):
        DiffusionCore({}, 0)


def test_threads_share_a_core(prior: GaussianPrior) -> None:
    core = DiffusionCore({"maps": model_of(prior)})
    asked = [ArrayRequest("maps", keys_of(3, 3 * number)) for number in range(24)]
    expected = DiffusionCore({"maps": model_of(prior)}).sample(ArrayRequest("maps", keys_of(72))).x
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(core.sample, asked))
    np.testing.assert_array_equal(np.concatenate([reply.x for reply in replies]), expected)
    told = core.statistics()
    assert told["requests"] == 24 and told["rows"] == 72 and told["batches"] <= 24


def test_rows_are_stacked_and_taken() -> None:
    seen = Observation(np.ones((2, 4), np.float32), "left", 0.1, "pigdm")
    parts = [ArrayRequest("m", keys_of(2, first), replace(seen, y=seen.y * first)) for first in (1, 7, 3)]
    joined = stack(parts)
    np.testing.assert_array_equal(joined.keys, np.concatenate([part.keys for part in parts]))
    assert joined.observation is not None and joined.observation.y[:, 0].tolist() == [1, 1, 7, 7, 3, 3]
    assert (joined.model, joined.start, joined.observation.operator) == ("m", None, "left")
    back = take(joined, np.array([4, 0]))
    assert back.observation is not None and back.observation.y[:, 0].tolist() == [3, 1]
    assert back.keys.tolist() == [parts[2].keys[0], parts[0].keys[0]]


def test_the_example_in_the_docs_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "core.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(block, {})


def test_urgent_models_are_served_first_and_others_wait_for_whoever_wants_them(prior: GaussianPrior) -> None:
    slow, urgent = model_of(prior), model_of(prior)
    urgent.urgency = 1
    core = DiffusionCore({"pictures": slow, "plans": urgent})
    pictures = core.submit(ArrayRequest("pictures", keys_of(3)))
    plans = core.submit(ArrayRequest("plans", keys_of(3)))
    core.flush([plans])
    assert plans.done and not pictures.done
    alone = DiffusionCore({"pictures": model_of(prior)}).sample(ArrayRequest("pictures", keys_of(3)))
    # Who wants the pictures gets them, and waiting has changed nothing.
    assert np.array_equal(pictures.result().x, alone.x)
    assert core.statistics()["requests"] == 2
    # What is wanted and has been served already makes nobody else's requests be computed.
    later = core.submit(ArrayRequest("pictures", keys_of(2)))
    core.flush([plans])
    assert not later.done
    core.flush()
    assert later.done
