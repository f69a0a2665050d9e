"""The diffusion core of a planner: the service of `policies.service` with trajectory priors as its models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs.errors import ConfigError
from envs.geometry import Obstacles
from policies.models import device_of
from policies.requests import SampleRequest
from policies.service import DiffusionCore as Service
from policies.trajectory.context import Vehicle
from policies.trajectory.model import TrajectoryModel
from policies.trajectory.prior import TrajectoryPrior

WEIGHTS = Path(__file__).parent / "weights"


def planning_core(
    vehicle: Vehicle,
    obstacles: Obstacles,
    priors: Mapping[str, TrajectoryPrior],
    device: str = "cpu",
    **options: Any,
) -> Service:
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
    return Service(
        {name: TrajectoryModel(vehicle, obstacles, prior, **options) for name, prior in priors.items()}
    )


def load_core(
    vehicle: Vehicle,
    obstacles: Obstacles,
    names: Mapping[str, Path | str | None],
    device: str = "cpu",
    **options: Any,
) -> Service:
    """A core with the named priors; a name without a path takes the shipped weights.

    Raises:
        ConfigError: as `planning_core`, or weights that are missing, damaged or of another architecture.
    """
    device_of(device)
    priors = {
        name: TrajectoryPrior.load(path or WEIGHTS / f"{name}.safetensors", device)
        for name, path in names.items()
    }
    return planning_core(vehicle, obstacles, priors, device, **options)


DiffusionCore = planning_core
"""The name by which `policies.trajectory.evaluate` calls it."""

__all__ = ["WEIGHTS", "DiffusionCore", "SampleRequest", "load_core", "planning_core"]
