"""Runs as data frames: a row per episode, per agent and tick, or per packet and receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from agentsc.experiment.config import read_yaml
from agentsc.experiment.store import RunFolder
from envs.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    import polars

    from agentsc.view.recording import Recording

Kind = Literal["episodes", "trajectories", "packets"]
BENCH = "rows.parquet"
"""The file that makes a folder a benchmark's."""


def frame(
    run: Path | str | Iterable[Path | str],
    kind: Kind = "episodes",
    *,
    library: Literal["polars", "pandas"] = "polars",
) -> Any:
    """What runs have recorded, as one long table.

    Args:
        run: a run folder, a benchmark's folder, or several of them.
        kind: ``episodes``: a row per episode with its outcome and counters. ``trajectories``: a row per
            agent and tick of every recorded episode. ``packets``: a row per packet and receiver of those.
        library: what to return.

    Returns:
        A polars or pandas data frame. The first columns say where a row is from: ``run``, ``scenario``,
        ``agents``, ``protocol``, ``link``, ``seed`` and ``episode``. Names carry their units.

    Raises:
        ConfigError: a folder that holds no such rows, or pandas is wanted and not installed.
    """
    if kind not in _TABLES:
        raise unknown_name("kind", kind, _TABLES)
    if library not in ("polars", "pandas"):
        raise unknown_name("library", library, ("polars", "pandas"))
    to_library = _pandas() if library == "pandas" else lambda table: table
    import polars

    runs = [run] if isinstance(run, str | Path) else list(run)
    if not runs:
        raise ConfigError("run must name at least one run folder, got none")
    tables = [_TABLES[kind](Path(one)) for one in runs]
    return to_library(polars.concat(tables, how="diagonal_relaxed"))


def _origin(folder: RunFolder) -> dict[str, Any]:
    """Columns that say what was run."""
    config = read_yaml(folder.path / "config.yaml")
    return {
        "run": str(folder.path),
        "scenario": config["scenario"]["name"],
        "protocol": config["protocol"]["name"],
        "link": config["link"],
        "seed": config["seed"],
    }


def _led_by_origin(table: polars.DataFrame, **columns: Any) -> polars.DataFrame:
    """The table with constant columns added, those of `frame` first."""
    import polars

    table = table.with_columns(**{name: polars.lit(value) for name, value in columns.items()})
    lead = ("run", "scenario", "agents", "protocol", "link", "seed", "episode")
    return table.select([*(n for n in lead if n in table.columns), *(n for n in table.columns if n not in lead)])


def _episodes(path: Path) -> polars.DataFrame:
    import polars

    bench = (path / BENCH).is_file()
    origin = {"run": str(path)} if bench else _origin(RunFolder.open(path))
    file = path / (BENCH if bench else "episodes.parquet")
    if not file.is_file():
        raise ConfigError(f"run must be finished, got {str(path)!r} without {file.name} (run it again)")
    try:
        table = polars.read_parquet(file)
    except (OSError, polars.exceptions.PolarsError):
        raise ConfigError(f"run must hold an intact {file.name}, got {str(path)!r} (run it again)") from None
    return _led_by_origin(table, **origin)


def _recorded(path: Path, rows: Callable[[Recording], dict[str, Any]]) -> polars.DataFrame:
    """A table of every recording in a run folder."""
    import polars

    from agentsc.view.recording import Recording

    if (path / BENCH).is_file():
        raise ConfigError(f"run must be a run folder, got the benchmark {str(path)!r} (benchmarks keep no recordings)")
    folder = RunFolder.open(path)
    files = sorted(path.glob("recording-*.npz"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise ConfigError(
            f"run must hold recordings, got {str(path)!r} without any (run with record.episodes=[0])"
        )
    tables = []
    for file in files:
        recording = Recording.load(file)
        table = polars.DataFrame(rows(recording))
        # What is not known is null: NaN would poison every mean.
        table = table.with_columns(polars.col(polars.Float32, polars.Float64).fill_nan(None))
        facts = {"agents": recording.scene.agents, "episode": int(recording.scene.meta["episode"])}
        tables.append(_led_by_origin(table, **_origin(folder), **facts))
    return polars.concat(tables, how="diagonal_relaxed")


def _trajectories(recording: Recording) -> dict[str, Any]:
    """Columns of one recording: agents within ticks, from the start (tick 0) to the end."""
    scene, ticks = recording.scene, recording.ticks
    agents = scene.agents
    done = np.array([0, *(tick.tick + 1 for tick in ticks)])
    positions = recording.positions
    columns: dict[str, Any] = {
        "tick": np.repeat(done, agents),
        "time_s": np.repeat(done * scene.dt, agents),
        "agent": np.tile(np.arange(agents), len(done)),
        "x_m": positions[..., 0].ravel(),
        "y_m": positions[..., 1].ravel(),
        "goal_distance_m": np.linalg.norm(positions - _goals(recording), axis=-1).ravel(),
    }
    named = {"at_goal": "at_goal", "bits": "bits", "pending": "pending", "belief_age": "belief_age_s"}
    for name, column in named.items():
        # Nothing was measured at the start, and not every protocol measures everything.
        values = [None] * agents
        for tick in ticks:
            kept = getattr(tick, name)
            values += [None] * agents if kept is None else kept.tolist()
        if any(value is not None for value in values):
            columns[column] = values
    return columns


def _goals(recording: Recording) -> Any:
    """float32 [T+1, agent, 2]: the goals that each row of positions is measured against, those of the tick."""
    first = recording.scene.goals
    return np.stack([first, *(first if tick.goals is None else tick.goals for tick in recording.ticks)])


def _packets(recording: Recording) -> dict[str, Any]:
    """Columns of one recording: packets in the order they were sent, a row for each receiver."""
    from agentsc.view.recording import PACKET

    rows = np.concatenate([np.empty(0, PACKET), *(tick.packets for tick in recording.ticks)])
    columns: dict[str, Any] = {name: rows[name] for name in PACKET.names or ()}
    return {
        **columns,
        "lost": np.isnan(rows["arrival_s"]),
        "delay_s": rows["arrival_s"] - rows["sent_s"],
    }


_TABLES: dict[str, Callable[[Path], Any]] = {
    "episodes": _episodes,
    "trajectories": lambda path: _recorded(path, _trajectories),
    "packets": lambda path: _recorded(path, _packets),
}


def _pandas() -> Callable[[polars.DataFrame], Any]:
    """How a polars frame becomes a pandas one; through numpy and lists, so that pyarrow is not needed."""
    try:
        import pandas
    except ImportError:
        raise ConfigError("library 'pandas' is not installed: pip install pandas, or use polars") from None

    def convert(table: polars.DataFrame) -> Any:
        # Numbers with nulls become floats with NaN, as is usual in pandas; other columns keep None.
        return pandas.DataFrame(
            {series.name: series.to_numpy() if series.dtype.is_numeric() else series.to_list() for series in table}
        )

    return convert
