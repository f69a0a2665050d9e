"""JSON schemas: what they accept is what the configuration accepts, and the committed files are current."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import agentsc
from agentsc.experiment.config import defaults
from agentsc.experiment.suites import SUITES
from envs.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs" / "schema"


def valid(what: str, tree: Any) -> bool:
    return jsonschema.Draft202012Validator(agentsc.schema(what)).is_valid(tree)


@pytest.mark.parametrize("what", ["config", "suite"])
def test_the_committed_schema_is_current(what: str) -> None:
    committed = json.loads((DOCS / f"{what}.schema.json").read_text())
    assert committed == agentsc.schema(what), f"agentsc schema {what} > docs/schema/{what}.schema.json"
    jsonschema.Draft202012Validator.check_schema(committed)


def test_defaults_and_resolved_runs_are_valid() -> None:
    assert valid("config", defaults()) and valid("config", {}) and valid("config", {"scenario": "weave", "seed": 4})
    assert valid("config", {"scenario": {"name": "weave", "agents": 4}, "protocol": {"name": "orca", "inflation": 1.2}})


@pytest.mark.parametrize(
    "tree",
    [
        {"sed": 1}, {"seed": -1}, {"episodes": 0}, {"scenario": "weeve"}, {"scenario": {"name": "weave", "agnets": 3}},
        {"protocol": {"name": "orca", "inflation": 0.5}}, {"backend": "spark"}, {"link": 3},
    ],
)  # fmt: skip
def test_mistakes_are_not(tree: dict[str, Any]) -> None:
    assert not valid("config", tree)


@pytest.mark.parametrize("name", list(SUITES))
def test_suites_that_ship_are_valid(name: str) -> None:
    tree = json.loads(json.dumps(yaml.safe_load(SUITES.path(name).read_text())))
    errors = list(jsonschema.Draft202012Validator(agentsc.schema("suite")).iter_errors(tree))
    assert not errors, errors[0].message
    assert not valid("suite", tree | {"vews": []})


def test_an_unknown_schema_is_refused() -> None:
    with pytest.raises(ConfigError, match="config"):
        agentsc.schema("confg")
