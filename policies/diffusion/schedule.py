"""Grids of times that samplers visit: decreasing lists from the start to the end of denoising."""

from __future__ import annotations

import math
from typing import Literal, get_args

from envs.errors import ConfigError
from policies.diffusion.process import Process

Spacing = Literal["power", "angle", "log-snr", "karras"]


def grid(
    process: Process,
    steps: int,
    spacing: Spacing = "angle",
    *,
    start: float = 1.0,
    end: float = 0.0,
    last_ratio: float = 0.01,
    power: float = 1.0,
    rho: float = 7.0,
) -> list[float]:
    """``steps + 1`` decreasing times from ``start`` to ``end``.

    Args:
        steps: denoising steps.
        spacing: ``power`` even in t^(1/power); ``angle`` even in atan(σ/α), which is even in t for the
            cosine schedule; ``log-snr`` even in log(σ/α); ``karras`` even in (σ/α)^(1/rho).
        start: first time, in (0, 1]; below 1 for a warm start. end: last time, in [0, start).
        last_ratio: for ``log-snr`` and ``karras``, which cannot reach σ = 0: σ/α of the last time before
            ``end`` = 0. Choose it at most a tenth of the smallest scale that samples must resolve.

    Raises:
        ConfigError: fewer than one step, an unknown spacing, or a number out of its bounds.

    Reference: ``karras`` is eq. 5 of Karras et al. 2022.
    """
    if steps < 1:
        raise ConfigError(f"steps must be at least 1, got {steps} (denoising steps)")
    if not 0.0 < start <= 1.0:
        raise ConfigError(f"start must be in (0, 1], got {start} (diffusion time to start from)")
    if not 0.0 <= end < start:
        raise ConfigError(
            f"end must be in [0, start), got {end} with start {start} (diffusion time to end at)"
        )
    if spacing not in get_args(Spacing):
        raise ConfigError(
            f"spacing must be one of {', '.join(get_args(Spacing))}, got {spacing!r} (grid of times)"
        )
    for name, value in (("last_ratio", last_ratio), ("power", power), ("rho", rho)):
        if not value > 0.0:
            raise ConfigError(f"{name} must be positive, got {value:g} (shape of the grid of times)")
    if spacing == "power":
        # Even in t^(1/power) between the ends, so it is even from a warm start, too.
        high, low = start ** (1.0 / power), end ** (1.0 / power)
        inner = [(high + (low - high) * k / steps) ** power for k in range(1, steps)]
        return [start, *inner, end]
    if spacing == "angle":
        high, low = process.angle(start), process.angle(end)
        inner = [process.time_at_angle(high + (low - high) * k / steps) for k in range(1, steps)]
        return [start, *inner, end]
    # The remaining two need finite, positive ratios at both ends.
    if end > 0.0:
        ratios = _spread(min(process.ratio(start), 1e3), process.ratio(end), steps, spacing, rho)
    elif steps > 1:
        ratios = [*_spread(min(process.ratio(start), 1e3), last_ratio, steps - 1, spacing, rho), 0.0]
    else:
        return [start, end]
    return [start, *(process.time_of(ratio) for ratio in ratios[1:-1]), end]


def _spread(high: float, low: float, steps: int, spacing: Spacing, rho: float) -> list[float]:
    if high <= low:
        raise ConfigError(f"last_ratio must be below σ/α at the start ({high:g}), got {low:g}")
    shares = [k / steps for k in range(steps + 1)]
    if spacing == "log-snr":
        return [high * math.exp(share * math.log(low / high)) for share in shares]
    first, last = high ** (1.0 / rho), low ** (1.0 / rho)
    return [(first + share * (last - first)) ** rho for share in shares]


def with_returns(times: list[float], stride: int, repeats: int) -> list[float]:
    """A grid that goes back up after every ``stride`` steps, ``repeats`` times; samplers add the noise back.

    Reference: Lugmayr et al., "RePaint", 2022, section 4.2 (resampling).

    Raises:
        ConfigError: a stride or a number of repeats below 1.
    """
    if stride < 1 or repeats < 1:
        raise ConfigError(f"stride and repeats must be at least 1, got {stride} and {repeats} (resampling)")
    walk = times[:1]
    # A leg that ends at time 0 is noised back from the clean estimate.
    for first in range(0, len(times) - 1, stride):
        leg = times[first : first + stride + 1]
        for turn in range(repeats):
            walk += leg[1:] if turn == 0 else leg
    return walk
