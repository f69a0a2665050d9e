"""The world: maps, geometry, moving agents, scenarios and a PettingZoo facade. No learning, no radio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.pettingzoo_env import AgentscEnv

__all__ = ["parallel_env"]


def parallel_env(name: str, **parameters: Any) -> AgentscEnv:
    """The PettingZoo environment of a scenario.

    Args:
        name: a scenario, as in ``agentsc list scenarios``.
        parameters: the scenario's own, and those of `envs.pettingzoo_env.parallel_env`.

    Raises:
        ConfigError: unknown scenario or parameter, or agents that do not fit.
    """
    # PettingZoo and gymnasium load only when somebody wants an environment.
    from envs.pettingzoo_env import parallel_env as make

    return make(name, **parameters)
