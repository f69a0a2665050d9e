"""Reconciliation terms: what a plan is charged beside collisions, and what an agent would rather go for.

A term acts in three places, each of which may be nothing: it steers the denoiser (a term on plans of
`policies.diffusion.guidance`, on the clean estimate), it charges candidates when the best sample is chosen, and it says
where an agent whose goal is open should go (its *wish*). It knows what the world offers to everybody (sites, resources,
the shape) and what a block has heard of peers, and nothing else.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.errors import ConfigError
from envs.registry import Plugin, Registry
from policies.requests import Steer
from policies.trajectory.terms import DISCOUNT

if TYPE_CHECKING:
    from agentsc.protocol.reconcile import ReconcilingBlock
    from envs.world import World

TERMS = Registry("terms", "agentsc.protocol.terms")

Floats = NDArray[np.float32]


class ReconciliationTerm(Plugin):
    """Base of the terms."""

    weight: float = Field(1.0, ge=0.0, description="seconds that a full charge counts when plans are chosen; 0 is off")
    push: float = Field(1.0, ge=0.0, description="strength of the same as guidance of the denoiser; 0 is off")

    @abstractmethod
    def offered(self, world: World) -> bool:
        """Whether the world has what this term is about."""

    @abstractmethod
    def charge(self, block: ReconcilingBlock) -> Any:
        """The charge for ``block.due`` from ``block._start`` on (`policies.trajectory.terms`); None for none."""

    def wish(self, block: ReconcilingBlock) -> Floats | None:
        """Where rows would rather go, float32 [row, 2], metres, NaN for where they go anyway; None for no opinion."""
        return None

    def steer(self, charge: Any, length: float) -> Steer | None:
        """The same as a request to the core; None without a push.

        Args:
            length: metres over which the charge changes.
        """
        if self.push == 0.0 or self.weight == 0.0:
            return None
        return Steer(f"{charge_name(charge)}:weight={self.push:g}", charge, length)


def charge_name(charge: Any) -> str:
    """Name of the guidance term for a charge."""
    return type(charge).__name__.lower()


def parse_terms(spec: str) -> tuple[ReconciliationTerm, ...]:
    """Terms from ``NAME:key=value,…`` joined by ``+``; an empty text is none.

    Raises:
        ConfigError: unknown names or parameters, or a term that is named twice.
    """
    parts = [part.strip() for part in spec.split("+")] if spec.strip() else []
    names = [part.partition(":")[0].strip() for part in parts]
    if len(set(names)) < len(names):
        raise ConfigError(f"protocol.terms must name each term once, got {spec!r}")
    return tuple(TERMS.parse(part) for part in parts)


def fading(rows: int, waypoints: int) -> Floats:
    """Weights of the discounted mean over way-points, float32 [rows, waypoint]."""
    decay = DISCOUNT ** np.arange(waypoints)
    return np.broadcast_to((decay / decay.sum()).astype(np.float32), (rows, waypoints)).copy()
