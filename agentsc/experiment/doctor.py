"""What this installation can do, and what to do about what it cannot."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentsc.experiment.versions import installed_version, versions

SCHEMA = 1


class Finding(Exception):
    """Something that does not work; the message says what to do about it."""


def _python() -> str:
    found = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        raise Finding(f"Python {found}: use 3.11 or 3.12")
    return found


def _torch() -> str:
    import torch

    if torch.cuda.is_available():
        return f"torch {torch.__version__}, {torch.cuda.get_device_name(0)}"
    return f"torch {torch.__version__}, CPU only, {os.cpu_count()} processors"


def _weights() -> str:
    from agentsc.catalog import installed
    from policies.trajectory.prior import TrajectoryPrior

    folder = Path(str(files("policies"))) / "weights"
    names = list(installed("priors"))
    sizes = [TrajectoryPrior.load(folder / f"{name}.safetensors").parameters() for name in names]
    return ", ".join(f"{name} ({size:,} parameters)" for name, size in zip(names, sizes, strict=True))


def _scenes() -> str:
    from policies.scene.files import NETWORKS, load

    sizes = {name: sum(weight.numel() for weight in load(name)[0].parameters()) for name in NETWORKS}
    return ", ".join(f"{name} ({size:,} parameters)" for name, size in sizes.items())


def _maps() -> str:
    from agentsc.catalog import installed

    world = installed("scenarios").create("warehouse").build(0, [0])
    return f"warehouse map loads, {world.agents} agents placed"


def _ray() -> str:
    if find_spec("ray") is None:
        raise Finding("ray is not installed: --backend local still works (pip install ray)")
    return f"ray {versions()['ray']}"


def _display() -> str:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise Finding("no display: agentsc view needs one, agentsc record does not")
    return "a window can be opened"


def _film() -> str:
    if find_spec("av") is None:
        raise Finding("PyAV is not installed: gif and png work, mp4 needs pip install 'agentsc[film]'")
    return f"mp4, gif and png (PyAV {versions()['av']})"


def _extra(module: str, package: str, extra: str, use: str) -> Callable[[], str]:
    """A check of an optional library."""

    def check() -> str:
        if find_spec(module) is None:
            raise Finding(f"{package} is not installed: {use} needs pip install 'agentsc[{extra}]'")
        return f"{use} ({package} {installed_version(package)})"

    return check


CHECKS: dict[str, tuple[bool, Callable[[], str]]] = {
    "python": (True, _python),
    "torch": (True, _torch),
    "weights": (True, _weights),
    "maps": (True, _maps),
    "scenes": (False, _scenes),
    "ray": (False, _ray),
    "film": (False, _film),
    "rerun": (False, _extra("rerun", "rerun-sdk", "rerun", "agentsc record RUN OUT.rrd")),
    "tensorboard": (False, _extra("tensorboardX", "tensorboardX", "tensorboard", "agentsc export --tensorboard")),
    "display": (False, _display),
}
"""Name → (needed for the main job, check)."""


def doctor() -> dict[str, Any]:
    """Try every part of the installation.

    Returns:
        ``schema``, ``ok`` (everything that the main job needs works), ``versions``, and
        ``checks``: name, needed, ok and detail of each.
    """
    rows = []
    for name, (needed, check) in CHECKS.items():
        try:
            detail, ok = check(), True
        except Exception as error:  # a broken installation breaks in any way; each one is reported
            detail, ok = str(error) or type(error).__name__, False
        rows.append({"name": name, "needed": needed, "ok": ok, "detail": detail})
    return {
        "schema": SCHEMA,
        "ok": all(row["ok"] for row in rows if row["needed"]),
        "versions": versions(),
        "checks": rows,
    }
