"""Frozen scenes: the instances of a scenario as files with SHA-256, so that others run the very same ones.

A frozen episode is one JSON file in the public multi-robot scene format (`envs.maps.read_scene_json`)
with one key more, ``agentsc``, that holds what the format has no place for (`Facts`). Its text is
canonical, so equal instances have equal hashes on every machine. A folder of them has a
``manifest.json`` that names the scenario, the files in the order of their episodes, and the hash of
each. What is a function rather than numbers, a map's motion pattern, is kept by naming its scenario.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from envs.errors import ConfigError, RunError
from envs.maps import Scene, exact, parse_scene, scene_json
from envs.registry import explain
from envs.scenarios import SCENARIOS, Motion
from envs.tasks import Resources
from envs.world import World

SCHEMA: Final = 1
MANIFEST = "manifest.json"
OWN = ("via", "seed", "episode")
"""Facts of a single episode; the others are the same in all files of a folder."""


class FrozenResources(BaseModel):
    """Places of limited capacity, see `envs.tasks.Resources`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    centre: list[list[float]] = Field(description="centres of boxes")
    half: list[list[float]] = Field(description="half extents")
    capacity: list[int] = Field(description="agents at once")
    one_way: bool = Field(description="whether agents that go the same way do not count against each other")
    interchangeable: bool = Field(description="whether a goal at one of them may be taken at any other")

    @classmethod
    def of(cls, resources: Resources) -> FrozenResources:
        """Those of a world."""
        return cls(
            centre=exact(resources.centre),
            half=exact(resources.half),
            capacity=resources.capacity.tolist(),
            one_way=resources.one_way,
            interchangeable=resources.interchangeable,
        )

    def read(self) -> Resources:
        """As a world has them.

        Raises:
            ConfigError: numbers of places that do not fit, or a place without capacity.
        """
        try:
            centre, half = (np.array(points, np.float32).reshape(-1, 2) for points in (self.centre, self.half))
        except ValueError:
            raise ConfigError("scene.agentsc.resources must hold points of two numbers") from None
        return Resources(centre, half, np.array(self.capacity, np.int64), self.one_way, self.interchangeable)


class Facts(BaseModel):
    """The key ``agentsc`` of a frozen scene. Lengths in metres, times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # "schema" itself would shadow a method of pydantic's.
    version: Literal[1] = Field(description="version of this key")
    scenario: dict[str, Any] = Field(description="name and parameters of the scenario that made the instance")
    seed: int = Field(description="seed that it was drawn with")
    episode: int = Field(description="its episode number")
    radius: float = Field(gt=0, description="radius of an agent")
    v_max: float = Field(gt=0, description="speed limit")
    a_max: float | None = Field(gt=0, description="acceleration limit; null for none")
    dt: float = Field(gt=0, description="length of a tick")
    dynamics: Literal["single", "double"] = Field(description="what a command means")
    goal_tolerance: float = Field(gt=0, description="an agent this near to its goal is there")
    separation: float = Field(gt=0, description="centre distance under which a pair has collided")
    max_ticks: int = Field(ge=1, description="time limit in ticks")
    cell: float = Field(gt=0, description="planning-cell size")
    bounds: list[float] | None = Field(
        min_length=4, max_length=4, description="the wall, xmin ymin xmax ymax; null for an open plane"
    )
    cutoff: float = Field(gt=0, description="distances to obstacles are clipped beyond this")
    via: list[list[list[float] | None]] | None = Field(
        description="each agent's points to pass in order before its goal; null for none"
    )
    start_delay_s: list[float] | None = Field(
        None, description="seconds that each agent rests at its start before it may move; null or left out for none"
    )
    resources: FrozenResources | None = Field(
        None, description="places of limited capacity; null or left out for none"
    )
    flow: bool = Field(description="whether the scenario gives the map a motion pattern")
    adherence: bool = Field(description="whether it measures how far that is followed")

    def points(self, agents: int, path: str | Path) -> NDArray[np.float32] | None:
        """``via`` of the first agents, float32 [agent, K, 2] with NaN rows for none."""
        if self.via is None:
            return None
        try:
            rows = [[point or (np.nan, np.nan) for point in points] for points in self.via]
            via = np.array(rows, np.float32)[:agents]
        except ValueError:
            via = np.zeros(0, np.float32)
        if via.shape[::2] != (agents, 2):
            raise ConfigError(f"scene.agentsc.via must be points [agent, K, 2], got shape {via.shape} ({path})")
        return via

    def delays(self, agents: int, path: str | Path) -> NDArray[np.float32] | None:
        """``start_delay_s`` of the first agents, float32 [agent]."""
        if self.start_delay_s is None:
            return None
        delays = np.array(self.start_delay_s[:agents], np.float32)
        if len(delays) != agents or not (np.isfinite(delays) & (delays >= 0)).all():
            raise ConfigError(
                f"scene.agentsc.start_delay_s must be {agents} finite seconds, none negative, got {delays} ({path})"
            )
        return delays


def facts_of(scene: Scene, path: str | Path) -> Facts | None:
    """The checked key ``agentsc`` of a scene, None in files that others made.

    Raises:
        ConfigError: something in it is missing, unknown, or out of bounds.
    """
    if scene.facts is None:
        return None
    try:
        return Facts.model_validate(scene.facts)
    except ValidationError as error:
        raise ConfigError(f"{explain(error, Facts, 'scene.agentsc')} ({path})") from None


def motion_of(facts: Facts, obstacles: Any, path: str | Path) -> Motion:
    """The motion pattern that a frozen scene names.

    Raises:
        ConfigError: it needs a scenario that is not installed, or that no longer has a pattern.
    """
    if not (facts.flow or facts.adherence):
        return Motion()
    name = str(facts.scenario.get("name", ""))
    try:
        parameters = {key: value for key, value in facts.scenario.items() if key != "name"}
        motion: Motion = SCENARIOS.create(name, **parameters).motion(obstacles)
    except ConfigError as error:
        raise ConfigError(f"scene takes its motion pattern from its scenario, and {error} ({path})") from None
    if ((motion.flow is not None), (motion.adherence is not None)) != (facts.flow, facts.adherence):
        raise ConfigError(
            f"scene takes its motion pattern from its scenario, and this version's {name!r} has another ({path})"
        )
    return motion


def freeze_lane(world: World, lane: int, scenario: Mapping[str, Any], seed: int) -> Scene:
    """One lane of a world as a scene with facts.

    Args:
        scenario: as for `write_set`.
        seed: what it was built with.
    """
    episode = int(world.episodes[lane])
    via = None
    if world.via is not None:
        via = [[None if np.isnan(p).any() else exact(p) for p in points] for points in world.via[lane]]
    facts = Facts(
        version=SCHEMA,
        scenario=dict(scenario),
        seed=seed,
        episode=episode,
        radius=float(world.radius),
        v_max=float(world.v_max),
        a_max=float(world.a_max) if math.isfinite(world.a_max) else None,
        dt=float(world.dt),
        dynamics=world.dynamics,
        goal_tolerance=float(world.goal_tolerance),
        separation=float(world.separation),
        max_ticks=int(world.max_ticks),
        cell=float(world.cell),
        bounds=None if world.obstacles.bounds is None else list(world.obstacles.bounds),
        cutoff=world.obstacles.cutoff,
        via=via,
        start_delay_s=None if world.start_delay_s is None else world.start_delay_s.astype(float).tolist(),
        resources=None if world.resources is None else FrozenResources.of(world.resources),
        flow=world.flow is not None,
        adherence=world.adherence is not None,
    )
    # A fact that came later is left out where there is nothing to say, so that old scenes keep their hashes.
    silent = {name for name in ("start_delay_s", "resources") if getattr(facts, name) is None}
    said = facts.model_dump(mode="json", exclude=silent)
    return Scene(
        starts=world.starts[lane],
        goals=world.goals[lane],
        radii=np.full(world.agents, world.radius, np.float32),
        boxes=world.obstacles.boxes,
        bounds=world.bounds,
        family=str(scenario["name"]).replace("-", "_"),
        trial=episode,
        generation_seed=seed,
        facts=said,
    )


# ---------------------------------------------------------------------------------------- folders


def sha256(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def set_hash(hashes: Sequence[str]) -> str:
    """One hash for a folder: SHA-256 of its files' hashes in order, one a line."""
    return sha256("".join(f"{each}\n" for each in hashes).encode("ascii"))


@dataclass(frozen=True)
class SceneSet:
    """A folder of frozen scenes.

    Attributes:
        folder: where it is. manifest: what its ``manifest.json`` says.
    """

    folder: Path
    manifest: dict[str, Any]

    def __len__(self) -> int:
        return len(self.manifest["scenes"])

    @property
    def sha256(self) -> str:
        """The hash of the whole set."""
        return str(self.manifest["sha256"])

    @classmethod
    def open(cls, path: str | Path) -> SceneSet:
        """The set in a folder, or of a ``manifest.json``; its files are read when they are asked for.

        Raises:
            ConfigError: no manifest, or a damaged one.
        """
        folder = Path(path).parent if Path(path).name == MANIFEST else Path(path)
        file = folder / MANIFEST
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            scenes = [(str(row["file"]), str(row["sha256"])) for row in manifest["scenes"]]
            sound = bool(scenes) and manifest["schema"] == SCHEMA
            sound = sound and manifest["sha256"] == set_hash([each for _, each in scenes])
            # A name that leads out of the folder is none.
            sound = sound and all(name == Path(name).name for name, _ in scenes)
        except FileNotFoundError:
            raise ConfigError(f"scenes must be a folder with a {MANIFEST}, got {str(folder)!r} without one") from None
        except (OSError, ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            raise ConfigError(f"scenes must have an intact {MANIFEST}, got {str(file)!r}, damaged or changed")
        return cls(folder, manifest)

    def path(self, index: int) -> Path:
        """File of a scene."""
        return self.folder / str(self.manifest["scenes"][index]["file"])

    def read(self, index: int) -> Scene:
        """A scene, by its place in the set.

        Raises:
            ConfigError: there is none of that number, or its file is missing or not the one that was frozen.
        """
        if not 0 <= index < len(self):
            raise ConfigError(
                f"episodes must be 0 to {len(self) - 1} (scenes of {self.folder}), got {index} (run fewer episodes)"
            )
        path = self.path(index)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"scenes must be complete, got {str(path)!r} that cannot be read ({error.strerror}): fetch it again"
            ) from None
        if sha256(data) != self.manifest["scenes"][index]["sha256"]:
            raise ConfigError(
                f"scenes must be as they were frozen, got {str(path)!r} with another SHA-256 than in {MANIFEST} "
                f"(it was changed: fetch it again, or freeze a set of its own)"
            )
        return parse_scene(data.decode("utf-8", "replace"), path)

    def run_command(self) -> str:
        """The command that runs the set: with this seed, and for equal digests from its first episode on."""
        words = ["agentsc", "run", "--scenario", "scene", "--set", f"scenario.path={self.folder}"]
        words += ["--episodes", str(len(self)), "--seed", str(self.manifest.get("seed", 0))]
        return shlex.join(words)

    def check(self) -> None:
        """Read every scene.

        Raises:
            ConfigError: as `read`, for the first file that is not in order.
        """
        for index in range(len(self)):
            facts_of(self.read(index), self.path(index))


def write_set(
    folder: Path, world: World, scenario: Mapping[str, Any], seed: int, notes: Mapping[str, Any]
) -> SceneSet:
    """Write every lane of a world into an empty folder, and the manifest last.

    Args:
        folder: exists. world: what to freeze.
        scenario: name and parameters of what built it that are not the defaults, without paths of this machine.
        seed: what it was built with.
        notes: entries of the manifest that come before the list of scenes.

    Raises:
        ConfigError: the world has a motion pattern that its scenario's ``motion`` does not give, or tasks or events.
        RunError: what was written does not read back as the same world.
    """
    extra = [name for name in _UNWRITTEN if getattr(world, name) is not None]
    if extra:
        raise ConfigError(
            f"scenario must hold starts and goals only to be frozen, got {scenario['name']!r} with "
            f"{' and '.join(extra)} (a scene file has no place for that: cite parameters, seed and version instead)"
        )
    rows = []
    for lane, episode in enumerate(world.episodes):
        scene = freeze_lane(world, lane, scenario, seed)
        facts = facts_of(scene, "")
        assert facts is not None
        motion_of(facts, world.obstacles, f"scenario {scenario['name']}")
        data = scene_json(scene).encode("ascii")
        name = f"episode-{int(episode):04d}.json"
        (folder / name).write_bytes(data)
        rows.append({"file": name, "sha256": sha256(data)})
    manifest = {
        "schema": SCHEMA,
        **notes,
        "seed": seed,
        "first_episode": int(world.episodes[0]),
        "sha256": set_hash([row["sha256"] for row in rows]),
        "scenes": rows,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    written = SceneSet.open(folder)
    again = SCENARIOS.create("scene", path=str(folder)).build(seed, range(len(written)))
    changed = differences(world, again)
    if changed:
        raise RunError(f"what was frozen in {str(folder)!r} does not read back the same: {', '.join(changed)}")
    return written


_UNWRITTEN = ("queue", "sites", "shape", "events", "unknown")
"""Parts of a world that a scene file has no place for."""
_FREE = ("name", "notes", "episodes", "obstacles", "flow", "stops", "adherence", *_UNWRITTEN)
_NUMBERS = tuple(f for f in World.__dataclass_fields__ if f not in _FREE)


def differences(left: World, right: World) -> list[str]:
    """Names of the numbers in which two worlds differ; name, notes, episode numbers and functions do not count."""
    names = [n for n in _NUMBERS if not _same(getattr(left, n), getattr(right, n))]
    mine, theirs = left.obstacles, right.obstacles
    return names + [n for n in ("boxes", "bounds", "cutoff") if not _same(getattr(mine, n), getattr(theirs, n))]


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return np.array_equal(left, right, equal_nan=True)
    if isinstance(left, Resources) and isinstance(right, Resources):
        return all(_same(getattr(left, field.name), getattr(right, field.name)) for field in fields(left))
    return bool(left == right)
