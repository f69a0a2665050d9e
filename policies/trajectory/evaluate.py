"""Held-out quality and cost of a trajectory prior, on maps of every family that training never used."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs import keyed
from envs.geometry import segment_clearance
from policies.diffusion.guidance.consistency import limit_speed
from policies.diffusion.sampling import Sampler
from policies.diffusion.solvers import Denoise, Solver
from policies.diffusion.solvers.ddim import DDIM
from policies.trajectory.context import Vehicle
from policies.trajectory.demonstrations import FAMILIES, Problem, pose
from policies.trajectory.presets import Preset
from policies.trajectory.prior import Denoiser, TrajectoryPrior
from policies.trajectory.spline import basis, greville

Floats = NDArray[np.float64]

HELD_OUT_SEED = 900_000_001
"""Never a training seed: presets use small numbers."""
TUNING_SEED = 800_000_001
"""Maps for choices that are made after training: calibration, pruning, a method. Never reported."""


@dataclass(frozen=True)
class Way:
    """How plans are drawn from a prior.

    Attributes:
        times: the solver's grid. solver: what walks it.
        wrap: what is put between solver and prior (guidance, caches); the prior itself if left out.
    """

    times: Sequence[float]
    solver: Solver = field(default_factory=lambda: DDIM(eta=0.0))
    wrap: Callable[[Denoiser], Denoise] = lambda denoiser: denoiser


@dataclass(frozen=True)
class Drawn:
    """Plans of one map's problems, and what they cost.

    Attributes:
        control: [problem, sample, P, 2], metres, within the speed limit.
        residual: [problem, sample, state], what the prior said, in units of reach.
        calls: network calls per plan; a call that recomputes some of the blocks counts as that share.
        cpu_s: processor seconds of embedding, noise, network and solver for all plans together.
    """

    control: NDArray[np.float32]
    residual: NDArray[np.float32]
    calls: float
    cpu_s: float


def problems(
    seed: int, maps: int, per_map: int | None = None, points: int = 12, ticks: int = 32
) -> list[Problem]:
    """``maps`` maps of every family, with at most ``per_map`` problems each."""
    posed = [pose(seed, index, family, points, ticks) for index in range(maps) for family in FAMILIES]
    return [posed_on if per_map is None else posed_on.first(per_map) for posed_on in posed]


def draw(
    prior: TrajectoryPrior, problem: Problem, samples: int, way: Way, seed: int = HELD_OUT_SEED
) -> Drawn:
    """Plans for every problem of a map; the torch threads are the caller's choice."""
    keys = keyed.hash_words(seed, np.arange(len(problem.context)))
    began = time.process_time()
    with torch.inference_mode():
        features = torch.as_tensor(problem.context.features, device=prior.device)
        denoiser = Denoiser.bind(prior, features)
        sampler = Sampler(prior.process, way.wrap(denoiser), way.solver, list(way.times))
        x = sampler.draw(keys, (samples, prior.spec.state_dim), device=prior.device)
        residual = (x * prior.scale).cpu().numpy()
    cpu_s = time.process_time() - began
    control = limit_speed(torch.as_tensor(problem.context.decode(residual)), _speeds(problem.vehicle)).numpy()
    return Drawn(control, residual, denoiser.calls, cpu_s)


def quality(problem: Problem, drawn: Drawn) -> dict[str, Floats]:
    """Per problem: share of collision-free samples, length ratio, minADE and diversity (units of reach)."""
    control, reach = drawn.control, problem.vehicle.reach
    samples, points_per_plan = control.shape[1], control.shape[2]
    rows = basis(points_per_plan, _WAYPOINTS)
    points = (rows @ control).astype(np.float32)
    expert = (rows @ problem.control).astype(np.float32)
    clear = segment_clearance(problem.obstacles, points[:, :, :-1], points[:, :, 1:]).min(-1)
    length = np.linalg.norm(np.diff(points, axis=2), axis=-1).sum(-1)
    expert_length = np.linalg.norm(np.diff(expert, axis=1), axis=-1).sum(-1)
    error = np.linalg.norm(points - expert[:, None], axis=-1).mean(-1)
    spread = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1).mean(-1).sum((1, 2))
    ratio = length.mean(1) / np.maximum(expert_length, 1e-6)
    return {
        "collision_free": (clear >= problem.vehicle.radius).mean(1).astype(np.float64),
        # A plan that hardly moves has no meaningful ratio.
        "length_ratio": np.where(expert_length > 0.05 * reach, ratio, np.nan).astype(np.float64),
        "min_ade": error.min(1).astype(np.float64) / reach,
        "diversity": spread.astype(np.float64) / max(samples * (samples - 1), 1) / reach,
    }


def evaluate(
    prior: TrajectoryPrior,
    preset: Preset,
    maps: int = 8,
    samples: int = 8,
    steps: int = 5,
    progress: Callable[[str, int, int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Quality per family, each measure with its mean, 95 % bootstrap interval and n (problems).

    Args:
        maps: held-out maps per family. samples: drawn per problem. steps: of the DDIM solver.
    """
    rows: list[dict[str, Any]] = []
    way = Way(prior.times(steps))
    for number, family in enumerate(FAMILIES):
        parts = []
        for index in range(maps):
            problem = pose(HELD_OUT_SEED, index, family, preset.control_points, preset.horizon_ticks)
            parts.append(quality(problem, draw(prior, problem, samples, way)))
            if progress is not None:
                progress("evaluation", number * maps + index + 1, len(FAMILIES) * maps, {})
        merged = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
        rows.append({"family": family, **{k: interval(v) for k, v in merged.items()}})
    count = sum(row["min_ade"]["n"] for row in rows)
    return {"families": rows, "maps": maps, "samples": samples, "steps": steps, "problems": count}


def interval(values: Floats) -> dict[str, Any]:
    """Mean of the finite values with a keyed, hence reproducible, 95 % percentile bootstrap interval."""
    values = values[np.isfinite(values)]
    low, high = np.percentile(values[picks(len(values))].mean(1), [2.5, 97.5])
    return {
        "mean": round(float(values.mean()), 4),
        "ci95": [round(float(low), 4), round(float(high), 4)],
        "n": len(values),
    }


@lru_cache(maxsize=16)
def picks(count: int, draws: int = 1000) -> NDArray[np.intp]:
    """Bootstrap resamples: [draws, count] indices below ``count``."""
    uniform = keyed.uniform(HELD_OUT_SEED, np.arange(draws)[:, None], np.arange(count))
    return (uniform * count).astype(np.intp)


_WAYPOINTS = 33
"""Where plans are compared and checked; between way-points the check is continuous."""


def _speeds(vehicle: Vehicle) -> torch.Tensor:
    """Metres allowed between successive control points; the margin is the core's."""
    return torch.as_tensor(
        np.diff(greville(vehicle.control_points)) * vehicle.reach * 0.975, dtype=torch.float32
    )
