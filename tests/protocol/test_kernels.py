"""The planner's compiled loops against the array formulas that they stand for, on random inputs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from agentsc.protocol import _kernels
from agentsc.protocol.beliefs import Believed
from agentsc.protocol.plans import boxes, gaps, separated
from agentsc.protocol.space_time import Foresight, foresee
from envs.geometry import Obstacles, segment_closest
from envs.navigation import MOVES, NavigationGrid
from policies.trajectory.route import Guide

STEPS, STEP_S, SPEED, DISTANCE, FAR = 6, 0.9, 1.1, 0.7, 1e6


@pytest.fixture(scope="module")
def guide() -> Guide:
    blocked = np.random.default_rng(3).random((9, 11)) < 0.25
    obstacles = Obstacles.from_grid(blocked)
    return Guide(NavigationGrid(obstacles, 0.3, 1.0), obstacles, 0.42, 8.0)


def look(guide: Guide, seed: int) -> tuple[Foresight, NDArray, NDArray, NDArray]:
    """Foresight of five agents among four walkers each; starts, walkers and penalties."""
    rng = np.random.default_rng(seed)
    free = guide.grid.point(*np.nonzero(guide.grid.free))
    start, goal = rng.choice(free, 5), guide.goal_index(rng.choice(free, 5))
    hops = rng.uniform(-0.5, 0.5, (5, 4, 2 * STEPS + 1, 2))
    peers = (start[:, None, None] + rng.uniform(-3, 3, (5, 4, 1, 2)) + np.cumsum(hops, 2)).astype(np.float32)
    penalty = (rng.uniform(0, 4, (5, 4, STEPS + 1)) * (rng.random((5, 4, 1)) < 0.7)).astype(np.float32)
    return foresee(guide, start, goal, peers, penalty, DISTANCE, STEPS, STEP_S, SPEED), goal, peers, penalty


def window(guide: Guide, seen: Foresight, table: NDArray, outside: float) -> NDArray:
    """``table`` [n or 1, ..., row, column] cut to each agent's window [n, ..., side, side]."""
    side = seen.value.shape[2]
    wide = np.pad(table, [(0, 0)] * (table.ndim - 2) + [(side, side)] * 2, constant_values=outside)
    corner = (seen.corner + side).tolist()
    return np.stack(
        [wide[n % len(wide), ..., r : r + side, c : c + side] for n, (r, c) in enumerate(corner)]
    )


@pytest.mark.parametrize("seed", range(6))
def test_foresight_is_value_iteration_over_arrays(guide: Guide, seed: int) -> None:
    seen, goal, peers, penalty = look(guide, seed)
    side = seen.value.shape[2]
    # Charged within the distance of a peer, on nodes and the mid-points between them, half a step each.
    half = np.arange(2 * side + 1)
    first = guide.grid.point(seen.corner[:, 0], seen.corner[:, 1]) - 0.5 * guide.grid.cell
    x, y = (first[:, k, None] + 0.5 * guide.grid.cell * half for k in (0, 1))
    spots = np.stack(np.broadcast_arrays(x[:, None, :], y[:, :, None]), -1)
    away = np.linalg.norm(peers[:, :, :, None, None] - spots[:, None, None], axis=-1)
    fee = 0.5 * np.repeat(penalty, 2, 2)[:, :, : 2 * STEPS + 1, None, None]
    charges = (fee * (away < DISTANCE)).sum(1)
    np.testing.assert_allclose(seen.tolls, charges[:, ::2, 1::2, 1::2], atol=1e-4)
    assert (seen.tolls > 0).any()

    to_go = window(guide, seen, guide.fields[goal].reshape(-1, *guide.grid.shape), np.inf) / SPEED
    np.testing.assert_allclose(seen.to_go, to_go, rtol=1e-5)
    price = np.where(np.isfinite(window(guide, seen, guide.grid.costs[None], np.inf)), 0.0, FAR)
    pause = np.where(to_go <= 0.5 * guide.grid.cell / SPEED, 0.0, STEP_S)
    value = np.minimum(to_go, FAR)
    np.testing.assert_allclose(seen.value[:, STEPS], value, rtol=1e-5)
    for k in range(STEPS - 1, -1, -1):
        onward = np.pad(value + charges[:, 2 * k + 2, 1::2, 1::2], [(0, 0), (1, 1), (1, 1)], constant_values=FAR)
        value = onward[:, 1:-1, 1:-1] + pause + charges[:, 2 * k + 1, 1::2, 1::2]
        for m, (dy, dx) in enumerate(MOVES.tolist()):
            seconds = STEP_S * (1.1 if dy and dx else 1.02)
            between = charges[:, 2 * k + 1, 1 + dy : 2 * side + dy : 2, 1 + dx : 2 * side + dx : 2]
            there = onward[:, 1 + dy : 1 + dy + side, 1 + dx : 1 + dx + side]
            value = np.minimum(value, there + seconds + price[:, m] + between)
        known = value < 0.5 * FAR
        np.testing.assert_array_equal(seen.value[:, k] < 0.5 * FAR, known)
        np.testing.assert_allclose(seen.value[:, k][known], value[known], rtol=1e-4, atol=1e-3)


def test_the_way_costs_what_its_value_says(guide: Guide) -> None:
    """Where nobody charges anything, the first value is the time along the way and the rest of it."""
    seen, *_ = look(guide, 0)
    free = foresee(
        guide, seen.way[:, 0], np.arange(5) % len(guide.goals), np.full((5, 1, 2 * STEPS + 1, 2), 90, np.float32),
        np.ones((5, 1, STEPS + 1), np.float32), DISTANCE, STEPS, STEP_S, SPEED,
    )  # fmt: skip
    for n in range(5):
        node = np.rint((free.way[n] - guide.grid.origin) / guide.grid.cell).astype(int)[:, ::-1] - free.corner[n]
        hop = np.abs(np.diff(node, axis=0)).sum(1)
        home = free.to_go[n][tuple(node[:-1].T)] <= 0.5 * guide.grid.cell / SPEED
        seconds = np.where(hop == 0, np.where(home, 0.0, STEP_S), np.where(hop == 1, 1.02, 1.1) * STEP_S)
        rest = min(free.to_go[n][tuple(node[-1])], FAR)
        assert free.value[n][(0, *node[0])] == pytest.approx(seconds.sum() + rest, rel=1e-4)
        assert free.toll[n] == 0.0


def test_time_to_go_is_the_value_at_the_nearest_free_node(guide: Guide) -> None:
    seen, *_ = look(guide, 1)
    rng = np.random.default_rng(0)
    rows = np.array([4, 0, 2, 2, 1, 3])
    points = (seen.way[rows, :1] + rng.uniform(-8, 8, (6, 30, 2))).astype(np.float32)
    seconds = rng.uniform(0, 8, 30).astype(np.float32)
    static = rng.uniform(0, 5, (6, 30)).astype(np.float32)
    got = seen.time_to_go(rows, points, seconds, static)

    place = (points - guide.grid.origin) / guide.grid.cell
    around = np.floor(place)[..., None, ::-1].astype(int) + [[0, 0], [0, 1], [1, 0], [1, 1]]
    gap = np.linalg.norm(around - place[..., None, ::-1], axis=-1)
    r, c = np.moveaxis(around - seen.corner[rows][:, None, None], -1, 0)
    side = seen.value.shape[2]
    inside = (r >= 0) & (c >= 0) & (r < side) & (c < side)
    r, c = r.clip(0, side - 1), c.clip(0, side - 1)
    free = inside & np.isfinite(seen.to_go[rows[:, None, None], r, c])
    best = np.where(free, gap, np.inf).argmin(-1)[..., None]
    index = np.take_along_axis(r, best, -1)[..., 0], np.take_along_axis(c, best, -1)[..., 0]
    steps = [f(seconds / STEP_S).clip(0, STEPS).astype(int) for f in (np.floor, np.ceil)]
    least = np.minimum(*((seen.value + seen.tolls)[(rows[:, None], k, *index)] for k in steps))
    expected = np.where(free.any(-1), least + static - seen.to_go[(rows[:, None], *index)], FAR)
    assert (expected < 100).any() and (expected == FAR).any()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


def test_geodesic_goes_by_the_best_of_four_nodes(guide: Guide) -> None:
    look(guide, 2)
    rng = np.random.default_rng(1)
    rows, columns = guide.grid.shape
    goal_row = rng.integers(0, len(guide.goals), 8)
    points = rng.uniform(-1.5, 12.5, (8, 40, 2)).astype(np.float32)
    points[:, :5] = guide.goals[goal_row][:, None] + rng.uniform(-1, 1, (8, 5, 2)).astype(np.float32)
    metres = np.empty((8, 40), np.float32)
    origin, cell = guide.grid.origin, guide.grid.cell
    _kernels.geodesic(points, guide.goals[goal_row], goal_row, guide.fields, rows, columns, origin, cell, False, metres)

    place = (points - origin) / cell
    around = np.floor(place)[..., None, ::-1].astype(int) + [[0, 0], [0, 1], [1, 0], [1, 1]]
    r, c = np.moveaxis(around, -1, 0)
    inside = (r >= 0) & (c >= 0) & (r < rows) & (c < columns)
    field = guide.fields[goal_row[:, None, None], r.clip(0, rows - 1) * columns + c.clip(0, columns - 1)]
    way = np.where(inside, field + cell * np.linalg.norm(around - place[..., None, ::-1], axis=-1), FAR).min(-1)
    straight = np.linalg.norm(points - guide.goals[goal_row][:, None], axis=-1)
    assert (straight < 1.5 * cell).any() and (way == FAR).any()
    np.testing.assert_allclose(metres, np.where(straight < 1.5 * cell, straight, way), rtol=1e-4, atol=1e-4)


def test_separated_is_the_closest_approach_of_every_tick() -> None:
    rng = np.random.default_rng(4)
    count, last = 400, 6
    path, other = rng.uniform(-2, 2, (2, count, last + 1, 2)).astype(np.float32)
    start, other_start = rng.integers(0, 12, (2, count))
    since_start = rng.random(count) < 0.5
    said = separated(path, start, other, other_start, 0.3, since_start)
    tick = np.arange(24)
    a = path[:, np.minimum(tick, last)]
    then = tick + (start - other_start)[:, None]
    b = np.take_along_axis(other, then.clip(0, last)[..., None], 1)
    closest = segment_closest(a[:, :-1], a[:, 1:], b[:, :-1], b[:, 1:])
    closest[since_start[:, None] & (then[:, 1:] <= 0)] = np.inf
    assert 20 < said.sum() < count - 20
    np.testing.assert_array_equal(said, closest.min(1) >= np.float32(0.3))


def test_boxes_and_close_peers() -> None:
    rng = np.random.default_rng(5)
    path = rng.uniform(-1, 1, (3, 4, 2, 9, 2)).astype(np.float32)
    path += rng.uniform(-4, 4, (3, 4, 2, 1, 2)).astype(np.float32)
    known = boxes(path)
    np.testing.assert_array_equal(known, np.stack([path.min(-2), path.max(-2)], -2))
    assert boxes(path[:0]).shape == (0, 4, 2, 2, 2)
    valid = rng.random((3, 4, 2)) < 0.8
    row, self_id = np.array([2, 0, 1, 1, 2]), np.array([0, 1, 2, 3, 3])
    box = boxes(rng.uniform(-3, 3, (5, 9, 2)).astype(np.float32))
    close = np.empty((5, 4), bool)
    for slot in (0, 1):
        _kernels.close_peers(box, row, self_id, known, valid, 0.4, slot, close)
        near = gaps(box[:, None], known[row, :, slot]) < 0.4
        expected = near & valid[row, :, slot] & (np.arange(4) != self_id[:, None])
        assert expected.any() and not expected.all()
        np.testing.assert_array_equal(close, expected)


def test_disc_cost_is_the_sum_of_weighted_squared_hinges() -> None:
    rng = np.random.default_rng(6)
    points = rng.uniform(-1, 1, (4, 5, 17, 2)).astype(np.float32)
    discs = rng.uniform(-1, 1, (3, 6, 9, 2)).astype(np.float32)
    radius = rng.uniform(0.1, 0.8, (3, 6, 9)).astype(np.float32)
    weight = (rng.uniform(0, 1, (3, 6)) * (rng.random((3, 6)) < 0.7)).astype(np.float32)
    decay = (0.98 ** np.arange(9)).astype(np.float32)
    rows = np.array([2, 0, 1, 1])
    cost = np.empty((4, 5), np.float32)
    _kernels.disc_cost(points, 2, rows, discs, radius, weight, decay, cost)
    gap = np.linalg.norm(points[:, :, None, ::2] - discs[rows][:, None], axis=-1)
    hinge = np.maximum(radius[rows][:, None] - gap, 0.0)
    np.testing.assert_allclose(cost, (weight[rows][:, None] * (hinge**2 @ decay)).sum(-1), rtol=1e-4, atol=1e-5)


def test_beliefs_are_found_by_key_and_forgotten_by_age() -> None:
    store = Believed(horizon=3)
    keys = np.array([70, 5, 70, 9, 5], np.uint64)
    assert store.missing(keys).tolist() == [0, 1, 3], "the first of equal ones, in their order"
    path = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    store.put(keys[[0, 1, 3]], 10, path)
    assert store.missing(keys).tolist() == []
    held, spots = store.at(np.array([9, 4, 70], np.uint64), np.array([[10, 12], [0, 0], [0, 99]]))
    assert held.tolist() == [True, False, True]
    np.testing.assert_array_equal(spots, [path[2, [0, 2]], path[0, [0, 3]]])
    store.put(np.array([1], np.uint64), 20, path[:1])
    store.forget(20)
    assert store.missing(np.array([5, 1], np.uint64)).tolist() == [0]
