"""The run folder: everything that explains a run, and its results.

``config.yaml`` (resolved) and ``versions.json`` are written before the work starts;
``episodes.parquet`` (a row per lane, with counters and digest), ``recording-<episode>.npz``,
``summary.txt`` and, last, ``result.json`` (what ``--json`` prints) when it is done. A folder
without ``result.json`` holds a run that did not finish. Files are replaced whole, never half written.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from envs.errors import ConfigError

if TYPE_CHECKING:
    import polars

DEFAULT_PARENT = Path("runs")


def dumps(value: Any) -> str:
    """Strict JSON: numbers that are not finite are an error, not an extension."""
    return json.dumps(value, indent=2, allow_nan=False)


def claim(out: Path | str | None, label: str) -> Path:
    """The folder of a new run, created, empty and writable.

    Args:
        out: the folder asked for; None makes one under ``runs/`` from the time and ``label``.

    Raises:
        ConfigError: it cannot be created, holds something, or cannot be written to.
    """
    if out is None:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        base = DEFAULT_PARENT / f"{stamp}-{label}"
        path, number = base, 1
        while path.exists():
            number += 1
            path = base.with_name(f"{base.name}-{number}")
    else:
        path = Path(out)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise ConfigError(f"out must be a new or empty folder, got {str(path)!r} (name another)")
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ConfigError(
            f"out must be a folder that can be written, got {str(path)!r} ({error.strerror}): name another"
        ) from None
    return path


def replace_file(path: Path, write: Callable[[Path], Any], *, durable: bool = False) -> None:
    """Let ``write`` fill a file beside ``path``, then move it there in one step.

    Args:
        durable: also wait until it is on the disk, so that it survives the machine going down.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        if durable:
            _sync(partial)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)  # on a full disk, half a file is in the way
        raise
    if durable:
        _sync(path.parent)


def write_frame(frame: polars.DataFrame, path: Path, *, durable: bool = False) -> None:
    """A frame as Parquet, replaced whole; a full disk is an `OSError`, which it is not when polars writes itself.

    Args:
        durable: as for `replace_file`.
    """
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    replace_file(path, lambda partial: partial.write_bytes(buffer.getvalue()), durable=durable)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class RunFolder:
    """A run on disk."""

    path: Path

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """An existing run.

        Raises:
            ConfigError: no run was ever written there.
        """
        folder = cls(Path(path))
        if not (folder.path / "config.yaml").is_file():
            raise ConfigError(f"run must be a run folder, got {str(path)!r} without config.yaml")
        return folder

    def recording(self, episode: int) -> Path:
        """File of one lane's recording."""
        return self.path / f"recording-{episode}.npz"

    def begin(self, config: Mapping[str, Any], versions: Mapping[str, Any]) -> None:
        """Write what explains the run."""
        text = yaml.safe_dump(dict(config), sort_keys=False)
        self._write("config.yaml", text)
        self._write("versions.json", dumps(versions) + "\n")

    def finish(self, result: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], summary: str) -> None:
        """Write the results; ``result.json`` last, as the mark of a complete run."""
        import polars

        frame = polars.DataFrame(list(rows), infer_schema_length=None)
        write_frame(frame, self.path / "episodes.parquet")
        self._write("summary.txt", summary)
        self._write("result.json", dumps(result) + "\n")

    def _write(self, name: str, text: str) -> None:
        replace_file(self.path / name, lambda partial: partial.write_text(text, encoding="utf-8"))

    def result(self) -> dict[str, Any]:
        """The stored result.

        Raises:
            ConfigError: the run did not finish, or the file is damaged.
        """
        path = self.path / "result.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(
                f"run must be finished, got {str(self.path)!r} without a result.json (run it again)"
            ) from None
        except (OSError, ValueError):
            raise ConfigError(f"run must hold an intact result, got {str(path)!r} (run it again)") from None
        return dict(found)
