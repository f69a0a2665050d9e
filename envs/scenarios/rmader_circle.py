"""The circle on which RMADER was compared with its predecessors, in a plane.

Ten agents on a circle of radius 10 m swap with their antipodes; agent i sets off 0.25 s · i after the first one;
boxes of 0.25 m, 10 m/s, 20 m/s². What is not the original's: the third dimension (theirs may pass over one another,
ours may not); a disc as wide as the box instead of the box; the jerk limit of 30 m/s³, which no dynamics here has
(a tick's acceleration is free within its limit). The tick is ours.

Reference: K. Kondo, R. Figueroa, J. Rached, J. Tordesillas, P. C. Lusk and J. P. How, "Robust MADER: Decentralized
multiagent trajectory planner robust to communication delay in dynamic environments", IEEE RA-L, 2023, section IV.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from envs.errors import ConfigError
from envs.geometry import Obstacles
from envs.scenarios import SCENARIOS, Scenario
from envs.world import World

CIRCLE = 10.0
RADIUS = 0.125  # half the width of the box
V_MAX = 10.0
A_MAX = 20.0
TOLERANCE = 0.15
ROOM = 4.0  # of the arena beyond the circle
CELL = 0.5
TIMEOUT_S = 40.0


@SCENARIOS.register("rmader-circle")
class RmaderCircle(Scenario):
    """Ten fast agents swap across a circle of 160 diameters, one setting off after the other (RMADER's benchmark)."""

    name: ClassVar[str] = "rmader-circle"

    agents: int = Field(10, ge=1, le=100, description="number of agents")
    a_max: float | None = Field(A_MAX, gt=0, allow_inf_nan=False, description="acceleration limit, m/s²; null: none")
    v_max: float = Field(V_MAX, gt=0, le=V_MAX, description="top speed, m/s")
    stagger_s: float = Field(0.25, ge=0, le=10, description="seconds by which each agent sets off after the one before")
    dt: float = Field(0.05, gt=0, le=0.5, description="length of a tick, s")
    max_ticks: int | None = Field(None, ge=1, description="time limit in ticks; null: 40 s")

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`; nothing is drawn, so all lanes are alike."""
        index = np.arange(self.agents)
        angle = 2 * np.pi * index / self.agents
        if self.agents > 1 and 2 * CIRCLE * np.sin(np.pi / self.agents) < 2 * RADIUS:
            raise ConfigError(f"scenario.{self.name}.agents must fit on the circle, got {self.agents} (ask for fewer)")
        starts = (CIRCLE * np.stack([np.cos(angle), np.sin(angle)], axis=-1)).astype(np.float32)
        lanes = np.repeat(starts[None], len(episodes), axis=0)
        wall = CIRCLE + ROOM
        return World(
            name=self.name,
            obstacles=Obstacles((), (-wall, -wall, wall, wall), cutoff=ROOM),
            radius=RADIUS,
            v_max=self.v_max,
            a_max=self.acceleration_limit(self.v_max),
            dt=self.dt,
            dynamics=self.dynamics,
            goal_tolerance=TOLERANCE,
            separation=2 * RADIUS,
            max_ticks=self.max_ticks or round(TIMEOUT_S / self.dt),
            cell=CELL,
            starts=lanes,
            goals=-lanes,
            episodes=np.asarray(episodes, np.int64),
            start_delay_s=(self.stagger_s * index).astype(np.float32) if self.stagger_s else None,
            notes=f"RMADER's circle in a plane, {self.agents} agents {self.stagger_s:g} s after one another",
        )
