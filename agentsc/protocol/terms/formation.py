"""The shape: everybody keeps its place relative to peers, or to a leader, where the shape is to be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from agentsc.protocol.terms import TERMS, ReconciliationTerm, fading
from policies.trajectory.terms import Formation

if TYPE_CHECKING:
    from agentsc.protocol.reconcile import ReconcilingBlock
    from agentsc.protocol.situation import Floats, Ints
    from envs.world import World


@TERMS.register("formation")
class FormationTerm(ReconciliationTerm):
    """Keeps an agent at its place in the world's shape, relative to where peers are believed to be."""

    weight: float = Field(6.0, ge=0.0, description="seconds charged for being one spacing off all the time; 0 is off")
    reference: Literal["peers", "leader"] = Field("peers", description="whose plans the place is reckoned from")

    def offered(self, world: World) -> bool:
        """See `ReconciliationTerm.offered`."""
        return world.shape is not None and world.agents > 1

    def charge(self, block: ReconcilingBlock) -> Any:
        """See `ReconciliationTerm.charge`."""
        due, world = block.due, block.setup.world
        ticks = block.waypoint_ticks()
        place, kept = places(block, due, ticks, block.leader() if self.reference == "leader" else None)
        if not kept.any():
            return None
        decay = fading(len(due), ticks.shape[1]) * kept
        shape = world.shape
        assert shape is not None
        return Formation(place, decay, np.full(len(due), spacing(shape.offsets), np.float32))


def spacing(offsets: Floats) -> float:
    """Least distance between two places of a shape [lane, agent, 2], metres."""
    gap = np.linalg.norm(offsets[0, :, None] - offsets[0], axis=-1)
    return float(np.min(gap + np.diag(np.full(len(gap), np.inf))))


def places(block: ReconcilingBlock, rows: Ints, ticks: Ints, leader: Ints | None) -> tuple[Floats, Any]:
    """Where rows belong at ``ticks`` [n, k], and whether the shape is kept there.

    Peers count while the gap is not between their place and the row's: who is still before the gap forms up with
    those before it, who has passed it with those behind it.

    Args:
        leader: int64 [row], who alone counts as a reference; a row that leads itself has no place. None for all peers.

    Returns:
        float32 [n, k, 2] metres, and bool [n, k].
    """
    world = block.setup.world
    shape = world.shape
    assert shape is not None
    n, me = len(rows), (np.arange(len(rows)), block.id[rows])
    everyone = np.broadcast_to(np.arange(block.agents), (n, block.agents))
    # Everybody is expected to go on: plans end at rest, and a group in which each waits for the others' ends creeps.
    spots = block.onward(rows, ticks)
    if leader is not None:
        known = block.peer_positions(rows, leader[rows, None], ticks)[:, 0]
        spots[np.arange(n), leader[rows]] = known
    here = block.spots(rows, ticks[:, 0])[me]
    offsets = shape.offsets[block.lane[rows]]
    proposed = spots + (offsets[me][:, None] - offsets)[:, :, None]
    counts = np.ones(spots.shape[:3], bool)
    counts[me] = False
    if leader is not None:
        counts &= (everyone == leader[rows, None])[..., None]
    if shape.gap is not None:
        # Nor is the shape kept by who could be in the gap by then.
        free = spots[me]
        for share in np.linspace(0.0, 1.0, 5, dtype=np.float32):
            counts &= ~within(shape.gap, spots * (1 - share) + proposed * share)
            counts &= ~within(shape.gap, here[:, None] * (1 - share) + free * share)[:, None]
    weight = counts[..., None].astype(np.float32)
    number = weight.sum(1)
    place = (proposed * weight).sum(1) / np.maximum(number, 1.0)
    kept = number[..., 0] > 0
    kept &= world.obstacles.signed_distance(place.astype(np.float32)) >= world.radius
    return place.astype(np.float32), kept


def within(gap: tuple[float, float, float, float], spot: Floats) -> Any:
    """bool [...]: which of ``spot`` [..., 2] are in the box (xmin, ymin, xmax, ymax)."""
    x, y = spot[..., 0], spot[..., 1]
    return (x > gap[0]) & (x < gap[2]) & (y > gap[1]) & (y < gap[3])
