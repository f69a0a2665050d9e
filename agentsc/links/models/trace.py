"""Losses and delays as they were measured."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel, uniform
from envs.keyed import hash_words

REQUIRED = ("time_s", "loss", "delay_ms")
PAIR = ("sender", "receiver")


class Series(NamedTuple):
    """A recording of one pair. time_s, loss, delay_s: float64 [R]; time begins at 0. period_s: then it repeats."""

    time_s: NDArray[np.float64]
    loss: NDArray[np.float64]
    delay_s: NDArray[np.float64]
    period_s: float


@LINKS.register("trace")
class Trace(LinkModel):
    """Loss and delay follow a recording: a CSV file with columns time_s, loss and delay_ms.

    A row holds from its time to the next; after the last one, which holds as long as the one before it, the
    recording repeats. ``loss`` is a probability, so 0 or 1 in a recording of single packets. With columns
    sender and receiver, rows belong to that ordered pair of agents; a pair without rows follows the rows of a
    pair drawn at random. Where in the recording an episode begins is drawn at random, too.
    """

    reasons: ClassVar[tuple[str, ...]] = ("trace",)

    path: str = Field(description="the CSV file; its name may hold no comma")
    start: Literal["pair", "episode", "zero"] = Field(
        "pair",
        description="where the recording begins: drawn for every pair, drawn once per episode, or at its beginning",
    )
    _series: list[Series] = PrivateAttr()
    _pairs: NDArray[np.int64] | None = PrivateAttr()

    @model_validator(mode="after")
    def _read(self) -> Trace:
        self._series, self._pairs = read(Path(self.path))
        return self

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        which = self._which(hop, draw)
        period = np.array([series.period_s for series in self._series])[which]
        at = hop.sent_s[hop.packet]
        if self.start != "zero":
            at = at + uniform(draw.pair if self.start == "pair" else draw.lane) * period
        at = at - np.floor(at / period) * period
        loss, delay = np.empty(len(hop)), np.empty(len(hop))
        for number, series in enumerate(self._series):
            mine = slice(None) if len(self._series) == 1 else np.flatnonzero(which == number)
            row = np.searchsorted(series.time_s, at[mine], side="right") - 1
            loss[mine], delay[mine] = series.loss[row], series.delay_s[row]
        return Effect({"trace": uniform(draw.packet) < loss}, delay_s=delay)

    def _which(self, hop: Hop, draw: Draw) -> NDArray[np.int64]:
        """int64 [N], the series that each row follows."""
        if self._pairs is None:
            return np.zeros(len(hop), np.int64)
        pair = (hop.sender[hop.packet].astype(np.int64) << 16) + hop.receiver
        near = np.minimum(np.searchsorted(self._pairs, pair), len(self._pairs) - 1)
        drawn = (uniform(hash_words(draw.pair, 1)) * len(self._series)).astype(np.int64)
        return np.where(self._pairs[near] == pair, near, drawn)


def read(path: Path) -> tuple[list[Series], NDArray[np.int64] | None]:
    """The recordings in a file, and whose they are: sender · 2¹⁶ + receiver, ascending; None if of everyone.

    Raises:
        ValueError: what is wrong, in which line and column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "not a text file"
        raise ValueError(f"path must be a readable CSV file, got {str(path)!r} ({cause})") from None
    header = [name.strip() for name in lines[0]] if lines else []
    named = [name for name in PAIR if name in header]
    missing = [name for name in (*REQUIRED, *(PAIR if named else ())) if name not in header]
    if missing:
        raise ValueError(
            f"{path} line 1 must have a column {missing[0]}, got {','.join(header) or 'nothing'!r}"
        )
    found: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise ValueError(f"{path} line {number} must have {len(header)} columns, got {len(cells)}")
        row = _Row(path, number, dict(zip(header, cells, strict=True)))
        who = (row.agent("sender"), row.agent("receiver")) if named else (0, 0)
        values = (
            row.value("time_s", math.inf),
            row.value("loss", 1.0),
            row.value("delay_ms", math.inf) * 1e-3,
        )
        rows = found.setdefault(who, [])
        if rows and values[0] <= rows[-1][0]:
            raise row.error("time_s", f"later than the row before, {rows[-1][0]:g} (sort the rows)")
        rows.append(values)
    for who, rows in found.items():
        if len(rows) < 2:
            of = f" for sender {who[0]}, receiver {who[1]}" if named else ""
            raise ValueError(
                f"{path} must have at least two rows{of}, got {len(rows)} (a recording has a length)"
            )
    if not found:
        raise ValueError(f"{path} must have at least two rows, got none (a recording has a length)")
    keys = sorted(found)
    series = [_series(found[who]) for who in keys]
    return series, np.array([(s << 16) + r for s, r in keys], np.int64) if named else None


def _series(rows: list[tuple[float, float, float]]) -> Series:
    time, loss, delay = np.array(rows).T
    return Series(time - time[0], loss, delay, float(2 * time[-1] - time[-2] - time[0]))


class _Row(NamedTuple):
    """One line, and where it stands."""

    path: Path
    number: int
    cells: dict[str, str]

    def value(self, column: str, most: float) -> float:
        """A number from 0 to ``most``."""
        try:
            value = float(self.cells[column])
        except ValueError:
            raise self.error(column, "a number") from None
        if not 0.0 <= value <= most or math.isinf(value):
            raise self.error(column, "at least 0" if math.isinf(most) else f"in [0, {most:g}]")
        return value

    def agent(self, column: str) -> int:
        """An agent's number."""
        text = self.cells[column].strip()
        if not text.isdecimal() or int(text) >= 1 << 16:
            raise self.error(column, "an agent's number, from 0")
        return int(text)

    def error(self, column: str, rule: str) -> ValueError:
        """What is wrong with a cell."""
        return ValueError(
            f"{self.path} line {self.number} column {column} must be {rule}, got {self.cells[column]!r}"
        )
