"""The configuration tree of a run: typed, without defaults in code, strict about names.

Layers, later ones winning: ``defaults.yaml``, a YAML file, options, ``--set key=value``. The
sections ``scenario``, ``protocol`` and ``plan_code`` also carry the parameters of the plug-in that they name;
naming another plug-in drops the parameters of the previous one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from envs.errors import ConfigError, unknown_name

Tree = dict[str, Any]


class Section(BaseModel):
    """A frozen branch of the tree that knows all of its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Choice(Section):
    """A plug-in by name; the other keys are its parameters, checked by the plug-in itself."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str = Field(description="a registered name, see agentsc list")

    @property
    def parameters(self) -> Tree:
        """What the plug-in is created with."""
        return dict(self.model_extra or {})


class PriorChoice(Section):
    """A trajectory prior."""

    name: str = Field(description="a registered name, see agentsc list priors")
    weights: str | None = Field(description="safetensors file, null for the shipped weights")
    solver: str = Field(description="how samples are drawn, e.g. ddim:eta=0.5, see agentsc list solvers")
    steps: int = Field(ge=1, description="denoising steps of a sample")
    precision: Literal["float32", "bfloat16", "int8"] = Field(description="of the network's forward passes")

    @property
    def sampling(self) -> Tree:
        """How samples are drawn, as options of the core's model."""
        return {"solver": self.solver, "steps": self.steps, "precision": self.precision}


class RecordChoice(Section):
    """What is kept for films and replay."""

    episodes: list[int] | None = Field(description="numbers of the lanes to record, null for the first")
    samples: int = Field(ge=1, le=64, description="samples kept of every belief")


class RunConfig(Section):
    """Everything that decides the result of a run, and where it is computed."""

    scenario: Choice = Field(description="the arena")
    protocol: Choice = Field(description="how agents coordinate")
    link: str = Field(description="link specification, e.g. erasure:p=0.2+delay:ms=150")
    episodes: int = Field(ge=1, description="lanes to run")
    first_episode: int = Field(ge=0, description="number of the first lane")
    seed: int = Field(ge=0, lt=2**63, description="key of all randomness")
    ticks: int | None = Field(ge=1, description="time limit in control steps, null for the scenario's own")
    rounds_per_tick: int = Field(ge=1, le=64, description="message rounds between two control steps")
    backend: Literal["local", "ray"] = Field(description="where agents live")
    hosts: int = Field(ge=1, description="host actors that share the agents, with backend ray")
    device: Literal["auto", "cpu", "cuda"] = Field(description="where the network runs")
    prior: PriorChoice = Field(description="the trajectory prior")
    plan_code: Choice = Field(description="how plans cross the air")
    record: RecordChoice = Field(description="what is kept for films and replay")

    @property
    def episode_numbers(self) -> range:
        """Numbers of the lanes."""
        return range(self.first_episode, self.first_episode + self.episodes)

    @property
    def recorded(self) -> list[int]:
        """Numbers of the lanes to record."""
        return [self.first_episode] if self.record.episodes is None else sorted(set(self.record.episodes))

    def tree(self) -> Tree:
        """The configuration as plain values, ready for YAML and JSON."""
        return self.model_dump(mode="json")


_SHORTHAND = ("scenario", "protocol", "prior", "plan_code")
"""Sections that may be given as a bare name."""


def defaults() -> Tree:
    """A fresh copy of ``defaults.yaml``."""
    return _parse(_defaults_text(), "defaults.yaml")


@cache
def _defaults_text() -> str:
    return (files("agentsc.experiment") / "defaults.yaml").read_text(encoding="utf-8")


def read_yaml(path: Path | str) -> Tree:
    """The mapping in a YAML file, read with the safe loader.

    Raises:
        ConfigError: missing, unreadable, malformed, or not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"config must be a readable YAML file, got {str(path)!r} ({cause})") from None
    return _parse(text, str(path))


def _parse(text: str, name: str) -> Tree:
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"config must be valid YAML, got {name!r} with a mistake{where}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise ConfigError(f"config must be a mapping of names to values, got {tree!r:.60} in {name!r}")
    return tree


def merge(base: Tree, overlay: Mapping[str, Any]) -> Tree:
    """``base`` with ``overlay`` on top; neither is changed."""
    merged = dict(base)
    for key, value in overlay.items():
        if key in _SHORTHAND and isinstance(value, str):
            value = {"name": value}
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            if value.get("name", old.get("name")) != old.get("name"):
                # Another plug-in: only keys that the section itself knows survive.
                known = _section(key)
                old = {k: v for k, v in old.items() if k in known}
            merged[key] = {**old, **value}
        else:
            merged[key] = value
    return merged


def _section(key: str) -> Iterable[str]:
    field = RunConfig.model_fields.get(key)
    return getattr(field.annotation, "model_fields", {}) if field is not None else {}


def assign(tree: Tree, assignment: str) -> Tree:
    """``tree`` with one ``key.path=value`` applied; the value is parsed as YAML.

    Raises:
        ConfigError: not of that form, a value that is not YAML, or a path through a plain value.
    """
    path, equals, text = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set must be key=value, got {assignment!r} (e.g. scenario.agents=8)")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {path} must have a YAML value, got {text!r} (quote it?)") from None
    if keys[0] not in RunConfig.model_fields:
        raise unknown_name("config key", keys[0], RunConfig.model_fields)
    for depth in range(1, len(keys)):
        inner = _at(tree, keys[:depth])
        if inner is not None and not isinstance(inner, dict):
            raise ConfigError(f"--set {path} must name a value, but {'.'.join(keys[:depth])} is one already")
    for key in reversed(keys[1:]):
        value = {key: value}
    return merge(tree, {keys[0]: value})


def _at(tree: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def parse(tree: Mapping[str, Any]) -> RunConfig:
    """The typed configuration of a complete tree.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong type or out of bounds.
    """
    try:
        return RunConfig.model_validate(dict(tree))
    except ValidationError as error:
        raise _sentence(error) from None


def resolve(
    config: Path | str | Mapping[str, Any] | None = None,
    overlay: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
) -> RunConfig:
    """All layers merged and checked.

    Args:
        config: a YAML file or a mapping.
        overlay: options, as a partial tree.
        assignments: ``key=value`` strings.

    Raises:
        ConfigError: as `read_yaml`, `assign` and `parse`.
    """
    given: Mapping[str, Any] = {}
    if config is not None:
        given = config if isinstance(config, Mapping) else read_yaml(config)
    tree = merge(merge(defaults(), given), overlay or {})
    for assignment in assignments:
        tree = assign(tree, assignment)
    return parse(tree)


def _sentence(error: ValidationError) -> ConfigError:
    """One sentence for the first thing that is wrong: field, value, rule, meaning."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    model: Any = RunConfig
    field = None
    for part in path[:-1] if first["type"] == "extra_forbidden" else path:
        if part not in getattr(model, "model_fields", {}):
            break
        field = model.model_fields[part]
        model = field.annotation
    where = ".".join(path)
    if first["type"] == "extra_forbidden":
        known = [".".join([*path[:-1], name]) for name in model.model_fields]
        return unknown_name("config key", where, known)
    meaning = (field.description if field is not None else None) or "see agentsc/experiment/defaults.yaml"
    if first["type"] == "missing":
        return ConfigError(f"{where} is missing: give it a value ({meaning})")
    rule = first["msg"].removeprefix("Input should be ")
    if first["type"] in ("model_type", "dict_type"):
        rule = "a mapping of keys to values"
    return ConfigError(f"{where} must be {rule}, got {first['input']!r} ({meaning})")
