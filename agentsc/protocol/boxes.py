"""Boxes that come late: who knows of which, how they cross the air, and what they leave free.

Agents see a late box when they are near enough (`envs.events`), and tell the others. What everybody plans around is the
box *as told*: its centre on the lattice of positions, its half sizes rounded up to parts of a planning cell, corners
square. So all who know of a box know the same one, and it covers the real one. A box is told again after growing
pauses, a few times at most, and not by those who have meanwhile heard others tell it often enough (P. Levis et al.,
"Trickle", NSDI 2004).

A box is in nobody's way before it is solid, and never closes on an agent. So who is in one may leave it by any way
(`clear_of_boxes`): it is not solid before that. And plans committed before anybody knew of it may be carried out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.plan import PlanSpec
from envs import keyed
from envs.geometry import Obstacles, box_distance

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

PARTS = 32
"""Half sizes are told in these parts of a planning cell: boxes up to sixteen cells wide."""
PAUSES = (1, 4, 8, 16)
"""Rounds before each time that a box is told, plus chance of as much again."""
ENOUGH = 2
"""Who hears a box told so often during a pause does not tell it at its end."""
BETWEEN = 8
"""Places looked at along each step of a plan."""
AWAY = 1e6


def box_code(boxes: Floats, spec: PlanSpec, cell: float) -> Ints:
    """Codes int64 [n, 4], centre and half sizes, of boxes [n, 5] as in `Obstacles`: of something no smaller."""
    centre = spec.lattice(boxes[:, :2]).astype(np.int64)
    off = np.abs(spec.point(centre).astype(np.float64) - boxes[:, :2])
    half = np.ceil((boxes[:, 2:4] + off) * (PARTS / cell) - 1e-6)
    return np.concatenate([centre, np.clip(half, 1, 255).astype(np.int64)], axis=1)


def box_of(codes: Ints, spec: PlanSpec, cell: float) -> Floats:
    """Boxes float32 [n, 5] that codes [n, 4] stand for, metres."""
    codes = np.asarray(codes, np.int64).reshape(-1, 4)
    half = np.maximum(codes[:, 2:], 1) * (cell / PARTS)
    return np.concatenate([spec.point(codes[:, :2]), half, np.zeros((len(codes), 1))], axis=1).astype(np.float32)


def with_boxes(obstacles: Obstacles, boxes: Floats) -> Obstacles:
    """The map with more boxes [n, 5]."""
    return Obstacles(np.concatenate([obstacles.boxes, boxes]), obstacles.bounds, obstacles.cutoff)


class Seen:
    """Solid things as rows know them: the map, and boxes [n, k, 5] for each of n rows."""

    def __init__(self, obstacles: Obstacles, boxes: Floats) -> None:
        self.obstacles, self.boxes = obstacles, boxes

    def signed_distance(self, points: Floats) -> Floats:
        """Distances [n, …], metres, of points [n, …, 2]."""
        return np.minimum(self.obstacles.signed_distance(points), least_distance(points, self.boxes))


def least_distance(points: Floats, boxes: Floats) -> Floats:
    """Signed distance [n, …] of points [n, …, 2] to the nearest of each row's boxes [n, k, 5], metres."""
    flat = points.reshape(len(points), -1, 1, 2)
    found = box_distance(flat, boxes[:, None]).min(-1, initial=AWAY)
    return np.asarray(found.reshape(points.shape[:-1]), np.float32)


def clear_of_boxes(path: Floats, boxes: Floats, need: float) -> Flags:
    """bool [n]: paths [n, T + 1, 2] keep ``need`` metres from each row's boxes [n, k, 5], once they have left them."""
    share = (np.arange(BETWEEN) / BETWEEN).astype(np.float32)[:, None]
    between = path[:, :-1, None] + (path[:, 1:] - path[:, :-1])[:, :, None] * share
    line = np.concatenate([between.reshape(len(path), -1, 2), path[:, -1:]], axis=1)
    gap = box_distance(line[:, :, None], boxes[:, None])
    # Between two places it is never nearer than this.
    step = np.linalg.norm(np.diff(line, axis=1), axis=-1)
    least = (gap[:, :-1] + gap[:, 1:] - step[..., None]) / 2
    clear = np.concatenate([least >= need, gap[:, -1:] >= need], axis=1)
    out = np.maximum.accumulate(clear, axis=1)  # has been clear once
    inside = (gap[:, :1] < need) & ~out
    return np.asarray((clear | inside).all((1, 2)) & clear[:, -1].all(-1))


class Boxes:
    """Which rows know which boxes, and what each still tells.

    Args:
        names: uint64 [row], of all chance that a row needs. spec, cell: as for `box_code`.

    Attributes:
        codes: int64 [box, 4], all that somebody here knows. known: bool [row, box].
        shapes: float32 [row, k, 5], each row's boxes, metres, filled up with some that are far away.
        key: uint64 [row], a hash of what each row knows; 0 for nothing.
    """

    def __init__(self, names: NDArray[np.uint64], spec: PlanSpec, cell: float) -> None:
        self.names, self.spec, self.cell = names, spec, cell
        rows = len(names)
        self.codes: Ints = np.zeros((0, 4), np.int64)
        self.known: Flags = np.zeros((rows, 0), bool)
        self.shapes: Floats = np.zeros((rows, 0, 5), np.float32)
        self.key = np.zeros(rows, np.uint64)
        # How often each row has told each box, when it is due to do so again, how often it heard it since.
        self._told, self._due, self._heard = (np.zeros((rows, 0), np.int64) for _ in range(3))

    def __bool__(self) -> bool:
        return len(self.codes) > 0

    def note(self, row: Ints, codes: Ints) -> Ints:
        """Rows [n] know of boxes [n, 4]: those that did not, ascending."""
        if not len(row):
            return np.zeros(0, np.int64)
        column = self._columns(codes)
        new = ~self.known[row, column]
        self.known[row, column] = True
        changed = np.unique(row[new])
        if len(changed):
            self._shape(changed)
        return changed

    def of(self, row: int) -> tuple[tuple[int, ...], ...]:
        """The codes of what a row knows, in ascending order."""
        return tuple(sorted(tuple(code) for code in self.codes[self.known[row]].tolist()))

    def start_telling(self, rows: Ints, clock: int) -> None:
        """Rows [n] have just learned of boxes: they will tell those that they never told."""
        fresh = self.known[rows] & (self._told[rows] == 0) & (self._due[rows] == 0)
        wait = clock + PAUSES[0] + (PAUSES[1] * keyed.uniform(self.names[rows], clock)).astype(np.int64)
        self._due[rows] = np.where(fresh, wait[:, None], self._due[rows])

    def hear(self, row: Ints, codes: Ints) -> None:
        """Boxes [n, 4] were told to rows [n]."""
        if len(row):
            np.add.at(self._heard, (row, self._columns(codes)), 1)

    def due(self, clock: int) -> Flags:
        """bool [row, box]: what is told now. Who has heard it often enough skips its turn."""
        now = self.known & (self._due > 0) & (self._due <= clock)
        skipped = now & (self._heard >= ENOUGH)
        self._next(skipped, clock)
        return now & ~skipped

    def tell(self, told: Flags, clock: int) -> None:
        """Boxes [row, box] have been told."""
        self._next(told, clock)

    def _next(self, which: Flags, clock: int) -> None:
        row, column = np.nonzero(which)
        self._told[row, column] += 1
        self._heard[row, column] = 0
        turn = self._told[row, column]
        pause = np.array([*PAUSES, 0])[np.minimum(turn, len(PAUSES))]
        chance = keyed.uniform(self.names[row], clock, turn)
        self._due[row, column] = np.where(pause > 0, clock + pause + (pause * chance).astype(np.int64), -1)

    def _columns(self, codes: Ints) -> Ints:
        """Numbers [n] of boxes [n, 4]; new ones are added."""
        place = {tuple(code): number for number, code in enumerate(self.codes.tolist())}
        numbers = []
        for code in map(tuple, np.asarray(codes, np.int64).tolist()):
            if code not in place:
                place[code] = len(place)
                self.codes = np.concatenate([self.codes, np.array([code], np.int64)])
                self.known = np.pad(self.known, ((0, 0), (0, 1)))
                self._told, self._due, self._heard = (
                    np.pad(part, ((0, 0), (0, 1))) for part in (self._told, self._due, self._heard)
                )
            numbers.append(place[code])
        return np.array(numbers, np.int64)

    def _shape(self, rows: Ints) -> None:
        """Bring ``shapes`` and ``key`` of rows up to date."""
        most = int(self.known.sum(1).max())
        if most > self.shapes.shape[1]:
            room = np.zeros((len(self.shapes), most - self.shapes.shape[1], 5), np.float32)
            room[..., :2], room[..., 2:4] = AWAY, 1.0
            self.shapes = np.concatenate([self.shapes, room], axis=1)
        for row in rows.tolist():
            codes = np.array(self.of(row), np.int64)
            self.shapes[row, : len(codes)] = box_of(codes, self.spec, self.cell)
            self.key[row] = keyed.hash_words(*codes.ravel().tolist()) | np.uint64(1)
