"""Plans within an acceleration limit: a spline is driven as fast along as the limits allow.

A clamped cubic spline's velocity and acceleration are splines too, with control points

    v_i = (c_{i+1} − c_i) / h_i,     a_i = (v_{i+1} − v_i) / g_i,

and lie in the convex hulls of these. So a limit on every |v_i| and |a_i| holds at all times (C. de Boor, A Practical
Guide to Splines, 1978, chapter X). Plans here begin at the vehicle's velocity and end at rest.
"""

from __future__ import annotations

import numpy as np

from policies.trajectory.spline import Floats, knots, spans

_TINY = 1e-9


def paced(control: Floats, velocity: Floats, horizon_s: float, v_max: float, a_max: float) -> Floats:
    """Each plan pursued by a vehicle with limited acceleration.

    From control point to control point the vehicle heads for where the plan would be one later, no faster than it
    can still stop in the length that is left: it lags while it gathers speed, cuts corners that are too sharp for
    it, and never overshoots an end that it can stop at.

    Args:
        control: float32 [n, candidate, P, 2], metres, the last two equal. velocity: float32 [n, 2], m/s, now.
        horizon_s: seconds that a plan spans. v_max: m/s. a_max: m/s².

    Returns:
        float32 [n, candidate, P, 2]; first point and last two as before: the start, and a rest.
    """
    points = control.shape[-2]
    t = knots(points) * horizon_s
    h = spans(points).astype(np.float64) * horizon_s
    g = (t[4:-2] - t[2:-4]) / 2.0
    # How fast each v_i may be for the rest to come to a stop within the horizon.
    stoppable = np.append(np.cumsum(a_max * g[::-1])[::-1], 0.0)
    target = control.astype(np.float64)
    legs = np.linalg.norm(np.diff(target, axis=-2), axis=-1)
    rest = np.cumsum(legs[..., ::-1], axis=-1)[..., ::-1]  # length of the plan from each point on
    rest = np.concatenate([rest, np.zeros_like(rest[..., :1])], axis=-1)
    found = target.copy()
    pace = np.broadcast_to(velocity[:, None].astype(np.float64), target.shape[:-2] + (2,))
    found[..., 1, :] = found[..., 0, :] + pace * h[0]
    for i in range(1, points - 2):
        gap = target[..., i + 1, :] - found[..., i, :]
        left = np.linalg.norm(gap, axis=-1) + rest[..., i + 1]
        # After h more seconds at this speed, a stop with a_max ends within the length left.
        brisk = a_max * (np.sqrt(h[i] ** 2 + 2.0 * left / a_max) - h[i])
        wanted = _within(gap / h[i], np.minimum(brisk, v_max))
        pace = pace + _within(wanted - pace, a_max * g[i - 1])
        pace = _within(pace, min(v_max, stoppable[i]))
        found[..., i + 1, :] = found[..., i, :] + pace * h[i]
    found[..., -1, :] = found[..., -2, :]
    return found.astype(np.float32)


def _within(vectors: np.ndarray, most: np.ndarray | float) -> np.ndarray:
    """Vectors [..., 2] shortened to ``most`` where they are longer."""
    length = np.maximum(np.linalg.norm(vectors, axis=-1), _TINY)
    return np.asarray(vectors * np.minimum(1.0, most / length)[..., None])
