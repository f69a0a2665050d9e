"""The camera: what is painted is what is there, from seeds alone, fast enough to train on."""

from __future__ import annotations

import numpy as np
import pytest

from envs import camera, keyed, scenery
from envs.errors import ConfigError
from envs.scenery import AGENT, CLASSES, FAMILIES, GOAL, HELD_OUT, OBSTACLE, TRAIL, TRAINED, ZONE


def arena(**changes: object) -> scenery.Scenes:
    """One box, one agent that heads east, its goal and its plan, in ten metres."""
    given: dict = {
        "boxes": [[2.0, 7.0, 1.5, 0.5, 0.0]], "side": 10.0, "positions": [[3.0, 3.0]], "headings": [0.0],
        "goals": [[8.0, 3.0]], "radius": 0.6, "plans": [[[3.0, 3.0], [5.0, 3.0], [7.0, 3.0]]],
        "zones": [[8.0, 8.0, 1.0, 1.0]],
    }  # fmt: skip
    return scenery.of_arena(**{**given, **changes})


def place(x: float, y: float, size: int, side: float = 10.0) -> tuple[int, int]:
    """Row and column of a point in a bird's-eye view."""
    pixel = 1.04 * side / size
    return int((y - 0.5 * side) / pixel + 0.5 * size), int((x - 0.5 * side) / pixel + 0.5 * size)


NOBODY: dict = {"positions": np.empty((0, 2)), "headings": [], "goals": [], "plans": None}


@pytest.mark.parametrize("size", [32, 64])
def test_things_are_where_they_are(size: int) -> None:
    labels = camera.render(arena(), size).labels[0]
    for point, kind in (
        ((2.0, 7.0), OBSTACLE), ((3.2, 7.0), OBSTACLE), ((3.0, 3.0), AGENT), ((5.0, 3.0), TRAIL), ((8.0, 8.0), ZONE),
        ((8.55, 3.0), GOAL), ((8.0, 3.0), 0), ((5.0, 5.0), 0),
    ):  # fmt: skip
        row, column = place(*point, size)
        assert labels[row, column] == kind, (point, CLASSES[kind])
    assert (labels == OBSTACLE).mean() == pytest.approx(3.0 / (1.04 * 10.0) ** 2, rel=0.15), "as large as it is"


def test_onboard_what_is_ahead_is_up() -> None:
    size = 64
    for heading in (0.0, 0.5 * np.pi, 2.0):
        ahead = np.array([np.cos(heading), np.sin(heading)])
        goal = [[5.0, 5.0] + 3.0 * ahead]
        scenes = arena(headings=[heading], goals=goal, positions=[[5.0, 5.0]], boxes=[], plans=None)
        labels = camera.render(scenes, size, "onboard").labels[0]
        rows, columns = np.nonzero(labels == AGENT)
        pixel = camera.FIELD_M / size
        assert rows.mean() == pytest.approx(0.5 * size + camera.AHEAD_M / pixel - 0.5, abs=1.0)
        assert columns.mean() == pytest.approx(0.5 * size - 0.5, abs=1.0)
        rows, columns = np.nonzero(labels == GOAL)
        assert rows.mean() == pytest.approx(0.5 * size - 1.0 / pixel - 0.5, abs=1.0), "three metres ahead of the agent"


def test_right_of_the_agent_is_right_in_the_image() -> None:
    # y grows downwards, as on grid maps: right of an agent that heads east is south, where y is larger.
    scenes = arena(goals=[[3.0, 5.0]], boxes=[], plans=None, zones=[])
    columns = np.nonzero(camera.render(scenes, 64, "onboard").labels[0] == GOAL)[1]
    assert columns.mean() > 40


def test_colours_cover_what_the_map_says() -> None:
    """Where the class changes, the colour does, too: an agent's pixels differ from the floor around it."""
    images = camera.render(scenery.draw(np.arange(64)), 32)
    assert images.rgb.min() >= 0.0 and images.rgb.max() <= 1.0 and np.isfinite(images.rgb).all()
    gaps = [
        np.abs(rgb[:, labels == AGENT].mean(1) - rgb[:, labels == 0].mean(1)).max()
        for rgb, labels in zip(images.rgb, images.labels, strict=True)
        if (labels == AGENT).any()
    ]
    assert np.quantile(gaps, 0.05) > 0.05


@pytest.mark.parametrize("view", ["birds-eye", "onboard", "both"])
def test_an_image_is_a_function_of_its_seed(view: str) -> None:
    whole, part = camera.bank(100, 40, view=view), camera.bank(110, 5, view=view)  # type: ignore[arg-type]
    assert np.array_equal(whole.rgb[10:15], part.rgb) and np.array_equal(whole.labels[10:15], part.labels)
    chunks = camera.bank(100, 40, view=view, chunk=7)  # type: ignore[arg-type]
    assert np.array_equal(whole.rgb, chunks.rgb)
    assert len({image.tobytes() for image in whole.rgb}) == 40, "seeds differ"


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_has_free_floor_and_things_to_see(family: str) -> None:
    scenes = scenery.draw(np.arange(200), [family])
    labels = camera.render(scenes, 32).labels
    assert (scenes.family == list(FAMILIES).index(family)).all()
    blocked = (labels == OBSTACLE).mean()
    assert 0.01 < blocked < 0.6 and (labels == 0).mean() > 0.3
    assert all((labels == number).any() for number in range(len(CLASSES)))
    assert (labels == AGENT).any(axis=(1, 2)).mean() > 0.9


def test_agents_seldom_stand_in_walls() -> None:
    scenes = scenery.draw(np.arange(500))
    boxes = scenes.shapes[..., 0] == OBSTACLE
    inside = 0
    for number in range(len(scenes)):
        shape = scenes.shapes[number][boxes[number]]
        for x, y, _ in scenes.agents[number][np.isfinite(scenes.agents[number, :, 0])]:
            dx, dy = x - shape[:, 1], y - shape[:, 2]
            along = np.abs(shape[:, 5] * dx + shape[:, 6] * dy) - shape[:, 3]
            across = np.abs(shape[:, 5] * dy - shape[:, 6] * dx) - shape[:, 4]
            inside += bool((np.maximum(along, across) < shape[:, 7]).any())
    assert inside < 0.06 * np.isfinite(scenes.agents[..., 0]).sum()


def test_held_out_families_are_not_among_the_trained() -> None:
    assert not set(TRAINED) & set(HELD_OUT) and set(TRAINED) | set(HELD_OUT) == set(FAMILIES)
    assert set(scenery.draw(np.arange(300)).family) == {list(FAMILIES).index(name) for name in TRAINED}


def test_images_are_not_trivial() -> None:
    """They differ in mean and in detail: the mean image explains little, and neighbouring pixels are not all alike."""
    rgb = camera.bank(0, 500).rgb
    assert rgb.std(axis=0).mean() > 0.12
    detail = np.abs(np.diff(rgb, axis=3)).mean()
    assert detail > 0.02


def test_smooth_edges_average_finer_images() -> None:
    scenes = scenery.draw(np.arange(8))
    fine = camera.render(scenes, 64, samples=1).rgb.reshape(8, 3, 32, 2, 32, 2).mean(axis=(3, 5))
    # The light differs within a coarse pixel, and bright ones are clipped at another scale.
    assert np.abs(camera.render(scenes, 32, samples=2).rgb - fine).mean() < 2e-3


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: camera.render(scenery.draw([1]), 30), "size"),
        (lambda: camera.render(scenery.draw([1]), 32, "sideways"), "view"),  # type: ignore[arg-type]
        (lambda: camera.render(scenery.draw([1]), 32, samples=0), "samples"),
        (lambda: camera.bank(0, 0), "count"),
        (lambda: scenery.draw([1], ["mazes"]), "maze"),
        (lambda: scenery.draw([1], []), "families"),
        (lambda: scenery.draw([0.5]), "seeds"),
        (lambda: arena(side=-1.0), "side"),
        (lambda: arena(positions=[[np.nan, 0.0]]), "finite"),
        (lambda: camera.render(arena(**NOBODY), 32, "onboard"), "agents"),
    ],
)  # fmt: skip
def test_what_cannot_be_rendered_is_refused(call: object, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        call()  # type: ignore[operator]


def test_drawing_does_not_disturb_other_draws() -> None:
    before = keyed.uniform(3, np.arange(4))
    camera.bank(0, 4)
    assert np.array_equal(before, keyed.uniform(3, np.arange(4)))
