"""JSON schemas of the YAML files, for editors: completion, descriptions and red lines while typing."""

from __future__ import annotations

from typing import Any

from agentsc.catalog import installed
from agentsc.experiment.config import RunConfig, defaults
from agentsc.experiment.suite import Suite
from envs.errors import unknown_name
from envs.registry import summary

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(what: str = "config") -> dict[str, Any]:
    """The schema of a run's configuration (``config``) or of a suite (``suite``).

    Raises:
        ConfigError: no such schema.
    """
    makers = {"config": config_schema, "suite": suite_schema}
    if what not in makers:
        raise unknown_name("schema", what, makers)
    return makers[what]()


def config_schema() -> dict[str, Any]:
    """A run's YAML: any keys of ``defaults.yaml``, with the parameters of every plug-in by name."""
    found = RunConfig.model_json_schema()
    found.pop("required", None)  # a file holds only what differs from the defaults
    definitions = found.setdefault("$defs", {})
    for section, kind in (("scenario", "scenarios"), ("protocol", "protocols"), ("plan_code", "plan-codes")):
        plugins = installed(kind)
        options = [_by_name(name, plugins.get(name), definitions) for name in plugins]
        field = found["properties"][section]
        found["properties"][section] = {
            "description": field.get("description", ""),
            "default": defaults()[section],
            "anyOf": [{"enum": list(plugins)}, *options],
        }
    for partial in ("PriorChoice", "RecordChoice"):
        definitions[partial].pop("required", None)
    definitions.pop("Choice", None)
    for name, value in defaults().items():
        found["properties"][name].setdefault("default", value)
    return {"$schema": DIALECT, **found, "title": "agentsc run"}


def _by_name(name: str, plugin: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    inner = plugin.model_json_schema()
    definitions |= inner.pop("$defs", {})
    properties = dict(inner.get("properties", {}).items())
    return {
        "type": "object",
        "description": summary(plugin),
        "properties": {"name": {"const": name}, **properties},
        "required": ["name", *inner.get("required", [])],
        "additionalProperties": False,
    }


def suite_schema() -> dict[str, Any]:
    """A suite's YAML: matrix and views, with the parameters of every kind of view."""
    found = Suite.model_json_schema()
    definitions = found.setdefault("$defs", {})
    views = installed("views")
    kinds = []
    for name in views:
        option = _by_name(name, views.get(name), definitions)
        option["properties"] = {"kind": option["properties"].pop("name"), **option["properties"]}
        option["required"] = ["kind", *(key for key in option["required"] if key != "name")]
        kinds.append(option)
    found["properties"]["views"] = {**found["properties"]["views"], "items": {"anyOf": kinds}}
    base = config_schema()
    definitions |= base.pop("$defs", {})
    base.pop("$schema")
    found["properties"]["base"] = {**base, "description": found["properties"]["base"]["description"]}
    return {"$schema": DIALECT, **found, "title": "agentsc bench suite"}
