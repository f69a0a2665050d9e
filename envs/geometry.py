"""Static obstacles and the one signed-distance function that everything here measures with.

Every obstacle is a rounded box ``(cx, cy, hx, hy, r)``: centre, half extents, corner radius; a
circle has ``hx == hy == r``. An optional wall ``(xmin, ymin, xmax, ymax)`` makes everything
outside it solid. Guidance, checker, monitor and metric share this distance, so they cannot
disagree about what is free.

The distance to a rounded box grows with each of ``|x - cx|`` and ``|y - cy|``. Over a raster cell
its least and greatest values are therefore closed forms, and a box that is never the nearest one
anywhere in the cell can be dropped *exactly*. A query gathers the few boxes left in its cell.

Formulas are written once over an array namespace (numpy or torch). On numpy arrays, `Obstacles` and
`segment_clearance` answer by their compiled twins in `envs/_kernels.py`. Reference for the box formula:
I. Quilez, "2D distance functions" (the exact box, offset by the corner radius).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.errors import ConfigError

if TYPE_CHECKING:
    import torch

Array = Any
"""A float32 numpy array or torch tensor."""
Bounds = tuple[float, float, float, float]

_MAX_CELLS = 1 << 20
_TINY = 1e-30  # keeps square roots differentiable at zero; far below a float32 length's rounding


class Field(NamedTuple):
    """The arrays of a distance query, all numpy or all torch tensors on one device."""

    origin: Array  # float32 [2], lower corner of the raster, metres
    inverse: float  # raster cells per metre
    shape: tuple[int, int]  # raster cells (nx, ny)
    candidates: Array  # int [K, nx * ny], box numbers; the last box is a dummy, infinitely far away
    boxes: Array  # float32 [5, M + 1]: cx, cy, hx - r, hy - r, r
    wall: Array | None  # float32 [4]: centre and half extents of the wall
    cutoff: float  # metres


def signed_distance(field: Field, points: Array) -> Array:
    """Distance to the nearest solid point: see `Obstacles.signed_distance`.

    Args:
        field: from `Obstacles.field` (numpy) or `Obstacles.tensors` (torch).
        points: float32 [..., 2], metres, of the same kind as the field.

    Returns:
        float32 [...], metres.
    """
    xp = _namespace(points)
    flat = points.reshape(-1, 2)
    distance = _nearest(xp, field, flat[:, 0], flat[:, 1])[0]
    return distance.reshape(points.shape[:-1])


def distance_and_gradient(field: Field, points: Array) -> tuple[Array, Array]:
    """Distance and its gradient: see `Obstacles.distance_and_gradient`.

    Args:
        field: from `Obstacles.field` (numpy) or `Obstacles.tensors` (torch).
        points: float32 [..., 2], metres, of the same kind as the field.

    Returns:
        float32 [...] and [..., 2].
    """
    xp = _namespace(points)
    flat = points.reshape(-1, 2)
    x, y = flat[:, 0], flat[:, 1]
    distance, box, is_wall = _nearest(xp, field, x, y, want_box=True)
    cx, cy, hx, hy, _ = field.boxes[:, box]
    gx, gy = _box_gradient(xp, x - cx, y - cy, hx, hy)
    if field.wall is not None:
        wx, wy, wide, high = field.wall
        ox, oy = _box_gradient(xp, x - wx, y - wy, wide, high)
        gx, gy = xp.where(is_wall, -ox, gx), xp.where(is_wall, -oy, gy)
    within = distance < field.cutoff
    gradient = xp.stack([gx * within, gy * within], -1)
    return distance.reshape(points.shape[:-1]), gradient.reshape(points.shape)


def _namespace(array: Array) -> Any:
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def _at_least(array: Array, low: float) -> Array:
    # numpy's own clip is several times slower than its ufuncs on the few points of one lane
    return np.maximum(array, low) if isinstance(array, (np.ndarray, np.generic)) else array.clamp(min=low)


def _at_most(array: Array, high: float) -> Array:
    return np.minimum(array, high) if isinstance(array, (np.ndarray, np.generic)) else array.clamp(max=high)


def _box_distance(xp: Any, dx: Array, dy: Array, hx: Array, hy: Array) -> Array:
    """Signed distance to a sharp box from offsets to its centre."""
    qx, qy = xp.abs(dx) - hx, xp.abs(dy) - hy
    ox, oy = _at_least(qx, 0.0), _at_least(qy, 0.0)
    outside = xp.sqrt(_at_least(ox * ox + oy * oy, _TINY))
    return outside + _at_most(xp.maximum(qx, qy), 0.0)


def box_distance(points: ArrayLike, boxes: ArrayLike) -> NDArray[np.float32]:
    """Signed distance of points [..., 2] to one rounded box each, rows [..., 5] as in `Obstacles` (broadcast).

    Returns:
        float32 [...], metres; not clipped.
    """
    at, box = np.asarray(points, np.float32), np.asarray(boxes, np.float32)
    offset, inner = at - box[..., :2], box[..., 2:4] - box[..., 4:5]
    each = _box_distance(np, offset[..., 0], offset[..., 1], inner[..., 0], inner[..., 1]) - box[..., 4]
    return np.asarray(each, np.float32)


def _box_gradient(xp: Any, dx: Array, dy: Array, hx: Array, hy: Array) -> tuple[Array, Array]:
    """Unit gradient of `_box_distance`; at ridges and centres, one of the valid directions."""
    qx, qy = xp.abs(dx) - hx, xp.abs(dy) - hy
    ox, oy = _at_least(qx, 0.0), _at_least(qy, 0.0)
    length = xp.sqrt(_at_least(ox * ox + oy * oy, _TINY))
    inside = xp.maximum(qx, qy) <= 0
    along_x = qx > qy
    one = xp.ones_like(dx)
    gx = xp.where(inside, along_x * one, ox / length)
    gy = xp.where(inside, one - along_x * one, oy / length)
    return xp.copysign(gx, dx), xp.copysign(gy, dy)


def _nearest(
    xp: Any, field: Field, x: Array, y: Array, want_box: bool = False
) -> tuple[Array, Array | None, Array | None]:
    """Clipped distance [N]; on request also the nearest box [N] and whether the wall is nearer."""
    nx, ny = field.shape
    # Clip before the cast: a point far outside must not overflow the integer.
    ix = _at_most(_at_least((x - field.origin[0]) * field.inverse, 0.0), nx - 1.0)
    iy = _at_most(_at_least((y - field.origin[1]) * field.inverse, 0.0), ny - 1.0)
    if xp is np:
        cell = ix.astype(np.int32) * ny + iy.astype(np.int32)
        number = field.candidates.take(cell, axis=1)
        cx, cy, hx, hy, r = field.boxes.take(number, axis=1)
    else:
        cell = ix.long() * ny + iy.long()
        number = field.candidates[:, cell]
        cx, cy, hx, hy, r = field.boxes[:, number]
    each = _box_distance(xp, x - cx, y - cy, hx, hy) - r
    distance = xp.amin(each, 0)
    box = is_wall = None
    if want_box:
        first = xp.argmin(each, 0)[None]
        box = (np.take_along_axis if xp is np else xp.take_along_dim)(number, first, 0)[0]
    if field.wall is not None:
        wx, wy, wide, high = field.wall
        wall = -_box_distance(xp, x - wx, y - wy, wide, high)
        is_wall = wall < distance
        distance = xp.minimum(wall, distance)
    return _at_most(distance, field.cutoff), box, is_wall


class Obstacles:
    """Immutable static geometry with an exact, fast signed distance.

    Args:
        boxes: float [M, 5] rows ``(cx, cy, hx, hy, corner_radius)``, metres; M may be 0.
        bounds: ``(xmin, ymin, xmax, ymax)`` of the surrounding wall, or None for an open plane.
        cutoff: distances are exact up to here and clipped beyond, metres.

    Raises:
        ConfigError: a box, the bounds or the cutoff is not finite or has no extent.
    """

    def __init__(self, boxes: ArrayLike = (), bounds: Bounds | None = None, cutoff: float = 2.0) -> None:
        array = np.array(boxes, dtype=np.float32).reshape(-1, 5)
        half = array[:, 2:4].min(axis=1, initial=np.inf)
        sound = np.isfinite(array).all(axis=1) & (array[:, 4] >= 0) & (half > 0) & (array[:, 4] <= half)
        if not sound.all():
            row = int(np.argmin(sound))
            raise ConfigError(
                f"obstacles.boxes[{row}] must be finite (cx, cy, hx, hy, corner_radius) with positive half "
                f"extents and 0 <= corner_radius <= min(hx, hy), got {array[row].tolist()} (metres)"
            )
        if bounds is not None:
            bounds = (float(bounds[0]), float(bounds[1]), float(bounds[2]), float(bounds[3]))
            if not (np.isfinite(bounds).all() and bounds[0] < bounds[2] and bounds[1] < bounds[3]):
                raise ConfigError(
                    f"obstacles.bounds must be finite with xmin < xmax and ymin < ymax, got {bounds} (metres)"
                )
        if not (np.isfinite(cutoff) and cutoff > 0):
            raise ConfigError(
                f"obstacles.cutoff must be positive and finite, got {cutoff} (metres up to which "
                "distances are exact)"
            )
        array.setflags(write=False)
        self.boxes: NDArray[np.float32] = array
        self.bounds = bounds
        self.cutoff = float(cutoff)

    @classmethod
    def from_grid(cls, blocked: NDArray[np.bool_], cell: float = 1.0, cutoff: float = 2.0) -> Obstacles:
        """Blocked cells of a grid map as few boxes, inside a wall around the map.

        Cell ``(row, column)`` is the square ``[column, column + 1] x [row, row + 1] * cell``.

        Args:
            blocked: bool [rows, columns].
            cell: side of a cell, metres.
            cutoff: as for `Obstacles`.
        """
        blocked = np.asarray(blocked, dtype=bool)
        y0, x0, y1, x1 = merge_cells(blocked).T * cell
        boxes = np.stack([x0 + x1, y0 + y1, x1 - x0, y1 - y0, 0.0 * x0], axis=1) / 2
        rows, columns = blocked.shape
        return cls(boxes, (0.0, 0.0, columns * cell, rows * cell), cutoff)

    def extent(self, spots: ArrayLike = (), margin: float = 0.0) -> tuple[Array, Array]:
        """Lower and upper corner [2] of the box around all boxes, the wall and ``spots`` [N, 2]."""
        corners = [
            self.boxes[:, :2] - self.boxes[:, 2:4],
            self.boxes[:, :2] + self.boxes[:, 2:4],
            np.reshape(self.bounds if self.bounds is not None else (), (-1, 2)),
            np.reshape(np.asarray(spots, dtype=np.float32), (-1, 2)),
        ]
        every = np.concatenate(corners).astype(np.float32)
        if not len(every):
            every = np.zeros((1, 2), np.float32)
        return every.min(axis=0) - margin, every.max(axis=0) + margin

    @cached_property
    def field(self) -> Field:
        """The numpy arrays of a query, built on first use."""
        return _build(self)

    @cached_property
    def plain(self) -> tuple[Any, ...]:
        """The same arrays as a compiled kernel takes them; a missing wall is one infinitely far away."""
        field = self.field
        endless = np.array([0.0, 0.0, np.inf, np.inf], np.float32)
        wall = endless if field.wall is None else field.wall
        inverse, cutoff = np.float32(field.inverse), np.float32(field.cutoff)
        return field.origin, inverse, *field.shape, field.candidates, field.boxes, wall, cutoff

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("field", "plain")}

    def tensors(self, device: str | torch.device = "cpu") -> Field:
        """The same arrays as torch tensors, for `signed_distance` and `distance_and_gradient`."""
        import torch

        field = self.field

        def move(array: Array) -> Any:
            return torch.from_numpy(np.array(array)).to(device)

        return field._replace(
            origin=move(field.origin),
            candidates=move(field.candidates.astype(np.int64)),
            boxes=move(field.boxes),
            wall=None if field.wall is None else move(field.wall),
        )

    def signed_distance(self, points: ArrayLike) -> NDArray[np.float32]:
        """Distance to the nearest solid point, metres; negative inside solids.

        Outside solids it is exact up to ``cutoff`` and clipped to it beyond. Inside, it is negative
        and at most the depth in size (boxes overlap). It changes by at most the distance moved.

        Args:
            points: [..., 2], metres, finite.

        Returns:
            float32 [...].
        """
        from envs import _kernels

        array = np.asarray(points, dtype=np.float32)
        flat = np.ascontiguousarray(array.reshape(-1, 2))
        distance = np.empty(len(flat), np.float32)
        _kernels.signed_distance(flat, *self.plain, distance)
        return distance.reshape(array.shape[:-1])

    def distance_and_gradient(self, points: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distance, and its gradient: the unit vector away from the nearest surface.

        The gradient is zero where the distance is clipped, and finite everywhere.

        Args:
            points: [..., 2], metres, finite.

        Returns:
            float32 [...] and float32 [..., 2].
        """
        from envs import _kernels

        array = np.asarray(points, dtype=np.float32)
        flat = np.ascontiguousarray(array.reshape(-1, 2))
        distance, gradient = np.empty(len(flat), np.float32), np.empty_like(flat)
        _kernels.distance_and_gradient(flat, *self.plain, distance, gradient)
        return distance.reshape(array.shape[:-1]), gradient.reshape(array.shape)


def _build(obstacles: Obstacles) -> Field:
    """Raster of candidate boxes: every box that is nearest to some point of a cell is listed there."""
    boxes, cutoff = obstacles.boxes, obstacles.cutoff
    # Beyond the wall the wall decides; on an open plane everything outside the raster is beyond cutoff.
    if obstacles.bounds is None:
        low, high = obstacles.extent(margin=cutoff)
    else:
        low, high = np.array(obstacles.bounds, np.float32).reshape(2, 2)
    size = max(cutoff / 8, float(np.sqrt(np.prod(high - low, dtype=np.float64) / _MAX_CELLS)))
    nx, ny = (int(n) for n in np.maximum(np.ceil((high - low) / size), 1))
    half = size * 0.5001  # a hair more than half, so that rounding cannot put a point outside its cell

    inner = boxes[:, 2:4] - boxes[:, 4:5]
    first = np.floor((boxes[:, :2] - boxes[:, 2:4] - cutoff - low) / size - 0.01).clip(0, (nx, ny))
    last = np.ceil((boxes[:, :2] + boxes[:, 2:4] + cutoff - low) / size + 0.01).clip(0, (nx, ny))
    span = (last - first).astype(np.int64)
    count = span.prod(axis=1)
    box = np.repeat(np.arange(len(boxes)), count)
    within = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
    ix = first[box, 0].astype(np.int64) + within // span[box, 1]
    iy = first[box, 1].astype(np.int64) + within % span[box, 1]
    cell = ix * ny + iy
    dx = np.abs(low[0] + (ix + 0.5) * size - boxes[box, 0])
    dy = np.abs(low[1] + (iy + 0.5) * size - boxes[box, 1])
    hx, hy, r = inner[box, 0], inner[box, 1], boxes[box, 4]
    least = _box_distance(np, (dx - half).clip(0), (dy - half).clip(0), hx, hy) - r
    most = _box_distance(np, dx + half, dy + half, hx, hy) - r
    bound = np.full(nx * ny, cutoff)
    np.minimum.at(bound, cell, most)
    keep = np.flatnonzero(least <= bound[cell] + 1e-5 * size)
    keep = keep[np.lexsort((least[keep], cell[keep]))]
    cell, box = cell[keep], box[keep]
    rank = np.arange(len(cell)) - np.searchsorted(cell, cell)
    candidates = np.full((max(int(rank.max(initial=0)) + 1, 1), nx * ny), len(boxes), np.int32)
    candidates[rank, cell] = box

    packed = np.zeros((5, len(boxes) + 1), np.float32)
    packed[:2, :-1], packed[2:4, :-1], packed[4, :-1] = boxes[:, :2].T, inner.T, boxes[:, 4]
    packed[4, -1] = -1e6  # the dummy: a million metres away from everywhere
    wall = None
    if obstacles.bounds is not None:
        wall = np.concatenate([(low + high) / 2, (high - low) / 2]).astype(np.float32)
    return Field(low.astype(np.float32), 1.0 / size, (nx, ny), candidates, packed, wall, cutoff)


def merge_cells(blocked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Few rectangles whose union is the blocked cells, overlapping so that no seam is left inside.

    Every inner corner and edge of the blocked area lies strictly inside some rectangle; otherwise
    the distance would rise to zero along seams between rectangles, inside solid rock.

    Args:
        blocked: bool [rows, columns].

    Returns:
        int64 [M, 4]: first row, first column, end row, end column (ends exclusive).
    """
    rows, columns = blocked.shape
    table = np.zeros((rows + 1, columns + 1), np.int64)
    table[1:, 1:] = blocked.cumsum(axis=0).cumsum(axis=1)
    total = table.tolist()  # plain lists: scalar access is several times faster

    def full(y0: int, x0: int, y1: int, x1: int) -> bool:
        if y0 < 0 or x0 < 0 or y1 > rows or x1 > columns:
            return False
        area = total[y1][x1] - total[y0][x1] - total[y1][x0] + total[y0][x0]
        return bool(area == (y1 - y0) * (x1 - x0))

    def grow(y0: int, x0: int, y1: int, x1: int, wide_first: bool) -> tuple[int, int, int, int]:
        for wide in (wide_first, not wide_first):
            if wide:
                while full(y0, x0 - 1, y1, x0):
                    x0 -= 1
                while full(y0, x1, y1, x1 + 1):
                    x1 += 1
            else:
                while full(y0 - 1, x0, y0, x1):
                    y0 -= 1
                while full(y1, x0, y1 + 1, x1):
                    y1 += 1
        return y0, x0, y1, x1

    found: list[tuple[int, int, int, int]] = []
    # Seeds: 2x2 blocks (inner corners), then pairs of cells (inner edges), then single cells.
    for high, wide in ((2, 2), (2, 1), (1, 2), (1, 1)):
        shape = (max(rows - high + 1, 0), max(columns - wide + 1, 0))
        seeds = np.ones(shape, bool)
        for dy in range(high):
            for dx in range(wide):
                seeds &= blocked[dy : dy + shape[0], dx : dx + shape[1]]
        for y0, x0, y1, x1 in found:
            seeds[y0 : max(y1 - high + 1, y0), x0 : max(x1 - wide + 1, x0)] = False
        for y, x in np.argwhere(seeds).tolist():
            if seeds[y, x]:
                seed = (y, x, y + high, x + wide)
                best = max(
                    (grow(*seed, True), grow(*seed, False)), key=lambda r: (r[2] - r[0]) * (r[3] - r[1])
                )
                found.append(best)
                seeds[best[0] : best[2] - high + 1, best[1] : best[3] - wide + 1] = False
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def segment_closest(p0: Array, p1: Array, q0: Array, q1: Array) -> Array:
    """Least distance, over continuous time, of two points that move linearly in the same interval.

    Args:
        p0, p1: [..., 2] first point at the interval's start and end (numpy or torch; broadcast).
        q0, q1: [..., 2] second point.

    Returns:
        [...], the same unit.
    """
    xp = _namespace(p0)
    # One coordinate at a time: sums over a last axis of two are slow.
    (ax, ay), (bx, by) = (((p[..., 0] - q[..., 0]), (p[..., 1] - q[..., 1])) for p, q in ((p0, q0), (p1, q1)))
    dx, dy = bx - ax, by - ay
    along = -(ax * dx + ay * dy)
    time = xp.clip(along / xp.clip(dx * dx + dy * dy, _TINY, None), 0.0, 1.0)
    x, y = ax + time * dx, ay + time * dy
    return xp.sqrt(xp.clip(x * x + y * y, _TINY, None))


def segment_clearance(
    obstacles: Obstacles,
    p0: ArrayLike,
    p1: ArrayLike,
    threshold: float | None = None,
    tolerance: float = 1e-3,
) -> NDArray[np.float32]:
    """Least signed distance along straight segments, never overestimated.

    The distance changes by at most the length moved, so between two samples it is at least
    ``(d0 + d1 - length) / 2``. Stretches where that bound is not good enough are halved.

    Args:
        obstacles: the geometry.
        p0, p1: [..., 2] ends of the segments, metres (broadcast).
        threshold: bounds at or above this are good enough and not refined (None: refine all).
        tolerance: elsewhere the result is at most this far below the exact value, metres.

    Returns:
        float32 [...], a lower bound, metres.
    """
    from envs import _kernels

    start, end = np.broadcast_arrays(np.asarray(p0, np.float32), np.asarray(p1, np.float32))
    shape = start.shape[:-1]
    start, end = (np.ascontiguousarray(each.reshape(-1, 2)) for each in (start, end))
    clearance = np.empty(len(start), np.float32)
    good = np.float32(np.inf if threshold is None else threshold)
    _kernels.segment_clearance(start, end, *obstacles.plain, good, np.float32(tolerance), clearance)
    return clearance.reshape(shape)


def segment_inside(
    obstacles: Obstacles, p0: ArrayLike, p1: ArrayLike, tolerance: float = 0.02
) -> NDArray[np.float32]:
    """How much of straight segments lies inside solids, metres.

    Args:
        obstacles: the geometry.
        p0, p1: [..., 2] ends of the segments, metres, finite (broadcast).
        tolerance: how far each crossing of a surface may be misjudged, metres; at least 1/4096 of the segment.

    Returns:
        float32 [...].
    """
    from envs import _kernels

    start, end = np.broadcast_arrays(np.asarray(p0, np.float32), np.asarray(p1, np.float32))
    shape = start.shape[:-1]
    start, end = (np.ascontiguousarray(each.reshape(-1, 2)) for each in (start, end))
    length = np.empty(len(start), np.float32)
    _kernels.segment_inside(start, end, *obstacles.plain, np.float32(tolerance), length)
    return length.reshape(shape)
