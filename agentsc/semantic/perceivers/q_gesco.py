"""`gesco` with integers."""

from __future__ import annotations

from typing import ClassVar

from agentsc.semantic import PERCEIVERS
from agentsc.semantic.perceivers.gesco import Gesco
from policies.scene.machine import PAINTER_INT8


@PERCEIVERS.register("q-gesco")
class QGesco(Gesco):
    """`gesco` whose painter has weights and activations of eight bits, and products of integers.

    Reference: Pignata et al., "Lightweight diffusion models for resource-constrained semantic communication", 2024.
    """

    needs: ClassVar[tuple[str, ...]] = (PAINTER_INT8,)
    painter: ClassVar[str] = PAINTER_INT8
