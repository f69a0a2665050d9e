"""Fleets of agents that coordinate by exchanging diffusion-based intents over lossy radio links.

Every command has a Python call of the same name, except that ``agentsc list`` is `listing` (a built-in
has that name) and ``agentsc view`` is `watch` (a package has it). Nothing heavy is imported before one
is used::

    import agentsc
    result = agentsc.run(scenario="circle", agents=8, link="erasure:p=0.2", episodes=4)
    print(result.metrics["success_rate"])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentsc.catalog import listing
    from agentsc.experiment.doctor import doctor
    from agentsc.experiment.run import run
    from agentsc.experiment.watch import record, watch
    from policies.trajectory.train import train

__version__ = "0.1.0"
__all__ = ["doctor", "listing", "record", "run", "train", "watch"]

_CALLS = {
    "doctor": "agentsc.experiment.doctor",
    "listing": "agentsc.catalog",
    "record": "agentsc.experiment.watch",
    "run": "agentsc.experiment.run",
    "train": "policies.trajectory.train",
    "watch": "agentsc.experiment.watch",
}


def __getattr__(name: str) -> Any:
    if name in _CALLS:
        return getattr(importlib.import_module(_CALLS[name]), name)
    raise AttributeError(f"module 'agentsc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
