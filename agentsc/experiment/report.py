"""What a benchmark leaves for people: figures, tables, and one self-contained ``report.html``."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from agentsc.catalog import installed
from agentsc.experiment.aggregate import aggregate, wide
from agentsc.experiment.bench_store import BenchStore, tidy
from agentsc.experiment.store import replace_file, write_frame
from agentsc.experiment.suite import Plan
from agentsc.experiment.views import VIEWS, Entry, Rendered, Results, Table, brief, readable, shown, text
from agentsc.experiment.views._style import style

if TYPE_CHECKING:
    import polars
    from matplotlib.figure import Figure

COLUMNS = (
    *("success_rate", "collision_free_rate", "speed_score", "makespan_s", "path_length_ratio"),
    *("bits_per_agent_s", "packet_error_rate", "age_of_information_s", "min_separation_m"),
)
"""Metrics in the table of all cells."""


@dataclass(frozen=True)
class Shown:
    """A view as the page needs it."""

    title: str
    caption: str
    table: Table | None
    svg: str | None


def write_report(folder: Path, todo: Plan, frame: polars.DataFrame) -> Path:
    """Write ``aggregates.parquet``, ``figures/``, ``tables/``, ``summary.md`` and ``report.html``.

    Args:
        folder: a benchmark's. todo: its plan. frame: its rows.

    Returns:
        The report.
    """
    rows = frame.to_dicts()
    write_frame(tidy(wide(rows)), folder / "aggregates.parquet")
    rendered = render_views(todo, rows)
    names = _file_names(rendered)
    for name, view in zip(names, rendered, strict=True):
        if view.figure is not None:
            _save(view.figure, folder / "figures", name)
        if view.table is not None:
            _text(folder / "tables" / f"{name}.md", view.table.markdown() + "\n")
    about = BenchStore(folder).about()
    _text(folder / "summary.md", summary_markdown(todo, rendered, names, about, len(rows)))
    page = folder / "report.html"
    _text(page, html(todo, rows, rendered, about))
    return page


def render_views(todo: Plan, rows: list[dict[str, Any]]) -> list[Rendered]:
    """All views of a suite."""
    axes = list(dict.fromkeys(axis for cell in todo.cells for axis in cell.labels))
    results = Results(rows, axes)
    views = [VIEWS.create(v["kind"], **{k: x for k, x in v.items() if k != "kind"}) for v in todo.suite.views]
    return [view.render(results) for view in views]


def html(todo: Plan, rows: list[dict[str, Any]], rendered: Iterable[Rendered], about: Mapping[str, Any]) -> str:
    """The page; everything that it shows is inside it."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True)
    template = environment.from_string((files("agentsc.experiment") / "report.html.j2").read_text(encoding="utf-8"))
    cells = aggregate(rows)
    failed = [cell for cell in cells if cell["failed"]]
    count = sum(cell["failed"] for cell in cells)
    spent = sum(row.get("time_cpu_s") or 0.0 for row in rows)
    facts = [
        ("cells", len(cells), False),
        ("episodes per cell", todo.suite.seeds, False),
        ("episodes", len(rows), False),
        ("episodes that could not be run", count, count > 0),
        ("CPU time", f"{brief(spent / 60)} min", False),
    ]
    columns = _axes(todo)
    return template.render(
        suite=todo.suite,
        facts=facts,
        views=[Shown(v.title, v.caption, v.table, None if v.figure is None else svg(v.figure)) for v in rendered],
        failures=[(_name(cell, columns), cell["failed"], cell["reason"]) for cell in failed],
        cells=_all_cells(cells, columns),
        limits=limits(todo),
        command=about["command"],
        sittings=about["sittings"],
        suite_yaml=yaml.safe_dump(
            todo.suite.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True
        ),
        config_yaml=yaml.safe_dump(todo.cells[0].config.tree(), sort_keys=False, allow_unicode=True),
    )


def limits(todo: Plan) -> list[str]:
    """What the worlds and links of a suite leave out, each once."""
    from agentsc.links import parse_link

    found: dict[str, None] = {}
    for cell in todo.cells:
        found |= dict.fromkeys(installed("scenarios").get(cell.config.scenario.name).omits)  # type: ignore[attr-defined]
    for cell in todo.cells:
        for link in parse_link(cell.config.link):
            found |= dict.fromkeys(link.omits)
    return list(found)


def summary_markdown(
    todo: Plan, rendered: Iterable[Rendered], names: Iterable[str], about: Mapping[str, Any], episodes: int
) -> str:
    """The results as a Markdown page, with figures beside it."""
    suite = todo.suite
    last = about["sittings"][-1]
    lines = [
        f"# {suite.title}", "", " ".join(suite.question.split()), "",
        f"Regenerate with `{about['command']}`: {len(todo.cells)} cells, {suite.seeds} episodes each "
        f"({episodes} in all), base seed {todo.cells[0].config.seed}. Computed at commit "
        f"{', '.join(dict.fromkeys(s['commit'] or 'unknown' for s in about['sittings']))} on "
        f"{last['machine']['processor']}, {last['machine']['cpus']} processors. Raw rows: `rows.parquet`; "
        f"cell by cell: `aggregates.parquet`.",
        "Means with 95 % intervals (Wilson for rates, bootstrap over episodes otherwise); time-outs and cells that "
        "could not be run are failures in every rate and score.", "",
    ]  # fmt: skip
    if suite.notes:
        lines += [" ".join(suite.notes.split()), ""]
    for view, name in zip(rendered, names, strict=True):
        lines += [f"## {view.title}", ""]
        if view.caption:
            lines += [" ".join(view.caption.split()), ""]
        if view.figure is not None:
            lines += [f"![{view.title}](figures/{name}.png)", ""]
        if view.table is not None:
            lines += [view.table.markdown(), ""]
    return "\n".join(lines)


def svg(figure: Figure) -> str:
    """A figure as inline SVG, without a date, so that equal rows give equal files."""
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    _, begin, rest = buffer.getvalue().partition("<svg")
    return re.sub(r"<metadata>.*?</metadata>", "", begin + rest, flags=re.DOTALL)


def _save(figure: Figure, folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    with style():
        for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            path = folder / f"{name}.{ending}"
            replace_file(path, lambda partial, e=ending, m=metadata: figure.savefig(partial, format=e, metadata=m, dpi=160))  # type: ignore[misc]  # noqa: E501


def _text(path: Path, content: str) -> None:
    path.parent.mkdir(exist_ok=True)
    replace_file(path, lambda partial: partial.write_text(content, encoding="utf-8"))


def _file_names(rendered: Iterable[Rendered]) -> list[str]:
    """A file name per view, from its title."""
    names: list[str] = []
    for view in rendered:
        base = re.sub(r"[^a-z0-9]+", "-", view.title.lower()).strip("-")[:60] or "view"
        name, again = base, 1
        while name in names:
            again += 1
            name = f"{base}-{again}"
        names.append(name)
    return names


def _axes(todo: Plan) -> list[str]:
    return list(dict.fromkeys(axis for cell in todo.cells for axis in cell.labels))


def _name(cell: Mapping[str, Any], columns: Iterable[str]) -> str:
    return ", ".join(f"{column} {cell[column]}" for column in columns if cell.get(column) is not None)


def _all_cells(cells: Iterable[Mapping[str, Any]], columns: list[str]) -> Table:
    titles = [*columns, "n", "failed", *(readable(name) for name in COLUMNS)]
    rows = []
    for cell in cells:
        counts = [Entry(str(cell[name]), cell[name]) for name in ("n", "failed")]
        measures = [shown(cell["metrics"][name]) for name in COLUMNS]
        rows.append([*(text(cell.get(column)) for column in columns), *counts, *measures])
    return Table(titles, rows)
