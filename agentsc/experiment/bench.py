"""A benchmark: run every cell of a suite, keep each piece as it ends, and show the results.

A cell's episodes are run in blocks, each a task of its own; a finished block is written to
``shards/`` at once, durably. A kill at any moment therefore loses at most the blocks that were
running, and ``resume`` repeats only those: all randomness is keyed by (seed, episode), so it does
not matter how episodes are spread over blocks, workers or sittings.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from agentsc.experiment.store import claim, dumps, replace_file
from agentsc.experiment.suite import STANDARD, Cell, Plan, plan
from agentsc.experiment.versions import commit, machine, versions
from envs.errors import ConfigError, RunError

if TYPE_CHECKING:
    import polars

SCHEMA = 1
"""Version of the rows of a benchmark."""

TIMING = ("time_cpu_s", "time_wall_s", "time_network_s")
"""Columns that differ from run to run; everything else is repeated bit for bit."""


class Task(NamedTuple):
    """Some episodes of one cell: number of the cell, its configuration as a tree, first episode, how many."""

    cell: int
    config: dict[str, Any]
    first: int
    episodes: int

    @property
    def units(self) -> int:
        """A first idea of the work: agents × episodes."""
        return self.episodes * int(self.config["scenario"].get("agents") or 16)


class Moment(NamedTuple):
    """A running benchmark, for the progress display.

    Attributes:
        cells_done, cells, episodes_done, episodes: earlier sittings included. failed: episodes that could not
        be run. rate: episodes per second of this sitting. left_s: seconds left. None: not known yet.
    """

    cells_done: int
    cells: int
    episodes_done: int
    episodes: int
    failed: int
    rate: float | None
    left_s: float | None


@dataclass(frozen=True)
class BenchResult:
    """What `bench` returns.

    Attributes:
        folder: where everything is. data: the object that ``--json`` prints.
        rows: polars frame, a row per cell and episode; None for a dry run.
    """

    folder: Path | None
    data: dict[str, Any]
    rows: polars.DataFrame | None = field(default=None, repr=False)


def run_task(task: Task) -> list[dict[str, Any]]:
    """Rows of some episodes of one cell; what a worker does.

    Raises:
        ConfigError: the cell is impossible (agents do not fit, a file is missing).
    """
    from agentsc.experiment.config import RunConfig
    from agentsc.experiment.metrics import lane_rows
    from agentsc.experiment.run import prepare
    from agentsc.experiment.runner import run_lanes

    cpu, wall = time.process_time(), time.perf_counter()
    config = RunConfig.model_validate(task.config | {"episodes": task.episodes, "first_episode": task.first})
    job = prepare(config)
    log = run_lanes(job.config, job.world)
    rows = lane_rows(log)
    spent = {
        "time_cpu_s": (time.process_time() - cpu) / task.episodes,
        "time_wall_s": (time.perf_counter() - wall) / task.episodes,
        "time_network_s": None if log.network_s is None else log.network_s / task.episodes,
    }
    return [row | spent for row in rows]


def bench(
    suite: str | Path | Mapping[str, Any],
    *,
    out: Path | str | None = None,
    resume: bool = False,
    workers: int | None = None,
    seeds: int | None = None,
    address: str | None = None,
    set: Sequence[str] = (),
    dry_run: bool = False,
    retry_failed: bool = False,
    progress: Callable[[Moment], None] | None = None,
) -> BenchResult:
    """Run a suite; the call behind ``agentsc bench``.

    Args:
        suite: a registered name, a YAML file, or the contents of one.
        out: the folder; new or empty unless ``resume``. By default one under ``runs/``.
        resume: go on with what ``out`` holds; nothing that is there is computed again.
        workers: tasks at a time; one per processor by default, 0 runs in this process without Ray.
        seeds: episodes per cell instead of the suite's own.
        address: of a Ray cluster to spread over (its workers need this package).
        set: ``key=value`` strings for the configuration of every cell.
        dry_run: only say what would be run and about how long it would take.
        retry_failed: with ``resume``, try cells again that failed.
        progress: called whenever a task ends.

    Returns:
        The folder, the summary object and the rows.

    Raises:
        ConfigError: a mistake in the suite, or a folder that holds something else. Nothing was started then.
        RunError: the disk is full, or there is no such cluster; what was finished is kept.
    """
    todo = plan(suite, seeds=seeds, overrides=set)
    count = _workers(workers, address)
    if dry_run:
        return BenchResult(None, _estimate(todo, count))
    folder, store = _open(todo, out, resume)
    store.begin(todo, set)
    have = store.rows(todo, keep_failed=not retry_failed)
    tasks = _tasks(todo, have)
    wall = time.perf_counter()
    _run(todo, tasks, store, have, count, address, progress)
    wall = time.perf_counter() - wall
    frame = store.finish(todo)
    from agentsc.experiment.report import write_report

    write_report(folder, todo, frame)
    return BenchResult(folder, _summary(todo, folder, frame, wall), frame)


def _workers(workers: int | None, address: str | None) -> int:
    import os

    if workers is not None and workers < 0:
        raise ConfigError(f"workers must be at least 0, got {workers} (tasks at a time; 0 is without Ray)")
    if workers == 0 and address is not None:
        raise ConfigError("workers must be at least 1 with an address, got 0 (tasks at a time)")
    if workers is not None:
        return workers
    return (os.cpu_count() or 1) if address is None else 64


def _open(todo: Plan, out: Path | str | None, resume: bool) -> tuple[Path, BenchStore]:
    if not resume:
        folder = claim(out, f"bench-{todo.name}")
        return folder, BenchStore(folder)
    if out is None:
        raise ConfigError("out must name the folder to resume, got none (add --out DIR)")
    folder = Path(out)
    if not (folder / "suite.yaml").is_file():
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"out must be a benchmark's folder, got {str(out)!r} without suite.yaml")
        folder = claim(out, "")  # killed before it had begun: there is nothing to go on with
    return folder, BenchStore(folder)


def _tasks(todo: Plan, have: Mapping[str, Mapping[int, Any]]) -> list[Task]:
    """What is left to run, the largest first: the last ones to end should be short."""
    tasks = []
    for number, cell in enumerate(todo.cells):
        missing = [k for k in range(todo.suite.seeds) if k not in have.get(cell.key, {})]
        tree = cell.config.tree()
        while missing:
            block = [k for k in missing[: todo.suite.lanes] if k - missing[0] < todo.suite.lanes]
            block = [k for place, k in enumerate(block) if k == block[0] + place]  # consecutive numbers only
            tasks.append(Task(number, tree, block[0], len(block)))
            missing = missing[len(block) :]
    return sorted(tasks, key=lambda task: -_weight(task))


def _weight(task: Task) -> float:
    """A first idea of the CPU time of a task, before anything was measured."""
    from agentsc.catalog import installed

    sampled = installed("protocols").create(task.config["protocol"]["name"]).needs_network
    return task.units * (20.0 if sampled else 1.0)


def _run(
    todo: Plan, tasks: list[Task], store: BenchStore, have: dict[str, dict[int, Any]], workers: int,
    address: str | None, progress: Callable[[Moment], None] | None,
) -> None:  # fmt: skip
    """Run the tasks and keep what each of them gives."""
    if not tasks:
        return
    from agentsc.actors.pool import run_here, run_on_ray

    clock = _Clock(todo, tasks, have, workers)
    if progress:
        progress(clock.moment())
    ended: Iterator[tuple[int, Any]] = (
        run_here(run_task, tasks)
        if workers == 0
        else run_on_ray(run_task, tasks, workers=workers, address=address)
    )
    try:
        for number, result in ended:
            task = tasks[number]
            cell = todo.cells[task.cell]
            if isinstance(result, Exception):
                rows = _failures(task, result)
                store.note_failure(cell, task, result)
            else:
                rows = [{"status": "done", "reason": None} | row for row in result]
            store.keep(cell, task, rows)
            clock.ended(task, rows)
            if progress:
                progress(clock.moment())
    except ConnectionError as error:
        raise RunError(f"address must be that of a running Ray cluster, got {address!r} ({error})") from None
    except OSError as error:
        raise RunError(
            f"{error.strerror or error} while writing to {str(store.folder)!r}: {clock.kept} of {len(tasks)} tasks "
            f"are kept; make room and go on with --resume --out {store.folder}"
        ) from None


def _failures(task: Task, error: Exception) -> list[dict[str, Any]]:
    """Rows of episodes that could not be run: failures that stay in every denominator."""
    kind = "impossible" if isinstance(error, ConfigError) else type(error).__name__
    reason = " ".join(f"{kind}: {error}".split())[:500]
    blank = {"status": "failed", "reason": reason, "success": False, "collision_free": None}
    return [{"episode": task.first + k} | blank for k in range(task.episodes)]


class _Clock:
    """How far a benchmark is, and how long it may still take."""

    def __init__(self, todo: Plan, tasks: list[Task], have: Mapping[str, Mapping[int, Any]], workers: int) -> None:
        self.began, self.workers = time.perf_counter(), max(workers, 1)
        self.waiting = list(tasks)
        self.episodes = todo.suite.seeds
        self.left = dict.fromkeys(range(len(todo.cells)), 0)
        for task in tasks:
            self.left[task.cell] += task.episodes
        self.spent: dict[tuple[str, str], tuple[float, int]] = {}
        self.failed = sum(r["status"] == "failed" for rows in have.values() for r in rows.values())
        self.kept = self.ran = 0

    def ended(self, task: Task, rows: Sequence[Mapping[str, Any]]) -> None:
        """Account for a task."""
        self.waiting.remove(task)
        self.left[task.cell] -= task.episodes
        self.kept += 1
        self.ran += task.episodes
        self.failed += sum(row["status"] == "failed" for row in rows)
        cost = sum(row.get("time_wall_s") or 0.0 for row in rows)
        kind = _kind(task)
        before, units = self.spent.get(kind, (0.0, 0))
        self.spent[kind] = before + cost, units + task.units

    def moment(self) -> Moment:
        """Where it stands."""
        missing = sum(self.left.values())
        whole = len(self.left) * self.episodes
        done = sum(not left for left in self.left.values())
        rate = self.ran / (time.perf_counter() - self.began) if self.ran else None
        return Moment(done, len(self.left), whole - missing, whole, self.failed, rate, self._left_s())

    def _left_s(self) -> float | None:
        """Seconds left: measured cost per unit of the same scenario and protocol, or protocol, or of all."""
        if not self.spent:
            return None

        def rate(kinds: Iterable[tuple[str, str]]) -> float | None:
            known = [self.spent[kind] for kind in kinds if kind in self.spent]
            units = sum(part for _, part in known)
            return sum(cost for cost, _ in known) / units if units else None

        total = 0.0
        for task in self.waiting:
            kind = _kind(task)
            same_protocol = (other for other in self.spent if other[1] == kind[1])
            guess = rate([kind]) or rate(same_protocol) or rate(self.spent) or 0.0
            total += guess * task.units
        return total / self.workers


def _kind(task: Task) -> tuple[str, str]:
    return task.config["scenario"]["name"], task.config["protocol"]["name"]


@dataclass(frozen=True)
class BenchStore:
    """A benchmark on disk: what it is, the pieces finished so far, and the results."""

    folder: Path

    @property
    def shards(self) -> Path:
        """Folder of finished pieces."""
        return self.folder / "shards"

    def begin(self, todo: Plan, overrides: Sequence[str]) -> None:
        """Write what explains the benchmark; a resumed one keeps the note of its earlier sittings."""
        self.shards.mkdir(exist_ok=True)
        suite = todo.suite.model_dump(mode="json", exclude_defaults=True)
        self._write("suite.yaml", yaml.safe_dump(suite, sort_keys=False, allow_unicode=True))
        about = self.about() if (self.folder / "bench.json").is_file() else {"sittings": []}
        sitting = {"commit": commit(), "machine": machine(), "versions": versions()}
        if sitting not in about["sittings"]:
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
        import json

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

    def keep(self, cell: Cell, task: Task, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store what a task gave, so that it survives whatever happens next."""
        import polars

        columns = {"schema": SCHEMA, "cell": cell.key, **cell.columns}
        whole = [columns | dict(row) for row in rows]
        frame = polars.DataFrame(whole, infer_schema_length=None)
        replace_file(self.shards / f"{cell.key}-{task.first}.parquet", frame.write_parquet, durable=True)

    def note_failure(self, cell: Cell, task: Task, error: Exception) -> None:
        """Keep the traceback of a task that failed, for whoever wants to know more."""
        text = "".join(traceback.format_exception(error))
        path = self.folder / "failures" / f"{cell.key}-{task.first}.txt"
        path.parent.mkdir(exist_ok=True)
        replace_file(path, lambda partial: partial.write_text(f"{cell}\n\n{text}", encoding="utf-8"))

    def finish(self, todo: Plan) -> polars.DataFrame:
        """All rows as ``rows.parquet``, in the order of the cells; then the pieces are not needed any more."""
        found = self.rows(todo)
        rows = [
            found[cell.key][episode]
            for cell in todo.cells
            for episode in range(todo.suite.seeds)
            if episode in found.get(cell.key, {})
        ]
        frame = tidy(rows)
        replace_file(self.folder / "rows.parquet", frame.write_parquet, durable=True)
        for path in self.shards.glob("*.parquet"):
            path.unlink()
        return frame

    def _write(self, name: str, text: str) -> None:
        replace_file(self.folder / name, lambda partial: partial.write_text(text, encoding="utf-8"), durable=True)


def tidy(rows: Sequence[Mapping[str, Any]]) -> polars.DataFrame:
    """Rows as a frame whose columns do not depend on the order in which they were computed."""
    import polars

    from agentsc.experiment.metrics import COUNTERS

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


def _summary(todo: Plan, folder: Path, frame: polars.DataFrame, wall_s: float) -> dict[str, Any]:
    """The object that ``agentsc bench --json`` prints."""
    from agentsc.experiment.aggregate import aggregate

    failed = frame.filter(frame["status"] == "failed")
    reasons = failed["reason"].value_counts(sort=True).to_dicts() if len(failed) else []
    return {
        "schema": SCHEMA,
        "suite": todo.name,
        "out": str(folder),
        "cells": len(todo.cells),
        "episodes": len(frame),
        "failed": len(failed),
        "failures": [{"reason": row["reason"], "episodes": row["count"]} for row in reasons],
        "wall_s": wall_s,
        "cpu_s": float(frame["time_cpu_s"].sum() or 0.0) if "time_cpu_s" in frame.columns else 0.0,
        "aggregates": aggregate(frame.to_dicts()),
    }


def _estimate(todo: Plan, workers: int) -> dict[str, Any]:
    """What a dry run says: sizes, and a rough time from playing a few ticks of one cell of each kind."""
    tasks = _tasks(todo, {})
    rates: dict[tuple[str, str], float] = {}
    total, impossible = 0.0, []
    for task in tasks:
        kind = _kind(task)
        if kind not in rates:
            try:
                rates[kind] = _probe(task)
            except ConfigError as error:
                impossible.append(f"{todo.cells[task.cell]}: {error}")
                continue
        total += rates[kind] * task.units
    return {
        "schema": SCHEMA,
        "suite": todo.name,
        "cells": len(todo.cells),
        "episodes": sum(task.episodes for task in tasks),
        "tasks": len(tasks),
        "workers": workers,
        "estimate": {"cpu_s": total, "wall_s": total / max(workers, 1)},
        "impossible": impossible,
        "list": [str(cell) for cell in todo.cells],
    }


def _probe(task: Task) -> float:
    """CPU seconds per agent and episode: a few ticks of a few episodes, scaled to the way there is to go."""
    from agentsc.experiment.config import RunConfig
    from agentsc.experiment.run import prepare
    from agentsc.experiment.runner import run_lanes

    lanes, ticks = min(task.episodes, 4), 12
    job = prepare(RunConfig.model_validate(task.config | {"episodes": lanes, "ticks": ticks}))
    run_lanes(job.config, job.world.select(slice(0, 1)))  # so that what is loaded once does not count
    cpu = time.process_time()
    run_lanes(job.config, job.world)
    cpu = time.process_time() - cpu
    way = ((job.world.goals - job.world.starts) ** 2).sum(-1) ** 0.5
    likely = 1.6 * float(way.max(1).mean()) / (job.world.v_max * job.world.dt)
    limit = task.config["ticks"] or 16 * likely
    return cpu / ticks / (lanes * job.world.agents) * min(likely, limit)
