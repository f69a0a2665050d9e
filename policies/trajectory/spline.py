"""Plans as clamped cubic B-splines over a horizon of unit length.

A plan of P control points c has position x(u) = Σ_i N_i(u) c_i at u = time / horizon, with N_i
the cubic B-spline basis on knots that repeat four times at both ends and are uniform between.
It starts at c_0 and ends at c_{P−1}; with the last two control points equal it ends at rest.

Reference: C. de Boor, A Practical Guide to Splines (1978), chapters IX–X.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.errors import ConfigError

DEGREE = 3

Floats = NDArray[np.float32]


def knots(control_points: int) -> NDArray[np.float64]:
    """Clamped uniform knots on [0, 1].

    Returns:
        float64 [P + 4].

    Raises:
        ConfigError: fewer control points than a cubic needs.
    """
    if control_points < DEGREE + 1:
        raise ConfigError(
            f"control_points must be at least {DEGREE + 1}, got {control_points} "
            "(control points of a cubic spline plan)"
        )
    inner = np.linspace(0.0, 1.0, control_points - DEGREE + 1)
    return np.concatenate([np.zeros(DEGREE), inner, np.ones(DEGREE)])


def greville(control_points: int) -> Floats:
    """The time (fraction of the horizon) at which each control point acts most.

    A spline whose control points are samples of a straight motion at these times is that motion.

    Returns:
        float32 [P], 0 first and 1 last.
    """
    t = knots(control_points)
    return ((t[1:-3] + t[2:-2] + t[3:-1]) / DEGREE).astype(np.float32)


def spans(control_points: int) -> Floats:
    """Fraction of the horizon that each increment c_{i+1} − c_i is given.

    The velocity is a convex combination of increment_i / span_i, so keeping every increment
    within v_max · span_i · horizon_s keeps the speed within v_max everywhere.

    Returns:
        float32 [P − 1], summing to 1.
    """
    t = knots(control_points)
    return ((t[4:-1] - t[1:-4]) / DEGREE).astype(np.float32)


def _cox_de_boor(t: NDArray[np.float64], degree: int, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values [u, len(t) − degree − 1] of the basis of that degree on knots t."""
    last = np.flatnonzero(t[:-1] < t[1:])[-1]
    span = np.clip(np.searchsorted(t, u, side="right") - 1, 0, last)  # u = 1 belongs to the last span
    value = (span[:, None] == np.arange(len(t) - 1)).astype(np.float64)
    for k in range(1, degree + 1):
        rise, fall = t[k:-1] - t[: -k - 1], t[k + 1 :] - t[1:-k]
        left = np.where(rise > 0, (u[:, None] - t[: -k - 1]) / np.where(rise > 0, rise, 1.0), 0.0)
        right = np.where(fall > 0, (t[k + 1 :] - u[:, None]) / np.where(fall > 0, fall, 1.0), 0.0)
        value = left * value[:, :-1] + right * value[:, 1:]
    return value


def basis_at(control_points: int, u: ArrayLike) -> Floats:
    """Basis at any times.

    Args:
        control_points: P. u: [samples], fractions of the horizon; outside [0, 1] the plan rests at its ends.

    Returns:
        float32 [samples, P]; rows are non-negative and sum to 1.
    """
    times = np.clip(np.asarray(u, np.float64), 0.0, 1.0)
    return _cox_de_boor(knots(control_points), DEGREE, times).astype(np.float32)


def derivative_basis_at(control_points: int, u: ArrayLike) -> Floats:
    """Basis of the velocity at any times in [0, 1]; divide by the horizon in seconds for m/s.

    Returns:
        float32 [samples, P]; rows sum to 0.
    """
    times = np.clip(np.asarray(u, np.float64), 0.0, 1.0)
    quadratic = _cox_de_boor(knots(control_points)[1:-1], DEGREE - 1, times)
    rate = quadratic / spans(control_points).astype(np.float64)
    zero = np.zeros((len(times), 1))
    value = np.concatenate([zero, rate], axis=1) - np.concatenate([rate, zero], axis=1)
    return value.astype(np.float32)


@lru_cache(maxsize=64)
def basis(control_points: int, samples: int) -> Floats:
    """Basis at evenly spaced times, both ends included: ``basis(P, H + 1)`` is ticks 0 … H.

    Args:
        control_points: P ≥ 4. samples: ≥ 2.

    Returns:
        float32 [samples, P], read-only and shared between calls.
    """
    return _shared(basis_at(control_points, np.linspace(0.0, 1.0, samples)))


@lru_cache(maxsize=64)
def derivative_basis(control_points: int, samples: int) -> Floats:
    """Basis of the velocity at evenly spaced times, per horizon: float32 [samples, P], read-only."""
    return _shared(derivative_basis_at(control_points, np.linspace(0.0, 1.0, samples)))


@lru_cache(maxsize=64)
def _fitter(control_points: int, samples: int) -> Floats:
    """Way-points relative to the start -> the free control points, float32 [P − 2, samples]."""
    full = basis_at(control_points, np.linspace(0.0, 1.0, samples)).astype(np.float64)
    free = full[:, 1:-1].copy()
    free[:, -1] += full[:, -1]  # the last control point is the one before it
    return _shared(np.linalg.pinv(free).astype(np.float32))


def fit(points: Floats, control_points: int, first: Floats | None = None) -> Floats:
    """Least-squares plan through way-points at evenly spaced times of the horizon.

    Args:
        points: float32 [..., samples, 2], metres; both ends of the horizon included.
        control_points: P. first: float32 [..., 2], where the plan starts; the first way-point if None.

    Returns:
        float32 [..., P, 2] control points: the first is ``first`` exactly, the last two are equal.
    """
    points = np.asarray(points, np.float32)
    start = points[..., 0, :] if first is None else np.asarray(first, np.float32)
    # Relative to the start, the first control point is zero, and float32 stays precise on large maps.
    relative = _fitter(control_points, points.shape[-2]) @ (points - start[..., None, :])
    inner = start[..., None, :] + relative
    return np.concatenate([start[..., None, :], inner, inner[..., -1:, :]], axis=-2)


def _shared(array: Floats) -> Floats:
    array.setflags(write=False)
    return array
