"""Plans in time: where a plan is at a tick, and how close two plans come in continuous time.

Between ticks a vehicle moves in a straight line, so a plan *is* its positions at ticks joined
by segments, and the closest approach of two plans has a closed form. The arena measures
collisions with the same formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass
class PlanTable:
    """Plans of any leading shape.

    Before its start a plan rests at its first way-point, after its end at its last.

    Attributes:
        seq: int64 [...], sequence number. start: int64 [...], tick of the first way-point.
        path: float32 [..., H + 1, 2], metres, one way-point per tick. valid: bool [...].
        box: float32 [..., 2, 2], lower and upper corner of each path; worked out from it.
    """

    seq: Ints
    start: Ints
    path: Floats
    valid: NDArray[np.bool_]
    box: Floats = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.box is None:
            self.box = boxes(self.path)

    @classmethod
    def resting(cls, position: Floats, horizon: int, valid: bool = True) -> PlanTable:
        """Sequence 0: stay at ``position`` [..., 2] for ever."""
        shape = position.shape[:-1]
        path = np.broadcast_to(position[..., None, :], (*shape, horizon + 1, 2)).astype(np.float32)
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64), path, np.full(shape, valid))

    def take(self, index: tuple) -> PlanTable:
        """Some entries, as a table of their shape."""
        return PlanTable(self.seq[index], self.start[index], self.path[index], self.valid[index], self.box[index])

    def put(self, index: tuple, seq: Ints, start: Ints, path: Floats) -> None:
        """Overwrite some entries with valid plans."""
        self.seq[index], self.start[index], self.path[index], self.valid[index] = seq, start, path, True
        self.box[index] = boxes(path)

    def copy(self, index: tuple, other: PlanTable, source: tuple) -> None:
        """Overwrite some entries with entries of another table."""
        self.put(index, other.seq[source], other.start[source], other.path[source])

    def at(self, ticks: Ints) -> Floats:
        """Positions [..., k, 2] at ``ticks`` ([k] or [..., k])."""
        return at(self.path, self.start, ticks)


def boxes(path: Floats) -> Floats:
    """Bounding boxes [..., 2, 2] (lower corner, upper corner) of paths [..., H + 1, 2]."""
    from agentsc.protocol import _kernels

    box = np.empty((*path.shape[:-2], 2, 2), np.float32)
    flat = np.ascontiguousarray(path.reshape(-1, *path.shape[-2:]), np.float32)
    _kernels.boxes(flat, box.reshape(-1, 2, 2))
    return box


def at(path: Floats, start: Ints, ticks: Ints) -> Floats:
    """Positions [..., k, 2] of plans ``path`` [..., H + 1, 2] at ``ticks`` ([k] or [..., k])."""
    step = np.clip(ticks - start[..., None], 0, path.shape[-2] - 1)
    return np.take_along_axis(path, step[..., None], axis=-2)


def separated(
    path: Floats,
    start: Ints,
    other_path: Floats,
    other_start: Ints,
    distance: float | Floats,
    since_start: NDArray[np.bool_],
    near: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Whether each plan keeps clear of its counterpart from its start on, for ever.

    Args:
        path, other_path: [n, H + 1, 2], metres. start, other_start: [n], ticks.
        distance: centre distance to keep, metres.
        since_start: [n]; the counterpart exists from its own start on only (a pending plan, which
            is preceded by the committed one), otherwise at all times (resting before its start).
        near: [n], pairs whose bounding boxes come closer than ``distance``; worked out if not given.

    Returns:
        bool [n]. Exact over continuous time, both plans at rest after their ends included.
    """
    from agentsc.protocol import _kernels

    clear = np.empty(len(path), bool)
    # Most pairs never share any space: their bounding boxes settle it.
    if near is None:
        near = gaps(boxes(path), boxes(other_path)) < distance
    each = np.broadcast_to(np.asarray(distance, np.float32), len(path))
    path, other_path = (np.ascontiguousarray(part, np.float32) for part in (path, other_path))
    _kernels.separated(path, start, other_path, other_start, each, since_start, near, clear)
    return clear


def gaps(box: Floats, other: Floats) -> Floats:
    """Gap [...] between bounding boxes [..., 2, 2]: a lower bound on the distance of what they hold."""
    return np.maximum(box[..., 0, :] - other[..., 1, :], other[..., 0, :] - box[..., 1, :]).max(-1)
