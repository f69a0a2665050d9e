"""What a run was computed with."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    *("agentsc", "torch", "numpy", "numba", "scipy", "ray", "polars", "pydantic", "safetensors"),
    *("pettingzoo", "gymnasium", "pygame-ce", "pillow", "av"),
)


def installed_version(package: str) -> str | None:
    """Version of an installed distribution, None if it is not there; imports nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def machine() -> dict[str, str | int | float | None]:
    """What kind of machine this is, without naming it: processor, how many, memory."""
    model: str | None = platform.processor() or None
    memory = None
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in facts if line.startswith("model name")), model)
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, ValueError, AttributeError):
        pass  # another system: what is not known stays null
    return {"processor": model, "cpus": os.cpu_count(), "memory_gib": memory}


def commit() -> str | None:
    """Commit of the source tree that runs, with ``+`` if files differ from it; None outside a git tree."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout

    try:
        head = git("rev-parse", "--short=10", "HEAD")
        changes = git("status", "--porcelain", "-uno", "--", "*.py", "*.safetensors")
    except (OSError, subprocess.SubprocessError):
        return None
    return head.strip() + ("+" if changes.strip() else "")


def versions() -> dict[str, str | int | None]:
    """Python, platform, processors, and the version of every package that can touch a result."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        **{package: installed_version(package) for package in PACKAGES},
    }
