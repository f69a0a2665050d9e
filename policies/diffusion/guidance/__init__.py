"""Guidance: pure functions that move a clean estimate, one file each.

A guidance term receives the clean estimate as control points in metres and returns corrected
control points; no backpropagation through the network is involved. The core applies it between
the network and the solver.
"""

from __future__ import annotations

from abc import abstractmethod

import torch

from envs.registry import Plugin


class Guidance(Plugin):
    """A term on the clean estimate."""

    @abstractmethod
    def apply(self, control: torch.Tensor, sigma: float, problem: object) -> torch.Tensor:
        """Corrected control points.

        Args:
            control: clean estimate [agents, samples, P, 2], metres.
            sigma: noise level of the state it came from, in [0, 1].
            problem: the arrays that this term needs (its own data class).
        """
