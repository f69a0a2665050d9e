"""The player's controls, and a window in another process that can never hold up the run."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from fake import fake_recording

from agentsc.view import live
from agentsc.view.live import LiveView, Player
from agentsc.view.recording import Recorder, Recording, Tick
from envs.errors import ConfigError
from envs.render import load_pygame, pixels_of

pygame = load_pygame()


@pytest.fixture(scope="module")
def recording() -> Recording:
    return fake_recording(4, np.zeros((8, 12), bool), most_ticks=24)


@pytest.fixture
def dummy_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def press(player: Player, key: int, text: str = "") -> bool:
    return player.handle(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=text))


def values(tick: Tick) -> dict:
    return {name: getattr(tick, name) for name in Tick.__dataclass_fields__}


def test_space_pauses_and_plays_and_starts_again_at_the_end(recording: Recording) -> None:
    player = Player(recording)
    player.advance(0.5)
    assert player.time_s == pytest.approx(0.5 * player.speed)
    press(player, pygame.K_SPACE)
    held = player.time_s
    player.advance(5.0)
    assert player.time_s == held
    press(player, pygame.K_SPACE)
    player.advance(1e6)
    assert player.time_s == recording.duration_s
    press(player, pygame.K_SPACE)
    press(player, pygame.K_SPACE)
    assert player.playing and player.time_s == 0.0


def test_single_steps_land_on_the_ends_of_ticks(recording: Recording) -> None:
    player, dt = Player(recording), recording.scene.dt
    player.seek(2.4 * dt)
    seen = []
    for key, text in [(pygame.K_PERIOD, "."), (pygame.K_PERIOD, "."), (pygame.K_COMMA, ","), (0, ",")]:
        press(player, key, text)
        seen.append(player.time_s / dt)
    assert seen == pytest.approx([3, 4, 3, 2])
    assert not player.playing


def test_speed_seek_and_selection(recording: Recording) -> None:
    player = Player(recording)
    before = player.speed
    press(player, 0, "+")
    assert player.speed == 2 * before
    for _ in range(30):
        press(player, 0, "-")
    assert player.speed == 1 / 8
    press(player, pygame.K_END)
    assert player.time_s == recording.duration_s
    press(player, pygame.K_LEFT)
    assert player.time_s < recording.duration_s
    press(player, pygame.K_HOME)
    assert player.time_s == 0.0
    order = []
    for _ in range(5):
        press(player, pygame.K_TAB)
        order.append(player.selected)
    assert order == [0, 1, 2, 3, None]
    player.selected = 1
    assert press(player, pygame.K_ESCAPE) and player.selected is None
    assert not press(player, pygame.K_ESCAPE)
    assert not press(player, pygame.K_q)
    assert not player.handle(pygame.event.Event(pygame.QUIT))


def test_the_mouse_selects_agents_and_drags_through_time(recording: Recording) -> None:
    player = Player(recording)
    where = player.picture.camera.pixels(recording.frame(0.0).position)[2]

    def mouse(kind: int, pos: tuple[float, float]) -> None:
        player.handle(pygame.event.Event(kind, button=1, pos=pos))

    mouse(pygame.MOUSEBUTTONDOWN, tuple(where))
    assert player.selected == 2
    x, y, w, h = player.picture.layout.gap
    mouse(pygame.MOUSEBUTTONDOWN, (x + w / 2, y + h / 2))
    assert player.time_s == pytest.approx(recording.duration_s / 2, rel=0.05)
    mouse(pygame.MOUSEMOTION, (x + w, y + h / 2))
    assert player.time_s == recording.duration_s
    mouse(pygame.MOUSEBUTTONUP, (x, y))
    mouse(pygame.MOUSEMOTION, (x, y + h / 2))
    assert player.time_s == recording.duration_s
    assert player.selected == 2


def test_a_live_player_keeps_up_with_a_fast_run_and_with_a_slow_one(recording: Recording) -> None:
    history = Recorder(recording.scene)
    player = Player(history, live=True)
    for tick in recording.ticks:
        history.keep(tick)
        player.advance(0.2)  # the run is faster than the clock on the wall
    assert history.duration_s - player.time_s < 1.0
    for _ in range(20):
        player.advance(0.2)
    assert player.time_s == history.duration_s
    player.seek(1.0)
    player.advance(0.1)
    assert player.time_s == pytest.approx(1.1)
    press(player, pygame.K_END)
    assert player.follow and player.playing


def test_the_player_draws_and_can_be_resized(recording: Recording) -> None:
    player = Player(recording)
    first = pixels_of(player.draw())
    press(player, pygame.K_SPACE)
    assert (pixels_of(player.draw()) != first).any()  # it says that it is paused
    player.resize((700, 300))
    assert player.draw().get_size() == (700, 520)


def test_a_long_run_does_not_fill_the_memory(recording: Recording) -> None:
    history = Recorder(recording.scene)
    for tick in recording.ticks:
        history.keep(tick)
        history.forget(10)
    assert len(history) <= 10
    last = history.frame(history.duration_s)
    np.testing.assert_array_equal(last.position, recording.ticks[-1].position)
    assert len(history.strip().time_s) == len(history)


def test_replay_shows_a_recording_and_leaves(dummy_display: None, recording: Recording) -> None:
    frames = iter(range(3))
    live.replay(recording, over=lambda: next(frames, None) is None)
    assert not pygame.display.get_init()


def test_a_live_window_takes_ticks_and_never_waits(dummy_display: None, recording: Recording) -> None:
    view = LiveView(recording.scene)
    try:
        assert view.open
        for tick in recording.ticks:
            view.record(**values(tick))
        assert view.shown + view.dropped == len(recording)
        assert view.shown > 0
        # Far more than the queue holds, at once: nobody waits, the rest is dropped.
        many, last = 3000, recording.ticks[-1]
        started = time.process_time()
        for n in range(many):
            view.record(**{**values(last), "tick": 1000 + n})
        assert view.dropped > 0
        assert time.process_time() - started < 2.0
    finally:
        view.close()
    assert not view.open
    view.record(**values(recording.ticks[0]))  # the window is gone, the run goes on
    view.close()


def test_no_display_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch, recording: Recording) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    assert os.environ["SDL_VIDEODRIVER"] == "no-such-driver"
    with pytest.raises(ConfigError, match="needs a display"):
        LiveView(recording.scene)
    with pytest.raises(ConfigError, match="needs a display"):
        live.replay(recording)
