"""How much of what is sent arrives: path loss, noise, shadowing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs import keyed

LIGHT_MPS = 299_792_458.0
THERMAL_DBM_HZ = -174.0
FEATURES = 32
"""Waves of a shadowing field."""

Doubles = NDArray[np.float64]


def noise_dbm(bandwidth_hz: float, figure_db: float) -> float:
    """Thermal noise power of a receiver at 290 K, −174 + 10 log10 B + NF."""
    return THERMAL_DBM_HZ + 10.0 * np.log10(bandwidth_hz) + figure_db


def free_space_db(distance_m: ArrayLike, carrier_hz: float, speed_mps: float = LIGHT_MPS) -> Doubles:
    """Path loss in free space between isotropic antennas, 20 log10(4π d f / c).

    Reference: H. T. Friis, A note on a simple transmission formula, Proc. IRE 34 (1946).
    """
    return np.asarray(20.0 * np.log10(4.0 * np.pi * np.asarray(distance_m) * carrier_hz / speed_mps))


def log_distance_db(distance_m: ArrayLike, reference_db: float, reference_m: float, exponent: float) -> Doubles:
    """Mean path loss PL(d₀) + 10 n log10(d / d₀); within d₀ it is PL(d₀).

    Reference: T. S. Rappaport, Wireless Communications, 2nd ed., 2002, eq. 4.68.
    """
    ratio = np.maximum(np.asarray(distance_m, np.float64) / reference_m, 1.0)
    return np.asarray(reference_db + 10.0 * exponent * np.log10(ratio))


def distance_m(loss_db: float, reference_db: float, reference_m: float, exponent: float) -> float:
    """Where `log_distance_db` reaches a loss; the reference distance if it is beyond that already there."""
    return float(reference_m * 10.0 ** (max(loss_db - reference_db, 0.0) / (10.0 * exponent)))


def shadow_field(key: NDArray[np.uint64], spot: Doubles, correlation_m: float) -> Doubles:
    """A Gaussian field over the plane with correlation exp(−d / correlation_m), one for every key.

    Random Fourier features: wave numbers from the spectral density of the exponential kernel in two dimensions,
    p(k) ∝ k / (1 + k² d²)^(3/2), amplitudes Gaussian, so every value is exactly standard normal.

    Args:
        key: uint64 [L]. spot: float64 [L, N, 2], metres.

    Returns:
        float64 [L, N].

    Reference: M. Gudmundson, Correlation model for shadow fading in mobile radio systems, Electronics Letters 27
    (1991), eq. 4; A. Rahimi and B. Recht, Random features for large-scale kernel machines, NIPS 2007.
    """
    wave = np.arange(FEATURES)
    words = key[:, None]
    tail = 1.0 - keyed.uniform(words, wave, 0)  # in (0, 1]
    number = np.sqrt(1.0 / tail**2 - 1.0) / correlation_m
    angle = 2.0 * np.pi * keyed.uniform(words, wave, 1)
    amplitude = keyed.normal(key, (2, FEATURES)).astype(np.float64)
    x = spot[:, :, :1] * (number * np.cos(angle))[:, None] + spot[:, :, 1:] * (number * np.sin(angle))[:, None]
    waves = amplitude[:, 0][:, None] * np.cos(x) + amplitude[:, 1][:, None] * np.sin(x)
    return np.asarray(waves.sum(-1) / np.sqrt(FEATURES))
