"""Films and stills: frames, sizes, progress, and errors before any work."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from fake import fake_recording
from PIL import Image

from agentsc.view import film
from agentsc.view.recording import Recorder, Recording
from envs.errors import ConfigError


@pytest.fixture(scope="module")
def recording() -> Recording:
    return fake_recording(4, np.zeros((8, 12), bool), most_ticks=16)


def test_a_gif_has_the_frames_it_should_and_moves(recording: Recording, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    out = film.record(
        recording, tmp_path / "a.gif", fps=5, speed=2.0, size=(640, 520), progress=lambda *c: calls.append(c)
    )
    shown = int(np.ceil(recording.duration_s * 5 / 2.0 - 1e-9))
    with Image.open(out) as image:
        assert image.size == (640, 520)
        first = np.asarray(image.convert("RGB")).astype(int)
        image.seek(3)
        assert (np.asarray(image.convert("RGB")) != first).any()
        total = sum(_duration(image, n) for n in range(image.n_frames))
    assert total == pytest.approx((shown + 5) * 200, abs=200)
    assert calls == [(n + 1, shown + 5) for n in range(shown + 5)]
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]


def _duration(image: Image.Image, frame: int) -> float:
    image.seek(frame)
    return float(image.info["duration"])


@pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="mp4 needs the film extra (PyAV)")
def test_an_mp4_can_be_read_back(recording: Recording, tmp_path: Path) -> None:
    import av

    out = film.record(recording, tmp_path / "a.mp4", fps=10, speed=1.0, size=(641, 521))
    with av.open(str(out)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 10
    assert len(frames) == int(np.ceil(recording.duration_s * 10 - 1e-9)) + 10
    assert frames[0].shape == (522, 642, 3)
    assert np.abs(frames[0][2, 2].astype(int) - (13, 18, 28)).max() < 6  # colours survive


def test_a_still_is_sharp_and_can_be_of_a_chosen_moment(recording: Recording, tmp_path: Path) -> None:
    early = film.record(recording, tmp_path / "a.png", moment_s=0.1, size=(640, 520))
    late = film.record(recording, tmp_path / "b.png", moment_s=recording.duration_s, size=(640, 520))
    with Image.open(early) as a, Image.open(late) as b:
        assert a.size == b.size == (1280, 1040)
        assert (np.asarray(a) != np.asarray(b)).any()


def test_a_run_folder_and_a_file_are_recordings_too(recording: Recording, tmp_path: Path) -> None:
    saved = recording.save(tmp_path / "recording-7.npz")
    for source in (tmp_path, saved, str(saved)):
        assert film.record(source, tmp_path / "x.png", scale=1.0, size=(640, 520)).stat().st_size > 1000


def test_the_telling_moment_has_agents_under_way(recording: Recording) -> None:
    frame = recording.frame(recording.telling_moment())
    assert not frame.at_goal.all()


@pytest.mark.parametrize(
    ("name", "field"), [("a.avi", "must end in"), ("a", "must end in"), ("no/a.gif", "folder")]
)
def test_a_bad_target_is_refused_before_any_work(tmp_path: Path, name: str, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        film.check_output(tmp_path / name)


def test_mp4_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(film.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"agentsc\[film\]"):
        film.check_output(tmp_path / "a.mp4")


def test_an_empty_recording_is_refused(recording: Recording, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no ticks"):
        film.record(Recorder(recording.scene), tmp_path / "a.gif")


def test_a_film_that_fails_leaves_nothing_behind(recording: Recording, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film.record(recording, tmp_path / "a.gif", progress=stop, size=(640, 520))
    assert list(tmp_path.iterdir()) == []
