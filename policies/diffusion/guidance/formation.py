"""Guidance by `policies.trajectory.terms.Formation`, one of the reconciliation terms."""

from __future__ import annotations

from policies.diffusion import GUIDANCE
from policies.diffusion.guidance._plans import PlanTerm


@GUIDANCE.register("formation")
class Formation(PlanTerm):
    """Draws plans to their places in a shape that peers keep."""
