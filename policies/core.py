"""The diffusion core: one object that holds every prior and answers batched sampling requests.

Rows of a request are planning problems (an agent's own plan, or a peer's plan as a receiver
imagines it). All rows, samples and lanes that are due share one network call per denoising
step. The core runs in the process or inside a Ray actor; requests and replies are plain arrays.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs import keyed
from envs.errors import ConfigError
from envs.geometry import Obstacles
from policies.diffusion import GUIDANCE, SOLVERS
from policies.diffusion.guidance import Term
from policies.diffusion.guidance.consistency import Neighbourhood, Reconciliation, along, limit_speed
from policies.diffusion.sampling import guide
from policies.diffusion.schedule import grid
from policies.diffusion.solvers import Denoise
from policies.requests import Peers, SampleReply, SampleRequest
from policies.trajectory.context import Vehicle
from policies.trajectory.prior import Denoiser, TrajectoryPrior
from policies.trajectory.spline import basis, greville

Floats = NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights"
TIME_POWER = 1.5
"""Diffusion times get denser towards 0, where narrow passages are settled."""
_SMALLEST = 8
"""Matrix products of fewer rows take another kernel and differ in the last bit: pad to this."""


@dataclass
class DiffusionCore:
    """Named priors on one device, sampled in batches.

    Args:
        vehicle: limits that plans respect. obstacles: the static map, for guidance.
        priors: name → model. device: torch device name.
        solver, steps, warm_time: how samples are drawn; warm samples join at diffusion time ≤ warm_time.
    """

    vehicle: Vehicle
    obstacles: Obstacles
    priors: dict[str, TrajectoryPrior]
    device: str = "cpu"
    solver: str = "ddim"
    steps: int = 5
    warm_time: float = 0.3
    stride: int = 2
    network_s: float = 0.0
    calls: int = 0
    rows: int = 0
    _tensors: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, prior in self.priors.items():
            if prior.spec.control_points != self.vehicle.control_points:
                raise ConfigError(
                    f"prior.weights of {name!r} must use {self.vehicle.control_points} control points, "
                    f"got {prior.spec.control_points} (train it again with this architecture)"
                )
        points = self.vehicle.control_points
        ticks = self.horizon_ticks
        self._solver = SOLVERS.create(self.solver)
        self._consistency = GUIDANCE.create("consistency")
        self._basis = torch.as_tensor(basis(points, ticks + 1)[:: self.stride].copy(), device=self.device)
        self._speed = torch.as_tensor(
            np.diff(greville(points)) * self.vehicle.reach * 0.975, dtype=torch.float32, device=self.device
        )
        solid = len(self.obstacles.boxes) or self.obstacles.bounds is not None
        walls = self.obstacles if self.device == "cpu" else self.obstacles.tensors(self.device)
        self._map = walls if solid else None

    @property
    def horizon_ticks(self) -> int:
        """Ticks that a plan spans."""
        return next(iter(self.priors.values())).spec.horizon_ticks

    def sample(self, request: SampleRequest) -> SampleReply:
        """Draw samples for every row.

        Raises:
            ConfigError: unknown prior, or a condition that is not finite.
        """
        if request.prior not in self.priors:
            raise ConfigError(f"prior.name must be one of {sorted(self.priors)}, got {request.prior!r}")
        count = len(request.context)
        if not np.isfinite(request.context.features).all():
            row = int(np.flatnonzero(~np.isfinite(request.context.features).all(1))[0])
            raise ConfigError(f"context.features must be finite, got NaN or inf in row {row}")
        if count < _SMALLEST:
            request = _pad(request, _SMALLEST)
        with torch.inference_mode():
            reply = self._sample(request)
        return SampleReply(
            reply.control[:count], None if reply.cost is None else reply.cost[:count], reply.network_s
        )

    def _sample(self, request: SampleRequest) -> SampleReply:
        prior, context = self.priors[request.prior], request.context
        process = prior.process
        device = prior.device

        def tensor(array: Any) -> torch.Tensor:
            array = np.ascontiguousarray(array)
            return torch.as_tensor(array if array.flags.writeable else array.copy(), device=device)

        batch, dim = len(context), prior.spec.state_dim
        warm = 0 if request.warm is None else request.warm.shape[1]
        total = request.fresh + warm
        network_s = 0.0

        started = time.perf_counter()
        denoiser = Denoiser.bind(prior, tensor(context.features))
        network_s += time.perf_counter() - started
        frame = _Frame(tensor(context.nominal), tensor(context.axis), context.reach, prior.scale)
        hood = self._neighbourhood(request.peers, tensor) if request.peers is not None else None

        def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
            nonlocal network_s
            begun = time.perf_counter()
            x0 = denoiser(x, t)
            network_s += time.perf_counter() - begun
            self.calls += 1
            self.rows += x.shape[0] * x.shape[1]
            return x0

        guided: Denoise = denoise
        if hood is not None:
            guided = guide(process, denoise, [Term(self._consistency, Reconciliation(frame, hood))])

        noise = tensor(keyed.normal(request.keys, (total, dim), 0))

        # The ancestral part of a solver draws afresh at every step; each row from its own key.
        def later(first: int, rows: slice) -> Any:
            return lambda k, draw=0: tensor(keyed.normal(request.keys, (total, dim), 1 + first + k, draw))[:, rows]

        times = grid(process, self.steps, "power", power=TIME_POWER)
        # Samples join the one batch at their own times: from pure noise, part-way, at the last step.
        early = min(next(k for k, t in enumerate(times) if t <= self.warm_time + 1e-6), self.steps - 1)
        joins = [(0, request.fresh), (early, warm - request.late), (self.steps - 1, request.late)]
        heat = np.full(batch, request.temperature, np.float32)
        anchors = None if request.warm is None else frame.encode(tensor(request.warm))
        x = noise[:, :0]
        for stage, (join, count) in enumerate(joins):
            part = slice(x.shape[1], x.shape[1] + count)
            if stage == 0:
                x = noise[:, part] * tensor(heat)[:, None, None]
            elif count and anchors is not None:
                level = torch.full((batch,), times[join], device=device)
                own = anchors[:, part.start - request.fresh : part.stop - request.fresh]
                x = torch.cat([x, process.diffuse(own, noise[:, part], level)], dim=1)
            until = joins[stage + 1][0] if stage + 1 < len(joins) else self.steps
            if x.shape[1] and until > join:
                x = self._solver.solve(
                    process, guided, x, times[join : until + 1], later(join, slice(0, x.shape[1]))
                )
        control = limit_speed(frame.decode(x), self._speed)
        cost = None
        if hood is not None:
            cost = self._consistency.cost(along(hood.basis, control), hood, walls=False)[0].cpu().numpy()
        self.network_s += network_s
        return SampleReply(control.cpu().numpy(), cost, network_s)

    def _neighbourhood(self, peers: Peers, tensor: Any) -> Neighbourhood:
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


def load_core(
    vehicle: Vehicle,
    obstacles: Obstacles,
    names: dict[str, Path | str | None],
    device: str = "cpu",
    **options: Any,
) -> DiffusionCore:
    """A core with the named priors; a name without a path takes the shipped weights."""
    priors = {
        name: TrajectoryPrior.load(path or WEIGHTS / f"{name}.safetensors", device)
        for name, path in names.items()
    }
    return DiffusionCore(vehicle, obstacles, priors, device, **options)


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


def _pad(request: SampleRequest, size: int) -> SampleRequest:
    """The request with its first row repeated until it has ``size`` rows."""
    rows = np.concatenate([np.arange(len(request.context)), np.zeros(size - len(request.context), np.intp)])
    peers = request.peers
    return SampleRequest(
        request.prior,
        request.context.take(rows),
        request.keys[rows],
        request.fresh,
        None if request.warm is None else request.warm[rows],
        request.late,
        None
        if peers is None
        else Peers(peers.discs[rows], peers.radius[rows], peers.weight[rows], peers.clearance[rows]),
        request.temperature if np.ndim(request.temperature) == 0 else np.asarray(request.temperature)[rows],
    )
