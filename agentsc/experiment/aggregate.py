"""Rows of a benchmark, cell by cell: every metric with its interval, and the costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentsc.experiment.metrics import DESCRIPTIONS, Metric, metrics, speed_scores, unmeasured
from agentsc.experiment.statistics import interquartile_mean, stratified

_OF_EPISODES = frozenset(("episode", "status", "reason"))


def aggregate(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry per cell, in order of appearance: its columns, counts, and ``metrics``."""
    cells: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        cells.setdefault(row["cell"], []).append(row)
    return [_cell(mine) for mine in cells.values()]


def identity(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row has in common with all of its cell: the columns before those of the episode."""
    columns = {}
    for name, value in row.items():
        if name in _OF_EPISODES:
            break
        columns[name] = value
    return columns


def _cell(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = speed_scores(rows)
    iqm: Metric = unmeasured("no lane has a speed score")
    if scores:
        score, interval = stratified([scores], interquartile_mean)
        iqm = {"mean": score, "ci95": interval, "n": len(scores)}
    failed = sum(row["status"] == "failed" for row in rows)
    return {
        **identity(rows[0]),
        "n": len(rows),
        "failed": failed,
        "reason": next((row["reason"] for row in rows if row["reason"]), None),
        "metrics": metrics(rows),
        "speed_score_iqm": iqm,
    }


def wide(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`aggregate` as flat rows for ``aggregates.parquet``: ``<metric>``, ``<metric>_low``, ``_high``, ``_n``."""
    flat = []
    for cell in aggregate(rows):
        row = {name: value for name, value in cell.items() if name not in ("metrics", "speed_score_iqm")}
        for name in (*DESCRIPTIONS, "speed_score_iqm"):
            metric = cell["metrics"][name] if name in cell["metrics"] else cell[name]
            low, high = metric["ci95"] or (None, None)
            row |= {name: metric["mean"], f"{name}_low": low, f"{name}_high": high, f"{name}_n": metric["n"]}
        flat.append(row)
    return flat
