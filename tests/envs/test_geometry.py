"""The signed distance against closed forms and against all boxes one by one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs import geometry, keyed
from envs.errors import ConfigError
from envs.geometry import Obstacles, merge_cells, segment_clearance, segment_closest, segment_inside

CIRCLE = (0.0, 0.0, 0.5, 0.5, 0.5)


def brute_force(obstacles: Obstacles, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """The definition, in float64, over every box."""
    p = points.astype(np.float64)
    distance = np.full(p.shape[:-1], obstacles.cutoff)

    def box(centre: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.float64]:
        q = np.abs(p - centre) - half
        return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)

    for cx, cy, hx, hy, r in obstacles.boxes.astype(np.float64):
        distance = np.minimum(distance, box(np.array([cx, cy]), np.array([hx - r, hy - r])) - r)
    if obstacles.bounds is not None:
        low, high = np.array(obstacles.bounds[:2]), np.array(obstacles.bounds[2:])
        distance = np.minimum(distance, -box((low + high) / 2, (high - low) / 2))
    return distance


def random_obstacles(key: int, count: int, walled: bool, cutoff: float) -> Obstacles:
    draw = keyed.uniform(key, np.arange(count)[:, None], np.arange(5))
    half = 0.05 + 0.6 * draw[:, 2:4] ** 2
    corner = half.min(axis=1) * np.where(draw[:, 4] < 0.3, 0, draw[:, 4])
    round_ones = draw[:, 4] > 0.8
    half[round_ones] = half[round_ones].min(axis=1, keepdims=True)
    corner[round_ones] = half[round_ones, 0]
    boxes = np.column_stack([draw[:, :2] * 4 - 2, half, corner])
    return Obstacles(boxes, (-2.7, -2.7, 2.8, 2.9) if walled else None, cutoff)


obstacle_sets = st.builds(
    random_obstacles,
    st.integers(0, 10_000),
    st.sampled_from([0, 1, 3, 12, 40]),
    st.booleans(),
    st.sampled_from([0.1, 0.5, 2.0]),
)


def spots(key: int, count: int, reach: float = 2.6) -> NDArray[np.float32]:
    return ((keyed.uniform(key, np.arange(count)[:, None], np.arange(2)) * 2 - 1) * reach).astype(np.float32)


@pytest.mark.parametrize(
    ("box", "point", "expected"),
    [
        (CIRCLE, (1.5, 0.0), 1.0),
        (CIRCLE, (0.3, 0.4), 0.0),
        (CIRCLE, (0.0, 0.0), -0.5),
        ((1.0, 1.0, 0.5, 0.25, 0.0), (1.0, 1.75), 0.5),
        ((1.0, 1.0, 0.5, 0.25, 0.0), (1.8, 1.65), 0.5),  # 3-4-5 from the sharp corner
        ((1.0, 1.0, 0.5, 0.25, 0.0), (1.0, 1.0), -0.25),
        ((0.0, 0.0, 1.0, 1.0, 0.25), (1.0, 1.0), 0.25 * (np.sqrt(2) - 1)),  # from the rounded corner
        ((0.0, 0.0, 1.0, 1.0, 0.25), (1.5, 0.2), 0.5),
    ],
)
def test_distance_to_one_shape(box: tuple[float, ...], point: tuple[float, float], expected: float) -> None:
    assert Obstacles([box]).signed_distance(point) == pytest.approx(expected, abs=1e-6)


def test_wall_is_solid_outside() -> None:
    room = Obstacles(bounds=(0.0, 0.0, 4.0, 2.0))
    points = [(2.0, 1.0), (0.25, 1.0), (3.9, 0.05), (4.5, 1.0), (7.0, 6.0), (0.0, 0.7)]
    np.testing.assert_allclose(room.signed_distance(points), [1.0, 0.25, 0.05, -0.5, -5.0, 0.0], atol=1e-6)
    _, gradient = room.distance_and_gradient([(0.25, 1.0), (4.5, 1.0), (7.0, 6.0)])
    np.testing.assert_allclose(gradient, [(1.0, 0.0), (-1.0, 0.0), (-0.6, -0.8)], atol=1e-6)


def test_open_plane_is_clipped_to_the_cutoff() -> None:
    nothing = Obstacles(cutoff=0.7)
    distance, gradient = nothing.distance_and_gradient([(0.0, 0.0), (1e9, -1e9)])
    np.testing.assert_array_equal(distance, np.float32(0.7))
    np.testing.assert_array_equal(gradient, 0)
    far = Obstacles([CIRCLE], cutoff=0.7).signed_distance([(1.19, 0.0), (1.21, 0.0), (-300.0, 8.0)])
    np.testing.assert_allclose(far, [0.69, 0.7, 0.7], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(obstacles=obstacle_sets, key=st.integers(0, 1000))
def test_distance_equals_all_boxes_one_by_one(obstacles: Obstacles, key: int) -> None:
    points = spots(key, 3000)
    np.testing.assert_allclose(obstacles.signed_distance(points), brute_force(obstacles, points), atol=2e-6)


@settings(max_examples=20, deadline=None)
@given(obstacles=obstacle_sets, key=st.integers(0, 1000))
def test_distance_changes_by_at_most_the_way_moved(obstacles: Obstacles, key: int) -> None:
    a, b = spots(key, 1000, 4.0), spots(key + 1, 1000, 4.0)
    b[::2] = a[::2] + 0.02 * b[::2]
    change = np.abs(obstacles.signed_distance(a) - obstacles.signed_distance(b))
    assert (change <= np.linalg.norm(a - b, axis=1) + 3e-6).all()


@settings(max_examples=20, deadline=None)
@given(obstacles=obstacle_sets, key=st.integers(0, 1000))
def test_gradient_is_unit_and_matches_differences(obstacles: Obstacles, key: int) -> None:
    points = spots(key, 1000)
    distance, gradient = obstacles.distance_and_gradient(points)
    np.testing.assert_array_equal(distance, obstacles.signed_distance(points))
    length = np.linalg.norm(gradient, axis=1)
    clipped = distance == np.float32(obstacles.cutoff)
    np.testing.assert_allclose(length, np.where(clipped, 0.0, 1.0), atol=1e-5)
    # One step along it climbs by the step, except next to the few ridges where the distance folds.
    step = 1e-3
    climbed = (brute_force(obstacles, points + step * gradient) - brute_force(obstacles, points)) / step
    sound = np.abs(climbed - length) < 0.02
    assert sound.mean() > 0.97


def test_gradient_is_finite_in_the_awkward_places() -> None:
    obstacles = Obstacles([CIRCLE, (3.0, 0.0, 1.0, 0.5, 0.0)], (-2.0, -2.0, 6.0, 2.0))
    corners = [(0.0, 0.0), (3.0, 0.0), (4.0, 0.5), (3.5, 0.0), (-2.0, -2.0), (2.0, 0.5), (-50.0, -50.0)]
    _, gradient = obstacles.distance_and_gradient(corners)
    assert np.isfinite(gradient).all()
    assert (np.linalg.norm(gradient, axis=1) <= 1 + 1e-6).all()


@settings(max_examples=40, deadline=None)
@given(obstacles=obstacle_sets, key=st.integers(0, 1000))
def test_compiled_distance_is_the_array_formula(obstacles: Obstacles, key: int) -> None:
    points = spots(key, 500, 4.0)
    distance, gradient = obstacles.distance_and_gradient(points)
    there = geometry.distance_and_gradient(obstacles.field, points)
    np.testing.assert_array_equal(obstacles.signed_distance(points), distance)
    np.testing.assert_allclose(distance, there[0], atol=1e-6)
    # Where two surfaces are equally far, rounding decides which one it points away from.
    assert (np.abs(gradient - there[1]).max(axis=1) < 1e-4).mean() > 0.995
    strided = np.broadcast_to(points[:, None], (500, 2, 2))[::2]
    np.testing.assert_array_equal(obstacles.signed_distance(strided)[:, 1], distance[::2])


def test_torch_gives_the_same_numbers() -> None:
    torch = pytest.importorskip("torch")
    for walled in (False, True):
        obstacles = random_obstacles(5, 40, walled, 0.5)
        points = spots(9, 5000)
        distance, gradient = obstacles.distance_and_gradient(points)
        there = geometry.distance_and_gradient(obstacles.tensors("cpu"), torch.from_numpy(points))
        np.testing.assert_allclose(there[0].numpy(), distance, atol=1e-6)
        np.testing.assert_allclose(there[1].numpy(), gradient, atol=1e-6)
        again = geometry.signed_distance(obstacles.tensors("cpu"), torch.from_numpy(points[None, :, None]))
        np.testing.assert_allclose(again.numpy()[0, :, 0], distance, atol=1e-6)


def test_torch_autograd_gives_the_gradient() -> None:
    torch = pytest.importorskip("torch")
    obstacles = random_obstacles(6, 12, True, 2.0)
    points = torch.from_numpy(np.concatenate([spots(3, 500), obstacles.boxes[:, :2]])).requires_grad_()
    geometry.signed_distance(obstacles.tensors("cpu"), points).sum().backward()
    slope = points.grad.numpy()
    assert np.isfinite(slope).all()
    _, gradient = obstacles.distance_and_gradient(points.detach().numpy())
    assert (np.abs(slope[:500] - gradient[:500]).max(axis=1) < 1e-4).mean() > 0.99


def test_obstacles_travel_between_processes() -> None:
    obstacles = random_obstacles(5, 12, True, 0.5)
    points = spots(1, 100)
    before = obstacles.signed_distance(points)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(obstacles)).signed_distance(points), before)


@settings(max_examples=40, deadline=None)
@given(
    key=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    density=st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]),
)
def test_grid_cells_merge_without_loss_or_seams(key: int, shape: tuple[int, int], density: float) -> None:
    blocked = keyed.uniform(key, np.arange(shape[0])[:, None], np.arange(shape[1])) < density
    union = np.zeros(shape, int)
    for y0, x0, y1, x1 in merge_cells(blocked):
        union[y0:y1, x0:x1] += 1
    np.testing.assert_array_equal(union > 0, blocked)
    # On a fine lattice that includes cell borders, the sign tells rock from free space.
    obstacles = Obstacles.from_grid(blocked)
    ys, xs = np.mgrid[0 : 4 * shape[0] + 1, 0 : 4 * shape[1] + 1]
    distance = obstacles.signed_distance(np.stack([xs, ys], axis=-1) / 4)
    padded = np.pad(np.kron(blocked, np.ones((4, 4), bool)), 1, constant_values=True)
    touching = np.stack([padded[:-1, :-1], padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]])
    rim = np.zeros_like(distance, bool)
    rim[[0, -1], :] = rim[:, [0, -1]] = True  # on the wall itself the distance is zero
    assert (distance[touching.all(axis=0) & ~rim] < 0).all()
    assert (distance[~touching.any(axis=0)] > 0).all()


def test_grid_merges_into_few_boxes() -> None:
    aisles = np.zeros((20, 30), bool)
    aisles[2:18:4, 3:27] = True
    assert len(Obstacles.from_grid(aisles).boxes) == 4
    cell = Obstacles.from_grid(np.array([[False, True]]), cell=0.5)
    np.testing.assert_array_equal(cell.boxes, [[0.75, 0.25, 0.25, 0.25, 0.0]])
    assert cell.bounds == (0.0, 0.0, 1.0, 0.5)


@pytest.mark.parametrize(
    ("p0", "p1", "q0", "q1", "expected"),
    [
        ((0, 0), (2, 0), (2, 0), (0, 0), 0.0),  # they swap places
        ((0, 0), (2, 0), (1, 1), (1, -1), 0.0),  # they cross at the same time
        ((0, 0), (1, 0), (0, 1), (1, 1), 1.0),  # side by side
        ((0, 0), (-1, 0), (1, 0), (2, 0), 1.0),  # they part: closest at the start
        ((0, 0), (0, 0), (3, 4), (3, 4), 5.0),  # both stand still
        ((0, 0), (2, 0), (1, 0.5), (1, 0.5), 0.5),  # one passes another that stands
    ],
)
def test_segment_closest(p0: tuple, p1: tuple, q0: tuple, q1: tuple, expected: float) -> None:
    points = [np.array(p, np.float32) for p in (p0, p1, q0, q1)]
    assert float(segment_closest(*points)) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(key=st.integers(0, 10_000))
def test_segment_closest_is_the_least_over_dense_samples(key: int) -> None:
    ends = spots(key, 4 * 50, 1.0).reshape(4, 50, 2)
    exact = segment_closest(*ends)
    time = np.linspace(0, 1, 2001)[:, None, None]
    dense = np.linalg.norm(
        ends[0] + time * (ends[1] - ends[0]) - ends[2] - time * (ends[3] - ends[2]), axis=-1
    )
    assert (exact <= dense.min(axis=0) + 1e-6).all()
    assert (exact >= dense.min(axis=0) - 3e-3).all()


def test_segment_closest_in_torch_and_broadcast() -> None:
    torch = pytest.importorskip("torch")
    ends = spots(3, 4 * 20, 1.0).reshape(4, 20, 2)
    there = segment_closest(*(torch.from_numpy(end) for end in ends)).numpy()
    np.testing.assert_allclose(there, segment_closest(*ends), atol=1e-6)
    every = segment_closest(ends[0][:, None], ends[1][:, None], ends[2][None], ends[3][None])
    np.testing.assert_array_equal(np.diagonal(every), segment_closest(*ends))


@settings(max_examples=20, deadline=None)
@given(obstacles=obstacle_sets, key=st.integers(0, 1000), reach=st.sampled_from([0.1, 2.6]))
def test_segment_clearance_is_a_tight_lower_bound(obstacles: Obstacles, key: int, reach: float) -> None:
    start = spots(key, 60)
    end = start + spots(key + 1, 60, reach)
    dense = brute_force(obstacles, start + np.linspace(0, 1, 801)[:, None, None] * (end - start)).min(axis=0)
    spacing = np.linalg.norm(end - start, axis=1) / 800
    bound = segment_clearance(obstacles, start, end, tolerance=2e-3)
    assert (bound <= dense + 3e-6).all()
    assert (bound >= dense - spacing / 2 - 2e-3 - 3e-6).all()
    threshold = 0.1
    loose = segment_clearance(obstacles, start, end, threshold, 2e-3)
    assert (loose <= dense + 3e-6).all()
    np.testing.assert_array_equal(loose >= threshold, bound >= threshold)


def test_segment_clearance_sees_what_lies_between_the_ends() -> None:
    pin = Obstacles([(0.0, 0.0, 0.01, 0.01, 0.01)])
    assert segment_clearance(pin, (-1.0, 0.0), (1.0, 0.0)) == pytest.approx(-0.01, abs=1.1e-3)
    assert segment_clearance(pin, (-1.0, 0.5), (1.0, 0.5)) == pytest.approx(0.49, abs=1.1e-3)
    assert segment_clearance(pin, np.zeros((0, 2)), np.zeros((0, 2))).shape == (0,)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_segment_clearance_ends_even_for_nan() -> None:
    room = Obstacles(bounds=(0.0, 0.0, 1.0, 1.0))
    assert np.isnan(segment_clearance(room, (np.nan, 0.5), (0.5, 0.5)))


@settings(max_examples=20, deadline=None)
@given(obstacles=obstacle_sets, key=st.integers(0, 1000))
def test_segment_inside_counts_what_dense_samples_do(obstacles: Obstacles, key: int) -> None:
    start, end = spots(key, 60), spots(key + 1, 60)
    inside = brute_force(obstacles, start + (np.arange(2000)[:, None, None] + 0.5) / 2000 * (end - start)) < 0
    length = np.linalg.norm(end - start, axis=1)
    crossings = (inside[1:] != inside[:-1]).sum(axis=0) + 2
    found = segment_inside(obstacles, start, end, tolerance=0.01)
    assert (np.abs(found - inside.mean(axis=0) * length) <= crossings * (0.01 + length / 2000) + 1e-4).all()


def test_segment_inside_of_one_box_and_of_two_that_overlap() -> None:
    boxes = Obstacles([(0.0, 0.0, 1.0, 1.0, 0.0), (1.5, 0.0, 1.0, 1.0, 0.0)])
    assert segment_inside(boxes, (-5.0, 0.0), (5.0, 0.0)) == pytest.approx(3.5, abs=0.03)
    assert segment_inside(boxes, (-5.0, 2.0), (5.0, 2.0)) == 0.0
    assert segment_inside(boxes, (0.0, 0.0), (0.0, 0.5)) == pytest.approx(0.5, abs=1e-6)
    assert segment_inside(boxes, (0.0, 0.0), (0.0, 0.0)) == 0.0
    assert segment_inside(boxes, (-1e6, 0.0), (1e6, 0.0)) == pytest.approx(3.5, abs=2e6 / 2048)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"boxes": [(0, 0, 1, 0, 0)]}, r"obstacles\.boxes\[0\] must be finite"),
        ({"boxes": [CIRCLE, (0, 0, 1, 0.5, 0.7)]}, r"obstacles\.boxes\[1\]"),
        ({"boxes": [(np.nan, 0, 1, 1, 0)]}, r"obstacles\.boxes\[0\]"),
        ({"bounds": (0, 0, 0, 1)}, r"obstacles\.bounds must be finite with xmin < xmax"),
        ({"cutoff": 0.0}, r"obstacles\.cutoff must be positive"),
    ],
)
def test_bad_geometry_is_named(arguments: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Obstacles(**arguments)


def test_the_gradient_is_finite_where_squared_offsets_vanish() -> None:
    obstacles = Obstacles([(0.0, 0.0, 0.25, 0.25, 0.25)])
    tiny = np.float32([[1e-30, 0.0], [0.0, 1e-25], [1e-20, -1e-24], [0.0, 0.0]])
    distance, gradient = obstacles.distance_and_gradient(tiny)
    assert np.isfinite(gradient).all() and np.allclose(distance, -0.25)
