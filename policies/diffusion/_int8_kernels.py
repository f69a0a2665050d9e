"""Compiled loops of `policies.diffusion.quantisation`: what stands between integer convolutions, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_ONE, _NONE, _TOP = np.float32(1.0), np.float32(0.0), np.float32(255.0)
_HALF = np.float32(0.5)
_EXPONENT = np.float32(-1.0 / (32.0 * np.log(2.0)))
_FIT = np.polynomial.Chebyshev.interpolate(lambda s: 2.0**s, 7, [-1, 1]).convert(kind=np.polynomial.Polynomial)
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7 = (np.float32(each) for each in _FIT.coef)
"""2^s on [−1, 1] to 2e-8."""


@helper
def _step(u: Any, inverse: Any, zero: Any) -> Any:
    return np.uint8(np.int32(min(max(u * inverse + zero, _NONE), _TOP) + _HALF))


@kernel(array("float32", 3), types.float32, types.float32, types.int64, result("uint8", 3))
def rounded(x: Any, inverse: Any, zero: Any, first: Any, out: Any) -> None:
    """x in eight-bit steps, into the channels of ``out`` from ``first`` on; arguments as those of `norm_silu_round`."""
    for n in range(x.shape[0]):
        for p in range(x.shape[1]):
            for c in range(x.shape[2]):
                out[n, p, first + c] = _step(x[n, p, c], inverse, zero)


@helper
def _silu_step(u: Any, inverse: Any, zero: Any) -> Any:
    """SiLU(u) in steps.

    e^(−u) is the 32nd power of 2^(−u / 32 ln 2), which loops can do for many channels at once; beyond ±22 it is u or 0.
    """
    s = min(max(u * _EXPONENT, -_ONE), _ONE)
    e = _C0 + s * (_C1 + s * (_C2 + s * (_C3 + s * (_C4 + s * (_C5 + s * (_C6 + s * _C7))))))
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    return _step(u / (_ONE + e), inverse, zero)


@kernel(
    array("float32", 3), array("float32", 1), array("float32", 1), array("float32", 2), array("float32", 3),
    types.int64, types.float64, types.float32, types.float32, result("uint8", 3),
)  # fmt: skip
def norm_silu_round(
    x: Any, weight: Any, bias: Any, level: Any, place: Any, groups: Any, eps: Any, inverse: Any, zero: Any, out: Any
) -> None:
    """SiLU(GroupNorm(x) · (1 + scale) + shift) in eight-bit steps.

    x, out: [row, place, channel]. level: [row, 2 · channel] and place: [row, place, 2 · channel] or empty: scale, then
    shift, added up. inverse: steps per unit. zero: the step that stands for 0.
    """
    rows, places, channels = x.shape
    size = channels // groups
    first, second = np.empty(channels, np.float32), np.empty(channels, np.float32)
    scale, shift = np.empty(channels, np.float32), np.empty(channels, np.float32)
    more, up = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    for n in range(rows):
        for c in range(channels):
            first[c], second[c] = _NONE, _NONE
        for p in range(places):
            for c in range(channels):
                first[c] += x[n, p, c]
                second[c] += x[n, p, c] * x[n, p, c]
        for g in range(groups):
            total, square = 0.0, 0.0
            for c in range(g * size, (g + 1) * size):
                total += first[c]
                square += second[c]
            mean = total / (size * places)
            spread = np.sqrt(max(square / (size * places) - mean * mean, 0.0) + eps)
            for c in range(g * size, (g + 1) * size):
                scale[c] = weight[c] / spread
                shift[c] = bias[c] - mean * weight[c] / spread
        if level.shape[0]:
            for c in range(channels):
                more[c], up[c] = _ONE + level[n, c], level[n, channels + c]
            if not place.shape[0]:
                for c in range(channels):
                    scale[c], shift[c] = scale[c] * more[c], shift[c] * more[c] + up[c]
        if place.shape[0]:
            for p in range(places):
                for c in range(channels):
                    u = x[n, p, c] * scale[c] + shift[c]
                    u = u * (more[c] + place[n, p, c]) + (up[c] + place[n, p, channels + c])
                    out[n, p, c] = _silu_step(u, inverse, zero)
        else:
            for p in range(places):
                for c in range(channels):
                    out[n, p, c] = _silu_step(x[n, p, c] * scale[c] + shift[c], inverse, zero)
