"""Fading and interference, compiled: one pass over the packets' receivers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _S32 = (np.uint64(s) for s in (30, 27, 31, 11, 32))
_LOW = np.uint64(0xFFFFFFFF)
_TURN = 2.0 * np.pi * 2.0**-32


@helper
def _mix(state: Any, word: Any) -> Any:
    x = (state ^ word) * _GOLDEN + _GOLDEN
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


@helper
def _gaussian(bits: Any) -> Any:
    """Squared radius and angle of a complex Gaussian of variance 1, from 64 bits."""
    first = (np.float64(bits >> _S32) + 0.5) * 2.0**-32
    return -np.log(first), np.float64(bits & _LOW) * _TURN


@kernel(array("uint64", 1), types.float64, result("float64", 1))
def block_gain(key: Any, k: Any, gain: Any) -> None:
    """|h|² [N] of mean 1, drawn anew for every key: Rayleigh for k = 0, else Rician of that factor."""
    line, spread = np.sqrt(k / (k + 1.0)), 1.0 / (k + 1.0)
    for n in range(key.shape[0]):
        square, angle = _gaussian(_mix(key[n], np.uint64(1)))
        if k == 0.0:
            gain[n] = square
        else:
            radius = np.sqrt(square * spread)
            gain[n] = (line + radius * np.cos(angle)) ** 2 + (radius * np.sin(angle)) ** 2


@kernel(
    array("int32", 1), array("int32", 1), array("uint64", 1), array("int32", 1), array("int32", 1),
    array("float64", 3), types.float64, types.float64, types.int64, result("float64", 2),
)  # fmt: skip
def clarke(
    lane: Any, sender: Any, prefix: Any, packet: Any, receiver: Any, spot: Any, number: Any, k: Any, waves: Any, h: Any
) -> None:
    """Channels that change with the places of both ends: ``h`` [N, 2], real and imaginary part, of mean power 1.

    Args:
        lane, sender, prefix: [K]; random bits of a lane, mixed with the unordered pair. packet, receiver: [N].
        spot: [L, N, 2], metres. number: 2π / λ. k: Rician factor; the line of sight turns with the distance.
        waves: plane waves at each end, from directions all around with a random offset; which direction of one end
            belongs to which of the other is shuffled.
    """
    line, spread = np.sqrt(k / (k + 1.0)), np.sqrt(1.0 / (k + 1.0) / waves)
    cosine, sine = np.empty(waves), np.empty(waves)
    for m in range(waves):
        cosine[m], sine[m] = np.cos(2.0 * np.pi * m / waves), np.sin(2.0 * np.pi * m / waves)
    for n in range(packet.shape[0]):
        p = packet[n]
        own, low, high = lane[p], min(sender[p], receiver[n]), max(sender[p], receiver[n])
        key = _mix(prefix[p], (np.uint64(low) << np.uint64(16)) + np.uint64(high))
        x, y = number * spot[own, low, 0], number * spot[own, low, 1]
        u, v = number * spot[own, high, 0], number * spot[own, high, 1]
        way = _mix(key, np.uint64(1))
        first, second = np.float64(way >> _S32) * _TURN, np.float64(way & _LOW) * _TURN
        # Directions turn by equal steps, so what a step changes is a rotation of the offset's direction.
        ahead, aside = x * np.cos(first) + y * np.sin(first), y * np.cos(first) - x * np.sin(first)
        along, across = u * np.cos(second) + v * np.sin(second), v * np.cos(second) - u * np.sin(second)
        real, imag = 0.0, 0.0
        for m in range(waves):
            square, angle = _gaussian(_mix(key, np.uint64(m + 2)))
            back = 5 * m % waves
            angle += ahead * cosine[m] + aside * sine[m] + along * cosine[back] + across * sine[back]
            radius = np.sqrt(square)
            real += radius * np.cos(angle)
            imag += radius * np.sin(angle)
        phase = np.hypot(x - u, y - v) if k > 0.0 else 0.0
        h[n, 0] = spread * real + line * np.cos(phase)
        h[n, 1] = spread * imag - line * np.sin(phase)


@kernel(
    array("int32", 1), array("int32", 1), array("int32", 1), array("int32", 1), array("float64", 3),
    array("float64", 2), types.float64, types.float64, types.float64, result("float64", 1), result("float64", 1),
)  # fmt: skip
def received(
    lane: Any, sender: Any, packet: Any, receiver: Any, spot: Any, shadow: Any, near_mw: Any, reference_m: Any,
    exponent: Any, power: Any, metres: Any,
) -> None:  # fmt: skip
    """Mean ``power`` [N], milliwatts, and distance ``metres`` [N] of every row.

    Args:
        lane, sender: [K]. packet, receiver: [N]. spot: [L, N, 2], metres. shadow: [L, N], each node's factor.
        near_mw: power at the reference distance. exponent: of path loss.
    """
    for n in range(packet.shape[0]):
        k, who = packet[n], receiver[n]
        own, other = lane[k], sender[k]
        gap = np.hypot(spot[own, other, 0] - spot[own, who, 0], spot[own, other, 1] - spot[own, who, 1])
        metres[n] = gap
        ratio = max(gap / reference_m, 1.0)
        power[n] = near_mw * ratio**-exponent * shadow[own, other] * shadow[own, who]


@kernel(array("uint64", 1), array("float64", 1), result("float64", 2))
def multipath_gain(key: Any, power: Any, gain: Any) -> None:
    """|H|² [N, S] over subcarriers of a channel of independent Rayleigh taps.

    Args:
        power: [L], of the taps, one sample apart, summing to 1.
    """
    carriers, taps = gain.shape[1], power.shape[0]
    cosine, sine = np.empty(carriers), np.empty(carriers)
    for s in range(carriers):
        cosine[s], sine[s] = np.cos(2.0 * np.pi * s / carriers), np.sin(2.0 * np.pi * s / carriers)
    real, imag = np.empty(taps), np.empty(taps)
    for n in range(key.shape[0]):
        for tap in range(taps):
            square, angle = _gaussian(_mix(key[n], np.uint64(tap + 1)))
            radius = np.sqrt(square * power[tap])
            real[tap], imag[tap] = radius * np.cos(angle), radius * np.sin(angle)
        for s in range(carriers):
            x, y = 0.0, 0.0
            for tap in range(taps):
                turn = (s * tap) % carriers
                x += real[tap] * cosine[turn] + imag[tap] * sine[turn]
                y += imag[tap] * cosine[turn] - real[tap] * sine[turn]
            gain[n, s] = x * x + y * y


@kernel(
    array("int32", 1), array("int32", 1), array("int32", 1), array("int64", 1), array("int32", 1), array("float64", 1),
    array("uint64", 1), array("float64", 3), array("float64", 2), types.float64, types.float64, types.float64,
    types.boolean, result("float64", 1),
)  # fmt: skip
def interference(
    lane: Any, packet: Any, receiver: Any, begin: Any, sender: Any, share: Any, key: Any, spot: Any, shadow: Any,
    near_mw: Any, reference_m: Any, exponent: Any, fades: Any, total: Any,
) -> None:  # fmt: skip
    """Power [N], milliwatts, that reaches receivers from others on the air.

    Args:
        lane: [K]. packet, receiver: [N]. begin, sender, share: of `Overlaps`. key: [N], random bits.
        spot, shadow, near_mw, reference_m, exponent: as for `received`.
        fades: interferers fade by Rayleigh, independently.
    """
    for n in range(packet.shape[0]):
        k, who = packet[n], receiver[n]
        own = lane[k]
        found = 0.0
        for m in range(begin[k], begin[k + 1]):
            other = sender[m]
            if other == who:
                continue
            gap = np.hypot(spot[own, other, 0] - spot[own, who, 0], spot[own, other, 1] - spot[own, who, 1])
            power = near_mw * max(gap / reference_m, 1.0) ** -exponent * shadow[own, other] * shadow[own, who]
            if fades:
                power *= _gaussian(_mix(key[n], np.uint64(other) + np.uint64(17)))[0]
            found += share[m] * power
        total[n] = found
