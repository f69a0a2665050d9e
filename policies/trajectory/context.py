"""What a trajectory prior is told: the local geometry around an agent, in the agent's own frame.

Lengths are in units of the plan's reach (v_max × horizon), the frame's origin is where the
plan starts and its x-axis points along the local route. Nothing names a map, so a prior
trained on some maps works on others. A sender and a receiver build the same context from the
same facts: a position, a velocity, a goal and their own copy of the static map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policies.trajectory.route import Routes
from policies.trajectory.spline import greville

Floats = NDArray[np.float32]

PATCH = 8
"""Signed distances on a PATCH × PATCH grid ahead of the agent."""
STATIONS = 8
"""Places along the nominal plan where the clearance to either side is measured."""
_LATERAL = np.array([-0.12, -0.05, 0.0, 0.05, 0.12], np.float32)
_CLIP = 0.25
CRUISE = 0.94
"""Share of v_max at which the nominal plan travels."""


@dataclass(frozen=True)
class Vehicle:
    """Limits and sizes that a plan must respect.

    Attributes:
        radius: metres. v_max: m/s. horizon_s: seconds that a plan spans. control_points: of its spline.
    """

    radius: float
    v_max: float
    horizon_s: float
    control_points: int

    @property
    def reach(self) -> float:
        """Metres covered at v_max over the horizon."""
        return self.v_max * self.horizon_s


@dataclass(frozen=True)
class Context:
    """A batch of planning problems, struct of arrays.

    Attributes:
        origin: float32 [batch, 2], metres; where plans start.
        axis: float32 [batch, 2], unit vector; the frame's x-axis.
        nominal: float32 [batch, control point, 2], metres; the route at cruise speed.
        features: float32 [batch, feature], dimensionless; the network's condition.
        reach: metres per unit of the frame.
    """

    origin: Floats
    axis: Floats
    nominal: Floats
    features: Floats
    reach: float

    def __len__(self) -> int:
        return len(self.origin)

    def take(self, rows: NDArray[np.intp]) -> Context:
        """The sub-batch of those rows."""
        return replace(
            self,
            origin=self.origin[rows],
            axis=self.axis[rows],
            nominal=self.nominal[rows],
            features=self.features[rows],
        )

    def to_frame(self, vectors: Floats) -> Floats:
        """World vectors [batch, …, 2], metres, to frame vectors in units of reach."""
        x, y = _spread(self.axis, vectors.ndim)
        u, v = vectors[..., 0] / self.reach, vectors[..., 1] / self.reach
        return np.stack([u * x + v * y, v * x - u * y], axis=-1)

    def to_world(self, vectors: Floats) -> Floats:
        """Inverse of `to_frame`."""
        x, y = _spread(self.axis, vectors.ndim)
        u, v = vectors[..., 0] * self.reach, vectors[..., 1] * self.reach
        return np.stack([u * x - v * y, u * y + v * x], axis=-1)

    def encode(self, control: Floats) -> Floats:
        """Control points [batch, …, P, 2] in metres → free residuals [batch, …, (P-2)·2] in the frame.

        The first control point is the start and the last equals the one before it, so P − 2 are free.
        """
        nominal = self.nominal.reshape(len(self), *([1] * (control.ndim - 3)), *self.nominal.shape[1:])
        free = self.to_frame((control - nominal)[..., 1:-1, :])
        return free.reshape(*free.shape[:-2], -1)

    def decode(self, residual: Floats) -> Floats:
        """Inverse of `encode`: residuals [batch, …, (P-2)·2] → control points [batch, …, P, 2]."""
        free = self.to_world(residual.reshape(*residual.shape[:-1], -1, 2))
        nominal = self.nominal.reshape(len(self), *([1] * (free.ndim - 3)), *self.nominal.shape[1:])
        inner = nominal[..., 1:-1, :] + free
        start = np.broadcast_to(nominal[..., :1, :], (*inner.shape[:-2], 1, 2))
        return np.concatenate([start, inner, inner[..., -1:, :]], axis=-2)


def _spread(axis: Floats, ndim: int) -> tuple[Floats, Floats]:
    shape = (len(axis), *([1] * (ndim - 2)))
    return axis[:, 0].reshape(shape), axis[:, 1].reshape(shape)


def feature_count(control_points: int) -> int:
    """Length of the feature vector of `build` for splines of that many control points."""
    return 2 + (control_points - 2) * 2 + 8 + STATIONS * len(_LATERAL) + PATCH * PATCH


def nominal_plan(routes: Routes, vehicle: Vehicle, tempo: Floats | float = CRUISE) -> Floats:
    """Control points [batch, P, 2] that follow each route at ``tempo`` × v_max and rest at its end."""
    when = greville(vehicle.control_points) * vehicle.horizon_s
    when[-1] = when[-2]  # the last control point repeats: a plan ends at rest
    arc = (np.asarray(tempo, np.float32).reshape(-1, 1) * vehicle.v_max) * when[None, :]
    return routes.at(np.broadcast_to(arc, (len(routes.arc), vehicle.control_points)).astype(np.float32))


class Ground(Protocol):
    """What solid things an agent knows of: `Obstacles`, or those with more for some rows."""

    def signed_distance(self, points: Floats) -> NDArray[np.float32]:
        """Distances [batch, …], metres, of points [batch, …, 2]; see `Obstacles.signed_distance`."""


def build(
    obstacles: Ground,
    vehicle: Vehicle,
    velocity: Floats,
    routes: Routes,
    margin: Floats,
    role: NDArray[np.integer],
    mode: NDArray[np.integer],
) -> Context:
    """The context of a batch of agents.

    Args:
        obstacles: the static map as its owner knows it.
        vehicle: limits shared by the batch.
        velocity: [batch, 2], m/s, at the start of the plan.
        routes: local routes from the plan's start.
        margin: [batch], metres of extra clearance asked for.
        role: [batch], 1 when giving way. mode: [batch], 1 when exploring detours.
    """
    reach = np.float32(vehicle.reach)
    nominal = nominal_plan(routes, vehicle)
    origin = routes.vertices[:, 0]
    ahead = nominal[:, -1] - origin
    length = np.linalg.norm(ahead, axis=-1, keepdims=True)
    fallback = np.broadcast_to(np.array([1.0, 0.0], np.float32), ahead.shape)
    axis = np.where(length > 1e-3 * reach, ahead / np.maximum(length, 1e-9), fallback).astype(np.float32)
    frame = Context(origin, axis, nominal, np.zeros((len(origin), 0), np.float32), float(reach))

    patch_x = np.linspace(-0.15, 0.85, PATCH, dtype=np.float32)
    patch_y = np.linspace(-0.5, 0.5, PATCH, dtype=np.float32)
    grid = np.stack(np.meshgrid(patch_x, patch_y, indexing="ij"), axis=-1).reshape(1, -1, 2)
    around = origin[:, None] + frame.to_world(np.broadcast_to(grid, (len(origin), PATCH * PATCH, 2)))
    stations = routes.at(
        np.broadcast_to(
            np.linspace(0.06, CRUISE, STATIONS, dtype=np.float32) * reach, (len(origin), STATIONS)
        )
    )
    tangent = np.diff(np.concatenate([origin[:, None], stations], axis=1), axis=1)
    norm = np.linalg.norm(tangent, axis=-1, keepdims=True)
    tangent = np.where(norm > 1e-6, tangent / np.maximum(norm, 1e-9), axis[:, None])
    normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)
    beside = stations[:, :, None, :] + normal[:, :, None, :] * (_LATERAL * reach)[:, None]
    points = np.concatenate([around, beside.reshape(len(origin), -1, 2)], axis=1)
    distance = np.clip(obstacles.signed_distance(points) / reach, -_CLIP, _CLIP) / _CLIP

    shape = frame.to_frame(nominal - origin[:, None])[:, 1:-1].reshape(len(origin), -1)
    remaining = np.minimum(np.nan_to_num(routes.remaining / reach, posinf=2.0), 2.0)
    scalars = np.stack(
        [
            remaining,
            np.minimum(routes.arc[:, -1] / reach, 2.0),
            routes.complete,
            np.full(len(origin), vehicle.radius / reach * 20.0),
            margin / reach * 20.0,
            length[:, 0] / reach,
            role,
            mode,
        ],
        axis=1,
    )
    moving = frame.to_frame(velocity * np.float32(vehicle.horizon_s))
    features = np.concatenate([moving, shape, scalars, distance], axis=1).astype(np.float32)
    return replace(frame, features=features)
