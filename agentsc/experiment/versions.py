"""What a run was computed with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    *("agentsc", "torch", "numpy", "scipy", "ray", "polars", "pydantic", "safetensors"),
    *("pettingzoo", "gymnasium", "pygame-ce", "pillow", "av"),
)


def installed_version(package: str) -> str | None:
    """Version of an installed distribution, None if it is not there; imports nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str | int | None]:
    """Python, platform, processors, and the version of every package that can touch a result."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        **{package: installed_version(package) for package in PACKAGES},
    }
