"""``agentsc bench core``: where a core's time goes under a mixed load, in this process and behind a Ray actor.

A repetition is one round of a fleet (see `core_load`): every agent's requests are submitted, and the
round ends when all replies are there. In-process the core is called directly. Behind Ray the agents are
spread over hosts, each host sends its agents' requests in one call, and the calls run side by side, so
that the core gathers what arrives while it computes. Both places are asked the same, and must answer the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import yaml
from pydantic import Field

from agentsc.experiment.statistics import percentile_interval, ratio_interval, resamples
from envs.errors import ConfigError
from envs.registry import Plugin, Registry

if TYPE_CHECKING:
    import polars
    import torch

    from policies.core import DiffusionCore

SCHEMA = 1
GOALS = {"in-process": 0.85, "ray": 0.70}
"""Share of wall time inside network forward passes that we hold ourselves to."""
_WARM_UP = 3

PROGRAMS = Registry("benchmarks")
"""Benchmarks that are programs, not matrices of experiments."""


@PROGRAMS.register("core")
class CoreBench(Plugin):
    """The diffusion core under a mixed load: which share of the time is network, in-process and behind Ray?"""

    agents: int = Field(64, ge=2, le=100, description="agents that ask in every round")
    samples: int = Field(16, ge=8, description="samples of an agent's own plan; seven of them start warm")
    seeds: int = Field(30, ge=2, description="repetitions, each one round of all agents")
    hosts: int = Field(4, ge=1, description="callers at once behind Ray")
    ray: bool = Field(True, description="measure behind a Ray actor too")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where the networks run")
    solver: str = Field("ddim", description="of the trajectory prior, see agentsc list solvers")
    steps: int = Field(5, ge=1, description="denoising steps of a plan")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of forward passes")
    compiled: bool = Field(False, description="run the trajectory network through torch.compile")


def settings(assignments: Sequence[str], **options: Any) -> CoreBench:
    """The benchmark's parameters from ``key=value`` strings; options that are None are left out.

    Raises:
        ConfigError: not of that form, an unknown parameter, or a value out of bounds.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set must be key=value, got {assignment!r} (e.g. agents=16)")
        given[key.strip()] = yaml.safe_load(text)
    made: CoreBench = PROGRAMS.create("core", **given)
    from policies.diffusion import SOLVERS
    from policies.models import device_of

    device_of(made.device)
    SOLVERS.parse(made.solver)
    return made


def measure(bench: CoreBench) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run it.

    Returns:
        A row per place and repetition, and what was found beside them (``limit``, ``identical``, ``agreement``).
    """
    from agentsc.experiment import core_load

    rounds = core_load.record(bench)
    core = core_load.build_core(bench)
    rows, first = _repeat(bench, rounds, "in-process", core.statistics, lambda asked: _direct(core, asked))
    found: dict[str, Any] = {
        "limit": limit(bench, core, _flat(rounds[0])),
        "identical": None,
        "agreement": None,
    }
    if bench.ray:
        more, second = _behind_ray(bench, rounds)
        rows += more
        found["identical"] = all(_same(one, other) for one, other in zip(first, second, strict=True))
    if (bench.device, bench.precision) != ("cpu", "float32"):
        exact = core_load.build_core(bench.model_copy(update={"device": "cpu", "precision": "float32"}))
        found["agreement"] = agreement(exact, core, _flat(rounds[0]))
    return rows, found


def _flat(agents: Sequence[Sequence[Any]]) -> list[Any]:
    return [request for own in agents for request in own]


def _direct(core: DiffusionCore, agents: Sequence[Sequence[Any]]) -> list[Any]:
    tickets = [core.submit(request) for request in _flat(agents)]
    return [ticket.result() for ticket in tickets]


def _behind_ray(bench: CoreBench, rounds: list[Any]) -> tuple[list[dict[str, Any]], list[Any]]:
    from agentsc.actors.ray_core import CoreActor, ray
    from agentsc.actors.session import open_session
    from agentsc.experiment import core_load

    started = open_session()
    try:
        options: Any = CoreActor
        gpus = 1 if bench.device == "cuda" else 0
        actor = options.options(num_gpus=gpus).remote(core_load.build_core, bench)

        def ask(agents: Sequence[Sequence[Any]]) -> list[Any]:
            parts = [part for part in np.array_split(np.arange(len(agents)), bench.hosts) if len(part)]
            calls = [actor.sample_many.remote(_flat(agents[part[0] : part[-1] + 1])) for part in parts]
            return [reply for replies in ray.get(calls) for reply in replies]

        return _repeat(bench, rounds, "ray", lambda: ray.get(actor.statistics.remote()), ask)
    finally:
        if started:
            ray.shutdown()


def _repeat(
    bench: CoreBench,
    rounds: list[Any],
    place: str,
    statistics: Callable[[], dict[str, Any]],
    ask: Callable[[Any], list[Any]],
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows of all repetitions, and the replies of the first round."""
    first = [ask(asked) for asked in rounds[:_WARM_UP]][0]
    rows = []
    for repetition in range(bench.seeds):
        asked = rounds[repetition % len(rounds)]
        before, began = statistics(), time.perf_counter()
        replies = ask(asked)
        wall = time.perf_counter() - began
        after = statistics()
        queue = 1e3 * np.array([reply.report.queue_s for reply in replies])
        spent = {
            key: after[key] - before[key]
            for key in ("network_s", "busy_s", "network_calls", "batches", "rows")
        }
        parts = {
            f"{name}_network_s": model["network_s"] - before["models"][name]["network_s"]
            for name, model in after["models"].items()
        }
        rows.append(
            {
                "place": place, "repetition": repetition, "wall_s": wall, **spent, **parts,
                "requests": len(replies), "samples": sum(map(_samples, replies)),
                "queue_ms_p50": float(np.percentile(queue, 50)), "queue_ms_p95": float(np.percentile(queue, 95)),
            }
        )  # fmt: skip
    return rows, first


def _values(reply: Any) -> np.ndarray:
    return np.asarray(reply.control if hasattr(reply, "control") else reply.x)


def _samples(reply: Any) -> int:
    values = _values(reply)
    return values.shape[0] * (values.shape[1] if hasattr(reply, "control") else 1)


def _same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(_values(one), _values(other)))


def limit(bench: CoreBench, core: DiffusionCore, requests: list[Any]) -> dict[str, float]:
    """What the device can do and what the networks get out of it, in this very run.

    Returns:
        ``peak_flop_s`` of a large matrix product in the same precision, the best of several; ``flop`` of all
        matrix products and convolutions of one round, network and guidance; ``achieved_flop_s`` while inside
        forward passes; ``share`` of the two.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    before = core.statistics()["network_s"]
    for _ in range(3):
        core.sample_many(requests)
    network_s = (core.statistics()["network_s"] - before) / 3
    with FlopCounterMode(display=False) as counter:
        core.sample_many(requests)
    flop = float(counter.get_total_flops())
    peak = _peak(torch.device(bench.device), getattr(torch, bench.precision))
    achieved = flop / network_s
    return {"peak_flop_s": peak, "flop": flop, "achieved_flop_s": achieved, "share": achieved / peak}


def _peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the best of several square matrix products."""
    import torch

    size = 8192 if device.type == "cuda" else 1024
    square = torch.ones(size, size, dtype=dtype, device=device)
    seconds = []
    for _ in range(8):
        began = time.perf_counter()
        square @ square
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return float(2.0 * size**3 / min(seconds))


def agreement(exact: DiffusionCore, core: DiffusionCore, requests: list[Any]) -> dict[str, dict[str, float]]:
    """How far two cores' samples of the same requests are apart, per model.

    Returns:
        model → ``max`` and ``median`` absolute difference, in the model's unit (metres for plans), and ``scale``,
        the standard deviation of the exact samples.
    """
    gaps: dict[str, list[np.ndarray]] = {}
    scale: dict[str, list[np.ndarray]] = {}
    pairs = zip(requests, exact.sample_many(requests), core.sample_many(requests), strict=True)
    for request, one, other in pairs:
        gaps.setdefault(request.model, []).append(np.abs(_values(one) - _values(other)).ravel())
        scale.setdefault(request.model, []).append(_values(one).ravel())
    found = {}
    for name, parts in gaps.items():
        all_gaps = np.concatenate(parts)
        found[name] = {
            "max": float(all_gaps.max()),
            "median": float(np.median(all_gaps)),
            "scale": float(np.concatenate(scale[name]).std()),
        }
    return found


def summary(bench: CoreBench, rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> dict[str, Any]:
    """The object that ``--json`` prints: per place every figure with its 95 % bootstrap interval over repetitions."""
    places = {}
    for place in dict.fromkeys(row["place"] for row in rows):
        own = [row for row in rows if row["place"] == place]

        def ratio(top: str, bottom: str, own: Any = own) -> dict[str, Any]:
            up, down = ([row[name] for row in own] for name in (top, bottom))
            return {"mean": sum(up) / sum(down), "ci95": ratio_interval(up, down), "n": len(own)}

        def mean(name: str, own: Any = own) -> dict[str, Any]:
            values = np.array([row[name] for row in own], np.float64)
            drawn = values[resamples(len(values))].mean(1)
            return {"mean": float(values.mean()), "ci95": percentile_interval(drawn), "n": len(values)}

        places[place] = {
            "network_share": ratio("network_s", "wall_s") | {"goal": GOALS[place]},
            "samples_per_s": ratio("samples", "wall_s"),
            "batch_rows": ratio("rows", "batches"),
            **{
                name: mean(name)
                for name in ("wall_s", "network_s", "busy_s", "queue_ms_p50", "queue_ms_p95", "network_calls")
            },
            "network_s_by_model": {
                name.removesuffix("_network_s"): mean(name) for name in own[0] if name.endswith("_network_s")
            },
        }
    return {
        "schema": SCHEMA,
        "suite": "core",
        "config": bench.model_dump(mode="json"),
        "places": places,
        **found,
    }


_SHOWN = {
    "wall_s": ("wall time of a round, ms", 1e3),
    "network_share": ("share inside network forward passes", 1.0),
    "samples_per_s": ("samples per second", 1.0),
    "batch_rows": ("mean rows of a batch", 1.0),
    "queue_ms_p50": ("time in the queue, p50, ms", 1.0),
    "queue_ms_p95": ("time in the queue, p95, ms", 1.0),
    "network_calls": ("network calls of a round", 1.0),
}


def text(data: Mapping[str, Any]) -> str:
    """The object as a table for people, in Markdown."""
    from agentsc.experiment.table import number

    config, places = data["config"], data["places"]
    lines = [
        f"Diffusion core: {config['agents']} agents × {config['samples']} samples, {config['solver']} × "
        f"{config['steps']}, {config['device']}, {config['precision']}, {config['seeds']} repetitions; "
        "mean and 95 % interval",
        "",
        f"| | {' | '.join(places)} |",
        f"|---|{'---|' * len(places)}",
    ]
    for name, (title, unit) in _SHOWN.items():
        cells = []
        for figures in places.values():
            figure = figures[name]
            low, high = (unit * bound for bound in figure["ci95"])
            goal = f", goal ≥ {figure['goal']}" if "goal" in figure else ""
            cells.append(f"{number(unit * figure['mean'])} ({number(low)} … {number(high)}{goal})")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += ["", _limit_text(data["limit"])]
    if data["identical"] is not None:
        lines.append(
            f"Behind Ray the samples are {'the same bits' if data['identical'] else 'NOT the same'}."
        )
    for name, gap in (data["agreement"] or {}).items():
        lines.append(
            f"{name} against float32 on the CPU: median difference {gap['median']:.2g}, max {gap['max']:.2g} "
            f"(standard deviation of the samples {gap['scale']:.2g})."
        )
    return "\n".join(lines)


def _limit_text(found: Mapping[str, float]) -> str:
    return (
        f"Networks compute at {found['achieved_flop_s'] / 1e9:.1f} GFLOP/s, {100 * found['share']:.0f} % of what a "
        f"large matrix product reaches here ({found['peak_flop_s'] / 1e9:.1f}); a round has "
        f"{found['flop'] / 1e9:.2f} GFLOP."
    )


def bench_core(bench: CoreBench, out: Path | str | None) -> tuple[Path, dict[str, Any], polars.DataFrame]:
    """Measure into a folder: ``rows.parquet``, ``bench.json``, ``summary.md``.

    Raises:
        ConfigError: a folder that is not empty. Nothing was started then.
    """
    import polars

    from agentsc.experiment.store import claim, dumps, replace_file, write_frame
    from agentsc.experiment.versions import versions

    folder = claim(out, "bench-core")
    rows, found = measure(bench)
    frame = polars.DataFrame(rows)
    data = json.loads(dumps(summary(bench, rows, found) | {"out": str(folder), "versions": versions()}))
    write_frame(frame, folder / "rows.parquet")
    replace_file(
        folder / "bench.json", lambda partial: partial.write_text(dumps(data) + "\n", encoding="utf-8")
    )
    replace_file(
        folder / "summary.md", lambda partial: partial.write_text(text(data) + "\n", encoding="utf-8")
    )
    return folder, data, frame
