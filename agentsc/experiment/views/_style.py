"""How figures look: one style, one colour per protocol in every figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agentsc.catalog import installed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, safe for colour-blind readers; ours first.
PALETTE = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D00", "#666666", "#000000"),
    *("#7A3E9D", "#B03060", "#2F7F7F"),
)
MARKERS = "osD^vP*Xph<>"
FIRST = ("intent", "negotiated", "full-trajectory", "orca", "rmader", "mader", "prioritised", "perfect-link", "silent")
"""Protocols that keep the first colours; others follow in the order of their names."""

STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 110,
    "svg.fonttype": "none",
    "svg.hashsalt": "agentsc",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw without a display, in the house style."""
    import matplotlib

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        yield


def panels(count: int, *, width: float = 3.6, height: float = 2.9) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes, at most three in a row."""
    from matplotlib.figure import Figure

    columns = 2 if count == 4 else min(count, 3)
    lines = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, axes[:count]


def look(labels: Sequence[Any]) -> dict[Any, tuple[str, str]]:
    """Colour and marker of each label; a protocol keeps its own whatever else is drawn, and no two share one."""
    known = [*FIRST, *(name for name in installed("protocols") if name not in FIRST)]
    places = {label: known.index(label) for label in labels if label in known}
    free = (place for place in range(len(PALETTE) * len(labels)) if place not in places.values())
    places |= {label: next(free) for label in labels if label not in places}
    return {label: (PALETTE[places[label] % len(PALETTE)], MARKERS[places[label] % len(MARKERS)]) for label in labels}


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend below all panels."""
    handles, labels = [], []
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    if len(labels) > 1:
        columns = max(1, int(figure.get_figwidth() / (0.45 + 0.075 * max(map(len, labels)))))
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), columns))


def counted(counts: set[int]) -> str:
    """What the bars of a figure are, and how many episodes are behind a point."""
    if not counts:
        return ""
    low, high = min(counts), max(counts)
    return f"Bars are 95 % intervals; n = {low if low == high else f'{low} to {high}'} episodes per point."
