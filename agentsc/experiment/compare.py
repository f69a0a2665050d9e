"""Runs side by side: every metric with its interval, and paired differences where episodes are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentsc.experiment.aggregate import identity
from agentsc.experiment.metrics import DESCRIPTIONS, metrics
from agentsc.experiment.statistics import holm, mcnemar_p, paired_difference
from agentsc.experiment.store import RunFolder
from envs.errors import ConfigError

SCHEMA = 1

PAIRED = ("success", "collision_free", "speed_score", "makespan_s", "path_length_ratio", "bits", "min_separation_m")
"""Columns of rows that are compared episode by episode."""


@dataclass(frozen=True)
class Side:
    """One of the things compared: what it is called, what defines its episodes, and its rows."""

    name: str
    config: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def instances(self) -> dict[str, Any]:
        """What makes two runs' episodes the same: the scenario with all its parameters, and the seed."""
        return {"scenario": self.config.get("scenario"), "seed": self.config.get("seed")}


def compare(*runs: Path | str) -> dict[str, Any]:
    """Compare runs; the call behind ``agentsc compare``.

    Args:
        runs: run folders, or benchmark folders (each of whose cells is then a side); at least two sides.

    Returns:
        ``{"schema", "sides", "paired"}``: every side's name, configuration and metrics; and for each side
        that has the same episodes as the first one, mean differences to it with intervals, and
        Holm-corrected p-values.

    Raises:
        ConfigError: a folder that holds no results, or fewer than two sides.
    """
    sides = [side for run in runs for side in _sides(run)]
    if len(sides) < 2:
        raise ConfigError(f"compare needs at least two runs, got {len(sides)} (name more run folders)")
    _distinct(sides)
    first = sides[0]
    paired = [_against(first, side) for side in sides[1:]]
    tests = [difference for pair in paired for difference in pair.get("differences", {}).values()]
    for difference, adjusted in zip(tests, holm([d["p"] for d in tests]), strict=True):
        difference["p_holm"] = adjusted
    shown = [{"name": s.name, "config": s.config, "metrics": metrics(s.rows), "n": len(s.rows)} for s in sides]
    return {"schema": SCHEMA, "sides": shown, "paired": paired}


def _sides(run: Path | str) -> list[Side]:
    import polars

    path = Path(run)
    if (path / "rows.parquet").is_file():
        rows = polars.read_parquet(path / "rows.parquet").to_dicts()
        cells: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            cells.setdefault(row["cell"], []).append(row)
        return [_cell(path, mine) for mine in cells.values()]
    folder = RunFolder.open(path)
    config = dict(folder.result()["config"])
    try:
        rows = polars.read_parquet(path / "episodes.parquet").to_dicts()
    except (OSError, polars.exceptions.PolarsError):
        raise ConfigError(
            f"run must hold an intact episodes.parquet, got {str(path)!r} (run it again)"
        ) from None
    return [Side(f"{path.name}", config, rows)]


def _cell(path: Path, rows: list[dict[str, Any]]) -> Side:
    first = rows[0]
    columns = {k: v for k, v in identity(first).items() if k not in ("schema", "cell") and v is not None}
    # Only where machines run elsewhere than usual does that have to be said.
    usual = first["protocol"] == "central-search" or columns.get("architecture") == "distributed"
    silent = ("seed", "architecture") if usual else ("seed",)
    label = " · ".join(str(value) for name, value in columns.items() if name not in silent)
    scenario = {"name": first["scenario"], "agents": first["agents"]}
    return Side(label, columns | {"scenario": scenario}, rows)


def _distinct(sides: Sequence[Side]) -> None:
    """Sides with one name are told apart by their number."""
    names = [side.name for side in sides]
    for number, side in enumerate(sides):
        if names.count(side.name) > 1:
            object.__setattr__(side, "name", f"{side.name} ({number + 1})")


def _against(first: Side, other: Side) -> dict[str, Any]:
    """Paired differences other − first, or why there are none."""
    pair: dict[str, Any] = {"name": other.name, "against": first.name}
    if first.instances != other.instances:
        return pair | {"reason": "their scenarios or seeds differ, so their episodes are not the same"}
    mine, theirs = ({row["episode"]: row for row in side.rows} for side in (first, other))
    episodes = sorted(mine.keys() & theirs.keys())
    if not episodes:
        return pair | {"reason": "they have no episode in common"}
    differences = {}
    for name in PAIRED:
        both = [k for k in episodes if mine[k].get(name) is not None and theirs[k].get(name) is not None]
        if both:
            differences[name] = _difference(name, [theirs[k] for k in both], [mine[k] for k in both])
    return pair | {"episodes": len(episodes), "differences": differences}


def _difference(name: str, left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ours, others = ([row[name] for row in part] for part in (left, right))
    mean, interval, p = paired_difference([float(v) for v in ours], [float(v) for v in others])
    if all(isinstance(value, bool) for value in (*ours, *others)):
        p = mcnemar_p(ours, others)
    return {"mean": mean, "ci95": interval, "n": len(ours), "p": p}


def print_comparison(data: Mapping[str, Any], console: Any) -> None:
    """The comparison as tables for people."""
    from rich.table import Table

    from agentsc.experiment.views import shown, spanned

    sides = data["sides"]
    table = Table(title="Metrics, mean [95 % interval]", title_justify="left", box=None, pad_edge=False)
    table.add_column("metric", no_wrap=True, style="bold")
    for side in sides:
        table.add_column(f"{side['name']} (n={side['n']})")
    for name in DESCRIPTIONS:
        table.add_row(name, *(shown(side["metrics"][name], n=False).text for side in sides))
    console.print(table)
    for pair in data["paired"]:
        title = f"{pair['name']} minus {pair['against']}"
        if "reason" in pair:
            console.print(f"\n{title}: not paired, {pair['reason']}", highlight=False)
            continue
        title = f"\n{title}, same {pair['episodes']} episodes"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in ("per episode", "mean difference", "pairs", "p", "p (Holm)"):
            table.add_column(column, justify="left" if column == "per episode" else "right")
        for name, found in pair["differences"].items():
            p, adjusted = (f"{found[k]:.3f}" if found[k] >= 1e-3 else "< 0.001" for k in ("p", "p_holm"))
            table.add_row(name, spanned(found["mean"], found["ci95"]).text, str(found["n"]), p, adjusted)
        console.print(table)
