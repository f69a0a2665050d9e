"""A page that ranks protocols over all benchmark results in a folder, made from their raw rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from agentsc.catalog import installed
from agentsc.experiment.metrics import metrics, speed_scores
from agentsc.experiment.statistics import interquartile_mean, stratified
from agentsc.experiment.store import replace_file
from agentsc.experiment.views import Entry, Table, shown, spanned, text
from envs.errors import ConfigError


def leaderboard(results: Path | str, out: Path | str | None = None) -> Path:
    """Write the page; the call behind ``agentsc leaderboard``.

    Args:
        results: a folder that holds benchmark folders. out: the page; ``README.md`` in ``results`` by default.

    Returns:
        The page.

    Raises:
        ConfigError: there is no benchmark in the folder, or the page cannot be written.
    """
    folder = Path(results)
    suites = sorted(path.parent for path in folder.glob("*/suite.yaml")) if folder.is_dir() else []
    found = [each for each in suites if (each / "rows.parquet").is_file()]
    if not found:
        raise ConfigError(f"results must be a folder of benchmark folders, got {str(results)!r} with none")
    page = Path(out) if out is not None else folder / "README.md"
    content = page_text(found, page.parent)
    try:
        replace_file(page, lambda partial: partial.write_text(content, encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"out must be a file that can be written, got {str(page)!r} ({error.strerror})") from None
    return page


def page_text(folders: Sequence[Path], base: Path) -> str:
    """The page: a ranking per suite, best interquartile speed score first."""
    lines = [
        "# Leaderboard",
        "",
        "Made from the raw rows in this folder by `agentsc leaderboard experiments/results`; nothing is typed in by",
        "hand. Per suite, success and contact rates with Wilson intervals, the interquartile",
        "mean of the speed score (longest trip alone at full speed over the makespan, 0 for a failed attempt) with an",
        "interval resampled inside each condition, and bits per agent and second, headers included. A condition is",
        "everything but the protocol (scenario, fleet, link, …). Ranked are protocols on the conditions that most of",
        "them ran; who ran fewer of these stands below. Where goals change on the way there is no speed score, and the",
        "mean is over the other conditions. *Oracle* protocols see what no radio delivers.",
        "",
    ]
    for folder in folders:
        lines += _section(folder, base)
    return "\n".join(lines)


def _section(folder: Path, base: Path) -> list[str]:
    import polars

    rows = polars.read_parquet(folder / "rows.parquet").to_dicts()
    suite = yaml.safe_load((folder / "suite.yaml").read_text(encoding="utf-8"))
    about = json.loads((folder / "bench.json").read_text(encoding="utf-8"))
    axes = [axis for block in suite["matrix"] for axis in block["axes"] if axis != "protocol"]
    by: dict[str, dict[tuple[Any, ...], list[dict[str, Any]]]] = {}
    for row in rows:
        condition = tuple(row.get(axis) for axis in dict.fromkeys(axes))
        by.setdefault(str(row["protocol"]), {}).setdefault(condition, []).append(row)
    ran = Counter(condition for mine in by.values() for condition in mine)
    common = {condition for condition, count in ran.items() if count > len(by) / 2}
    lines = [_line(name, {c: mine[c] for c in mine if c in common}, len(common)) for name, mine in by.items()]
    ranked = sorted(filter(None, lines), key=lambda line: (-float(line[1].sort), -float(line[2].sort)))
    titles = ["protocol", "conditions", "IQM speed score", "success", "collision-free", "bit/s per agent", "episodes"]
    summary = folder / "summary.md"
    link = f" ([all tables and figures]({summary.relative_to(base)}))" if summary.is_file() and base in summary.parents else ""  # noqa: E501
    return [
        f"## {suite['title']}", "",
        f"{' '.join(suite['question'].split())}{link}", "",
        f"`{about['command']}`", "", Table(titles, ranked).markdown(), "",
    ]  # fmt: skip


def _line(
    name: str, conditions: Mapping[tuple[Any, ...], Sequence[Mapping[str, Any]]], whole: int
) -> list[Entry] | None:
    """A protocol's line over some conditions; None if it ran none of them."""
    if not conditions:
        return None
    scores = [speed_scores(rows) for rows in conditions.values()]
    score = spanned(*stratified(scores, interquartile_mean)) if any(scores) else Entry("–", -1.0)
    rows = [row for mine in conditions.values() for row in mine]
    found = metrics(rows)
    label = f"{name} (oracle)" if _oracle(name) else name
    count = Entry(f"{len(conditions)} of {whole}", len(conditions))
    return [
        text(label), count, score, shown(found["success_rate"], n=False),
        shown(found["collision_free_rate"], n=False), shown(found["bits_per_agent_s"], n=False), text(len(rows)),
    ]  # fmt: skip


def _oracle(label: str) -> bool:
    name = label.split(":")[0]
    protocols = installed("protocols")
    return name in protocols and protocols.create(name).oracle
