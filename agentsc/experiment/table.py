"""The summary of a run as a table for people."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from agentsc.experiment.metrics import BESIDE_OFFERED, DESCRIPTIONS

WIDTH = 118


def number(value: float | None) -> str:
    """Four significant digits, never an exponent; a dash for nothing."""
    if value is None:
        return "–"
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:.4g}"


def title(config: Mapping[str, Any]) -> str:
    """What was run, in one line."""
    scenario = config["scenario"]
    name = scenario["name"] if scenario.get("map") is None else f"{scenario['name']} {scenario['map']}"
    agents = f", {scenario['agents']} agents" if scenario.get("agents") else ""
    return (
        f"{name}{agents} · {config['protocol']['name']} · {config['link']} · "
        f"{config['episodes']} lane{'s'[: config['episodes'] - 1]} · seed {config['seed']}"
    )


def summary_table(result: Mapping[str, Any], *, width: int = WIDTH) -> Table:
    """Every metric with its interval; one that was not measured says why.

    Args:
        result: the object that ``--json`` prints.
        width: of the console, columns; a narrow one gets no explanations.
    """
    table = Table(
        title=title(result["config"]), title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    table.add_column("metric", no_wrap=True)
    table.add_column("mean", justify="right")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("lanes", justify="right")
    table.add_column("", style="dim", overflow="fold")
    for name, metric in result["metrics"].items():
        if metric["n"] == 0:
            table.add_row(name, "–", "", "", f"not measured: {metric['reason']}")
            continue
        low, high = metric["ci95"]
        interval = "" if low is None else f"{number(low)} … {number(high)}"
        note = DESCRIPTIONS.get(name, "") if width >= 108 else ""
        table.add_row(name, number(metric["mean"]), interval, str(metric["n"]), note)
    return table


def radio_table(result: Mapping[str, Any]) -> Table | None:
    """What became of packets at their receivers, if anything but delivery happened to any.

    Args:
        result: the object that ``--json`` prints.
    """
    books = result.get("radio")
    if not books or not (any(map(books.get, (*BESIDE_OFFERED, "refused"))) or any(books["lost"].values())):
        return None
    table = Table(
        title="packets at receivers", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    table.add_column("")
    table.add_column("number", justify="right")
    table.add_column("share", justify="right")
    whole = books["offered"] + sum(books.get(name, 0) for name in BESIDE_OFFERED)
    rows = {"offered": books["offered"], "copies": books["duplicated"], "relayed": books.get("relayed", 0)}
    rows |= {"from hostile stations": books.get("injected", 0), "delivered": books["delivered"]}
    rows |= {"of wrong contents": books.get("undetected", 0), "refused by agents": books.get("refused", 0)}
    rows |= {f"lost: {reason}": count for reason, count in books["lost"].items()}
    rows |= {"in flight at the end": books["in_flight"]}
    for name, count in rows.items():
        if count or name in ("offered", "delivered"):
            table.add_row(name, str(count), f"{100 * count / whole:.2f} %")
    for name in (key for key in books if key.startswith("graph_")):
        table.add_row(name.replace("_", " "), number(books[name]), "")
    return table


def timing_line(result: Mapping[str, Any]) -> str:
    """Where the time went."""
    timing = result["timing"]
    network = "" if timing["network_s"] is None else f", {number(timing['network_s'])} s of it in the network"
    rounds = ""
    if timing["round_ms_p50"] is not None:
        p50, p95 = number(timing["round_ms_p50"]), number(timing["round_ms_p95"])
        rounds = f"; a round takes {p50} ms (p95 {p95} ms)"
    return f"{number(timing['sim_s'])} simulated s in {number(timing['wall_s'])} s{network}{rounds}"


def summary_text(result: Mapping[str, Any]) -> str:
    """The table as plain text, for ``summary.txt``."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None)
    console.print(summary_table(result))
    if (books := radio_table(result)) is not None:
        console.print(books)
    console.print(timing_line(result), highlight=False)
    console.print(f"digest {result['digest']}", highlight=False)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def bench_text(data: Mapping[str, Any]) -> str:
    """What a benchmark did, or would do, in a few lines."""
    from agentsc.experiment.progress import clock_text

    if "estimate" in data:
        cpu, wall = data["estimate"]["cpu_s"], data["estimate"]["wall_s"]
        lines = [
            *data["list"],
            f"{data['cells']} cells, {data['episodes']} episodes in {data['tasks']} tasks; very roughly "
            f"{clock_text(wall)} with {data['workers']} workers ({clock_text(cpu)} of CPU time)",
            *(f"cannot be run: {line}" for line in data["impossible"]),
        ]
        return "\n".join(lines)
    out = data["out"]
    lines = [
        f"{data['cells']} cells, {data['episodes']} episodes in {clock_text(data['wall_s'])} "
        f"({clock_text(data['cpu_s'])} of CPU time in all sittings)",
        *(f"could not be run, {row['episodes']} episodes: {row['reason']}" for row in data["failures"]),
        f"report {out}/report.html",
        f"rows {out}/rows.parquet, cell by cell {out}/aggregates.parquet, figures {out}/figures",
    ]
    return "\n".join(lines)
