"""Places to rest at and ways between them, and who is in whose way: what a complete search runs on.

Places lie on a square grid of a given pitch through the map, wherever an agent fits; edges lead to the
eight neighbours, wherever it fits all along. Starts and goals are places of their own, joined by straight
edges. Nothing else is assumed about the map: which edges an agent at rest is in the way of is worked out from
the distance between a point and a segment, so pitch and separation need not match.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint.lattice import SNUG, Floats, fits
from envs.world import World

Numbers = NDArray[np.int32]
CLOSE = 0.1
"""A start or goal this near (in pitches) to a place of the grid is joined to that place alone."""
NEIGHBOUR = 1.5
"""Others are joined to all places that are nearer than this, in pitches."""
LENGTH_UNITS = 32
"""Lengths are counted in these parts of a pitch."""
ROOMIER = 1.0 + 1e-4
"""Distances are kept with this factor, so that rounding of way-points never brings agents too close."""
UNREACHED = np.int32(1 << 28)


@dataclass(frozen=True)
class Graph:
    """Places, the edges between them, and conflicts.

    Attributes:
        place: float32 [place, 2], metres. pitch, distance: metres.
        ends: int32 [edge, 2], places. length: int32 [edge], in `LENGTH_UNITS` to a pitch, at least 1.
        first, to, by: leaving place p are the arcs first[p] … first[p + 1] − 1: the place and the edge of each.
        first_near, near: places nearer than the distance to edge e, its ends included, are
            near[first_near[e]] … near[first_near[e + 1] − 1].
    """

    place: Floats
    pitch: float
    distance: float
    ends: Numbers
    length: Numbers
    first: Numbers
    to: Numbers
    by: Numbers
    first_near: Numbers
    near: Numbers

    @classmethod
    def of(cls, world: World, points: Floats, distance: float, parts: int = 1) -> tuple[Graph, Numbers]:
        """The graph of a map, and the places [...] of some points.

        Args:
            points: float32 [..., 2], metres, starts and goals. distance: centre distance to keep, metres.
            parts: places per planning cell, or per distance where that is longer.
        """
        pitch = max(world.cell, 1.01 * distance) / parts
        grid = _grid(world, pitch)
        place, number = _with_points(grid, points.reshape(-1, 2), pitch)
        ends = _edges(world, place, len(grid), pitch)
        graph = cls.joined(place, ends, pitch, distance)
        return graph, number.reshape(points.shape[:-1])

    @classmethod
    def joined(cls, place: Floats, ends: Numbers, pitch: float, distance: float) -> Graph:
        """Places [n, 2] joined by edges [m, 2], and the conflicts that follow from where they are."""
        distance = distance * ROOMIER
        gap = np.linalg.norm(place[ends[:, 0]] - place[ends[:, 1]], axis=-1)
        length = np.maximum(np.rint(gap * (LENGTH_UNITS / pitch)), 1).astype(np.int32)
        tail, head = np.concatenate([ends, ends[:, ::-1]]).T
        edge = np.tile(np.arange(len(ends), dtype=np.int32), 2)
        order = np.lexsort((head, tail))
        first = np.searchsorted(tail[order], np.arange(len(place) + 1)).astype(np.int32)
        first_near, near = _near(place, ends, gap, distance)
        return cls(place, pitch, distance, ends, length, first, head[order], edge[order], first_near, near)

    def lengths_to(self, goals: Numbers) -> Numbers:
        """Shortest ways [goal, place], in the units of ``length``; `UNREACHED` where there is none."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import dijkstra

        count = len(self.place)
        ways = csr_array((self.length[self.by].astype(float), self.to, self.first), shape=(count, count))
        far = dijkstra(ways, indices=goals)
        return np.minimum(far, UNREACHED).astype(np.int32)


def _grid(world: World, pitch: float) -> Floats:
    """Places [n, 2] where an agent fits, through the middle of the map, row by row."""
    low, high = np.array(world.bounds, np.float64).reshape(2, 2)
    count = np.maximum(np.floor((high - low) / pitch + 1e-6), 1)
    # Halving the pitch of a grid map keeps the cells' centres.
    if pitch < world.cell:
        parts = round(world.cell / pitch)
        count = np.maximum(parts * np.floor((high - low) / world.cell + 1e-6) - parts + 1, 1)
    origin = (low + high - pitch * (count - 1)) / 2
    columns, rows = count.astype(int).tolist()
    y, x = np.mgrid[:rows, :columns]
    spots = (origin + pitch * np.stack([x.ravel(), y.ravel()], -1)).astype(np.float32)
    return spots[world.obstacles.signed_distance(spots) >= SNUG * world.radius]


def _with_points(grid: Floats, points: Floats, pitch: float) -> tuple[Floats, Numbers]:
    """The places and points [n, 2] that are not among them, and the number of each point's place."""
    known = {tuple(spot): number for number, spot in enumerate(grid.tolist())}
    place = grid.tolist()
    number = np.empty(len(points), np.int32)
    for k, point in enumerate(points.tolist()):
        if tuple(point) not in known:
            known[tuple(point)] = len(place)
            place.append(point)
        number[k] = known[tuple(point)]
    return np.array(place, np.float32).reshape(-1, 2), number


def _edges(world: World, place: Floats, on_grid: int, pitch: float) -> Numbers:
    """Edges [m, 2] where an agent fits all along; the first ``on_grid`` places are the grid's."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(place).query_pairs(NEIGHBOUR * pitch, output_type="ndarray").astype(np.int32)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    gap = np.linalg.norm(place[pairs[:, 0]] - place[pairs[:, 1]], axis=-1)
    # A point that all but lies on a place of the grid is reached from there, and needs no other edges.
    tied = (pairs[:, 0] < on_grid) & (pairs[:, 1] >= on_grid) & (gap < CLOSE * pitch)
    close = np.zeros(len(place), bool)
    close[pairs[tied, 1]] = True
    pairs = pairs[tied | ~close[pairs].any(1)]
    return pairs[fits(world, place[pairs[:, 0]], place[pairs[:, 1]])]


def _near(place: Floats, ends: Numbers, gap: Floats, distance: float) -> tuple[Numbers, Numbers]:
    """Places within the distance of each edge: (first [m + 1], place [k])."""
    from scipy.spatial import cKDTree

    a, b = place[ends[:, 0]].astype(np.float64), place[ends[:, 1]].astype(np.float64)
    found = cKDTree(place).query_ball_point((a + b) / 2, gap / 2 + distance)
    edge = np.repeat(np.arange(len(ends)), [len(each) for each in found])
    near = np.array([number for each in found for number in sorted(each)], np.int64)
    kept = _to_segment(place[near], a[edge], b[edge]) < distance
    edge, near = edge[kept], near[kept]
    return np.searchsorted(edge, np.arange(len(ends) + 1)).astype(np.int32), near.astype(np.int32)


def _to_segment(point: Floats, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances [n] of points to segments a–b [n, 2]."""
    way = b - a
    share = ((point - a) * way).sum(-1) / np.maximum((way * way).sum(-1), 1e-30)
    off = point - (a + way * np.clip(share, 0.0, 1.0)[:, None])
    return np.asarray(np.linalg.norm(off, axis=-1))


def apart(place: Floats, chosen: Numbers) -> float:
    """Least distance of two of the places chosen [n], metres; ``inf`` for one."""
    spots = place[chosen].astype(np.float64)
    first, second = np.triu_indices(len(chosen), 1)
    return float(np.linalg.norm(spots[first] - spots[second], axis=-1).min(initial=np.inf))
