"""Prices: what peers have bid for a site is what it costs to be in their way there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from agentsc.protocol.terms import TERMS, ReconciliationTerm, fading
from agentsc.protocol.wishes import point_places
from policies.trajectory.terms import Prices

if TYPE_CHECKING:
    from agentsc.protocol.reconcile import ReconcilingBlock
    from envs.world import World


@TERMS.register("prices")
class PricesTerm(ReconciliationTerm):
    """Keeps plans off sites that peers have won, the more the higher their bids; with the market."""

    weight: float = Field(2.0, ge=0.0, description="seconds charged for standing all the time on the dearest; 0 is off")

    def offered(self, world: World) -> bool:
        """See `ReconciliationTerm.offered`."""
        return world.sites is not None

    def charge(self, block: ReconcilingBlock) -> Any:
        """See `ReconciliationTerm.charge`; without a market nothing has a price."""
        price = block.prices(block.due)
        sites = block.setup.world.sites
        if price is None or sites is None or not price.any():
            return None
        places = point_places(sites.position[block.lane[block.due]], 4 * block.setup.world.radius)
        return Prices(places, price, fading(len(block.due), block.waypoint_ticks().shape[1]))
