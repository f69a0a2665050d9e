"""Drawing: where things land, that edges are smooth, and that no window is opened."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from envs import render
from envs.render import THEME, Camera


def a_world(bounds: tuple[float, ...] | None = (0.0, 0.0, 10.0, 5.0)) -> SimpleNamespace:
    boxes = np.array([[5.0, 2.5, 1.0, 1.0, 0.3]], np.float32)
    points = np.array([[[1.0, 1.0], [9.0, 4.0]]], np.float32)
    obstacles = SimpleNamespace(boxes=boxes, bounds=bounds)
    return SimpleNamespace(obstacles=obstacles, starts=points, goals=points[:, ::-1].copy(), radius=0.3)


def near(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    """Equal up to the rounding of the downsampling filter."""
    return bool((np.abs(pixels.astype(int) - colour) <= 3).all())


def test_camera_fits_centres_and_inverts() -> None:
    camera = Camera((0, 0, 10, 5), (100, 50, 400, 400))
    assert camera.scale == 40
    assert camera.rect == (100, 150, 400, 200)
    points = np.array([[0.0, 0.0], [10.0, 5.0], [3.0, 1.0]])
    np.testing.assert_allclose(camera.pixels(points), [[100, 150], [500, 350], [220, 190]])
    np.testing.assert_allclose(camera.metres((220, 190)), [3.0, 1.0])


@pytest.mark.parametrize(("bounds", "up"), [((-1, -1, 1, 1), True), ((0, 0, 5, 5), False)])
def test_worlds_around_the_origin_have_y_upwards_and_grid_maps_downwards(bounds: tuple, up: bool) -> None:
    camera = Camera(bounds, (0, 0, 100, 100))
    low, high = camera.pixels(np.array([[0.5, 0.2], [0.5, 0.8]]))[:, 1]
    assert (high < low) == up


def test_a_stamp_covers_the_area_of_its_shape() -> None:
    surface = render.canvas((60, 60), (0, 0, 0))
    render.stamp(surface, (30.3, 29.6), 12.0, fill=(255, 255, 255))
    image = render.pixels_of(surface)[..., 0] / 255.0
    assert image.sum() == pytest.approx(np.pi * 12.0**2, rel=0.01)
    assert ((image > 0.1) & (image < 0.9)).sum() > 20  # a smooth edge
    ys, xs = np.mgrid[:60, :60]
    assert (image * xs).sum() / image.sum() == pytest.approx(30.3, abs=0.26)  # to a quarter pixel


def test_draw_world_shows_floor_obstacle_and_agents_where_they_are() -> None:
    world = a_world()
    positions = np.array([[2.0, 1.0], [8.0, 4.0]], np.float32)
    image = render.draw_world(world, positions, np.zeros((2, 2)), size=(400, 300))
    assert image.shape == (300, 400, 3)
    assert image.dtype == np.uint8
    camera = Camera(world.obstacles.bounds, (5, 5, 390, 290))
    for agent, point in enumerate(positions):
        x, y = camera.pixels(point).astype(int)
        assert tuple(image[y, x - 8]) == THEME.agent(agent)
    x, y = camera.pixels(np.array([5.0, 2.5])).astype(int)
    assert near(image[y, x], THEME.wall)
    x, y = camera.pixels(np.array([4.02, 1.52])).astype(int)  # beyond the rounded corner
    assert not near(image[y, x], THEME.wall)
    assert tuple(image[0, 0]) == THEME.page


def test_draw_world_is_a_pure_function_of_what_it_draws() -> None:
    world = a_world()
    positions = np.array([[2.0, 1.0], [8.0, 4.0]], np.float32)
    first = render.draw_world(world, positions)
    moved = render.draw_world(world, positions + 0.5)
    np.testing.assert_array_equal(render.draw_world(world, positions), first)
    assert (moved != first).any()


def test_a_world_without_walls_is_shown_with_all_that_is_in_it() -> None:
    x0, y0, x1, y1 = render.world_bounds(a_world(bounds=None))
    assert x0 < 1.0 - 0.3 and y0 < 1.0 - 0.3
    assert x1 > 9.0 + 0.3 and y1 > 4.0 + 0.3


def test_lines_with_nan_are_left_out_and_others_drawn() -> None:
    surface = render.canvas((50, 50), (0, 0, 0))
    paths = np.array([[[5, 5], [45, 5]], [[5, 25], [np.nan, 25]], [[5, 40], [45, 40]]], float)
    render.strokes(surface, paths, [(255, 0, 0), (0, 255, 0), (0, 0, 255)], 2.0)
    image = render.pixels_of(surface)
    assert image[..., 0].any() and image[..., 2].any()
    assert not image[..., 1].any()


def test_touching_boxes_become_one_obstacle_without_a_seam() -> None:
    surface = render.canvas((100, 100), THEME.page)
    boxes = np.array([[2.5, 5, 2.5, 2, 0], [7.5, 5, 2.5, 2, 0]], np.float32)
    render.draw_backdrop(surface, Camera((0, 0, 10, 10), (0, 0, 100, 100)), boxes)
    row = render.pixels_of(surface)[50, 2:98]
    assert near(row, THEME.wall)


def test_drawing_opens_no_display_and_importing_loads_no_pygame() -> None:
    code = (
        "import sys, envs.render as r\n"
        "assert 'pygame' not in sys.modules\n"
        "s = r.canvas((50, 50), (0, 0, 0)); r.write(s, 'hello', (0, 0), 12, (255, 255, 255))\n"
        "import pygame; assert not pygame.display.get_init()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""  # pygame's greeting would spoil --json


def test_long_text_ends_in_an_ellipsis_within_its_room() -> None:
    surface = render.canvas((300, 30), (0, 0, 0))
    _, _, width, _ = render.write(
        surface, "a title that goes on and on", (0, 0), 16, (255, 255, 255), room=90
    )
    assert 60 < width <= 90
