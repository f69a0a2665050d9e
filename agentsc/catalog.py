"""Every kind of plug-in by name, imported only when asked for.

A kind whose module is not part of this installation lists as empty.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any, NamedTuple

from envs.errors import ConfigError, unknown_name
from envs.registry import Registry


class Kind(NamedTuple):
    """Where the registry of a kind lives, and what the kind is."""

    module: str
    attribute: str
    description: str


KINDS: dict[str, Kind] = {
    "scenarios": Kind("envs.scenarios", "SCENARIOS", "arenas with starts, goals and limits"),
    "protocols": Kind("agentsc.protocol", "PROTOCOLS", "how agents coordinate, ours and the baselines"),
    "architectures": Kind("agentsc.protocol.architectures", "ARCHITECTURES", "where machines run that decide"),
    "links": Kind("agentsc.links", "LINKS", "what the radio does to a packet; compose them with +"),
    "plan-codes": Kind("agentsc.intent.codes", "PLAN_CODES", "how plans cross the air"),
    "priors": Kind("policies.trajectory.presets", "PRIORS", "diffusion priors over trajectories"),
    "processes": Kind("policies.diffusion", "PROCESSES", "how data turn into noise"),
    "solvers": Kind("policies.diffusion", "SOLVERS", "how a sample is drawn from noise"),
    "guidance": Kind("policies.diffusion", "GUIDANCE", "terms that steer a sample"),
    "terms": Kind("agentsc.protocol.terms", "TERMS", "what plans are charged beside collisions, and open goals"),
    "decoders": Kind("agentsc.semantic", "RECEIVERS", "receivers of the semantic channel"),
    "suites": Kind("agentsc.experiment.suites", "BENCHMARKS", "benchmark matrices, and core"),
    "views": Kind("agentsc.experiment.views", "VIEWS", "tables and figures of a benchmark"),
    "presets": Kind("policies.presets", "PRESETS", "what agentsc train can train"),
}


def registry(kind: str) -> Registry | None:
    """The registry of a kind, or None if this installation has none.

    Raises:
        ConfigError: no such kind.
    """
    if kind not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    place = KINDS[kind]
    try:
        if find_spec(place.module) is None:
            return None
    except ModuleNotFoundError:  # the parent package is missing too
        return None
    found: Registry | None = getattr(importlib.import_module(place.module), place.attribute, None)
    return found


def listing(kind: str) -> list[dict[str, Any]]:
    """Name, description and parameters of every plug-in of a kind, as ``agentsc list KIND --json`` prints.

    Raises:
        ConfigError: no such kind.
    """
    plugins = registry(kind)
    return [] if plugins is None else plugins.describe()


def installed(kind: str) -> Registry:
    """The registry of a kind that must be there.

    Raises:
        ConfigError: this installation has none.
    """
    plugins = registry(kind)
    if plugins is None:
        raise ConfigError(f"{kind} are not part of this installation (see agentsc doctor)")
    return plugins
