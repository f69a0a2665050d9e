"""The suites that ship: one YAML file each. A new file here is a new suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from agentsc.experiment.core_bench import PROGRAMS


class Suites:
    """Suite files by name, in the manner of a plug-in registry."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.stem for path in self._folder.glob("*.yaml")))

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def path(self, name: str) -> Path:
        """The file of a suite."""
        return self._folder / f"{name}.yaml"

    def describe(self) -> list[dict[str, Any]]:
        """Name, description and parameters of each."""
        rows = []
        for name in self:
            tree = yaml.safe_load(self.path(name).read_text(encoding="utf-8"))
            facts = {"seeds": {"type": "integer", "default": tree.get("seeds", 20), "required": False,
                               "description": "episodes per cell"}}  # fmt: skip
            description = " ".join(f"{tree['title']}: {tree['question']}".split())
            rows.append({"name": name, "description": description, "parameters": facts})
        return rows


SUITES = Suites(Path(__file__).parent)


class Benchmarks:
    """Everything that ``agentsc bench`` knows by name: suites, and programs that measure the software itself."""

    def __iter__(self) -> Iterator[str]:
        return iter([*SUITES, *PROGRAMS])

    def describe(self) -> list[dict[str, Any]]:
        """What ``agentsc list suites --json`` prints."""
        return [*SUITES.describe(), *PROGRAMS.describe()]


BENCHMARKS = Benchmarks()
