"""The diffusion core of a planner: `policies.core` with trajectory priors as its models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from envs.errors import ConfigError
from envs.geometry import Obstacles
from policies.core import DiffusionCore
from policies.models import device_of
from policies.trajectory.context import Vehicle
from policies.trajectory.demonstrations import FAMILIES, pose
from policies.trajectory.evaluate import TUNING_SEED
from policies.trajectory.model import TrajectoryModel
from policies.trajectory.prior import WEIGHTS, Precision, TrajectoryPrior


def planning_core(
    vehicle: Vehicle,
    obstacles: Obstacles,
    priors: Mapping[str, TrajectoryPrior],
    device: str = "cpu",
    **options: Any,
) -> DiffusionCore:
    """A core that samples plans of one kind of vehicle on one map.

    Args:
        priors: name → network, on ``device``. options: of every `TrajectoryModel`.

    Raises:
        ConfigError: a prior on another device, or as `TrajectoryModel`.
    """
    for name, prior in priors.items():
        if prior.device.type != device_of(device).type:
            raise ConfigError(
                f"device must be that of prior {name!r}, {prior.device}, got {device!r} (load it there)"
            )
    return DiffusionCore(
        {name: TrajectoryModel(vehicle, obstacles, prior, **options) for name, prior in priors.items()}
    )


def load_core(
    vehicle: Vehicle,
    obstacles: Obstacles,
    names: Mapping[str, Path | str | None],
    device: str = "cpu",
    *,
    precision: Precision = "float32",
    **options: Any,
) -> DiffusionCore:
    """A core with the named priors; a name without a path takes the shipped weights.

    Raises:
        ConfigError: as `planning_core` and `with_precision`, or weights that are missing, damaged or of another
            architecture.
    """
    device_of(device)
    priors = {
        name: with_precision(TrajectoryPrior.load(path or WEIGHTS / f"{name}.safetensors", device), precision)
        for name, path in names.items()
    }
    return planning_core(vehicle, obstacles, priors, device, **options)


def with_precision(prior: TrajectoryPrior, precision: Precision) -> TrajectoryPrior:
    """The prior computing in that precision; int8 is calibrated on procedural maps kept for tuning.

    A file that holds int8 weights stays int8.

    Raises:
        ConfigError: an unknown precision, or int8 on another device than a CPU.
    """
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise ConfigError(f"prior.precision must be one of {known}, got {precision!r} (of the network)")
    if prior.precision == "int8" or precision == "float32":
        return prior
    if precision == "bfloat16":
        return prior.bfloat16()
    if prior.device.type != "cpu":
        raise ConfigError(f"prior.precision must be float32 or bfloat16 on {prior.device}, got 'int8' (needs a CPU)")
    points, ticks = prior.spec.control_points, prior.spec.horizon_ticks
    return prior.int8(pose(TUNING_SEED, 0, family, points, ticks).context.features for family in FAMILIES)
