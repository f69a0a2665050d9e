"""A residual MLP over B-spline control points, modulated by its condition (adaLN).

The condition is embedded once per agent and shared by all of its samples and all denoising
steps; only the trunk runs per sample. Reference for the modulation: Peebles and Xie,
"Scalable diffusion models with transformers", 2023, section 3.2 (adaLN-Zero).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from envs.errors import ConfigError


class SplineMLP(nn.Module):
    """x0-prediction for one flattened set of control points.

    Args:
        state_dim: numbers in a sample (free control points × 2).
        condition_dim: numbers in a condition.
        width: hidden units.
        blocks: residual blocks.
    """

    def __init__(self, state_dim: int, condition_dim: int, width: int = 256, blocks: int = 3) -> None:
        super().__init__()
        self.width, self.blocks = width, blocks
        self.encoder = nn.Sequential(
            nn.Linear(condition_dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
        )
        self.clock = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Linear(width, blocks * 3 * width)
        self.entry = nn.Linear(state_dim, width)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.outer = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.exit = nn.Linear(width, state_dim)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)
        self.register_buffer(
            "frequency", torch.exp(torch.linspace(0.0, math.log(64.0), 16)), persistent=False
        )

    def inherit(self, other: SplineMLP) -> None:
        """Start from the weights of a network of this width that has at least as many blocks.

        Of its blocks the last, the first and evenly spread ones between are kept: neighbours in a
        residual trunk do similar work, its ends do not.

        Raises:
            ConfigError: another width, or fewer blocks.
        """
        if other.width != self.width or other.blocks < self.blocks:
            raise ConfigError(
                f"width and blocks must be {other.width} and at most {other.blocks} to inherit weights, "
                f"got {self.width} and {self.blocks}"
            )
        last = other.blocks - 1
        kept = [last - round(k * last / max(self.blocks - 1, 1)) for k in reversed(range(self.blocks))]
        for name in ("encoder", "clock", "entry", "exit"):
            self.get_submodule(name).load_state_dict(other.get_submodule(name).state_dict())
        for own, source in enumerate(kept):
            self.inner[own].load_state_dict(other.inner[source].state_dict())
            self.outer[own].load_state_dict(other.outer[source].state_dict())
        with torch.no_grad():
            for mine, theirs in zip(self.modulation.parameters(), other.modulation.parameters(), strict=True):
                mine.copy_(torch.cat([theirs.chunk(other.blocks)[source] for source in kept]))

    def embed(self, condition: torch.Tensor) -> torch.Tensor:
        """Condition [agents, condition_dim] → embedding [agents, width]."""
        return self.encoder(condition)

    def modulations(self, embedding: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Per-agent scale, shift and gate of every block at time ``t`` ([1] or [agents], float32)."""
        frequency: torch.Tensor = self.get_buffer("frequency")
        angle = t[:, None] * frequency * math.pi
        clock = self.clock(torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1).to(embedding.dtype))
        return self.modulation(nn.functional.silu(embedding + clock))

    def forward(self, x: torch.Tensor, modulations: torch.Tensor) -> torch.Tensor:
        """Clean estimate.

        Args:
            x: noisy samples [agents, samples, state_dim].
            modulations: from `modulations`, [agents, blocks·3·width].
        """
        return self.exit(self.through(self.entry(x), modulations, 0, self.blocks))

    def through(self, hidden: torch.Tensor, modulations: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """Features [agents, samples, width] after blocks ``first`` to ``last`` − 1."""
        for block, part in list(enumerate(modulations[:, None, :].chunk(self.blocks, dim=-1)))[first:last]:
            scale, shift, gate = part.chunk(3, dim=-1)
            inner = nn.functional.layer_norm(hidden, (self.width,)) * (1.0 + scale) + shift
            hidden = hidden + gate * self.outer[block](nn.functional.silu(self.inner[block](inner)))
        return hidden
