"""Progress on stderr: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agentsc.experiment.log import Progress as Moment

if TYPE_CHECKING:
    from agentsc.experiment.bench import Moment as BenchMoment

EVERY_S = 10.0
"""Seconds between two lines when stderr is not a terminal."""


def bit_rate(bits: float, sim_s: float) -> str:
    """A readable rate, e.g. ``1.24 kbit/s``."""
    rate = bits / sim_s if sim_s > 0 else 0.0
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if rate < 1000:
            return f"{rate:.3g} {unit}"
        rate /= 1000
    return f"{rate:.3g} Gbit/s"


def clock_text(seconds: float) -> str:
    """A readable time, e.g. ``1 h 04 min``, ``12 min`` or ``40 s``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes + (rest >= 30), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


class Display:
    """A context in which `run` and `stage` are progress callbacks.

    Args:
        console: where to draw; it must write to stderr, stdout belongs to results.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(
            *columns, TextColumn("{task.fields[facts]}"), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._stage = ""
        self._last = time.monotonic()

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def run(self, moment: Moment) -> None:
        """Ticks, lanes that are home, and bits per simulated second."""
        facts = f"{moment.home}/{moment.lanes} lanes home · {bit_rate(moment.bits, moment.sim_s)}"
        self._show("tick", moment.tick, moment.ticks, facts)

    def bench(self, moment: BenchMoment) -> None:
        """Cells and episodes done, the rate, and the time left."""
        rate = moment.rate
        facts = f"{moment.episodes_done}/{moment.episodes} episodes"
        if rate is not None:
            facts += f" · {rate:.3g} episodes/s"
        if moment.left_s is not None:
            facts += f" · about {clock_text(moment.left_s)} left"
        if moment.failed:
            facts += f" · {moment.failed} could not be run"
        self._show("cells", moment.cells_done, moment.cells, facts)

    def stage(self, stage: str, done: int, total: int, facts: dict[str, float]) -> None:
        """A job of several stages, with figures of the moment."""
        self._show(stage, done, total, " · ".join(f"{name} {value:.4g}" for name, value in facts.items()))

    def _show(self, stage: str, done: int, total: int, facts: str) -> None:
        if not self._console.is_terminal:
            if time.monotonic() - self._last >= EVERY_S:
                self._last = time.monotonic()
                self._console.print(f"{stage} {done}/{total} · {facts}", highlight=False, soft_wrap=True)
            return
        if stage != self._stage:
            self._stage = stage
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._bar.add_task(stage, total=total, facts=facts)
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, facts=facts)
