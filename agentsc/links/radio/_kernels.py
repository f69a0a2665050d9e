"""Power, fading and interference, compiled: one pass over the packets' receivers.

Sums of waves take most of a radio's time, so their loops are written for the compiler to do several waves at once:
library functions would stop it, so cosine, sine and logarithm are polynomials here, exact to 1e-13.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _S16, _S32 = (np.uint64(s) for s in (30, 27, 31, 11, 16, 32))
_LOW = np.uint64(0xFFFFFFFF)
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)
_UNIT = 2.0**-32
_CIRCLE = 2.0 * np.pi
_DECIBEL = 0.1 * np.log(10.0)
_LN2 = np.log(2.0)
_MANTISSA, _IN_HALF, _EXPONENT = np.int64(0x000FFFFFFFFFFFFF), np.int64(0x3FE0000000000000), np.int64(52)
"""Of a double's bits: those behind the point; the exponent that puts a number in [½, 1); where exponents begin."""


_S = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(7))
_C = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(8))
"""Taylor coefficients of sine and cosine."""
_OFFSETS = 1024
_OFFSET = np.uint64(_OFFSETS - 1)
"""Directions from which the first wave may come."""
_ROWS = 64
"""Done at a time."""


@helper
def _mix(state: Any, word: Any) -> Any:
    x = (state ^ word) * _GOLDEN + _GOLDEN
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


@helper
def _gaussian(bits: Any) -> Any:
    """Squared radius and angle, in turns, of a complex Gaussian of variance 1, from 64 bits."""
    first = (np.float64(np.int64(bits >> _S32)) + 0.5) * _UNIT
    return -np.log(first), np.float64(np.int64(bits & _LOW)) * _UNIT


@helper
def _turned(turns: Any) -> Any:
    """Cosine and sine of an angle in turns: Taylor series about the nearest quarter."""
    turns -= np.rint(turns)
    quarter = np.rint(4.0 * turns)
    x = (turns - 0.25 * quarter) * _CIRCLE
    s = x * x
    sine = _S[3] + s * (_S[4] + s * (_S[5] + s * _S[6]))
    sine = x * (_S[0] + s * (_S[1] + s * (_S[2] + s * sine)))
    cosine = _C[4] + s * (_C[5] + s * (_C[6] + s * _C[7]))
    cosine = _C[0] + s * (_C[1] + s * (_C[2] + s * (_C[3] + s * cosine)))
    odd, opposite = abs(quarter) == 1.0, abs(quarter) == 2.0
    real = sine if odd else cosine
    imag = cosine if odd else sine
    real = -real if (quarter == 1.0) | opposite else real
    imag = -imag if (quarter == -1.0) | opposite else imag
    return real, imag


@helper
def _radius(part: Any, power: Any) -> Any:
    """√(−log(2ᵖ x)) for x in [½, 1): by log x = 2 artanh((x − 1) / (x + 1)), x near 1."""
    large = part > 0.7071067811865476
    x = part if large else 2.0 * part
    power = power if large else power - 1.0
    z = (x - 1.0) / (x + 1.0)
    s = z * z
    series = 1.0 / 7.0 + s * (1.0 / 9.0 + s * (1.0 / 11.0 + s * (1.0 / 13.0 + s * (1.0 / 15.0))))
    series = 1.0 + s * (1.0 / 3.0 + s * (1.0 / 5.0 + s * series))
    return np.sqrt(-(power * _LN2 + 2.0 * z * series))


@kernel(array("uint64", 1), types.float64, result("float64", 1))
def block_gain(key: Any, k: Any, gain: Any) -> None:
    """|h|² [N] of mean 1, drawn anew for every key: Rayleigh for k = 0, else Rician of that factor."""
    line, spread = np.sqrt(k / (k + 1.0)), 1.0 / (k + 1.0)
    for n in range(key.shape[0]):
        square, angle = _gaussian(_mix(key[n], _ONE))
        if k == 0.0:
            gain[n] = square
        else:
            radius, (cosine, sine) = np.sqrt(square * spread), _turned(angle)
            gain[n] = (line + radius * cosine) ** 2 + (radius * sine) ** 2


@kernel(
    array("int32", 1), array("int32", 1), array("int32", 1), array("int32", 1), array("float64", 3), array("uint64", 1),
    types.float64, types.float64, types.int64, result("float64", 2),
)  # fmt: skip
def clarke(
    lane: Any, sender: Any, packet: Any, receiver: Any, spot: Any, seed: Any, number: Any, k: Any, waves: Any, h: Any
) -> None:
    """Channels that change with the places of both ends: ``h`` [N, 2], real and imaginary part, of mean power 1.

    Args:
        lane, sender: [K]. packet, receiver: [N]. spot: [L, N, 2]. seed: [L]. number: 1 / λ.
        k: Rician factor; the line of sight turns with the distance. waves: plane waves at each end, a power of two,
            from directions all around with a random offset; which direction of one end belongs to which of the other is
            shuffled.
    """
    line, spread = np.sqrt(k / (k + 1.0)), np.sqrt(1.0 / (k + 1.0) / waves)
    radius, turns, spare = np.empty(waves), np.empty(waves), np.empty(waves)
    bits = radius.view(np.int64)
    out_0, out_1, back_0, back_1 = np.empty(waves), np.empty(waves), np.empty(waves), np.empty(waves)
    for m in range(waves):
        out_0[m], out_1[m] = _turned(m / waves)
        back_0[m], back_1[m] = _turned((5 * m % waves) / waves)
    offset_0, offset_1 = np.empty(_OFFSETS), np.empty(_OFFSETS)
    for m in range(_OFFSETS):
        offset_0[m], offset_1[m] = _turned(m / _OFFSETS)
    for n in range(packet.shape[0]):
        own, who, other = lane[packet[n]], sender[packet[n]], receiver[n]
        low, high = min(who, other), max(who, other)  # both directions are one channel
        key = _mix(seed[own], (np.uint64(low) << _S16) + np.uint64(high))
        way = _mix(key, _ONE)
        at = way & _OFFSET
        cosine, sine = offset_0[at], offset_1[at]
        x0, x1 = spot[own, low, 0] * number, spot[own, low, 1] * number
        y0, y1 = spot[own, high, 0] * number, spot[own, high, 1] * number
        line_0, line_1 = x0 - y0, x1 - y1
        x0, x1 = x0 * cosine + x1 * sine, x1 * cosine - x0 * sine
        at = (way >> _S32) & _OFFSET
        cosine, sine = offset_0[at], offset_1[at]
        y0, y1 = y0 * cosine + y1 * sine, y1 * cosine - y0 * sine
        for m in range(waves):
            random = _mix(key, np.uint64(m) + _TWO)
            radius[m] = (np.float64(np.int64(random >> _S32)) + 0.5) * _UNIT
            angle = np.float64(np.int64(random & _LOW)) * _UNIT
            turns[m] = angle + x0 * out_0[m] + x1 * out_1[m] + y0 * back_0[m] + y1 * back_1[m]
        for m in range(waves):
            spare[m] = np.float64((bits[m] >> _EXPONENT) - 1022)
            bits[m] = (bits[m] & _MANTISSA) | _IN_HALF
        for m in range(waves):
            size = _radius(radius[m], spare[m])
            cosine, sine = _turned(turns[m])
            spare[m], turns[m] = size * cosine, size * sine
        left = waves
        while left > 1:  # adds up the second half to the first, again and again
            left //= 2
            for m in range(left):
                spare[m] += spare[m + left]
                turns[m] += turns[m + left]
        cosine, sine = _turned(np.sqrt(line_0 * line_0 + line_1 * line_1)) if k > 0.0 else (1.0, 0.0)
        h[n, 0] = spread * spare[0] + line * cosine
        h[n, 1] = spread * turns[0] - line * sine


@kernel(array("uint64", 1), array("float64", 1), result("float64", 2))
def multipath_gain(key: Any, power: Any, gain: Any) -> None:
    """|H|² [N, S] over subcarriers of a channel of independent Rayleigh taps.

    Args:
        power: [L], of the taps, one sample apart, summing to 1.
    """
    carriers, taps = gain.shape[1], power.shape[0]
    cosine, sine = np.empty((taps, carriers)), np.empty((taps, carriers))
    for tap in range(taps):
        for s in range(carriers):
            cosine[tap, s], sine[tap, s] = _turned((s * tap % carriers) / carriers)
    radius, turns, power_of_2 = np.empty(_ROWS), np.empty(_ROWS), np.empty(_ROWS)
    bits = radius.view(np.int64)
    real, imag = np.empty(carriers), np.empty(carriers)
    taps_real, taps_imag = np.empty((taps, _ROWS)), np.empty((taps, _ROWS))
    for first in range(0, key.shape[0], _ROWS):
        rows = min(_ROWS, key.shape[0] - first)
        for tap in range(taps):
            for r in range(rows):
                random = _mix(key[first + r], np.uint64(tap) + _ONE)
                radius[r] = (np.float64(np.int64(random >> _S32)) + 0.5) * _UNIT
                turns[r] = np.float64(np.int64(random & _LOW)) * _UNIT
            for r in range(rows):
                power_of_2[r] = np.float64((bits[r] >> _EXPONENT) - 1022)
                bits[r] = (bits[r] & _MANTISSA) | _IN_HALF
            mean = np.sqrt(power[tap])
            for r in range(rows):
                size = mean * _radius(radius[r], power_of_2[r])
                x, y = _turned(turns[r])
                taps_real[tap, r], taps_imag[tap, r] = size * x, size * y
        for r in range(rows):
            real[:], imag[:] = 0.0, 0.0
            for tap in range(taps):
                x, y = taps_real[tap, r], taps_imag[tap, r]
                for s in range(carriers):
                    real[s] += x * cosine[tap, s] + y * sine[tap, s]
                    imag[s] += y * cosine[tap, s] - x * sine[tap, s]
            for s in range(carriers):
                gain[first + r, s] = real[s] * real[s] + imag[s] * imag[s]


@kernel(array("uint64", 1), array("float64", 3), types.float64, types.int64, result("float64", 2))
def shadow_field(key: Any, spot: Any, correlation_m: Any, waves: Any, field: Any) -> None:
    """`agentsc.links.radio.budget.shadow_field`: ``field`` [L, N] at places [L, N, 2].

    There each wave has Gaussian amplitudes of its cosine and its sine; here it has their radius and angle.
    """
    radius, turns, each = np.empty(waves), np.empty(waves), np.empty(waves)
    across, along = np.empty(waves), np.empty(waves)
    for own in range(key.shape[0]):
        for m in range(waves):
            word = _mix(_mix(_GOLDEN, key[own]), np.uint64(m))
            tail = 1.0 - np.float64(np.int64(_mix(word, _ZERO) >> _S11)) * 2.0**-53
            number = np.sqrt(1.0 / (tail * tail) - 1.0) / correlation_m / _CIRCLE
            cosine, sine = _turned(np.float64(np.int64(_mix(word, _ONE) >> _S11)) * 2.0**-53)
            across[m], along[m] = number * cosine, number * sine
            square, turns[m] = _gaussian(word)
            radius[m] = np.sqrt(2.0 * square / waves)
        for other in range(spot.shape[1]):
            x, y = spot[own, other, 0], spot[own, other, 1]
            for m in range(waves):
                each[m] = radius[m] * _turned(x * across[m] + y * along[m] - turns[m])[0]
            total = 0.0
            for m in range(waves):
                total += each[m]
            field[own, other] = total


@helper
def _shadowed(both: Any, gap: Any, correlation_m: Any) -> Any:
    """A pair's shadowing from the sum of its ends', of the same deviation however near, and so correlated, they are."""
    return both / np.sqrt(1.0 + np.exp(-gap / correlation_m)) if both != 0.0 else 0.0


@kernel(
    array("int32", 1), array("int32", 1), array("int32", 1), array("int32", 1), array("float64", 3),
    array("float64", 2), types.float64, types.float64, types.float64, types.float64, result("float64", 1),
    result("float64", 1),
)  # fmt: skip
def strengths(
    lane: Any, sender: Any, packet: Any, receiver: Any, spot: Any, shadow: Any, correlation_m: Any, near_dbm: Any,
    reference_m: Any, exponent: Any, power: Any, distance: Any,
) -> None:  # fmt: skip
    """Received ``power``, milliwatts, and ``distance``, metres, [N] each: the budget without obstacles.

    Args:
        lane, sender: [K]. packet, receiver: [N]. spot: [L, N, 2]. shadow: [L, N], dB, of each node; see `_shadowed`.
        near_dbm: received at the reference distance.
    """
    for n in range(packet.shape[0]):
        k, who = packet[n], receiver[n]
        own, other = lane[k], sender[k]
        dx, dy = spot[own, other, 0] - spot[own, who, 0], spot[own, other, 1] - spot[own, who, 1]
        distance[n] = np.sqrt(dx * dx + dy * dy)
        level = near_dbm - _shadowed(shadow[own, other] + shadow[own, who], distance[n], correlation_m)
        power[n] = np.exp(_DECIBEL * level - exponent * np.log(max(distance[n] / reference_m, 1.0)))


@kernel(
    array("int32", 1), array("int32", 1), array("int32", 1), array("int64", 1), array("int32", 1), array("float64", 1),
    array("float64", 1), array("uint64", 1), array("float64", 3), array("float64", 2), types.float64, types.float64,
    types.float64, types.float64, types.boolean, result("float64", 1),
)  # fmt: skip
def interference(
    lane: Any, packet: Any, receiver: Any, begin: Any, sender: Any, share: Any, walls: Any, key: Any, spot: Any,
    shadow: Any, correlation_m: Any, near_dbm: Any, reference_m: Any, exponent: Any, fades: Any, total: Any,
) -> None:  # fmt: skip
    """Power [N], milliwatts, that reaches receivers from others on the air.

    Args:
        lane: [K]. packet, receiver: [N]. begin, sender, share: of `Overlaps`. walls: dB of each receiver and other, in
            their order, the receiver itself included; empty without obstacles. key: [N], random bits.
        spot: [L, N, 2]. shadow: [L, N], dB, of each node; see `_shadowed`. near_dbm … exponent: the budget.
        fades: interferers fade by Rayleigh, independently.
    """
    at = 0
    for n in range(packet.shape[0]):
        k, who = packet[n], receiver[n]
        own = lane[k]
        found = 0.0
        for m in range(begin[k], begin[k + 1]):
            other, at = sender[m], at + 1
            if other == who:
                continue
            gap = np.hypot(spot[own, other, 0] - spot[own, who, 0], spot[own, other, 1] - spot[own, who, 1])
            level = near_dbm - _shadowed(shadow[own, other] + shadow[own, who], gap, correlation_m)
            if walls.shape[0]:
                level -= walls[at - 1]
            power = np.exp(_DECIBEL * level - exponent * np.log(max(gap / reference_m, 1.0)))
            if fades:
                power *= _gaussian(_mix(key[n], np.uint64(other) + np.uint64(17)))[0]
            found += share[m] * power
        total[n] = found


@kernel(array("float64", 2), array("float64", 1), types.float64, types.float64, result("float64", 1))
def mean_on_curve(snr: Any, curve: Any, scale: Any, step: Any, mean: Any) -> None:
    """``mean`` [N] over subcarriers [N, S] of what is interpolated in a curve over √(scale γ).

    Args:
        curve: at 0, step, 2 step, …; 0 beyond.
    """
    last, each = curve.shape[0] - 2, np.empty(snr.shape[1])
    for n in range(snr.shape[0]):
        for s in range(snr.shape[1]):
            at = np.sqrt(scale * snr[n, s]) / step
            low = np.int64(min(at, 1.0 * last))
            share = min(at - low, 1.0)
            each[s] = curve[low] + share * (curve[low + 1] - curve[low])
        total = 0.0
        for s in range(snr.shape[1]):
            total += each[s]
        mean[n] = total / snr.shape[1]


@kernel(array("float64", 2), result("float64", 1), result("float64", 1))
def mean_capacity(snr: Any, capacity: Any, dispersion: Any) -> None:
    """Means [N] over subcarriers [N, S] of log2(1 + γ) and 1 − 1 / (1 + γ)²."""
    for n in range(snr.shape[0]):
        product, bits, spread = 1.0, 0.0, 0.0
        for s in range(snr.shape[1]):
            whole = 1.0 + snr[n, s]
            product *= whole
            if product > 1e100:  # one logarithm for many factors, as long as they fit
                bits += np.log2(product)
                product = 1.0
            spread += 1.0 - 1.0 / (whole * whole)
        capacity[n] = (bits + np.log2(product)) / snr.shape[1]
        dispersion[n] = spread / snr.shape[1]
