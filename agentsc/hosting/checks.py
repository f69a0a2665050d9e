"""What can be led by hubs, and what cannot."""

from __future__ import annotations

import numpy as np

from agentsc.protocol import Variant
from agentsc.protocol.architectures import Hosted
from agentsc.protocol.architectures.hybrid import Hybrid
from envs.errors import ConfigError
from envs.world import World
from policies.trajectory.presets import PRIORS


def check(variant: Variant, architecture: Hosted, world: World, prior: str) -> None:
    """Whether vehicles of this world can be led by hubs that let this protocol decide.

    Args:
        prior: name of the configured trajectory prior.

    Raises:
        ConfigError: vehicles cannot stop between steps; priors of other shapes than the configured one.
    """
    if np.isfinite(world.a_max) or world.dynamics != "single":
        raise ConfigError(
            f"protocol.architecture must be distributed where vehicles cannot stop at once, got "
            f"{variant.architecture!r} with scenario.dynamics {world.dynamics} and a_max {world.a_max:g} m/s² "
            "(hubs let vehicles go step by step)"
        )
    own = PRIORS.create(prior)
    for name in (*architecture.minds, *edge_priors(architecture)):
        other = PRIORS.create(name)
        if (other.control_points, other.horizon_ticks) != (own.control_points, own.horizon_ticks):
            raise ConfigError(
                f"protocol.architecture must name priors of the shape of prior.name {prior!r} "
                f"({own.control_points} control points, {own.horizon_ticks} ticks), got {name!r}"
            )


def edge_priors(architecture: Hosted) -> tuple[str, ...]:
    """Of vehicles that agree among themselves."""
    return (architecture.edge_prior,) if isinstance(architecture, Hybrid) else ()
