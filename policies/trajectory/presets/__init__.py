"""Training presets: each names a prior, its size and the data it learns from."""

from __future__ import annotations

from pydantic import Field

from envs.registry import Plugin, Registry

PRIORS = Registry("priors", "policies.trajectory.presets")


class Preset(Plugin):
    """How to make one trajectory prior."""

    control_points: int = Field(12, ge=6, description="control points of the clamped cubic B-spline")
    horizon_ticks: int = Field(32, ge=4, description="ticks that a plan spans")
    width: int = Field(256, ge=16, description="hidden units of the residual MLP")
    blocks: int = Field(3, ge=1, description="residual blocks")
    maps: int = Field(2000, ge=8, description="procedural maps to demonstrate on")
    steps: int = Field(16000, ge=1, description="optimiser steps")
    batch: int = Field(512, ge=8, description="rows per optimiser step")
    learning_rate: float = Field(1e-3, gt=0.0, description="peak rate; warmed up, then cosine decay")
    ema: float = Field(0.999, gt=0.0, lt=1.0, description="decay of the averaged weights that are kept")
    seed: int = Field(1, ge=0, description="key of the maps, the noise and the initial weights")
