"""Architectures: where the machines that decide for agents run, and over which links their words go.

Here are only their parameters; `agentsc.hosting` is what makes them work. ``docs/architectures.md`` describes them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.registry import Plugin, Registry
from envs.world import World

ARCHITECTURES = Registry("architectures", "agentsc.protocol.architectures")

Floats = NDArray[np.float32]


class Architecture(Plugin):
    """Base of all architectures; see `Hosted` for those with hubs."""


class Hosted(Architecture):
    """Base of architectures in which hubs decide for agents, and vehicles do what they are told step by step."""

    ahead_ticks: int = Field(32, ge=8, le=256, description="ticks of motion that hubs plan ahead of what vehicles do")
    heartbeat_s: float = Field(0.25, gt=0.0, description="a hub that has said nothing for so long says that it lives")
    wait_s: float = Field(2.0, ge=0.0, description="who has not told a hub its goal by then is planned around")
    packet_bits: int = Field(2048, ge=512, le=8192, description="most bits of a hub's packet, one a message round")
    hub_failure_s: float | None = Field(None, ge=0.0, description="when the (first) hub dies for good, seconds")

    @property
    def hubs(self) -> int:
        """How many radios it puts beside the agents'."""
        return 1

    @property
    def minds(self) -> tuple[str, ...]:
        """Trajectory priors that hubs sample, besides the configured one."""
        return ()

    @property
    def falls_back(self) -> bool:
        """Whether vehicles that have lost their hub agree among themselves."""
        return False

    def places(self, world: World) -> Floats:
        """float32 [hub, 2], metres: where hubs stand."""
        return regions(world, self.hubs)


def regions(world: World, count: int) -> Floats:
    """Centres [count, 2] of equal parts of a world, as square as their number allows, metres."""
    rows = next(rows for rows in range(int(count**0.5), 0, -1) if count % rows == 0)
    low, high = np.array(world.bounds[:2]), np.array(world.bounds[2:])
    row, column = np.divmod(np.arange(count), count // rows)
    share = np.stack([(column + 0.5) / (count // rows), (row + 0.5) / rows], -1)
    return np.asarray(low + share * (high - low), np.float32)
