"""Scenario instances as files with SHA-256, so that others can run the very same ones."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentsc.catalog import installed
from agentsc.experiment.config import RunConfig, resolve
from agentsc.experiment.run import options
from agentsc.experiment.store import claim
from envs.errors import ConfigError

if TYPE_CHECKING:
    from envs.frozen import SceneSet


def freeze(
    config: Path | str | Mapping[str, Any] | None = None,
    *,
    scenario: str | Mapping[str, Any] | None = None,
    map: Path | str | None = None,
    scen: Path | str | None = None,
    agents: int | None = None,
    episodes: int | None = None,
    seed: int | None = None,
    set: Sequence[str] = (),
    out: Path | str | None = None,
) -> SceneSet:
    """Write the instances of a scenario as scene files and a manifest; the call behind ``agentsc freeze``.

    Args:
        config: as for `run`; keys that do not concern the scenario change nothing.
        scenario, map, scen, agents, episodes, seed, set: as for `run`.
        out: the folder, new or empty; by default one under ``runs/``.

    Returns:
        The folder and its manifest.

    Raises:
        ConfigError: anything wrong with the input; nothing was written then.
    """
    from agentsc import __version__
    from envs.frozen import write_set

    tree = options(scenario=scenario, map=map, scen=scen, agents=agents, episodes=episodes, seed=seed)
    resolved = resolve(config, tree, set)
    name = resolved.scenario.name
    if name == "scene":
        raise ConfigError("scenario must be one that makes instances, got 'scene' (its scenes are frozen already)")
    maker = installed("scenarios").create(name, **resolved.scenario.parameters)
    world = maker.build(resolved.seed, list(resolved.episode_numbers))
    if resolved.ticks is not None:
        world = replace(world, max_ticks=resolved.ticks)
    parameters, files = portable(maker.model_dump(mode="json"))
    # Files name only what differs from the defaults: a parameter that a later version adds changes no hash.
    given = portable(maker.model_dump(mode="json", exclude_defaults=True))[0]
    notes = {
        "made_by": f"agentsc {__version__}",
        "command": command(resolved, given),
        "scenario": {"name": name, **parameters},
        "files": files,
    }
    folder = claim(out, f"{name}-scenes")
    try:
        return write_set(folder, world, {"name": name, **given}, resolved.seed, notes)
    except ConfigError:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        raise


def check_scenes(folder: Path | str) -> SceneSet:
    """Check that a folder holds the scenes that were frozen there; the call behind ``agentsc freeze --check``.

    Raises:
        ConfigError: a file that is missing, changed, or not a scene.
    """
    from envs.frozen import SceneSet

    scenes = SceneSet.open(folder)
    scenes.check()
    return scenes


def portable(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters without paths of this machine.

    Returns:
        The parameters, with a file's name for its path; and name and SHA-256 of each such file by parameter.
    """
    from envs.frozen import sha256

    kept, files = dict(parameters), {}
    for key, value in parameters.items():
        if isinstance(value, str) and Path(value).is_file():
            kept[key] = Path(value).name
            files[key] = {"name": Path(value).name, "sha256": sha256(Path(value).read_bytes())}
    return kept, files


def command(config: RunConfig, given: Mapping[str, Any]) -> str:
    """The command line that freezes the same instances; ``given``: parameters that are not the defaults."""
    words = ["agentsc", "freeze", "--scenario", config.scenario.name]
    parameters = dict(given)
    for key in ("map", "scen", "agents"):
        if key in parameters:
            words += [f"--{key}", str(parameters.pop(key))]
    words += ["--episodes", str(config.episodes), "--seed", str(config.seed)]
    settings = {f"scenario.{key}": value for key, value in parameters.items()}
    if config.ticks is not None:
        settings["ticks"] = config.ticks
    if config.first_episode:
        settings["first_episode"] = config.first_episode
    for key, value in settings.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(words)
