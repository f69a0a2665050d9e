"""A suite: the matrix of a benchmark and the views of its results, as one YAML file.

A matrix is a list of blocks; a block is the product of its axes. An axis is a shorthand with
values (``protocol: [intent, orca]``), or any name with labelled overlays of the configuration::

    axes:
      protocol: [intent, {name: rmader, delay_check_s: 0.3}]
      agents: [10, 20]
      loss: {0: {link: perfect}, 0.5: {link: "erasure:p=0.5"}}
      delay_ms: {0: {}, 156: {link: "delay:ms=156"}}

Links that several axes name are composed with ``+``. Every cell runs the same episodes (seed and
numbers), so protocols are compared on equal terms.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentsc.catalog import installed
from agentsc.experiment.config import RunConfig, Tree, merge, read_yaml, resolve
from agentsc.experiment.metrics import DESCRIPTIONS
from envs.errors import ConfigError, unknown_name

SHORTHANDS: dict[str, tuple[str, ...]] = {
    "scenario": ("scenario",),
    "agents": ("scenario", "agents"),
    "protocol": ("protocol",),
    "architecture": ("protocol", "architecture"),
    "link": ("link",),
    "rounds_per_tick": ("rounds_per_tick",),
    "ticks": ("ticks",),
}
"""Axis → the configuration key that its plain values set."""

STANDARD = ("scenario", "agents", "protocol", "architecture", "link")
"""Columns that every row has, whatever the axes."""

_NOT_IN_A_KEY = ("episodes", "first_episode", "backend", "hosts", "device", "record")
"""Configuration keys that do not decide what an episode's outcome is."""

_CAME_LATER: dict[str, Tree] = {
    "prior": {"solver": "ddim", "steps": 5, "precision": "float32"},
    "protocol": {
        **{"beliefs": "prior", "clock_skew_s": 0.0, "rank_changes": False, "check_rounds": 1},
        **{"trigger": "surprise", "tells_boxes": True},
        # Rows of `intent` from before have no proposals, and are of maps without a motion pattern, as it is by default.
        **{"proposals": 4, "proposals_for": "patterned", "tube": 3.0, "against": 30.0, "drawn": "joint"},
        **{"map_sharing": "tokens", "silence_s": None, "terms": "", "collision_weight": 1.0, "age_spread": 0.0},
    },
    "scenario": {"any_station": False, "march": 0, "restarts": 0, "down_s": 5.0},
    "plan_code": {"name": "spline", "delta_bits": 6},
}  # fmt: skip
"""Options added after rows had been published, with the value that held before. At that value they do not enter a
key: what was computed then is what would be computed now, so old folders resume and old rows stay valid. A section of
which nothing is left does not enter it either."""


class Strict(BaseModel):
    """A frozen part of a suite that knows all of its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Block(Strict):
    """The product of some axes."""

    axes: dict[str, list[Any] | dict[Any, Tree]] = Field(description="axis → values, or label → configuration")
    skip: list[dict[str, Any]] = Field(
        default_factory=list, description="combinations to leave out, as axis → label or list of labels"
    )


class Suite(Strict):
    """The contents of a suite file.

    Attributes: see the fields' descriptions, which ``agentsc schema suite`` exports.
    """

    title: str = Field(description="heading of the report")
    question: str = Field(description="what the suite answers, one or two sentences")
    notes: str = Field("", description="what a reader should know before believing the figures")
    base: Tree = Field(default_factory=dict, description="configuration of all cells, as in a run's YAML")
    seeds: int = Field(20, ge=1, description="episodes per cell, the same ones in every cell")
    lanes: int = Field(10, ge=1, description="episodes that run together as one task")
    matrix: list[Block] = Field(min_length=1, description="blocks of cells")
    views: list[Tree] = Field(default_factory=list, description="tables and figures, see agentsc list views")


@dataclass(frozen=True)
class Cell:
    """One point of the matrix.

    Attributes:
        labels: axis → label, in the order of the axes. config: resolved, without episodes of its own.
        key: 12 hex digits that name what is computed; equal keys give equal rows.
    """

    labels: dict[str, Any]
    config: RunConfig
    key: str

    @property
    def columns(self) -> dict[str, Any]:
        """What identifies the cell in a row: the standard columns, then further axes."""
        config = self.config
        own = {
            "scenario": config.scenario.name,
            "agents": config.scenario.parameters.get("agents"),
            "protocol": config.protocol.name,
            "architecture": config.protocol.parameters.get("architecture"),
            "link": config.link,
        }
        return own | self.labels | {"seed": config.seed}

    def __str__(self) -> str:
        return " · ".join(f"{axis} {label}" if isinstance(label, int | float) else str(label)
                          for axis, label in self.labels.items())  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A suite, resolved: everything that is to be run, checked as far as can be without running it."""

    name: str
    suite: Suite
    cells: list[Cell]


def load_suite(target: str | Path) -> tuple[str, Suite]:
    """A suite by its registered name, or from a YAML file.

    Returns:
        Its name and contents.

    Raises:
        ConfigError: no such suite or file, a mistyped key, a value of the wrong kind.
    """
    from agentsc.experiment.suites import BENCHMARKS, SUITES

    if str(target) in SUITES:
        path = SUITES.path(str(target))
    elif Path(target).suffix in (".yaml", ".yml") or Path(target).is_file():
        path = Path(target)
    else:
        raise ConfigError(f"{unknown_name('suite', str(target), BENCHMARKS)} (or give a .yaml file)")
    return path.stem, parse_suite(read_yaml(path))


def parse_suite(tree: Mapping[str, Any]) -> Suite:
    """The typed contents of a suite file.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong kind; views are checked too.
    """
    from agentsc.experiment.views import VIEWS

    try:
        suite = Suite.model_validate(dict(tree))
    except ValidationError as error:
        raise _sentence(error) from None
    for number, view in enumerate(suite.views):
        if "kind" not in view:
            raise ConfigError(f"views[{number}] must name its kind, got {view!r:.60} (see agentsc list views)")
        VIEWS.create(view["kind"], **{key: value for key, value in view.items() if key != "kind"})
    return suite


def _sentence(error: ValidationError) -> ConfigError:
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        model = Block if where.startswith("matrix.") else Suite
        prefix, _, name = where.rpartition(".")
        return unknown_name("suite key", name, model.model_fields) if not prefix else ConfigError(
            f"{prefix}: {unknown_name('suite key', name, model.model_fields)}"
        )  # fmt: skip
    if first["type"] == "missing":
        meaning = Suite.model_fields[where].description if where in Suite.model_fields else "see docs/benchmarks.md"
        return ConfigError(f"suite.{where} is missing: give it a value ({meaning})")
    rule = first["msg"].removeprefix("Input should be ")
    if ".axes." in where:
        rule = "a list of values, or a mapping of labels to mappings of configuration keys"
    return ConfigError(f"suite.{where} must be {rule}, got {first['input']!r:.60} (see docs/benchmarks.md)")


def plan(target: str | Path | Mapping[str, Any], *, seeds: int | None = None, overrides: Sequence[str] = ()) -> Plan:
    """Load a suite and work out its cells.

    Args:
        target: a registered name, a YAML file, or the contents of one.
        seeds: episodes per cell instead of the suite's own.
        overrides: ``key=value`` strings for the configuration of every cell.

    Raises:
        ConfigError: anything that is wrong with the suite or the configuration of a cell: a typo in a
            key, a name or a parameter. Whether agents fit a map is found out when the cell runs.
    """
    if isinstance(target, Mapping):
        name, suite = "suite", parse_suite(target)
    else:
        name, suite = load_suite(target)
    if seeds is not None:
        if seeds < 1:
            raise ConfigError(f"seeds must be at least 1, got {seeds} (episodes per cell)")
        suite = suite.model_copy(update={"seeds": seeds})
    cells: dict[str, Cell] = {}
    for number, block in enumerate(suite.matrix):
        for labels, overlay in _combinations(block, f"matrix[{number}]"):
            try:
                cell = _cell(labels, merge(suite.base, overlay), overrides)
            except ConfigError as error:
                shown = ", ".join(f"{axis}={label}" for axis, label in labels.items())
                raise ConfigError(f"matrix[{number}] ({shown}): {error}") from None
            cells.setdefault(cell.key, cell)
    if not cells:
        raise ConfigError("matrix must hold at least one cell, got none that is not skipped")
    return Plan(name, suite, list(cells.values()))


def _combinations(block: Block, where: str) -> Iterator[tuple[dict[str, Any], Tree]]:
    """Labels and configuration overlay of every cell of a block."""
    axes = [(axis, list(_entries(axis, values, where))) for axis, values in block.axes.items()]
    for rule in block.skip:
        for axis in rule:
            if axis not in block.axes:
                raise unknown_name(f"{where}.skip axis", axis, block.axes)
    for entries in itertools.product(*(entries for _, entries in axes)):
        labels = {axis: label for (axis, _), (label, _) in zip(axes, entries, strict=True)}
        if any(all(labels[axis] in _listed(value) for axis, value in rule.items()) for rule in block.skip):
            continue
        overlay: Tree = {}
        links = []
        # Who names a plug-in goes first: a new name drops the parameters of the one before it.
        for _, tree in sorted(entries, key=lambda entry: not _names_a_plugin(entry[1])):
            if "link" in tree:
                links.append(str(tree["link"]))
            overlay = merge(overlay, {key: value for key, value in tree.items() if key != "link"})
        if links:
            real = [link for link in links if link != "perfect"]
            overlay["link"] = "+".join(real) or "perfect"
        yield labels, overlay


def _names_a_plugin(overlay: Tree) -> bool:
    values = [overlay[key] for key in ("scenario", "protocol") if key in overlay]
    return any(isinstance(value, str) or (isinstance(value, dict) and "name" in value) for value in values)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _entries(axis: str, values: list[Any] | dict[Any, Tree], where: str) -> Iterator[tuple[Any, Tree]]:
    """Label and overlay of every value of an axis."""
    if axis in DESCRIPTIONS:
        raise ConfigError(f"{where}.axes.{axis} must not be called like a metric (choose another name)")
    if not values:
        raise ConfigError(f"{where}.axes.{axis} must have at least one value, got none")
    if isinstance(values, dict):
        yield from values.items()
        return
    if axis not in SHORTHANDS:
        raise ConfigError(
            f"{where}: {unknown_name('axis', axis, SHORTHANDS)} (an axis of your own needs "
            f"{{label: {{key: value}}}} instead of a list)"
        )
    for value in values:
        tree: Any = value
        for key in reversed(SHORTHANDS[axis]):
            tree = {key: tree}
        yield _label(value), tree


def _label(value: Any) -> Any:
    """A plug-in with parameters is called ``name:parameter=value,…``, as in a link."""
    if isinstance(value, dict):
        rest = ",".join(f"{key}={inner}" for key, inner in value.items() if key != "name")
        return f"{value.get('name', '')}:{rest}" if rest else value.get("name", "")
    return value


def _cell(labels: dict[str, Any], tree: Tree, overrides: Sequence[str]) -> Cell:
    """A checked cell; its configuration holds every parameter of every plug-in."""
    given = resolve(tree, {}, overrides)
    if given.backend != "local":
        raise ConfigError(
            f"backend must be local in a suite, got {given.backend!r} (cells are what is spread over Ray)"
        )
    if given.first_episode or given.episodes != 1:
        raise ConfigError("episodes and first_episode must be left out of a suite (seeds says how many)")
    scenario = installed("scenarios").create(given.scenario.name, **given.scenario.parameters)
    protocol = installed("protocols").create(given.protocol.name, **given.protocol.parameters)
    code = installed("plan-codes").create(given.plan_code.name, **given.plan_code.parameters)
    installed("priors").get(given.prior.name)
    from agentsc.links import parse_link

    links, agents = parse_link(given.link), scenario.model_dump().get("agents")
    hubs = protocol.hosting.hubs if protocol.hosted else 0
    for link in links if isinstance(agents, int) else ():
        link.check(agents + hubs, links)
    full = given.tree()
    full["scenario"] = {"name": given.scenario.name, **scenario.model_dump(mode="json")}
    full["protocol"] = {"name": given.protocol.name, **protocol.model_dump(mode="json")}
    full["plan_code"] = {"name": given.plan_code.name, **code.model_dump(mode="json")}
    full["record"] = {**full["record"], "episodes": []}
    decisive = {key: value for key, value in full.items() if key not in _NOT_IN_A_KEY}
    for section, values in _CAME_LATER.items():
        left = {k: v for k, v in full[section].items() if k not in values or v != values[k]}
        decisive = {**decisive, section: left} if left else {k: v for k, v in decisive.items() if k != section}
    text = json.dumps(decisive, sort_keys=True)
    return Cell(labels, RunConfig.model_validate(full), hashlib.sha256(text.encode()).hexdigest()[:12])
