"""A benchmark on disk: what it is, the pieces finished so far, and the results."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from agentsc.experiment.metrics import COUNTERS
from agentsc.experiment.store import dumps, replace_file, write_frame
from agentsc.experiment.suite import STANDARD, Cell, Plan
from agentsc.experiment.versions import commit, machine, versions
from envs.errors import ConfigError

if TYPE_CHECKING:
    import polars

SCHEMA = 1
"""Version of the rows of a benchmark."""

TIMING = ("time_cpu_s", "time_wall_s", "time_network_s")
"""Columns that differ from run to run; everything else is repeated bit for bit."""


@dataclass(frozen=True)
class BenchStore:
    """A benchmark on disk: what it is, the pieces finished so far, and the results."""

    folder: Path

    @property
    def shards(self) -> Path:
        """Folder of finished pieces."""
        return self.folder / "shards"

    def begin(self, todo: Plan, overrides: Sequence[str], computing: bool) -> None:
        """Write what explains the benchmark; a resumed one keeps the note of its earlier sittings.

        Args:
            overrides: ``key=value`` strings that every cell was given.
            computing: whether this sitting adds rows, and is to be noted.
        """
        self.shards.mkdir(exist_ok=True)
        suite = todo.suite.model_dump(mode="json", exclude_defaults=True)
        self._write("suite.yaml", yaml.safe_dump(suite, sort_keys=False, allow_unicode=True))
        cells = [{"cell": cell.key, **cell.columns, "config": cell.config.tree()} for cell in todo.cells]
        self._write("cells.json", dumps(cells) + "\n")
        about = self.about() if (self.folder / "bench.json").is_file() else {"sittings": []}
        sitting = {"commit": commit(), "machine": machine(), "versions": versions()}
        if computing and sitting not in about["sittings"]:
            about["sittings"].append(sitting)
        about |= {"schema": SCHEMA, "suite": todo.name, "set": list(overrides)}
        about["command"] = " ".join(
            ["agentsc bench", todo.name, f"--seeds {todo.suite.seeds}", *(f"--set {o}" for o in overrides)]
        )
        self._write("bench.json", dumps(about) + "\n")

    def about(self) -> dict[str, Any]:
        """What ``bench.json`` says.

        Raises:
            ConfigError: it is missing or damaged.
        """
        try:
            return dict(json.loads((self.folder / "bench.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            raise ConfigError(
                f"out must be a benchmark's folder, got {str(self.folder)!r} without an intact bench.json"
            ) from None

    def rows(self, todo: Plan, *, keep_failed: bool = True) -> dict[str, dict[int, dict[str, Any]]]:
        """Rows that are there already: cell key → episode → row.

        Raises:
            ConfigError: they are of another suite, or damaged.
        """
        import polars

        files = [*sorted(self.shards.glob("*.parquet"))]
        if (self.folder / "rows.parquet").is_file():
            files.insert(0, self.folder / "rows.parquet")
        found: dict[str, dict[int, dict[str, Any]]] = {}
        known = {cell.key for cell in todo.cells}
        for path in files:
            try:
                rows = polars.read_parquet(path).to_dicts()
            except Exception:  # whatever a damaged file does to the reader
                raise ConfigError(f"out must hold intact rows, got a damaged {path.name!r} (delete it)") from None
            for row in rows:
                if row["cell"] not in known:
                    raise ConfigError(
                        f"out must hold results of this suite as it is now, got a row of cell {row['cell']} "
                        f"({row['scenario']}, {row['protocol']}) that it does not have (use another folder)"
                    )
                if keep_failed or row["status"] == "done":
                    found.setdefault(row["cell"], {})[row["episode"]] = row
        return found

    def keep(self, cell: Cell, first: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store what a task gave, so that it survives whatever happens next."""
        import polars

        columns = {"schema": SCHEMA, "cell": cell.key, **cell.columns}
        whole = [columns | dict(row) for row in rows]
        frame = polars.DataFrame(whole, infer_schema_length=None)
        write_frame(frame, self.shards / f"{cell.key}-{first}.parquet", durable=True)

    def note_failure(self, cell: Cell, first: int, error: Exception) -> None:
        """Keep the traceback of a task that failed, for whoever wants to know more."""
        text = "".join(traceback.format_exception(error))
        path = self.folder / "failures" / f"{cell.key}-{first}.txt"
        path.parent.mkdir(exist_ok=True)
        replace_file(path, lambda partial: partial.write_text(f"{cell}\n\n{text}", encoding="utf-8"))

    def finish(self, todo: Plan) -> polars.DataFrame:
        """All rows as ``rows.parquet``, in the order of the cells; then the pieces are not needed any more."""
        found = self.rows(todo)
        # Episodes beyond those asked for now stay: nothing that was computed is lost.
        rows = [row for cell in todo.cells for _, row in sorted(found.get(cell.key, {}).items())]
        frame = tidy(rows)
        write_frame(frame, self.folder / "rows.parquet", durable=True)
        for path in self.shards.iterdir():
            path.unlink()
        self.shards.rmdir()
        return frame

    def _write(self, name: str, text: str) -> None:
        replace_file(self.folder / name, lambda partial: partial.write_text(text, encoding="utf-8"), durable=True)


def tidy(rows: Sequence[Mapping[str, Any]]) -> polars.DataFrame:
    """Rows as a frame whose columns do not depend on the order in which they were computed."""
    import polars

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    series = []
    for name, values in columns.items():
        kinds = {type(value) for value in values if value is not None}
        if kinds <= {int, bool} and bool in kinds:
            series.append(polars.Series(name, values, polars.Boolean))
        elif kinds == {int} or (not kinds and name in COUNTERS):
            series.append(polars.Series(name, values, polars.Int64))
        elif kinds and kinds <= {int, float}:
            series.append(polars.Series(name, values, polars.Float64, strict=False))
        elif not kinds and name not in ("reason", *STANDARD):
            series.append(polars.Series(name, values, polars.Float64))
        else:
            text = [None if value is None else str(value) for value in values]
            series.append(polars.Series(name, text, polars.String))
    timing = [s for s in series if s.name in TIMING]
    return polars.DataFrame([s for s in series if s.name not in TIMING] + timing)
