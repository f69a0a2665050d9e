"""A group keeps its shape, gives it up for a narrow gap, and takes it up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from envs.errors import ConfigError
from envs.keyed import hash_words, stream_id, uniform
from envs.scenarios import SCENARIOS
from envs.scenarios._grid import Float, GridMap, GridScenario
from envs.tasks import Shape
from envs.world import World

APPROACH = 1.0
"""Metres before and behind the gap within which the formation is not measured either."""


def offsets(form: str, agents: int, spacing: float) -> Float:
    """Places of a formation that travels along x, float32 [agent, 2], metres, their bounding box around the origin.

    Args:
        form: ``line`` (abreast), ``wedge``, ``block`` or ``ring``. spacing: metres between neighbours.
    """
    number = np.arange(agents, dtype=np.float64)
    if form == "ring":
        angle = np.pi / 2 + 2 * np.pi * number / agents  # two of them are abreast
        places = np.stack([np.cos(angle), np.sin(angle)], axis=-1) / (2 * np.sin(np.pi / max(agents, 2)))
    elif form == "block":
        side = int(np.ceil(np.sqrt(agents)))
        places = np.stack([number // side, number % side], axis=-1)
    else:
        across = number - (agents - 1) / 2
        along = -np.abs(across) if form == "wedge" else np.zeros(agents)
        places = np.stack([along, across], axis=-1)
    return (spacing * (places - (places.min(0) + places.max(0)) / 2)).astype(np.float32)


@lru_cache(maxsize=32)
def halls(width: int, height: int, depth: int, gap: int) -> GridMap:
    """Two halls of ``width`` × ``height`` cells and a wall of ``depth`` between them with a gap in its middle."""
    blocked = np.zeros((height, 2 * width + depth), bool)
    blocked[:, width : width + depth] = True
    first = (height - gap) // 2
    blocked[first : first + gap, width : width + depth] = False
    return GridMap("formation", blocked)


@SCENARIOS.register("formation")
class Formation(GridScenario):
    """A group in formation passes a gap that is narrower than its shape, and re-forms on the other side.

    Who has which place in the shape is drawn, and so is where in the hall it stands; goals are the same shape as
    far from the gap on the other side. What counts is ``formation_error_m``, measured while nobody is in the gap or
    within 1 m of it, and ``formation_end_error_m``.
    """

    name: ClassVar[str] = "formation"

    agents: int = Field(5, ge=2, le=32, description="number of agents")
    form: Literal["line", "wedge", "block", "ring"] = Field("wedge", description="shape; a line is abreast")
    spacing: float = Field(1.0, ge=0.7, le=5, description="distance between neighbours in the shape, m")
    gap: int = Field(1, ge=1, le=20, description="width of the gap, m; narrower than the shape")
    depth: int = Field(2, ge=1, le=20, description="thickness of the wall, m")
    march: int = Field(0, ge=0, le=60, description="further metres of each hall, to be travelled in formation")
    turns: bool = Field(False, description="whether a turned shape is as good as a shifted one")

    def extent(self) -> tuple[int, int]:
        """Width and height of a hall, cells: the shape, room to shift it, and a metre around."""
        places = offsets(self.form, self.agents, self.spacing)
        width, height = (int(n) + 3 for n in np.ceil(np.ptp(places, axis=0) - 1e-6))
        return width, height + (height - self.gap) % 2

    def grid(self) -> GridMap:
        """See `GridScenario.grid`."""
        across = float(np.ptp(offsets(self.form, self.agents, self.spacing)[:, 1])) + 2 * self.radius
        if across <= self.gap:
            raise ConfigError(
                f"scenario.formation.gap must be narrower than the shape, {across:.1f} m, got {self.gap} m"
            )
        width, height = self.extent()
        return halls(width + self.march, height, self.depth, self.gap)

    def places(self, seed: int, episode: int) -> Float:
        """The shape in the order of an episode's agents, float32 [agent, 2], metres: who stands where is drawn."""
        keys = hash_words(seed, stream_id("scenario.formation.place"), episode, np.arange(self.agents))
        return offsets(self.form, self.agents, self.spacing)[np.argsort(keys, kind="stable")]

    def spots(self, grid: GridMap, seed: int, episode: int) -> tuple[Float, Float]:
        """The shape in either hall; see `GridScenario.spots`."""
        if 2 * self.radius > self.spacing:
            raise ConfigError(
                f"scenario.formation.spacing must be at least two radii, {2 * self.radius:g} m, got {self.spacing:g} m"
            )
        width, height = self.extent()
        shift = uniform(seed, stream_id("scenario.formation.shift"), episode, np.arange(2)) - 0.5
        centre = np.array([width / 2, height / 2]) + shift
        starts = (centre + self.places(seed, episode)).astype(np.float32)
        return starts, starts + np.array([width + 2 * self.march + self.depth, 0], np.float32)

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`."""
        width, height = self.extent()
        first = width + self.march
        gap = (first - APPROACH, 0.0, first + self.depth + APPROACH, float(height))
        shape = np.array([self.places(seed, int(episode)) for episode in episodes], np.float32)
        shape = shape.reshape(len(episodes), self.agents, 2)
        return replace(super().build(seed, episodes), shape=Shape(shape, gap, self.turns))
