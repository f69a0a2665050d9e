"""Time-step pruning: the best k of N denoising times, by dynamic programming over measured errors.

    fine = grid(process, 20, "power", power=1.5)
    times = best_times(fine, step_errors(process, denoise, x, fine), steps=3)

Watson et al. choose the times whose bound, a sum over steps, is least. Here a step's cost is what it
does to the final sample: the change when this one step replaces the fine grid between its ends.
Reference: Watson et al., "Learning to efficiently sample from diffusion probabilistic models", 2021,
algorithm 1 and section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from envs.errors import ConfigError
from policies.diffusion.process import Process
from policies.diffusion.solvers import Denoise
from policies.diffusion.solvers.ddim import DDIM


def step_errors(
    process: Process, denoise: Denoise, x: torch.Tensor, times: Sequence[float]
) -> NDArray[np.float64]:
    """How far the final sample moves, on average over rows, if one DDIM step skips from times[i] to times[j].

    Args:
        x: [batch, …], states at ``times[0]``, of problems that are not used for evaluation.
        times: N + 1 decreasing times ending at σ = 0; costs about N³/6 calls.

    Returns:
        [N + 1, N + 1]; entry (i, j) for i < j, infinite elsewhere.
    """
    solver, last = DDIM(eta=0.0), len(times) - 1
    path, estimates = [x], []
    for t, s in zip(times[:-1], times[1:], strict=True):
        estimates.append(denoise(path[-1], t))
        path.append(solver.solve(process, _constant(estimates[-1]), path[-1], [t, s]))
    errors = np.full((last + 1, last + 1), np.inf)
    for i in range(last):
        errors[i, i + 1] = 0.0
        for j in range(i + 2, last + 1):
            skipped = solver.solve(process, _constant(estimates[i]), path[i], [times[i], times[j]])
            end = solver.solve(process, denoise, skipped, list(times[j:])) if j < last else skipped
            errors[i, j] = float((end - path[-1]).flatten(1).norm(dim=1).mean())
    return errors


def best_times(times: Sequence[float], errors: NDArray[np.float64], steps: int) -> list[float]:
    """The ``steps + 1`` of ``times``, first and last included, with the least sum of errors.

    To first order the moves of successive steps add up in the final sample, so by the triangle inequality
    the sum bounds how far it ends from the fine grid's.

    Raises:
        ConfigError: more steps than there are intervals, or fewer than one.
    """
    last = len(times) - 1
    if not 1 <= steps <= last:
        raise ConfigError(f"steps must be in [1, {last}], got {steps} (of the grid that is pruned)")
    cost = np.full(last + 1, np.inf)
    cost[0] = 0.0
    origins = []
    for _ in range(steps):
        through = cost[:, None] + errors
        origins.append(through.argmin(0))
        cost = through.min(0)
    chosen = [last]
    for origin in reversed(origins):
        chosen.append(int(origin[chosen[-1]]))
    return [times[k] for k in reversed(chosen)]


def _constant(x0: torch.Tensor) -> Denoise:
    return lambda x, t: x0
