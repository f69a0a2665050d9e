"""Sites: an agent goes for what peers do not cover, and does not end where they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from agentsc.protocol.terms import TERMS, Floats, ReconciliationTerm
from agentsc.protocol.wishes import matched, point_places
from policies.trajectory.terms import Coverage

if TYPE_CHECKING:
    from agentsc.protocol.reconcile import ReconcilingBlock
    from envs.world import World

LOYALTY = 1.1
"""A site that somebody is known to go for is worth so much more to that agent: nobody changes over nothing."""


@TERMS.register("coverage")
class CoverageTerm(ReconciliationTerm):
    """Sends agents to the sites that they add most to, given where peers are and say that they go."""

    weight: float = Field(1.0, ge=0.0, description="seconds gained by ending at an uncovered site of worth 1; 0 is off")

    def offered(self, world: World) -> bool:
        """See `ReconciliationTerm.offered`."""
        return world.sites is not None

    def charge(self, block: ReconcilingBlock) -> Any:
        """See `ReconciliationTerm.charge`: what the own end adds to the soft cover by believed peers."""
        sites = block.setup.world.sites
        assert sites is not None
        due, lane = block.due, block.lane[block.due]
        position = sites.position[lane]
        goal = block.told_goals(due)  # [n, A, 2]
        goal[np.arange(len(due)), block.id[due]] = np.inf
        places = point_places(position, 4 * block.setup.world.radius)
        with np.errstate(invalid="ignore"):
            away = ((goal[:, :, None] - position[:, None]) ** 2).sum(-1)
            cover = np.clip(1.0 - away / places.rim[:, None] ** 2, 0.0, 1.0) ** 2
        covered = 1.0 - np.prod(1.0 - np.nan_to_num(cover), axis=1)
        value = sites.value[lane] / sites.value[lane].max(1, keepdims=True)
        return Coverage(places, value.astype(np.float32), covered.astype(np.float32))

    def wish(self, block: ReconcilingBlock) -> Floats | None:
        """The site that a greedy sharing out gives to the agent, as far as it knows; NaN if there is none left.

        Worth is that of arriving on the shortest way; whoever has told its goal wants that site only. Sites at which a
        peer rests already are taken.
        """
        world = block.setup.world
        sites = world.sites
        assert sites is not None
        rows, agents, lane = block.rows, block.agents, block.lane
        spots = block.spots(rows)  # [n, A, 2]
        position = sites.position[lane]
        seconds = block.seconds_between(spots, position)
        time = block.now * world.dt + np.maximum(seconds - world.goal_tolerance / block.speed, 0.0)
        worth = sites.value[lane][:, None] * np.exp(-sites.discount * time)
        worth = np.where(time <= sites.deadline_s[lane][:, None], worth, 0.0)
        worth += 1e-6 * np.exp(-seconds)  # of sites worth nothing any more the nearest
        told = block.told_goals(rows)
        told[rows, block.id] = block.goal
        away = np.linalg.norm(told[:, :, None] - position[:, None], axis=-1)
        heads = away <= world.goal_tolerance
        others = np.arange(agents) != block.id[:, None]
        bound = (heads.any(2) & block.has_told(rows) & others)[..., None]
        worth = np.where(bound & ~heads, 0.0, worth)
        mine = (heads & ~others[..., None]) & block.wished[:, None, None]
        worth = np.where((bound & heads) | mine, LOYALTY * worth, worth)
        took = matched(worth)[rows, block.id]
        found = position[rows, np.maximum(took, 0)]
        return np.where((took >= 0)[:, None], found, np.float32(np.nan))
