"""The core in an actor: many callers at once, whose requests ride together, with the results of a core of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from envs import keyed
from envs.errors import ConfigError, RunError
from policies.requests import ArrayRequest

SHAPE = (2, 3)


def make_core(slow_s: float = 0.0) -> Any:
    """A core with a linear denoiser that takes its time, and one that blows up for large states."""
    import time

    import torch

    from policies.arrays import ArrayModel
    from policies.core import DiffusionCore
    from policies.diffusion.process.cosine import CosineVP

    def calm(x: torch.Tensor, t: float) -> torch.Tensor:
        time.sleep(slow_s)
        return 0.5 * x

    def wild(x: torch.Tensor, t: float) -> torch.Tensor:
        return torch.where(x.flatten(1)[:, :1, None] > 0.0, x * float("nan"), x)

    options: dict[str, Any] = {"process": CosineVP(), "shape": SHAPE, "steps": 3}
    return DiffusionCore({"calm": ArrayModel(calm, **options), "wild": ArrayModel(wild, **options)})


@pytest.fixture(scope="module")
def actor() -> Iterator[Any]:
    from agentsc.actors.ray_core import CoreActor
    from agentsc.actors.session import load, open_session

    # Workers cannot import tests: what they need of this module is sent to them.
    load().cloudpickle.register_pickle_by_value(sys.modules[__name__])
    started = open_session(cpus=2)
    yield CoreActor.remote(make_core, slow_s=0.03)  # type: ignore[attr-defined]
    if started:
        load().shutdown()


def get(reference: Any) -> Any:
    import ray

    return ray.get(reference, timeout=60)


def request_of(count: int, first: int = 0, model: str = "calm") -> ArrayRequest:
    return ArrayRequest(model, keyed.hash_words(1, np.arange(first, first + count)))


def test_callers_at_once_ride_together_and_get_what_is_theirs(actor: Any) -> None:
    before = get(actor.statistics.remote())
    calls = [actor.sample.remote(request_of(4, 4 * number)) for number in range(16)]
    replies = get(calls)
    whole = make_core().sample(request_of(64)).x
    np.testing.assert_array_equal(np.concatenate([reply.x for reply in replies]), whole)
    after = get(actor.statistics.remote())
    assert after["requests"] - before["requests"] == 16
    assert after["batches"] - before["batches"] < 16, "those that came during a batch were computed together"
    assert max(reply.report.batch_rows for reply in replies) > 4


def test_several_requests_of_a_call_and_none(actor: Any) -> None:
    first, nothing, third = get(actor.sample.remote(request_of(2), None, request_of(3, 2)))
    assert nothing is None and len(first.x) == 2
    np.testing.assert_array_equal(third.x, make_core().sample(request_of(5)).x[2:])
    assert get(actor.sample.remote(None)) is None


def test_errors_stay_with_their_callers(actor: Any) -> None:
    calls = [
        actor.sample.remote(request_of(30, model="wild")),
        actor.sample.remote(request_of(2, model="clam")),
        actor.sample.remote(request_of(6)),
    ]
    with pytest.raises(RunError, match="model 'wild' produced NaN or inf in row"):
        get(calls[0])
    with pytest.raises(ConfigError, match="model 'clam' is not known: did you mean 'calm'"):
        get(calls[1])
    np.testing.assert_array_equal(get(calls[2]).x, make_core().sample(request_of(6)).x)
