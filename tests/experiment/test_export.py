"""Runs as TensorBoard event files."""

from __future__ import annotations

import importlib.util
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import agentsc
from agentsc.cli import main
from agentsc.view.recording import open_recording
from envs.errors import ConfigError

needs_writer = pytest.mark.skipif(
    importlib.util.find_spec("tensorboardX") is None,
    reason="tensorboardX is not installed (pip install 'agentsc[tensorboard]')",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    agentsc.run(scenario="circle", agents=3, protocol="orca", episodes=2, ticks=12, seed=4, out=folder)
    return folder


def values(folder: Path) -> dict[str, list[tuple[int, float, Any]]]:
    """Tag → (step, time, value) in the event files of a folder."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float, Any]]] = {}
    for path in folder.glob("events.*"):
        data = path.read_bytes()
        while data:  # records of length, checksum, event, checksum
            (size,) = struct.unpack("<Q", data[:8])
            event, data = Event.FromString(data[12 : 12 + size]), data[16 + size :]
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                found.setdefault(value.tag, []).append((event.step, event.wall_time, getattr(value, kind)))
    return found


@needs_writer
def test_metrics_episodes_and_ticks_are_there(run: Path, tmp_path: Path) -> None:
    (folder,) = agentsc.export(run, tensorboard=tmp_path)
    assert folder == tmp_path / "small"
    found = values(folder)
    result, table, recording = agentsc.experiment.store.RunFolder(run).result(), agentsc.frame(run), open_recording(run)
    measured = {name: metric["mean"] for name, metric in result["metrics"].items() if metric["mean"] is not None}
    shown = {tag.removeprefix("metrics/"): rows[0][2] for tag, rows in found.items() if tag.startswith("metrics/")}
    assert shown == pytest.approx(measured, rel=1e-6) and "brake_activations" not in shown
    assert [(step, value) for step, _, value in found["episodes/bits"]] == [
        (row["episode"], float(row["bits"])) for row in table.to_dicts()
    ]
    closest = found["episode-0/closest_m"]
    assert [step for step, _, _ in closest] == [tick.tick + 1 for tick in recording.ticks]
    assert [value for *_, value in closest] == pytest.approx([tick.closest for tick in recording.ticks])
    assert closest[-1][1] == pytest.approx(recording.duration_s)
    sent = np.array([value for *_, value in found["episode-0/bits_per_agent_s"]])
    assert sent == pytest.approx(recording.strip().sent)
    assert not any("film" in tag for tag in found)
    assert pl.Series([value for *_, value in found["episode-0/agents_at_goal"]]).max() <= 3


@needs_writer
def test_a_film_is_an_animated_image(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["export", str(run), "--tensorboard", str(tmp_path), "--film"])
    assert str(tmp_path / "small") in capsys.readouterr().err
    from PIL import Image

    ((_, _, image),) = values(tmp_path / "small")["episode-0/film"]
    film = Image.open(io.BytesIO(image.encoded_image_string))
    assert film.size == (image.width, image.height) and film.n_frames > 10


@needs_writer
def test_what_cannot_be_exported_is_refused(run: Path, tmp_path: Path) -> None:
    agentsc.export(run, tensorboard=tmp_path)
    with pytest.raises(ConfigError, match="must have no 'small' yet"):
        agentsc.export(run, tensorboard=tmp_path)
    with pytest.raises(ConfigError, match="must have no 'small' yet"):
        agentsc.export(run, run, tensorboard=tmp_path / "other")
    with pytest.raises(ConfigError, match="run must be a run folder"):
        agentsc.export(tmp_path / "absent", tensorboard=tmp_path / "other")
    bare = tmp_path / "bare"
    agentsc.run(scenario="circle", agents=2, protocol="orca", ticks=2, set=["record.episodes=[]"], out=bare)
    with pytest.raises(ConfigError, match="film needs a recorded episode"):
        agentsc.export(bare, tensorboard=tmp_path / "other", film=True)
    assert not (tmp_path / "other").exists()


def test_without_the_library_one_sentence_says_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboardX" else find(name, *rest)
    )
    with pytest.raises(ConfigError, match=r"pip install 'agentsc\[tensorboard\]'"):
        agentsc.export(run, tensorboard=tmp_path / "events")
