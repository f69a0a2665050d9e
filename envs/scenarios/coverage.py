"""Sites to be visited, each by whoever can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from envs.keyed import hash_words, stream_id, uniform
from envs.scenarios import SCENARIOS
from envs.scenarios._unit import Float, UnitScenario
from envs.tasks import Sites
from envs.world import World


@SCENARIOS.register("coverage")
class Coverage(UnitScenario):
    """Agents share out sites of different value, worth less the later they are reached, in the open unit world.

    Who goes where is not given. The world's goals are a drawn assignment, without regard to way or value, for
    protocols that cannot allocate: agent to site as far as both go, and whoever is left over stays at its start.
    A site counts from when an agent first comes to rest there. An agent is where it should be at any site, or
    anywhere once every site has an agent, so a lane ends when min(sites, agents) sites are held.
    """

    name: ClassVar[str] = "coverage"

    sites: int = Field(10, ge=1, description="number of sites; more or fewer than agents, or as many")
    spread: float = Field(3.0, ge=0, le=100, description="values are drawn between 1 and 1 + spread")
    discount: float = Field(0.1, ge=0, le=10, description="rate at which values fall with time, 1/s")
    deadline_s: float | None = Field(None, gt=0, allow_inf_nan=False, description="later visits are worth nothing, s")

    def places(self, seed: int, episode: int) -> tuple[Float, Float]:
        """Starts [agent, 2] and sites [site, 2] of one episode, float32, metres."""
        starts = self.draw(seed, episode, "start")
        return starts, self.draw(seed, episode, "site", self.sites, starts)

    def points(self, seed: int, episode: int) -> tuple[Float, Float]:
        """Starts, and the drawn assignment as goals; see `UnitScenario.points`."""
        starts, sites = self.places(seed, episode)
        order = hash_words(seed, stream_id("scenario.coverage.order"), episode, np.arange(self.sites))
        goals = starts.copy()
        taken = sites[np.argsort(order, kind="stable")[: self.agents]]
        goals[: len(taken)] = taken
        return starts, goals

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`."""
        world = super().build(seed, episodes)
        number = np.asarray(episodes, np.int64)[:, None]
        draw = uniform(seed, stream_id("scenario.coverage.value"), number, np.arange(self.sites))
        deadline = np.inf if self.deadline_s is None else self.deadline_s
        spots = [self.places(seed, int(episode))[1] for episode in episodes]
        position = np.array(spots, np.float32).reshape(-1, self.sites, 2)
        value = 1.0 + self.spread * draw
        return replace(world, sites=Sites(position, value, np.full_like(value, deadline), self.discount))
