"""Charges of plans: closed forms against finite differences, the same for numpy and torch, and as guidance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from envs.errors import ConfigError
from envs.geometry import Obstacles
from policies import rows
from policies.diffusion import GUIDANCE
from policies.requests import Peers, SampleRequest, Steer
from policies.trajectory import terms
from policies.trajectory.context import Vehicle, build
from policies.trajectory.model import TrajectoryModel
from policies.trajectory.prior import WEIGHTS, TrajectoryPrior
from policies.trajectory.terms import Coverage, Formation, Places, Prices, Resources

N, S, H, P = 3, 4, 9, 5
EVERY = ["resources", "coverage", "formation", "prices"]


def charges() -> dict[str, Any]:
    """One of each over the same places, in double precision."""
    rng = np.random.default_rng(0)
    half = rng.uniform(0.0, 0.4, (N, P, 2)) * (rng.random((N, P, 1)) < 0.5)
    places = Places(rng.uniform(-1, 1, (N, P, 2)), half, rng.uniform(0.3, 0.9, (N, P)))
    decay = terms.DISCOUNT ** np.arange(H) * np.ones((N, 1)) / H
    return {
        "resources": Resources(places, rng.uniform(0, 2, (N, P, H)), rng.integers(1, 3, (N, P)).astype(float), decay),
        "coverage": Coverage(places, rng.uniform(1, 3, (N, P)), rng.uniform(0, 1, (N, P))),
        "formation": Formation(rng.uniform(-1, 1, (N, H, 2)), decay * (rng.random((N, H)) < 0.7), np.full(N, 0.5)),
        "prices": Prices(places, rng.uniform(0, 1, (N, P)), decay),
    }


def points() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (N, S, H, 2))


@pytest.mark.parametrize("name", EVERY)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    charge, x, step = charges()[name], points(), 1e-6
    gradient = charge.charge(x)[1]
    assert (gradient != 0).any()
    found = np.zeros_like(x)
    for h in range(H):
        for k in range(2):
            up, down = x.copy(), x.copy()
            up[:, :, h, k] += step
            down[:, :, h, k] -= step
            found[:, :, h, k] = (charge.charge(up)[0] - charge.charge(down)[0]) / (2 * step)
    np.testing.assert_allclose(gradient, found, atol=2e-5)


@pytest.mark.parametrize("name", EVERY)
def test_arrays_and_tensors_give_the_same(name: str) -> None:
    charge = charges()[name]
    plain = charge.charge(points())
    tensors = rows.each(charge, torch.as_tensor).charge(torch.as_tensor(points()))
    for mine, theirs in zip(plain, tensors, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-12)


def test_each_charge_says_what_its_formula_says() -> None:
    """At one place, with one way-point on it and nowhere else."""
    one = np.ones((1, 1))
    places = Places(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), one)
    on, off = np.zeros((1, 1, 1, 2)), np.full((1, 1, 1, 2), 2.0)
    for load, expected in ((0.0, 0.0), (1.0, 1.0), (2.0, 3.0)):  # max(0, L + 1 − 1)² − max(0, L − 1)²
        full = Resources(places, np.full((1, 1, 1), load), one, one)
        assert full.charge(on)[0].item() == pytest.approx(expected)
        assert full.charge(off)[0].item() == 0.0
    assert Coverage(places, 2 * one, 0.25 * one).charge(on)[0].item() == pytest.approx(-1.5)
    assert Prices(places, 3 * one, one).charge(on)[0].item() == pytest.approx(3.0)
    assert Formation(off[:, 0], one, np.ones(1)).charge(on)[0].item() == pytest.approx(8.0)


# -- as guidance -------------------------------------------------------------------------------------


def model() -> TrajectoryModel:
    vehicle = Vehicle(0.05, 0.64, 32 * 5 / 64, 12)
    return TrajectoryModel(vehicle, Obstacles((), None), TrajectoryPrior.load(WEIGHTS / "edge-prior.safetensors"))


def request(count: int, *steer: Steer, peers: bool = True) -> SampleRequest:
    from envs.navigation import NavigationGrid
    from policies.trajectory.route import Guide

    vehicle = Vehicle(0.05, 0.64, 32 * 5 / 64, 12)
    open_world = Obstacles((), None)
    grid = NavigationGrid(open_world, 0.05, 0.1, extent=(-1.0, -1.0, 1.0, 1.0))
    guide = Guide(grid, open_world, 0.07, vehicle.reach)
    start = np.zeros((count, 2), np.float32) - 0.5
    routes = guide.routes(start, guide.goal_index(start + 1.0))
    zero = np.zeros(count, np.float32)
    whole = np.zeros(count, np.int64)
    context = build(open_world, vehicle, np.zeros((count, 2), np.float32), routes, zero, whole, whole)
    none = Peers(np.zeros((count, 1, 17, 2), np.float32), np.ones((count, 1, 17), np.float32),
                 np.zeros((count, 1), np.float32), zero)  # fmt: skip
    keys = np.arange(count, dtype=np.uint64)
    return SampleRequest("edge-prior", context, keys, 8, peers=none if peers else None, steer=steer)


def steer(name: str, count: int, weight: float = 1.0) -> Steer:
    """Something beside the straight way: a place at (0.2, −0.2), and for ends one beside the goal."""
    spot = [0.5, 0.2] if name == "coverage" else [0.2, -0.2]
    centre = np.broadcast_to(np.float32(spot), (count, 1, 2)).copy()
    places = Places(centre, 0 * centre, np.full((count, 1), 0.6, np.float32))
    decay = np.full((count, 17), 1 / 17, np.float32)
    one = np.ones((count, 1), np.float32)
    charge = {
        "resources": Resources(places, np.ones((count, 1, 17), np.float32), one, decay),
        "coverage": Coverage(places, one, 0 * one),
        "formation": Formation(np.repeat(centre, 17, axis=1), decay, np.full(count, 0.2, np.float32)),
        "prices": Prices(places, one, decay),
    }[name]
    return Steer(f"{name}:weight={weight:g}", charge, 0.2)


@pytest.mark.parametrize("name", EVERY)
def test_steering_lowers_the_charge_of_samples(name: str) -> None:
    from policies.core import DiffusionCore

    core = DiffusionCore({"edge-prior": model()})
    term = steer(name, 2)
    free, off, steered = core.sample_many(
        [request(2), request(2, steer(name, 2, 0.0)), request(2, term)]
    )
    np.testing.assert_array_equal(off.control, free.control)
    from policies.trajectory.spline import basis

    way = lambda control: np.asarray(basis(12, 33)[::2] @ control)  # noqa: E731
    mean = lambda reply: float(term.charge.charge(way(reply.control))[0].mean())  # noqa: E731
    assert mean(steered) < mean(free) - 0.01


def test_a_row_does_not_depend_on_what_it_rides_with_when_steered() -> None:
    from policies.core import DiffusionCore

    core = DiffusionCore({"edge-prior": model()})
    both = core.sample(request(2, steer("formation", 2), steer("prices", 2)))
    joined = core.sample_many([request(2, steer("formation", 2), steer("prices", 2))] * 2)
    for each in joined:
        np.testing.assert_array_equal(each.control, both.control)


def test_wrong_steering_is_refused() -> None:
    known = steer("prices", 1)
    with pytest.raises(ConfigError, match="steer must come with peers"):
        model().check(request(1, known, peers=False))
    with pytest.raises(ConfigError, match="must be a term on plans, got 'dps'"):
        model().check(request(1, Steer("dps", known.charge, 1.0)))
    with pytest.raises(ConfigError, match="weight must be"):
        GUIDANCE.create("prices", weight=-1.0)
