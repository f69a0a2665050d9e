"""A benchmark: run every cell of a suite, keep each piece as it ends, and show the results.

A cell's episodes are run in blocks, each a task of its own; a finished block is written to
``shards/`` at once, durably. A kill at any moment therefore loses at most the blocks that were
running, and ``resume`` repeats only those: all randomness is keyed by (seed, episode), so it does
not matter how episodes are spread over blocks, workers or sittings.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agentsc.experiment.bench_store import SCHEMA, BenchStore
from agentsc.experiment.bench_tasks import Task, failures, probe, run_task, tasks_left
from agentsc.experiment.store import claim
from agentsc.experiment.suite import Plan, plan
from envs.errors import ConfigError, RunError

if TYPE_CHECKING:
    import polars


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
        text: a summary for people, where a benchmark has one of its own.
    """

    folder: Path | None
    data: dict[str, Any]
    rows: polars.DataFrame | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)


def bench(
    suite: str | Path | Mapping[str, Any],
    *,
    out: Path | str | None = None,
    resume: bool = False,
    workers: int | None = None,
    seeds: int | None = None,
    address: str | None = None,
    device: str | None = None,
    set: Sequence[str] = (),
    dry_run: bool = False,
    retry_failed: bool = False,
    progress: Callable[[Moment], None] | None = None,
) -> BenchResult:
    """Run a suite, or measure the diffusion core; the call behind ``agentsc bench``.

    Args:
        suite: a registered name, a YAML file, or the contents of one; ``core`` measures the core (`core_bench`).
        out: the folder; new or empty unless ``resume``. By default one under ``runs/``.
        resume: go on with what ``out`` holds; nothing that is there is computed again.
        workers: tasks at a time; one per processor by default, 0 runs in this process without Ray.
        seeds: episodes per cell instead of the suite's own; repetitions of ``core``.
        address: of a Ray cluster to spread over (its workers need this package).
        device: cpu, cuda or auto, in every cell.
        set: ``key=value`` strings for the configuration of every cell, or parameters of ``core``.
        dry_run: only say what would be run and about how long it would take.
        retry_failed: with ``resume``, try cells again that failed.
        progress: called whenever a task ends.

    Returns:
        The folder, the summary object and the rows.

    Raises:
        ConfigError: a mistake in the suite, or a folder that holds something else. Nothing was started then.
        RunError: the disk is full, or there is no such cluster; what was finished is kept.
    """
    if isinstance(suite, str) and suite == "core":
        suites_only = {
            "resume": resume, "workers": workers, "address": address, "dry_run": dry_run, "retry_failed": retry_failed
        }  # fmt: skip
        return _bench_core(suites_only, out, set, seeds=seeds, device=device)
    if device is not None:
        set = [f"device={device}", *set]
    todo = plan(suite, seeds=seeds, overrides=set)
    count = _workers(workers, address)
    if dry_run:
        return BenchResult(None, _estimate(todo, count))
    folder, store = _open(todo, out, resume)
    have = store.rows(todo, keep_failed=not retry_failed) if resume else {}
    try:
        tasks = tasks_left(todo, have)
        store.begin(todo, set, computing=bool(tasks))
        wall = time.perf_counter()
        _run(todo, tasks, store, have, count, address, progress)
        wall = time.perf_counter() - wall
        frame = store.finish(todo)
        from agentsc.experiment.report import write_report

        write_report(folder, todo, frame)
    except ConnectionError as error:
        raise RunError(f"address must be that of a running Ray cluster, got {address!r} ({error})") from None
    except OSError as error:
        kept = sum(len(rows) for rows in store.rows(todo).values())
        raise RunError(
            f"{error.strerror or error} while writing to {str(folder)!r}: {kept} of "
            f"{len(todo.cells) * todo.suite.seeds} episodes are kept; make room and go on with --resume --out {folder}"
        ) from None
    return BenchResult(folder, _summary(todo, folder, frame, wall), frame)


def _bench_core(
    suites_only: Mapping[str, Any], out: Path | str | None, assignments: Sequence[str], **options: Any
) -> BenchResult:
    from agentsc.experiment.core_bench import bench_core, settings, text

    for name, value in suites_only.items():
        if value is not None and value is not False:
            raise ConfigError(f"{name} must be left out with 'core', got {value!r} (it is for suites of experiments)")
    folder, data, frame = bench_core(settings(assignments, **options), out)
    return BenchResult(folder, data, frame, text(data))


def _workers(workers: int | None, address: str | None) -> int:
    if workers is not None and workers < 0:
        raise ConfigError(f"workers must be at least 0, got {workers} (tasks at a time; 0 is without Ray)")
    if workers == 0 and address is not None:
        raise ConfigError("workers must be at least 1 with an address, got 0 (tasks at a time)")
    if workers is not None:
        return workers
    return (os.cpu_count() or 1) if address is None else 64


def _open(todo: Plan, out: Path | str | None, resume: bool) -> tuple[Path, BenchStore]:
    if not resume:
        if out is not None and (Path(out) / "suite.yaml").is_file():
            raise ConfigError(
                f"out must be a new or empty folder, got {str(out)!r}, which holds a benchmark "
                "(add --resume to go on with it, or name another)"
            )
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
    for number, result in ended:
        task = tasks[number]
        cell = todo.cells[task.cell]
        if isinstance(result, Exception):
            rows = failures(task, result)
            store.note_failure(cell, task.first, result)
        else:
            rows = [{"status": "done", "reason": None} | row for row in result]
        store.keep(cell, task.first, rows)
        clock.ended(task, rows)
        if progress:
            progress(clock.moment())


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
        self.ran = 0

    def ended(self, task: Task, rows: Sequence[Mapping[str, Any]]) -> None:
        """Account for a task."""
        self.waiting.remove(task)
        self.left[task.cell] -= task.episodes
        self.ran += task.episodes
        self.failed += sum(row["status"] == "failed" for row in rows)
        cost = sum(row.get("time_wall_s") or 0.0 for row in rows)
        kind = task.kind
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
            kind = task.kind
            same_protocol = (other for other in self.spent if other[1] == kind[1])
            guess = rate([kind]) or rate(same_protocol) or rate(self.spent) or 0.0
            total += guess * task.units
        return total / self.workers


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
    tasks = tasks_left(todo, {})
    rates: dict[tuple[str, str], float] = {}
    total, impossible = 0.0, []
    for task in tasks:
        kind = task.kind
        if kind not in rates:
            try:
                rates[kind] = probe(task)
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
