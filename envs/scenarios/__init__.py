"""Scenarios: what the agents are asked to do. One file each; a file is all that a new one needs.

A scenario is a frozen set of parameters. `Scenario.build` turns it into a `World` for any episodes:
what an episode holds depends on (parameters, seed, episode number) alone, never on which other
episodes are built beside it. Modules whose name starts with an underscore are shared bases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from envs.registry import Plugin, Registry

if TYPE_CHECKING:
    from envs.geometry import Obstacles
    from envs.world import Stops, World

SCENARIOS = Registry("scenarios", "envs.scenarios")


class Motion(NamedTuple):
    """A map's motion pattern and its measure, as in `World`: functions, so a file can only name their scenario."""

    flow: Callable[[Any], Any] | None = None
    adherence: Callable[[Any], Any] | None = None
    stops: Stops | None = None


class Scenario(Plugin):
    """What every scenario can be asked."""

    name: ClassVar[str]
    omits: ClassVar[tuple[str, ...]] = (
        "the third dimension: agents are discs in a plane, all of one radius",
        "moving obstacles and people",
        "sensing errors: each agent knows the static map and its own position exactly",
        "tracking errors, slip and wind: vehicles do what they are commanded within their limits",
        "clock skew: all agents share one clock",
    )
    """What a world does not simulate, for reports."""

    agents: int = Field(10, ge=1, description="number of agents")
    dynamics: Literal["single", "double"] = Field(
        "single", description="what a command means: a velocity (single) or an acceleration (double)"
    )
    a_max: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="acceleration limit, m/s²; null: unlimited (single), full speed in 0.5 s (double)",
    )

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """The world of these episodes, one lane each, in the order given.

        Args:
            seed: keys all random choices.
            episodes: the episodes' numbers.

        Raises:
            ConfigError: the agents do not fit, or a file is malformed.
        """
        raise NotImplementedError

    def acceleration_limit(self, v_max: float) -> float:
        """The limit to use at that top speed, m/s²."""
        if self.a_max is not None:
            return self.a_max
        return math.inf if self.dynamics == "single" else v_max / 0.5

    def motion(self, obstacles: Obstacles) -> Motion:
        """The motion pattern of this scenario's worlds on these obstacles; a scenario that has one says so here."""
        return Motion()
