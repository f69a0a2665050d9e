"""Training presets: each names a prior, its size and the data it learns from."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from envs.registry import Plugin, Registry

if TYPE_CHECKING:
    # Presets are read wherever a configuration is: torch waits until one is trained.
    from policies.trajectory.demonstrations import Demonstrations
    from policies.trajectory.prior import PriorSpec
    from policies.trajectory.recipes import Recipe

PRIORS = Registry("priors", "policies.trajectory.presets")

# What presets differ in; a preset that overrides one keeps its bounds and meaning.
width = partial(Field, ge=16, description="hidden units of the residual MLP")
blocks = partial(Field, ge=1, description="residual blocks")
maps = partial(Field, ge=8, description="procedural maps to demonstrate on")
batch = partial(Field, ge=8, description="demonstrations per optimiser step")
steps = partial(Field, ge=1, description="optimiser steps")
condition_dropout = partial(
    Field,
    ge=0.0,
    lt=1.0,
    description="share of rows trained without their condition (classifier-free guidance)",
)
sampling_steps = partial(Field, ge=1, description="DDIM steps that held-out quality is measured with")


class Preset(Plugin):
    """How to make one trajectory prior."""

    control_points: int = Field(12, ge=6, description="control points of the clamped cubic B-spline")
    horizon_ticks: int = Field(32, ge=4, description="ticks that a plan spans")
    width: int = width(256)
    blocks: int = blocks(3)
    maps: int = maps(2000)
    steps: int = steps(16000)
    batch: int = batch(512)
    learning_rate: float = Field(1e-3, gt=0.0, description="peak rate; warmed up, then cosine decay")
    condition_dropout: float = condition_dropout(0.0)
    sampling_steps: int = sampling_steps(5)
    ema: float = Field(0.999, gt=0.0, lt=1.0, description="decay of the averaged weights that are kept")
    seed: int = Field(1, ge=0, description="key of the maps, the noise and the initial weights")

    @property
    def spec(self) -> PriorSpec:
        """The architecture of the prior."""
        from policies.trajectory.prior import PriorSpec

        return PriorSpec(self.control_points, self.horizon_ticks, self.width, self.blocks)

    def recipe(self, data: Demonstrations, device: str) -> Recipe:
        """What its training minimises."""
        from policies.trajectory.recipes.denoising import Denoising

        return Denoising(data, self.steps, self.batch, self.condition_dropout, device)
