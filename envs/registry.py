"""One registry mechanism for every kind of plug-in: scenarios, links, protocols, priors, …

A plug-in is a pydantic model in a file of its own. Its fields, with their descriptions and
bounds, are the plug-in's parameters; the first line of its docstring is its description.
Registering it makes it show up in ``agentsc list``, in the configuration and in the
conformance tests.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from envs.errors import ConfigError, unknown_name


class Plugin(BaseModel):
    """Base of every registered plug-in: a frozen, self-validating set of parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


P = TypeVar("P", bound=type[Plugin])


class Registry:
    """Named plug-ins of one kind, found by importing every module of the packages given.

    Args:
        kind: plural noun, as in ``agentsc list KIND``.
        packages: dotted packages whose modules register plug-ins when imported.
    """

    def __init__(self, kind: str, *packages: str) -> None:
        self.kind = kind
        self.field = kind.removesuffix("s")
        self._packages = packages
        self._entries: dict[str, type[Plugin]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[P], P]:
        """Class decorator: make a `Plugin` available under ``name``."""

        def add(plugin: P) -> P:
            if name in self._entries:
                raise ValueError(f"{self.field} {name!r} is registered twice")
            self._entries[name] = plugin
            return plugin

        return add

    def _load(self) -> dict[str, type[Plugin]]:
        if not self._loaded:
            self._loaded = True
            for package in self._packages:
                for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
                    importlib.import_module(f"{package}.{module.name}")
        return self._entries

    def __contains__(self, name: object) -> bool:
        return name in self._load()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._load()))

    def get(self, name: str) -> type[Plugin]:
        """The plug-in class of that name.

        Raises:
            ConfigError: no such name; the message offers the nearest one.
        """
        entries = self._load()
        if name not in entries:
            raise unknown_name(self.field, name, entries)
        return entries[name]

    def create(self, name: str, /, **parameters: Any) -> Any:
        """A validated plug-in.

        Raises:
            ConfigError: unknown name, unknown parameter, or a value out of bounds.
        """
        plugin = self.get(name)
        try:
            return plugin(**parameters)
        except ValidationError as error:
            raise ConfigError(explain(error, plugin, f"{self.field}.{name}")) from None

    def parse(self, spec: str) -> Any:
        """A validated plug-in from ``NAME[:key=value,…]``, e.g. ``ddim:eta=0.5``.

        Raises:
            ConfigError: as `create`, and text that does not parse.
        """
        name, values = parse_spec(spec, f"{self.field} must be NAME:key=value,…, got {spec!r}", self.field)
        return self.create(name, **values)

    def describe(self) -> list[dict[str, Any]]:
        """What ``agentsc list KIND --json`` prints: name, description and parameters of each."""
        return [
            {"name": name, "description": summary(plugin), "parameters": parameters(plugin)}
            for name, plugin in sorted(self._load().items())
        ]


class Joined(Registry):
    """The plug-ins of several registries, whose names differ.

    Args:
        kind: plural noun. parts: the registries.
    """

    def __init__(self, kind: str, *parts: Registry) -> None:
        super().__init__(kind)
        self._parts = parts

    def _load(self) -> dict[str, type[Plugin]]:
        return {name: part.get(name) for part in self._parts for name in part}


def parse_spec(part: str, rule: str, field: str) -> tuple[str, dict[str, float | str]]:
    """Name and parameters of ``NAME[:key=value,…]``.

    Args:
        part: the text. rule: what it must look like and what was given, for messages. field: what is being named.

    Raises:
        ConfigError: no name, a parameter without a value, or one that is given twice.
    """
    name, _, text = part.partition(":")
    values: dict[str, float | str] = {}
    for item in text.split(",") if text.strip() else []:
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if not (key and equals and value):
            raise ConfigError(f"{rule} ({item!r} is no key=value)")
        if key in values:
            raise ConfigError(f"{field}.{name}.{key} must be given once, got it twice in {part!r}")
        values[key] = _number(value)
    if not name.strip():
        raise ConfigError(f"{rule} (a name is missing)")
    return name.strip(), values


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # the plug-in's own types say what is wrong with it


def summary(plugin: type) -> str:
    """First line of the docstring."""
    return (plugin.__doc__ or "").strip().splitlines()[0]


def parameters(plugin: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Each field's type, default (absent when required), bounds and description."""
    schema = plugin.model_json_schema()
    required = set(schema.get("required", ()))
    rows: dict[str, dict[str, Any]] = {}
    for name, prop in schema.get("properties", {}).items():
        row = {k: v for k, v in prop.items() if k != "title"}
        row["required"] = name in required
        rows[name] = row
    return rows


def explain(error: ValidationError, model: type[BaseModel], prefix: str) -> str:
    """One sentence for the first thing pydantic found wrong: field, value, rule, meaning."""
    # A name that does not exist explains more than the one it was mistaken for being missing.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    path = [str(part) for part in first["loc"]]
    name = path[0] if path else ""
    where = ".".join([prefix, *path])
    if first["type"] == "extra_forbidden":
        return str(unknown_name(f"{prefix} has a parameter that", name, model.model_fields)).replace(
            "that " + repr(name) + " is not known", f"it does not know, {name!r}"
        )
    if first["type"] == "missing":
        return f"{where} is missing: give {name}=VALUE ({_meaning(model, name)})"
    rule = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {rule}" if path else f"{prefix}: {rule}"
    return f"{where} must be {rule}, got {first['input']!r} ({_meaning(model, name)})"


def _meaning(model: type[BaseModel], name: str) -> str:
    field = model.model_fields.get(name)
    return (field.description if field is not None else None) or "see agentsc list"
