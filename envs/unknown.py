"""A map that nobody is told: what stands where, and what agents see of it.

The arena is cut into square cells, each free or filled by an obstacle. Agents know the bounds of the arena, the roster
and their goals. An agent sees the cells within its sight radius that no obstacle hides, once a tick; where sensing
errs, each look at a cell is wrong by chance, anew every time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs import keyed
from envs.errors import ConfigError
from envs.geometry import Obstacles, merge_cells
from envs.maps import Blocked, maze, rooms

Float = NDArray[np.float32]
Flags = NDArray[np.bool_]


SIDE = 23
"""Cells of the arena's side; a cell is a metre."""


def _rooms(seed: int) -> Blocked:
    """Four by four rooms."""
    return rooms(4, 4, 5, 2, 0.35, seed)


def _bars(seed: int) -> Blocked:
    """Long walls across, each with one or two gaps."""
    u = keyed.uniform(seed, keyed.stream_id("maps.bars"), np.arange(64))
    blocked = np.zeros((SIDE, SIDE), bool)
    walls = 3 + int(3 * u[0])
    for wall in range(walls):
        at = int((wall + 1) * SIDE / (walls + 1) + 2 * u[1 + wall] - 1)
        blocked[at] = True
        for gap in range(1 + int(2 * u[10 + wall])):
            start = int((SIDE - 2) * u[20 + 2 * wall + gap])
            blocked[at, start : start + 2] = False
    return blocked.T.copy() if u[63] < 0.5 else blocked


def _blocks(seed: int) -> Blocked:
    """Rectangles of many sizes, anywhere."""
    u = keyed.uniform(seed, keyed.stream_id("maps.blocks"), np.arange(4 * 26 + 1)).reshape(-1)
    blocked = np.zeros((SIDE, SIDE), bool)
    for x, y, wide, high in u[1:].reshape(-1, 4)[: 12 + int(14 * u[0])]:
        column, row = int(SIDE * x), int(SIDE * y)
        blocked[row : row + 1 + int(4 * high**2), column : column + 1 + int(4 * wide**2)] = True
    return blocked


def _maze(seed: int) -> Blocked:
    """Corridors three cells wide between one-cell walls, with few loops."""
    return maze(6, 6, 3, 0.2, seed)


FAMILIES: dict[str, Callable[[int], Blocked]] = {"rooms": _rooms, "bars": _bars, "blocks": _blocks, "maze": _maze}
TRAINED = ("rooms", "bars", "blocks")
"""Families that the map prior learns from; the others it never sees."""
HELD_OUT = ("maze",)


def draw(family: str, seed: int) -> Blocked:
    """The map of a family with that seed, bool [SIDE, SIDE].

    Raises:
        ConfigError: an unknown family.
    """
    if family not in FAMILIES:
        raise ConfigError(f"family must be one of {', '.join(FAMILIES)}, got {family!r} (kind of map)")
    return FAMILIES[family](seed)


def sight(occupied: Flags, position: Float, reach: float) -> Flags:
    """bool [lane, agent, row, column]: cells seen from positions [lane, agent, 2] within ``reach``, all in cells.

    Args:
        occupied: bool [lane, row, column].
    """
    from envs._sight_kernels import sight as kernel

    found = np.empty((*position.shape[:2], *occupied.shape[1:]), bool)
    kernel(np.ascontiguousarray(occupied), np.ascontiguousarray(position, np.float32), np.float32(reach), found)
    return found


@dataclass(frozen=True, eq=False)
class Unknown:
    """What the simulator alone knows.

    Attributes:
        occupied: bool [lane, row, column], cells filled by obstacles; row 0 is at the lower end of y.
        cell: side of a cell, metres; cell (0, 0) begins at the origin.
        sight_m: how far agents see, metres. error: chance that one look at one cell is wrong.
        family: what kind of map it is.
    """

    occupied: Flags
    cell: float
    sight_m: float
    error: float = 0.0
    family: str = ""

    def __post_init__(self) -> None:
        if self.occupied.ndim != 3 or not self.occupied.size:
            raise ConfigError(f"world.unknown.occupied must be [lane, row, column], got {self.occupied.shape}")
        if not (self.cell > 0 and np.isfinite(self.cell)):
            raise ConfigError(f"world.unknown.cell must be positive, got {self.cell} (side of a cell, metres)")
        if not self.sight_m >= 1.5 * self.cell:
            raise ConfigError(
                f"world.unknown.sight_m must be at least {1.5 * self.cell:g}, a cell and a half, got {self.sight_m:g} "
                "(metres; agents have to see the cells around them)"
            )
        if not 0.0 <= self.error < 0.5:
            raise ConfigError(f"world.unknown.error must be in [0, 0.5), got {self.error} (chance of a wrong look)")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.occupied.shape[1]), int(self.occupied.shape[2])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Of the arena, metres."""
        rows, columns = self.shape
        return 0.0, 0.0, columns * self.cell, rows * self.cell

    def check(self, lanes: int, agents: int) -> None:
        """Raise a `ConfigError` if this is not for so many lanes."""
        del agents
        if len(self.occupied) != lanes:
            raise ConfigError(f"world.unknown.occupied must be for {lanes} lanes, got {len(self.occupied)}")

    def select(self, pick: Any) -> Unknown:
        """Some lanes, in the order of ``pick``."""
        return replace(self, occupied=self.occupied[pick])

    def obstacles(self, lane: int, base: Obstacles) -> Obstacles:
        """The true geometry of a lane: ``base`` and its filled cells."""
        cells = merge_cells(self.occupied[lane])  # rows (y0, x0, y1, x1)
        low, high = cells[:, [1, 0]] * self.cell, cells[:, [3, 2]] * self.cell
        boxes = np.concatenate([(low + high) / 2, (high - low) / 2, np.zeros((len(cells), 1))], axis=1)
        return Obstacles(np.concatenate([base.boxes, boxes.astype(np.float32)]), base.bounds, base.cutoff)

    def seen(self, position: Float) -> Flags:
        """bool [lane, agent, row, column]: what is seen from positions [lane, agent, 2], metres."""
        return sight(self.occupied, position / np.float32(self.cell), self.sight_m / self.cell)

    def look(self, position: Float, episodes: NDArray[np.int64], seed: int, tick: int) -> tuple[Flags, Flags]:
        """One look around at a tick: which cells are seen, and which of these look filled.

        Args:
            position: float32 [lane, agent, 2]. episodes: int64 [lane] and seed: key of wrong looks.

        Returns:
            bool [lane, agent, row, column] each.
        """
        seen = self.seen(position)
        filled = np.broadcast_to(self.occupied[:, None], seen.shape)
        if self.error > 0.0:
            lane, agent, row, column = np.nonzero(seen)
            draw = keyed.uniform(seed, keyed.stream_id("look"), episodes[lane], tick, agent, row, column)
            filled = filled.copy()
            filled[lane, agent, row, column] ^= draw < self.error
        return seen, seen & filled
