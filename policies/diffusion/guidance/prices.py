"""Guidance by `policies.trajectory.terms.Prices`, one of the reconciliation terms."""

from __future__ import annotations

from policies.diffusion import GUIDANCE
from policies.diffusion.guidance._plans import PlanTerm


@GUIDANCE.register("prices")
class Prices(PlanTerm):
    """Keeps plans from places that cost something, by their prices."""
