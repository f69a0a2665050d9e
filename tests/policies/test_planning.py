"""Trajectories in the core: a row's samples depend on that row alone, and guidance moves plans where they must go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from envs import keyed
from envs.errors import ConfigError, RunError
from envs.geometry import Obstacles
from envs.navigation import NavigationGrid
from policies.core import DiffusionCore
from policies.diffusion import GUIDANCE
from policies.diffusion.guidance import consistency
from policies.diffusion.guidance.consistency import Neighbourhood
from policies.requests import Peers, SampleReply, SampleRequest
from policies.trajectory.context import Context, Vehicle, build, feature_count
from policies.trajectory.planning import load_core, planning_core, with_precision
from policies.trajectory.prior import PriorSpec, TrajectoryPrior
from policies.trajectory.route import CLEARANCE, Guide
from policies.trajectory.spline import basis, derivative_basis

P, H = 12, 32
VEHICLE = Vehicle(0.05, 0.64, H * 5 / 64, P)
OPEN = Obstacles(bounds=(-1.0, -1.0, 1.0, 1.0))
BLOCK = Obstacles([(0.0, 0.0, 0.2, 0.2, 0.05)], bounds=(-1.0, -1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def prior() -> Iterator[TrajectoryPrior]:
    """An untrained network that answers something: what is tested here must not need good weights."""
    torch.manual_seed(0)
    made = TrajectoryPrior(PriorSpec(P, H, width=64, blocks=2), np.full(2 * (P - 2), 0.05, np.float32))
    torch.nn.init.normal_(made.network.exit.weight, std=0.05)
    made.network.eval().requires_grad_(False)
    yield made


def core_on(prior: TrajectoryPrior, obstacles: Obstacles = OPEN, **options: object) -> DiffusionCore:
    return planning_core(VEHICLE, obstacles, {"tiny": prior}, **options)


def problems(obstacles: Obstacles, starts: NDArray, goals: NDArray) -> Context:
    starts, goals = np.asarray(starts, np.float32), np.asarray(goals, np.float32)
    grid = NavigationGrid(obstacles, VEHICLE.radius, 0.1)
    guide = Guide(grid, obstacles, VEHICLE.radius * CLEARANCE, VEHICLE.reach)
    count = len(starts)
    routes = guide.routes(starts, guide.goal_index(goals))
    zero = np.zeros(count, np.int64)
    return build(
        obstacles, VEHICLE, np.zeros((count, 2), np.float32), routes, np.zeros(count, np.float32), zero, zero
    )


def request_of(
    context: Context, fresh: int = 4, warm: int = 2, guided: bool = True, seed: int = 0
) -> SampleRequest:
    rng = np.random.default_rng(seed)
    count, stops = len(context), H // 2 + 1
    peers = None
    if guided:
        discs = rng.uniform(-0.8, 0.8, (count, 3, stops, 2)).astype(np.float32)
        peers = Peers(
            discs, np.full((count, 3, stops), 0.12, np.float32), np.ones((count, 3), np.float32),
            np.full(count, 0.055, np.float32),
        )  # fmt: skip
    anchors = np.repeat(context.nominal[:, None], warm, axis=1) if warm else None
    heat = rng.uniform(0.7, 1.3, count).astype(np.float32)
    keys = keyed.hash_words(3, np.arange(count))
    late = min(1, warm)
    return SampleRequest("tiny", context, keys, fresh, anchors, late, peers, heat)


def pick(request: SampleRequest, rows: NDArray) -> SampleRequest:
    peers = request.peers
    return replace(
        request, context=request.context.take(rows), keys=request.keys[rows],
        warm=None if request.warm is None else request.warm[rows],
        peers=None if peers is None else Peers(*(getattr(peers, n)[rows] for n in vars(peers))),
        temperature=np.asarray(request.temperature)[rows],
    )  # fmt: skip


@pytest.fixture(scope="module")
def many() -> SampleRequest:
    rng = np.random.default_rng(0)
    ends = rng.uniform(-0.9, 0.9, (2, 70, 2))
    ends = np.where(np.abs(ends).max(-1, keepdims=True) < 0.35, ends + 0.5, ends)
    return request_of(problems(BLOCK, *ends))


def same(reply: SampleReply, other: SampleReply, rows: NDArray) -> None:
    np.testing.assert_array_equal(reply.control, other.control[rows])
    if other.cost is not None:
        np.testing.assert_array_equal(reply.cost, other.cost[rows])


@pytest.mark.parametrize("solver", ["ddim", "ancestral"])
@pytest.mark.parametrize("guided", [True, False])
def test_a_row_does_not_depend_on_the_batch_it_rides_in(
    prior: TrajectoryPrior, many: SampleRequest, solver: str, guided: bool
) -> None:
    asked = many if guided else replace(many, peers=None)
    core = core_on(prior, BLOCK, solver=solver)
    whole = core.sample(asked)
    for part in (
        np.arange(17),
        np.arange(17, 70),
        np.arange(9),
        np.arange(64),
        np.random.default_rng(1).permutation(70),
    ):
        same(core.sample(pick(asked, part)), whole, part)
    for few in (1, 2, 5, 7):
        rows = np.arange(40, 40 + few)
        same(core.sample(pick(asked, rows)), whole, rows)


def test_the_shipped_architecture_is_batch_independent_too(many: SampleRequest) -> None:
    torch.manual_seed(1)
    full = TrajectoryPrior(PriorSpec(P, H), np.full(2 * (P - 2), 0.05, np.float32))
    torch.nn.init.normal_(full.network.exit.weight, std=0.02)
    full.network.eval().requires_grad_(False)
    core = core_on(full, BLOCK)
    whole = core.sample(many)
    for part in (np.arange(1), np.arange(3, 12), np.arange(33), np.arange(69, -1, -1)):
        same(core.sample(pick(many, part)), whole, part)


def test_keys_decide_the_samples(prior: TrajectoryPrior, many: SampleRequest) -> None:
    core = core_on(prior)
    first, again = core.sample(many), core_on(prior).sample(many)
    np.testing.assert_array_equal(first.control, again.control)
    other = core.sample(replace(many, keys=many.keys + np.uint64(1)))
    assert (np.abs(first.control - other.control).max((1, 2, 3)) > 1e-4).all()


def test_samples_start_where_asked_and_end_at_rest(prior: TrajectoryPrior, many: SampleRequest) -> None:
    control = core_on(prior, BLOCK).sample(many).control
    assert control.shape == (70, 6, P, 2) and control.dtype == np.float32 and np.isfinite(control).all()
    np.testing.assert_allclose(control[:, :, 0], np.repeat(many.context.origin[:, None], 6, 1), atol=1e-6)
    np.testing.assert_allclose(control[:, :, -1], control[:, :, -2], atol=1e-6)


def test_speed_is_limited_everywhere(prior: TrajectoryPrior, many: SampleRequest) -> None:
    wild = TrajectoryPrior(prior.spec, np.full(2 * (P - 2), 2.0, np.float32))
    wild.network.load_state_dict(prior.network.state_dict())
    wild.network.eval().requires_grad_(False)
    control = core_on(wild, BLOCK).sample(many).control
    speed = np.linalg.norm(derivative_basis(P, 400) @ control, axis=-1) / VEHICLE.horizon_s
    assert speed.max() <= VEHICLE.v_max and speed.max() > 0.8 * VEHICLE.v_max


@pytest.mark.parametrize(("steps", "warm_time"), [(1, 0.4), (2, 0.4), (3, 0.1), (5, 1.0)])
def test_every_sample_asked_for_is_drawn_whatever_the_steps(
    prior: TrajectoryPrior, many: SampleRequest, steps: int, warm_time: float
) -> None:
    reply = core_on(prior, steps=steps, warm_time=warm_time).sample(many)
    assert reply.control.shape == (70, 6, P, 2) and np.isfinite(reply.control).all()


def test_cold_warm_samples_stay_near_their_anchor(prior: TrajectoryPrior, many: SampleRequest) -> None:
    """A network that returns its input makes warm samples anchors plus noise of the joining level."""
    anchors = many.context.nominal[:, None]
    gaps = []
    for warm_time in (0.2, 0.4, 0.8):
        core = core_on(_echo(prior), warm_time=warm_time, steps=5)
        reply = core.sample(replace(many, fresh=0, warm=anchors, late=0, peers=None))
        gaps.append(float(np.abs(reply.control - anchors).mean()) / VEHICLE.reach)
    assert gaps[0] < gaps[1] < gaps[2] and gaps[0] < 0.03


class _Echo(torch.nn.Module):
    def embed(self, condition: torch.Tensor) -> torch.Tensor:
        return condition

    def modulations(self, embedding: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return embedding

    def forward(self, x: torch.Tensor, modulations: torch.Tensor) -> torch.Tensor:
        return x


def _echo(prior: TrajectoryPrior) -> TrajectoryPrior:
    echo = TrajectoryPrior(prior.spec, prior.scale.numpy())
    echo.network = _Echo()  # type: ignore[assignment]
    return echo


def test_guidance_moves_plans_out_of_a_disc(prior: TrajectoryPrior) -> None:
    """A peer parks slightly off the straight way: guided plans go around it, unguided ones through it."""
    context = problems(OPEN, np.tile([[-0.7, 0.0]], (8, 1)), np.tile([[0.7, 0.0]], (8, 1)))
    request = request_of(context, guided=False, warm=1)
    stops = H // 2 + 1
    disc = np.broadcast_to(np.float32([0.0, 0.03]), (8, 1, stops, 2)).copy()
    peers = Peers(
        disc,
        np.full((8, 1, stops), 0.15, np.float32),
        np.ones((8, 1), np.float32),
        np.full(8, 0.05, np.float32),
    )
    core = core_on(prior, steps=8)
    bare, guided = core.sample(request), core.sample(replace(request, peers=peers))
    assert bare.cost is None and guided.cost is not None
    near = lambda reply: np.linalg.norm(basis(P, H + 1) @ reply.control - disc[0, 0, 0], axis=-1).min(-1)  # noqa: E731
    assert near(guided).mean() > 1.3 * near(bare).mean()
    np.testing.assert_allclose(guided.control[:, :, 0], bare.control[:, :, 0], atol=1e-7)
    # A disc of no weight does nothing.
    off = core.sample(replace(request, peers=replace(peers, weight=np.zeros((8, 1), np.float32))))
    assert (off.cost == 0.0).all()


def test_guidance_moves_plans_out_of_an_obstacle(prior: TrajectoryPrior) -> None:
    corner = Obstacles([(0.0, -0.14, 0.15, 0.15, 0.05)], bounds=(-1.0, -1.0, 1.0, 1.0))
    context = problems(OPEN, np.tile([[-0.6, 0.0]], (8, 1)), np.tile([[0.6, 0.0]], (8, 1)))
    request = request_of(context, guided=False, warm=1)
    stops = H // 2 + 1
    nobody = Peers(
        np.zeros((8, 1, stops, 2), np.float32), np.zeros((8, 1, stops), np.float32),
        np.zeros((8, 1), np.float32),
        np.full(8, 0.06, np.float32),
    )  # fmt: skip
    core = core_on(prior, corner, steps=8)
    bare, guided = core.sample(request), core.sample(replace(request, peers=nobody))
    deep = lambda reply: corner.signed_distance(basis(P, H + 1) @ reply.control).min(-1)  # noqa: E731
    assert deep(guided).mean() > deep(bare).mean() + 0.02


def test_repeated_guidance_settles_clear_of_everything_and_keeps_the_start() -> None:
    corner = Obstacles([(0.3, -0.13, 0.1, 0.1, 0.05)], bounds=(-1.0, -1.0, 1.0, 1.0))
    points = np.linspace([-0.6, 0.0], [0.6, 0.0], P).astype(np.float32)
    control = torch.tensor(points).expand(2, 3, P, 2).clone()
    stops = H // 2 + 1
    hood = Neighbourhood(
        basis=torch.tensor(basis(P, H + 1)[::2].copy()),
        discs=torch.tensor([-0.1, 0.03]).expand(2, 1, stops, 2),
        radius=torch.full((2, 1, stops), 0.15), weight=torch.ones(2, 1), obstacles=corner.tensors(),
        clearance=torch.full((2,), 0.06), step=0.05 * VEHICLE.reach, speed=torch.full((P - 1,), 0.3),
    )  # fmt: skip
    term = GUIDANCE.create("consistency")
    costs = [float(term.cost(hood.way(control), hood)[0].max())]
    for _ in range(40):
        control = term.apply(control, 0.3, hood)
        costs.append(float(term.cost(hood.way(control), hood)[0].max()))
    assert costs[-1] < 0.05 * costs[0] and costs[-1] <= costs[5]
    torch.testing.assert_close(control[..., 0, :], torch.tensor(points[0]).expand(2, 3, 2))
    way = (basis(P, H + 1)[::2] @ control.numpy())[0, 0]
    assert (
        np.linalg.norm(way - [-0.1, 0.03], axis=-1).min() > 0.13 and corner.signed_distance(way).min() > 0.045
    )


def test_the_push_is_minus_half_the_gradient_of_the_cost() -> None:
    generator = torch.Generator().manual_seed(3)
    stops = H // 2 + 1
    hood = Neighbourhood(
        basis=torch.tensor(basis(P, H + 1)[::2].copy()),
        discs=torch.rand(2, 3, stops, 2, generator=generator),
        radius=torch.full((2, 3, stops), 0.4), weight=torch.rand(2, 3, generator=generator),
        obstacles=BLOCK.tensors(), clearance=torch.full((2,), 0.3), step=0.1, speed=torch.ones(P - 1),
    )  # fmt: skip
    points = torch.rand(2, 4, stops, 2, generator=generator, requires_grad=True)
    cost, push = GUIDANCE.create("consistency").cost(points, hood)
    (gradient,) = torch.autograd.grad(cost.sum(), points)
    torch.testing.assert_close(push.detach(), -0.5 * gradient, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("solid", [True, False])
@pytest.mark.parametrize("walls", [True, False])
def test_compiled_guidance_is_the_tensor_formula(walls: bool, solid: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    stops = H // 2 + 1
    hood = Neighbourhood(
        basis=torch.tensor(basis(P, H + 1)[::2].copy()),
        discs=2.0 * torch.rand(5, 4, stops, 2, generator=generator) - 1.0,
        radius=0.1 + 0.5 * torch.rand(5, 4, stops, generator=generator),
        weight=torch.rand(5, 4, generator=generator) * torch.tensor([1.0, 1.0, 0.0, 1.0]),
        obstacles=BLOCK if solid else None,
        clearance=0.3 * torch.rand(5, generator=generator), step=0.1, speed=torch.ones(P - 1),
    )  # fmt: skip
    points = 2.0 * torch.rand(5, 6, stops, 2, generator=generator) - 1.0
    points[:, :2] *= 0.05  # some samples stay in one place, far from most discs
    points[:, 1] += 0.7
    term = GUIDANCE.create("consistency", obstacle_weight=0.7)
    cost, push = term.cost(points, hood, walls)
    there = replace(hood, obstacles=BLOCK.tensors() if solid else None)
    formula = term._formula(points, there, walls)
    assert cost.min() < 0.1 * cost.max()
    torch.testing.assert_close(cost, formula[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(push, formula[1], atol=1e-5, rtol=1e-4)


def test_compiled_speed_limit_is_the_tensor_formula() -> None:
    generator = torch.Generator().manual_seed(5)
    control = torch.rand(3, 4, P, 2, generator=generator)
    control[:, 0, 4:] = control[:, 0, 4:5]  # at rest
    speed = 0.2 + 0.6 * torch.rand(P - 1, generator=generator)
    limited = consistency.limit_speed(control, speed)
    assert (limited - control).abs().max() > 0.1
    torch.testing.assert_close(limited, consistency._limit_speed(control, speed))


def test_conditions_that_are_not_finite_are_refused(prior: TrajectoryPrior, many: SampleRequest) -> None:
    features = many.context.features.copy()
    features[13, 5] = np.nan
    with pytest.raises(ConfigError, match="context.features must be finite, got NaN or inf in row 13"):
        core_on(prior).sample(replace(many, context=replace(many.context, features=features)))


def test_unknown_priors_and_other_splines_are_refused(prior: TrajectoryPrior, many: SampleRequest) -> None:
    with pytest.raises(ConfigError, match="model 'huge' is not known: choose one of tiny"):
        core_on(prior).sample(replace(many, prior="huge"))
    with pytest.raises(ConfigError, match="prior.weights must use 8 control points, got 12"):
        planning_core(replace(VEHICLE, control_points=8), OPEN, {"tiny": prior})


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("steps", 0, "steps must be at least 1, got 0"),
        ("solver", "dimm", "solver 'dimm' is not known: did you mean 'ddim'"),
        ("solver", "ddim:eta=3", "solver.ddim.eta must be less than or equal to 1, got 3.0"),
        ("device", "abacus", "device must be cpu or cuda, got 'abacus'"),
    ],
)
def test_options_that_cannot_be_are_refused(
    prior: TrajectoryPrior, option: str, value: object, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        core_on(prior, **{option: value})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: {"keys": r.keys[:0], "context": r.context.take(np.arange(0))}, "keys must be uint64"),
        (lambda r: {"keys": r.keys[:5]}, r"context.features must have shape \[5, "),
        (lambda r: {"warm": r.warm[:, :, :4]}, r"warm must have shape \[70, 2, 12, 2\], got \[70, 2, 4, 2\]"),
        (lambda r: {"warm": np.where(r.keys[:, None, None, None] == r.keys[3], np.nan, r.warm)}, "in row 3"),
        (lambda r: {"peers": replace(r.peers, clearance=r.peers.clearance * np.inf)}, "peers.clearance must be finite"),
        (lambda r: {"peers": replace(r.peers, weight=r.peers.weight[:, :1])}, "peers.weight must have shape"),
        (lambda r: {"temperature": np.nan}, "temperature must be finite, got NaN or inf in row 0"),
        (lambda r: {"fresh": 0, "warm": None, "late": 0}, "fresh must be at least 1, got 0"),
        (lambda r: {"late": 3}, r"late must be in \[0, 2\], got 3"),
    ],
)
def test_requests_that_do_not_fit_are_refused(
    prior: TrajectoryPrior, many: SampleRequest, change: Any, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        core_on(prior).sample(replace(many, **change(many)))


@pytest.mark.parametrize("guided", [True, False])
def test_joining_and_cutting_batches_changes_nothing(
    prior: TrajectoryPrior, many: SampleRequest, guided: bool
) -> None:
    """One row a request or all of them, batches of 1024 rows or of 20: the same bits, in the order asked."""
    asked = many if guided else replace(many, peers=None)
    whole = core_on(prior, BLOCK).sample(asked)
    for size, max_rows in ((1, 1024), (1, 20), (9, 33), (70, 8), (70, 3)):
        core = DiffusionCore(core_on(prior, BLOCK).models, max_rows)
        parts = [np.arange(first, min(first + size, 70)) for first in range(0, 70, size)]
        replies = core.sample_many([pick(asked, part) for part in parts])
        for part, reply in zip(parts, replies, strict=True):
            same(reply, whole, part)
        told = core.statistics()
        assert told["requests"] == len(parts) and told["rows"] == 70
        assert told["batches"] == -(-70 // max_rows) and told["max_batch_rows"] <= max_rows


def test_a_temperature_for_all_joins_with_one_for_each(prior: TrajectoryPrior, many: SampleRequest) -> None:
    core = core_on(prior)
    first, second = pick(many, np.arange(9)), replace(pick(many, np.arange(9, 20)), temperature=0.8)
    alone = core.sample(first), core.sample(second)
    together = core.sample_many([first, second])
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.control, other.control)
    assert together[0].report.batch_rows == 20


def test_a_plan_that_blows_up_costs_nobody_else_anything(prior: TrajectoryPrior, many: SampleRequest) -> None:
    """A finite but absurd condition overflows the network: only its request hears of it."""
    features = many.context.features.copy()
    features[13] = 1e38
    core = core_on(prior, BLOCK)
    good = core.sample(many)
    parts = [np.arange(10), np.arange(10, 30), np.arange(30, 70)]
    wild = replace(many, context=replace(many.context, features=features))
    tickets = core.submit_many([pick(wild, part) for part in parts])
    with pytest.raises(RunError, match=r"model 'tiny' produced NaN or inf in row 3 of a request of 20: .* overflowed"):
        tickets[1].result()
    for ticket, part in ((tickets[0], parts[0]), (tickets[2], parts[2])):
        same(ticket.result(), good, part)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_coarser_numbers_are_near_float32(precision: Any, prior: TrajectoryPrior, many: SampleRequest) -> None:
    coarse = with_precision(prior, precision)
    assert coarse.precision == precision and prior.precision == "float32"
    exact, rounded = (core_on(each).sample(many).control for each in (prior, coarse))
    gap = np.abs(exact - rounded).max() / VEHICLE.reach
    assert 0.0 < gap < 0.02 and rounded.dtype == np.float32


def test_an_unknown_precision_is_refused(prior: TrajectoryPrior) -> None:
    with pytest.raises(ConfigError, match="prior.precision must be one of float32, bfloat16, int8, got 'int4'"):
        with_precision(prior, "int4")  # type: ignore[arg-type]


@pytest.mark.parametrize("solver", ["dpm-solver++", "heun", "ddim:eta=0.5"])
def test_any_solver_may_be_named(prior: TrajectoryPrior, many: SampleRequest, solver: str) -> None:
    control = core_on(prior, solver=solver).sample(many).control
    assert np.isfinite(control).all() and np.abs(control - core_on(prior).sample(many).control).max() > 1e-4


def test_the_shipped_weights_fit_and_sample(many: SampleRequest) -> None:
    core = load_core(VEHICLE, BLOCK, {"edge-prior": None})
    reply = core.sample(replace(many, prior="edge-prior"))
    assert np.isfinite(reply.control).all() and reply.report.network_s > 0.0 and reply.report.batch_rows == 70
    told = core.statistics()
    assert told["network_calls"] == 5 and 0.0 < told["network_s"] < told["busy_s"]
    assert many.context.features.shape[1] == feature_count(P)
