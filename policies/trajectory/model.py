"""Trajectory priors as models of the core: planning problems in, control points out.

Rows of a request are planning problems (an agent's own plan, or a peer's plan as a receiver imagines
it). All rows and samples share one network call per denoising step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs import keyed
from envs.errors import ConfigError
from envs.geometry import Obstacles
from policies import rows
from policies.diffusion import GUIDANCE, SOLVERS
from policies.diffusion.guidance import Term
from policies.diffusion.guidance._plans import PlanTerm, Steering
from policies.diffusion.guidance.consistency import Neighbourhood, Reconciliation, limit_speed
from policies.diffusion.sampling import guide
from policies.diffusion.solvers import Denoise
from policies.models import Meter, Model, check_keys, check_rows
from policies.requests import Peers, SampleReply, SampleRequest
from policies.trajectory.context import Vehicle, feature_count
from policies.trajectory.prior import Denoiser, TrajectoryPrior
from policies.trajectory.spline import basis, greville

Floats = NDArray[np.float32]

class TrajectoryModel(Model[SampleRequest, SampleReply]):
    """A trajectory prior for one kind of vehicle on one map.

    Args:
        vehicle: limits that plans respect. obstacles: the static map, for guidance. prior: the network.
        solver: ``NAME:key=value,…``, see agentsc list solvers. steps: denoising steps.
        warm_time: warm samples join at a diffusion time of at most this.
        stride: ticks between the way-points that guidance looks at.
        compiled: run the network through ``torch.compile``.

    Raises:
        ConfigError: a prior of other splines, fewer than one step, an unknown solver.
    """

    urgency = 1

    def __init__(
        self,
        vehicle: Vehicle,
        obstacles: Obstacles,
        prior: TrajectoryPrior,
        *,
        solver: str = "ddim",
        steps: int = 5,
        warm_time: float = 0.3,
        stride: int = 2,
        compiled: bool = False,
    ) -> None:
        points = vehicle.control_points
        if prior.spec.control_points != points:
            raise ConfigError(
                f"prior.weights must use {points} control points, "
                f"got {prior.spec.control_points} (train it again with this architecture)"
            )
        self.device = prior.device
        self.vehicle, self.prior, self.steps = vehicle, prior, steps
        if compiled:
            self.prior = copy(prior)
            self.prior.network = torch.compile(prior.network, dynamic=True)  # type: ignore[assignment]
        self._solver = SOLVERS.parse(solver)
        self._times = prior.times(steps)
        self._early = min(next(k for k, t in enumerate(self._times) if t <= warm_time + 1e-6), steps - 1)
        self._consistency = GUIDANCE.create("consistency")
        ticks = prior.spec.horizon_ticks
        self._basis = torch.as_tensor(basis(points, ticks + 1)[::stride].copy(), device=self.device)
        self._speed = torch.as_tensor(
            np.diff(greville(points)) * vehicle.reach * 0.975, dtype=torch.float32, device=self.device
        )
        solid = len(obstacles.boxes) or obstacles.bounds is not None
        walls = obstacles if self.device.type == "cpu" else obstacles.tensors(str(self.device))
        self._map = walls if solid else None

    def check(self, request: SampleRequest) -> None:
        check_keys(request.keys)
        batch, points = len(request.keys), self.vehicle.control_points
        check_rows("context.features", request.context.features, batch, (feature_count(points),))
        check_rows("context.nominal", request.context.nominal, batch, (points, 2))
        check_rows("context.axis", request.context.axis, batch, (2,))
        warm = 0
        if request.warm is not None:
            warm = request.warm.shape[1]
            check_rows("warm", request.warm, batch, (warm, points, 2))
        if request.peers is not None:
            discs, stops = request.peers.discs.shape[1], len(self._basis)
            check_rows("peers.discs", request.peers.discs, batch, (discs, stops, 2))
            check_rows("peers.radius", request.peers.radius, batch, (discs, stops))
            check_rows("peers.weight", request.peers.weight, batch, (discs,))
            check_rows("peers.clearance", request.peers.clearance, batch, ())
        if request.steer and request.peers is None:
            raise ConfigError("steer must come with peers, got it without (peers may be of weight 0)")
        for steer in request.steer:
            if not isinstance(GUIDANCE.parse(steer.guidance), PlanTerm):
                raise ConfigError(f"steer.guidance must be a term on plans, got {steer.guidance!r}")
        check_rows("temperature", _each(request.temperature, batch), batch, ())
        if request.fresh < 0 or request.fresh + warm < 1:
            raise ConfigError(
                f"fresh must be at least {0 if warm else 1}, got {request.fresh} (samples from noise)"
            )
        if not 0 <= request.late <= warm:
            raise ConfigError(f"late must be in [0, {warm}], got {request.late} (of the warm samples)")

    def key(self, request: SampleRequest) -> Hashable:
        warm = None if request.warm is None else request.warm.shape[1:]
        discs = None if request.peers is None else request.peers.discs.shape[1:]
        context = request.context
        steer = tuple((each.guidance, each.length) for each in request.steer)
        return request.fresh, request.late, warm, discs, context.reach, context.features.shape[1:], steer

    def join(self, requests: Sequence[SampleRequest]) -> SampleRequest:
        if len(requests) == 1:
            return requests[0]
        each = [
            r if np.ndim(r.temperature) else replace(r, temperature=_each(r.temperature, len(r.keys)))
            for r in requests
        ]
        return rows.stack(each)

    def sample(self, request: SampleRequest, meter: Meter) -> SampleReply:
        with torch.no_grad() if self._consistency.needs_gradient else torch.inference_mode():
            return self._sample(request, meter)

    def _sample(self, request: SampleRequest, meter: Meter) -> SampleReply:
        context, process, device = request.context, self.prior.process, self.device

        def tensor(array: Any) -> torch.Tensor:
            array = np.ascontiguousarray(array)
            return torch.as_tensor(array if array.flags.writeable else array.copy(), device=device)

        with meter.forward():
            denoiser = Denoiser.bind(self.prior, tensor(context.features))
        frame = _Frame(tensor(context.nominal), tensor(context.axis), context.reach, self.prior.scale)
        hood = None if request.peers is None else self._neighbourhood(request.peers, tensor)

        def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
            with meter.forward(x.shape[0] * x.shape[1]):
                return denoiser(x, t)

        guided: Denoise = denoise
        if hood is not None:
            terms = [
                Term(GUIDANCE.parse(one.guidance), Steering(frame, hood, rows.each(one.charge, tensor), one.length))
                for one in request.steer
            ]
            guided = guide(process, denoise, [*terms, Term(self._consistency, Reconciliation(frame, hood))])

        batch, warm = len(context), 0 if request.warm is None else request.warm.shape[1]
        shape = (request.fresh + warm, self.prior.spec.state_dim)
        noise = tensor(keyed.normal(request.keys, shape, 0))

        # The ancestral part of a solver draws afresh at every step; each row from its own key.
        def later(first: int, count: int) -> Callable[..., torch.Tensor]:
            return lambda k, draw=0: tensor(keyed.normal(request.keys, shape, 1 + first + k, draw))[:, :count]

        # Samples join the one batch at their own times: from pure noise, part-way, at the last step.
        times, last = self._times, self.steps - 1
        joins = [
            (0, request.fresh),
            (self._early, warm - request.late),
            (last, request.late),
            (self.steps, 0),
        ]
        anchors = None if request.warm is None else frame.encode(tensor(request.warm))
        x = noise[:, :0]
        for stage, (join, count) in enumerate(joins[:-1]):
            part, until = slice(x.shape[1], x.shape[1] + count), joins[stage + 1][0]
            if stage == 0:
                x = noise[:, part] * tensor(_each(request.temperature, batch))[:, None, None]
            elif count and anchors is not None:
                level = torch.full((batch,), times[join], device=device)
                own = anchors[:, part.start - request.fresh : part.stop - request.fresh]
                x = torch.cat([x, process.diffuse(own, noise[:, part], level)], dim=1)
            if x.shape[1] and until > join:
                noises = later(join, x.shape[1])
                x = self._solver.solve(process, guided, x, times[join : until + 1], noises)
        control = limit_speed(frame.decode(x), self._speed)
        cost = None
        if hood is not None:
            cost = self._consistency.cost(hood.way(control), hood, walls=False)[0].cpu().numpy()
        return SampleReply(control.cpu().numpy(), cost)

    def _neighbourhood(self, peers: Peers, tensor: Callable[[Any], torch.Tensor]) -> Neighbourhood:
        return Neighbourhood(
            basis=self._basis,
            discs=tensor(peers.discs),
            radius=tensor(peers.radius),
            weight=tensor(peers.weight),
            obstacles=self._map,
            clearance=tensor(peers.clearance),
            step=0.05 * self.vehicle.reach,
            speed=self._speed,
        )


def _each(temperature: float | Floats, batch: int) -> Floats:
    """One temperature per row, float32 [batch]."""
    given = np.asarray(temperature, np.float32)
    return np.full(batch, given) if given.ndim == 0 else given


@dataclass(frozen=True)
class _Frame:
    """Torch twin of `Context.encode` and `decode`, with the prior's scale folded in."""

    nominal: torch.Tensor
    axis: torch.Tensor
    reach: float
    scale: torch.Tensor

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        free = (z * self.scale).reshape(*z.shape[:-1], -1, 2) * self.reach
        x, y = self.axis[:, None, None, 0], self.axis[:, None, None, 1]
        world = torch.stack(
            [free[..., 0] * x - free[..., 1] * y, free[..., 0] * y + free[..., 1] * x], dim=-1
        )
        inner = self.nominal[:, None, 1:-1] + world
        start = self.nominal[:, None, :1].expand(-1, inner.shape[1], -1, -1)
        return torch.cat([start, inner, inner[..., -1:, :]], dim=-2)

    def encode(self, control: torch.Tensor) -> torch.Tensor:
        free = (control - self.nominal[:, None])[..., 1:-1, :] / self.reach
        x, y = self.axis[:, None, None, 0], self.axis[:, None, None, 1]
        frame = torch.stack(
            [free[..., 0] * x + free[..., 1] * y, free[..., 1] * x - free[..., 0] * y], dim=-1
        )
        return frame.reshape(*frame.shape[:-2], -1) / self.scale
