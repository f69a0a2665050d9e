"""Guidance by `policies.trajectory.terms.Coverage`, one of the reconciliation terms."""

from __future__ import annotations

from policies.diffusion import GUIDANCE
from policies.diffusion.guidance._plans import PlanTerm


@GUIDANCE.register("coverage")
class Coverage(PlanTerm):
    """Draws the ends of plans to sites that peers do not cover."""
