"""A frozen public scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from envs.errors import ConfigError
from envs.geometry import Obstacles
from envs.maps import DATA, read_scene_json
from envs.scenarios import SCENARIOS, Scenario
from envs.scenarios._unit import DT, TOLERANCE, V_MAX, UnitScenario, spacing
from envs.scenarios.conveyor import Conveyor
from envs.scenarios.drop_region import DropRegion
from envs.scenarios.highways import Highways
from envs.scenarios.weave import Weave
from envs.world import World

FAMILIES: dict[str, type[UnitScenario]] = {
    "highways": Highways,
    "conveyor": Conveyor,
    "drop_region": DropRegion,
    "weave": Weave,
}
"""Map families that public scenes name, and whose motion pattern they then have."""


@SCENARIOS.register("scene")
class SceneFile(Scenario):
    """The starts, goals and obstacles of a public multi-robot scene JSON; every episode is the same."""

    name: ClassVar[str] = "scene"

    path: str | None = Field(None, description="a scene JSON file; null is the Highways scene that ships")
    agents: int = Field(0, ge=0, description="how many of the file's agents, the first ones; 0 is all")
    max_ticks: int = Field(256, ge=1, description="time limit in ticks of 5/64 s")

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`."""
        path = self.path or DATA / "scene.json"
        scene = read_scene_json(path)
        agents = self.agents or len(scene.starts)
        if agents > len(scene.starts):
            raise ConfigError(
                f"scenario.scene.agents must be at most {len(scene.starts)} (agents of {path}), got {agents}"
            )
        radius = float(scene.radii[0])
        if not np.allclose(scene.radii, radius):
            raise ConfigError(
                f"scene.radii must all be equal, got {scene.radii.min()} to {scene.radii.max()} ({path}; "
                f"a fleet here has one radius)"
            )
        obstacles = Obstacles(scene.boxes, scene.bounds, cutoff=1.0)
        for field, points in (("starts", scene.starts[:agents]), ("goals", scene.goals[:agents])):
            room = obstacles.signed_distance(points)
            if room.min() < radius or spacing(points) < 2 * radius:
                raise ConfigError(
                    f"scene.{field} must keep discs of radius {radius:g} m apart and off the obstacles, got "
                    f"a distance of {spacing(points):.3f} m and a clearance of {room.min():.3f} m ({path})"
                )
        shape = (len(episodes), agents, 2)
        starts = np.broadcast_to(scene.starts[:agents], shape).copy()
        goals = np.broadcast_to(scene.goals[:agents], shape).copy()
        family = FAMILIES.get(scene.family)
        return World(
            name=self.name,
            obstacles=obstacles,
            radius=radius,
            v_max=V_MAX,
            a_max=self.acceleration_limit(V_MAX),
            dt=DT,
            dynamics=self.dynamics,
            goal_tolerance=TOLERANCE,
            separation=2 * radius,
            max_ticks=self.max_ticks,
            cell=2 * radius,
            starts=starts,
            goals=goals,
            episodes=np.asarray(episodes, np.int64),
            flow=family.flow if family else None,
            via=family.itineraries(starts, goals) if family else None,
            adherence=family.adherence if family else None,
            notes=f"scene {scene.family} {scene.trial}, generation seed {scene.generation_seed}",
        )
