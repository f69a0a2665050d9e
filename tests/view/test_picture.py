"""The picture: everything fits, and each thing that happens can be seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake import fake_recording

from agentsc.view.picture import Layout, Picture
from agentsc.view.recording import Recording, packet_rows
from envs.render import THEME, pixels_of


@pytest.fixture(scope="module")
def recording() -> Recording:
    return fake_recording(6, most_ticks=40)


def count(image: np.ndarray, colour: tuple[int, int, int], near: int = 12) -> int:
    """Pixels about that colour."""
    return int((np.abs(image.astype(int) - colour).max(axis=-1) <= near).sum())


@pytest.mark.parametrize("aspect", [0.3, 1.0, 1.39, 4.0])
@pytest.mark.parametrize("size", [None, (900, 760), (640, 520), (1400, 900)])
@pytest.mark.parametrize("footer", [0, 22])
def test_the_parts_of_a_layout_stay_inside_and_do_not_overlap(
    aspect: float, size: tuple[int, int] | None, footer: int
) -> None:
    layout = Layout.fit((0, 0, aspect * 10, 10), size, footer)
    assert size is None or layout.size == size
    assert layout.size[0] % 2 == 0 and layout.size[1] % 2 == 0
    parts = [layout.map, layout.radio, layout.gap, layout.legend]
    for n, (x, y, w, h) in enumerate(parts):
        assert w > 0 and h > 0 and x >= 0 and y >= 0
        assert x + w <= layout.size[0] and y + h <= layout.size[1] - footer
        for u, v, p, q in parts[n + 1 :]:
            assert x + w <= u or u + p <= x or y + h <= v or v + q <= y


@pytest.mark.parametrize(("agents", "cells", "unit"), [(2, 5, False), (12, 20, True), (100, 64, False)])
def test_it_draws_puzzles_unit_worlds_and_large_maps(agents: int, cells: int, unit: bool) -> None:
    blocked = np.zeros((cells, cells), bool)
    blocked[cells // 2, 1 : cells - 1] = True
    lane = fake_recording(agents, blocked, unit=unit, most_ticks=6)
    picture = Picture(lane.scene)
    surface = picture.draw(lane.frame(0.1 * lane.duration_s), lane.strip())
    assert surface.get_size() == picture.size
    image = pixels_of(surface)
    for a in range(min(agents, len(THEME.agents))):
        assert count(image, THEME.agent(a)) > 20


def test_twice_the_scale_is_the_same_picture_with_more_pixels(recording: Recording) -> None:
    frame, strip = recording.frame(3.0), recording.strip()
    small, large = Picture(recording.scene), Picture(recording.scene, scale=2.0)
    assert large.size == (2 * small.size[0], 2 * small.size[1])
    np.testing.assert_allclose(
        large.camera.pixels(frame.position), 2 * small.camera.pixels(frame.position), atol=2.0
    )
    large.draw(frame, strip)


def test_drawing_is_pure_and_keeps_no_state_of_earlier_frames(recording: Recording) -> None:
    strip = recording.strip()
    one, other = Picture(recording.scene), Picture(recording.scene)
    expected = pixels_of(one.draw(recording.frame(4.0), strip))
    for time_s in (1.0, 8.0, 2.0):
        other.draw(recording.frame(time_s), strip, selected=2)
    again = pixels_of(other.draw(recording.frame(4.0), strip))
    # A shade or two: whether a nearly straight bend of a hair line is dropped can hang on the last
    # bit of a product. Anything left of another frame would be off by far more.
    assert np.abs(again.astype(int) - expected).max() <= 3
    assert (again != expected).mean() < 1e-4


def test_a_lost_packet_is_red_and_one_in_flight_is_not(recording: Recording) -> None:
    picture, strip = Picture(recording.scene), recording.strip()
    quiet = replace(recording.frame(5.0), packets=recording.frame(5.0).packets[:0])

    def reds(arrival_s: float) -> int:
        rows = packet_rows(
            tick=0, sender=0, receiver=1, sections=1, bits=72, sent_s=5.0 - 0.3, arrival_s=arrival_s
        )
        frame = replace(quiet, packets=rows, flight_s=0.4)
        return count(pixels_of(picture.draw(frame, strip)), THEME.alarm, 40)

    without = count(pixels_of(picture.draw(quiet, strip)), THEME.alarm, 40)
    assert reds(np.nan) > without
    assert reds(5.2) == without


@pytest.mark.parametrize("what", ["plans", "proposals", "beliefs", "pending", "brake"])
def test_plans_proposals_beliefs_asking_and_brakes_can_be_seen(recording: Recording, what: str) -> None:
    picture, strip, frame = Picture(recording.scene), recording.strip(), recording.frame(5.0)
    agents = recording.scene.agents
    nothing = {
        "plans": np.full((agents, 4, 2), np.nan),
        "proposals": np.full((agents, 4, 2), np.nan),
        "beliefs": np.full((agents, 3, 4, 2), np.nan),
        "pending": np.zeros(agents, bool),
        "brake": np.zeros(agents, bool),
    }
    line = frame.position[:, None] + np.linspace(0, 3, 4)[:, None] * (1.0, 0.5)
    something = {
        "plans": line,
        "proposals": line,
        "beliefs": np.broadcast_to(line[:, None], (agents, 3, 4, 2)),
        "pending": np.ones(agents, bool),
        "brake": np.ones(agents, bool),
    }
    blank = replace(frame, **nothing)
    empty = pixels_of(picture.draw(blank, strip))
    drawn = pixels_of(picture.draw(replace(blank, **{what: something[what]}), strip))
    assert (empty != drawn).any(axis=-1).sum() > 30


def test_clicks_find_agents_and_times(recording: Recording) -> None:
    picture, frame = Picture(recording.scene), recording.frame(5.0)
    for a, pixel in enumerate(picture.camera.pixels(frame.position)):
        assert picture.agent_at(frame, pixel) == a
    assert picture.agent_at(frame, (2, 2)) is None
    x, y, w, h = picture.layout.radio
    middle = picture.time_at((x + w / 2, y + h / 2), 10.0)
    assert middle == pytest.approx(5.0, abs=0.1)
    assert picture.time_at((x + w, y), 10.0) == 10.0
    assert picture.time_at((2, 2), 10.0) is None


def test_a_collision_turns_the_status_red(recording: Recording) -> None:
    picture, strip, frame = Picture(recording.scene), recording.strip(), recording.frame(5.0)
    bad = replace(
        strip, closest=np.where(strip.time_s < 4.0, 0.5 * recording.scene.separation, strip.closest)
    )
    top = slice(0, picture.layout.map[1])
    assert count(pixels_of(picture.draw(frame, strip))[top], THEME.alarm, 40) == 0
    assert count(pixels_of(picture.draw(frame, bad))[top], THEME.alarm, 40) > 20


def test_one_agent_alone_and_one_without_any_data_are_drawn() -> None:
    lane = fake_recording(1, np.zeros((5, 5), bool), most_ticks=4)
    picture = Picture(lane.scene)
    for source in (lane, Recording(lane.scene, [])):
        assert picture.draw(source.frame(0.5), source.strip()).get_size() == picture.size
