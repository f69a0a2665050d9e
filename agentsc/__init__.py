"""Fleets of agents that coordinate by exchanging diffusion-based intents over lossy radio links.

Every command has a Python call of the same name, with three exceptions: ``agentsc list`` is `listing` (a
built-in has that name), ``agentsc view`` is `watch` (a package has it), and ``agentsc freeze --check`` is
`check_scenes`. Nothing heavy is imported before one is used::

    import agentsc
    result = agentsc.run(scenario="circle", agents=8, link="erasure:p=0.2", episodes=4)
    print(result.metrics["success_rate"])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentsc.catalog import listing
    from agentsc.experiment.bench import bench
    from agentsc.experiment.compare import compare
    from agentsc.experiment.doctor import doctor
    from agentsc.experiment.export import export
    from agentsc.experiment.frame import frame
    from agentsc.experiment.freeze import check_scenes, freeze
    from agentsc.experiment.leaderboard import leaderboard
    from agentsc.experiment.run import run
    from agentsc.experiment.schema import schema
    from agentsc.experiment.watch import record, watch
    from agentsc.semantic.feed.operator import feed
    from agentsc.semantic.perceive import perceive
    from agentsc.semantic.transmit import transmit
    from policies.training import train

__version__ = "0.1.0"
__all__ = [
    "bench",
    "check_scenes",
    "compare",
    "doctor",
    "export",
    "feed",
    "frame",
    "freeze",
    "leaderboard",
    "listing",
    "perceive",
    "record",
    "run",
    "schema",
    "train",
    "transmit",
    "watch",
]

_CALLS = {
    "bench": "agentsc.experiment.bench",
    "check_scenes": "agentsc.experiment.freeze",
    "compare": "agentsc.experiment.compare",
    "doctor": "agentsc.experiment.doctor",
    "export": "agentsc.experiment.export",
    "feed": "agentsc.semantic.feed.operator",
    "frame": "agentsc.experiment.frame",
    "freeze": "agentsc.experiment.freeze",
    "leaderboard": "agentsc.experiment.leaderboard",
    "listing": "agentsc.catalog",
    "perceive": "agentsc.semantic.perceive",
    "record": "agentsc.experiment.watch",
    "run": "agentsc.experiment.run",
    "schema": "agentsc.experiment.schema",
    "train": "policies.training",
    "transmit": "agentsc.semantic.transmit",
    "watch": "agentsc.experiment.watch",
}


def __getattr__(name: str) -> Any:
    if name in _CALLS:
        return getattr(importlib.import_module(_CALLS[name]), name)
    raise AttributeError(f"module 'agentsc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
