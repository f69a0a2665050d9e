"""Guidance by `policies.trajectory.terms.Resources`, one of the reconciliation terms."""

from __future__ import annotations

from policies.diffusion import GUIDANCE
from policies.diffusion.guidance._plans import PlanTerm


@GUIDANCE.register("resources")
class Resources(PlanTerm):
    """Keeps plans from places where peers already use the capacity."""
