"""Frozen scenes: one file, or a folder of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from envs.errors import ConfigError
from envs.frozen import MANIFEST, OWN, Facts, SceneSet, facts_of, motion_of
from envs.geometry import Bounds, Obstacles
from envs.maps import DATA, Scene, read_scene_json
from envs.scenarios import SCENARIOS, Motion, Scenario
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


@lru_cache(maxsize=32)
def _obstacles(boxes: bytes, bounds: Bounds | None, cutoff: float) -> Obstacles:
    """Equal maps are one object, so what is built on them is built once."""
    return Obstacles(np.frombuffer(boxes, np.float32), bounds, cutoff)


@SCENARIOS.register("scene")
class SceneFile(Scenario):
    """Frozen scenes: a public multi-robot JSON for every episode, or a folder whose k-th scene is episode k."""

    name: ClassVar[str] = "scene"

    path: str | None = Field(
        None,
        description="a scene JSON file, or a folder of agentsc freeze; null is the Highways scene that ships",
    )
    agents: int = Field(0, ge=0, description="how many of the file's agents, the first ones; 0 is all")
    max_ticks: int | None = Field(
        None, ge=1, description="time limit in ticks; null: the scene's own, 256 if it names none"
    )

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`."""
        found = list(self._scenes(episodes))
        scene, path = found[0]
        agents = self.agents or len(scene.starts)
        if agents > len(scene.starts):
            raise ConfigError(
                f"scenario.scene.agents must be at most {len(scene.starts)} (agents of {path}), got {agents}"
            )
        facts = self._facts(scene, path)
        obstacles = _obstacles(scene.boxes.tobytes(), _bounds(facts), facts.cutoff)
        for other, elsewhere in {id(one[0]): one for one in found}.values():
            _check_alike(scene, other, elsewhere)
            _check_room(other, elsewhere, agents, facts.radius, obstacles)
        starts = np.stack([other.starts[:agents] for other, _ in found])
        goals = np.stack([other.goals[:agents] for other, _ in found])
        if scene.facts is not None:
            vias = [self._facts(other, elsewhere).points(agents, elsewhere) for other, elsewhere in found]
            via = None if facts.via is None else np.stack([each for each in vias if each is not None])
        else:
            family = FAMILIES.get(scene.family)
            via = family.itineraries(starts, goals) if family else None
        motion = motion_of(facts, obstacles, path)
        return World(
            name=self.name,
            obstacles=obstacles,
            radius=facts.radius,
            v_max=facts.v_max,
            a_max=math.inf if facts.a_max is None else facts.a_max,
            dt=facts.dt,
            dynamics=facts.dynamics,
            goal_tolerance=facts.goal_tolerance,
            separation=facts.separation,
            max_ticks=self.max_ticks or facts.max_ticks,
            cell=facts.cell,
            starts=starts,
            goals=goals,
            episodes=np.asarray(episodes, np.int64),
            flow=motion.flow,
            via=via,
            adherence=motion.adherence,
            stops=motion.stops,
            start_delay_s=facts.delays(agents, path),
            resources=None if facts.resources is None else facts.resources.read(),
            notes=f"scene {scene.family} {scene.trial}, generation seed {scene.generation_seed}",
        )

    def _scenes(self, episodes: Sequence[int]) -> Iterator[tuple[Scene, Path]]:
        """Each episode's scene and the file it is from."""
        path = Path(self.path) if self.path is not None else DATA / "scene.json"
        if path.is_dir() or path.name == MANIFEST:
            scenes = SceneSet.open(path)
            yield from ((scenes.read(int(episode)), scenes.path(int(episode))) for episode in episodes)
        else:
            scene = read_scene_json(path)
            yield from ((scene, path) for _ in episodes)

    def _facts(self, scene: Scene, path: Path) -> Facts:
        """What a frozen scene says about itself; for one that others made, the unit world's constants."""
        facts = facts_of(scene, path)
        if facts is not None:
            for name, given, own in (("dynamics", self.dynamics, facts.dynamics), ("a_max", self.a_max, facts.a_max)):
                if given not in (type(self).model_fields[name].default, own):
                    raise ConfigError(
                        f"scenario.scene.{name} must be left out, got {given!r} (a frozen scene has its own, "
                        f"{own!r} in {path})"
                    )
            return facts
        if not np.allclose(scene.radii, scene.radii[0]):
            raise ConfigError(
                f"scene.radii must all be equal, got {scene.radii.min()} to {scene.radii.max()} ({path}; "
                f"a fleet here has one radius)"
            )
        radius, limit = float(scene.radii[0]), self.acceleration_limit(V_MAX)
        family = FAMILIES.get(scene.family)
        motion = SCENARIOS.create(family.name).motion(Obstacles()) if family else Motion()
        return Facts(
            version=1,
            scenario={"name": family.name} if family else {},
            seed=scene.generation_seed,
            episode=scene.trial,
            radius=radius,
            v_max=V_MAX,
            a_max=limit if math.isfinite(limit) else None,
            dt=DT,
            dynamics=self.dynamics,
            goal_tolerance=TOLERANCE,
            separation=2 * radius,
            max_ticks=256,
            cell=2 * radius,
            bounds=list(scene.bounds),
            cutoff=1.0,
            via=None,
            start_delay_s=None,
            resources=None,
            flow=motion.flow is not None,
            adherence=motion.adherence is not None,
        )


def _bounds(facts: Facts) -> Bounds | None:
    if facts.bounds is None:
        return None
    x0, y0, x1, y1 = facts.bounds
    return x0, y0, x1, y1


def _check_alike(first: Scene, other: Scene, path: Path) -> None:
    """Lanes of one world share everything but starts, goals and points on the way."""

    def common(scene: Scene) -> tuple[object, ...]:
        facts = scene.facts
        if isinstance(facts, dict):
            own = {"via": facts.get("via") is None}
            facts = {key: value for key, value in facts.items() if key not in OWN} | own
        return scene.boxes.tobytes(), scene.bounds, scene.radii.tobytes(), scene.family, facts

    if first is not other and common(first) != common(other):
        raise ConfigError(
            f"scenes that run beside each other must share map, agents and limits, got others in {path} (run it alone)"
        )


def _check_room(scene: Scene, path: Path, agents: int, radius: float, obstacles: Obstacles) -> None:
    for field, points in (("starts", scene.starts[:agents]), ("goals", scene.goals[:agents])):
        room = obstacles.signed_distance(points)
        if room.min() < radius or spacing(points) < 2 * radius:
            raise ConfigError(
                f"scene.{field} must keep discs of radius {radius:g} m apart and off the obstacles, got "
                f"a distance of {spacing(points):.3f} m and a clearance of {room.min():.3f} m ({path})"
            )
