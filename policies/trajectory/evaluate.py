"""Held-out quality of a trajectory prior: maps of every family with seeds that training never used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs import keyed
from envs.geometry import segment_clearance
from policies.core import DiffusionCore, SampleRequest
from policies.trajectory.demonstrations import FAMILIES, Problem, pose
from policies.trajectory.presets import Preset
from policies.trajectory.prior import TrajectoryPrior
from policies.trajectory.spline import basis

HELD_OUT_SEED = 900_000_001
"""Never a training seed: presets use small numbers."""


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
    for number, family in enumerate(FAMILIES):
        parts = []
        for index in range(maps):
            problem = pose(HELD_OUT_SEED, index, family, preset.control_points, preset.horizon_ticks)
            parts.append(measure(prior, problem, samples, steps))
            if progress is not None:
                progress("evaluation", number * maps + index + 1, len(FAMILIES) * maps, {})
        merged = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
        rows.append({"family": family, **{k: _interval(v) for k, v in merged.items()}})
    problems = sum(row["min_ade"]["n"] for row in rows)
    return {"families": rows, "maps": maps, "samples": samples, "steps": steps, "problems": problems}


def measure(
    prior: TrajectoryPrior, problem: Problem, samples: int, steps: int
) -> dict[str, NDArray[np.float64]]:
    """Per problem: share of collision-free samples, length ratio, minADE and diversity (units of reach)."""
    core = DiffusionCore(problem.vehicle, problem.obstacles, {"prior": prior}, str(prior.device), steps=steps)
    keys = keyed.hash_words(HELD_OUT_SEED, np.arange(len(problem.context)))
    control = core.sample(SampleRequest("prior", problem.context, keys, samples)).control
    rows = basis(prior.spec.control_points, prior.spec.horizon_ticks + 1)
    points = (rows @ control).astype(np.float32)
    expert = (rows @ problem.control).astype(np.float32)
    clear = segment_clearance(problem.obstacles, points[:, :, :-1], points[:, :, 1:]).min(-1)
    length = np.linalg.norm(np.diff(points, axis=2), axis=-1).sum(-1)
    expert_length = np.linalg.norm(np.diff(expert, axis=1), axis=-1).sum(-1)
    error = np.linalg.norm(points - expert[:, None], axis=-1).mean(-1)
    spread = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1).mean(-1)
    pairs = samples * (samples - 1)
    moving = expert_length > 0.05 * problem.vehicle.reach
    ratio = np.where(moving, length.mean(1) / np.maximum(expert_length, 1e-6), np.nan)
    return {
        "collision_free": (clear >= problem.vehicle.radius).mean(1).astype(np.float64),
        "length_ratio": ratio[np.isfinite(ratio)].astype(np.float64),
        "min_ade": error.min(1).astype(np.float64) / problem.vehicle.reach,
        "diversity": spread.sum((1, 2)).astype(np.float64) / pairs / problem.vehicle.reach,
    }


def _interval(values: NDArray[np.float64], draws: int = 1000) -> dict[str, Any]:
    """Mean with a percentile bootstrap interval, keyed so that it is reproducible."""
    picks = (
        keyed.uniform(HELD_OUT_SEED, np.arange(draws)[:, None], np.arange(len(values))) * len(values)
    ).astype(int)
    means = values[picks].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "mean": round(float(values.mean()), 4),
        "ci95": [round(float(low), 4), round(float(high), 4)],
        "n": len(values),
    }
