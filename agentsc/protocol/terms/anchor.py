"""The anchor: followers plan to their slot of the plan that their leader has committed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from agentsc.protocol.terms import TERMS, ReconciliationTerm, fading
from agentsc.protocol.terms.formation import places, spacing
from policies.trajectory.terms import Formation

if TYPE_CHECKING:
    from agentsc.protocol.reconcile import ReconcilingBlock
    from agentsc.protocol.situation import Flags, Floats, Ints
    from envs.world import World

ALIGNED = 0.7
"""Cosine between two ways from which on they lead the same way."""


@TERMS.register("anchor")
class AnchorTerm(ReconciliationTerm):
    """Keeps followers at their slots of the leader's committed plan: places of the shape, or behind it in a convoy."""

    weight: float = Field(6.0, ge=0.0, description="seconds charged for being one slot off all the time; 0 is off")
    slot_cells: float = Field(1.0, gt=0.0, description="distance between slots of a convoy, in planning cells")

    def offered(self, world: World) -> bool:
        """See `ReconciliationTerm.offered`."""
        return world.agents > 1

    def charge(self, block: ReconcilingBlock) -> Any:
        """See `ReconciliationTerm.charge`."""
        due, world = block.due, block.setup.world
        ticks, leader = block.waypoint_ticks(), block.leader()
        if world.shape is not None:
            place, kept = places(block, due, ticks, leader)
            unit = spacing(world.shape.offsets)
        else:
            place, kept = self._convoy(block, due, ticks, leader)
            unit = self.slot_cells * world.cell
        if not kept.any():
            return None
        return Formation(place, fading(len(due), ticks.shape[1]) * kept, np.full(len(due), unit, np.float32))

    def _convoy(self, block: ReconcilingBlock, rows: Ints, ticks: Ints, leader: Ints) -> tuple[Floats, Flags]:
        """Slots [n, k, 2] behind the leader's plan, and who keeps them: whoever is behind it and goes its way.

        Slot m belongs to the m-th of the followers in the order of ranks; it is where the leader was m slots before.
        """
        world, n = block.setup.world, len(rows)
        head = leader[rows]
        lag = self.slot_cells * world.cell / (block.speed * world.dt)
        slot = np.maximum(block.id[rows] - head, 0)
        late = ticks - np.rint(slot * lag).astype(np.int64)[:, None]
        place = block.peer_positions(rows, head[:, None], np.maximum(late, 0))[:, 0]
        way = block.onward(rows, ticks)
        mine, his = way[np.arange(n), block.id[rows]], way[np.arange(n), head]
        ahead, heading = his[:, :1] - mine[:, :1], mine[:, -1:] - mine[:, :1]
        course = his[:, -1:] - his[:, :1]
        same = _cosine(heading, course) > ALIGNED
        behind = _cosine(heading, ahead) > ALIGNED
        near = np.linalg.norm(ahead, axis=-1) < block.setup.vehicle.reach
        kept = np.broadcast_to((same & behind & near) & (head != block.id[rows])[:, None], ticks.shape)
        return place, np.asarray(kept & (world.obstacles.signed_distance(place) >= world.radius))


def _cosine(first: Floats, second: Floats) -> Floats:
    length = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.asarray((first * second).sum(-1) / np.maximum(length, 1e-9), np.float32)
