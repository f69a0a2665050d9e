"""Runs in the formats of other tools."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentsc.experiment.store import RunFolder
from envs.errors import ConfigError

if TYPE_CHECKING:
    from agentsc.view.recording import Recording

EPISODE_COLUMNS = ("success", "collision_free", "makespan_s", "min_separation_m", "bits", "packets", "brakes")
"""Columns of ``episodes.parquet`` that are plotted over episodes."""


def export(
    *runs: Path | str,
    tensorboard: Path | str,
    film: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write runs as TensorBoard event files; the call behind ``agentsc export``.

    Each run becomes a folder of its own name in the log directory: the configuration as text; ``metrics/…``
    (one value each); ``episodes/…`` over episode numbers; and for every recorded episode, over ticks,
    ``episode-N/bits_per_agent_s``, ``closest_m`` and ``agents_at_goal``, with simulated seconds as the time.

    Args:
        runs: run folders.
        tensorboard: the log directory; made if it is not there.
        film: also draw the first recorded episode of each run and add it as an animated image.
        progress: called with (frames done, frames in all) while a film is drawn.

    Returns:
        The folders written, one for each run.

    Raises:
        ConfigError: not a finished run, a folder that is taken, or tensorboardX is not installed.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise ConfigError("tensorboard needs tensorboardX: pip install 'agentsc[tensorboard]'")
    folders = [RunFolder.open(run) for run in runs]
    if not folders:
        raise ConfigError("run must name at least one run folder, got none")
    targets = [Path(tensorboard) / folder.path.resolve().name for folder in folders]
    for target in targets:
        if targets.count(target) > 1 or (target.exists() and any(target.iterdir())):
            raise ConfigError(f"tensorboard must have no {target.name!r} yet, got {str(target)!r} (rename one)")
    results = [folder.result() for folder in folders]
    recordings = [_recordings(folder) for folder in folders]
    for folder, kept in zip(folders, recordings, strict=True):
        if film and not kept:
            raise ConfigError(f"film needs a recorded episode, got {str(folder.path)!r} without any (drop --film)")
    for folder, target, result, kept in zip(folders, targets, results, recordings, strict=True):
        _write(folder, target, result, kept, film, progress)
    return targets


def _recordings(folder: RunFolder) -> dict[int, Recording]:
    """Episode number → recording."""
    from agentsc.view.recording import Recording

    loaded = (Recording.load(path) for path in folder.path.glob("recording-*.npz"))
    return dict(sorted((int(recording.scene.meta["episode"]), recording) for recording in loaded))


def _write(
    folder: RunFolder,
    target: Path,
    result: dict[str, Any],
    recordings: dict[int, Recording],
    film: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    from tensorboardX import SummaryWriter

    from agentsc.experiment.frame import frame

    with SummaryWriter(logdir=str(target), write_to_disk=True) as writer:
        config = (folder.path / "config.yaml").read_text(encoding="utf-8")
        writer.add_text("config", "".join(f"    {line}\n" for line in config.splitlines()))  # indented is code
        for name, metric in result["metrics"].items():
            if metric["mean"] is not None:  # what was not measured is left out, not zero
                writer.add_scalar(f"metrics/{name}", metric["mean"], 0)
        for row in frame(folder.path).to_dicts():
            for name in EPISODE_COLUMNS:
                if row.get(name) is not None:
                    writer.add_scalar(f"episodes/{name}", float(row[name]), row["episode"])
        for episode, recording in recordings.items():
            _add_ticks(writer, f"episode-{episode}", recording)
        if film:
            episode = min(recordings)
            _add_film(writer, f"episode-{episode}/film", recordings[episode], progress)


def _add_ticks(writer: Any, name: str, recording: Recording) -> None:
    strip = recording.strip()
    for row, tick in enumerate(recording.ticks):
        values = {"bits_per_agent_s": strip.sent[row], "closest_m": strip.closest[row]}
        if tick.at_goal is not None:
            values["agents_at_goal"] = np.sum(tick.at_goal)
        for key, value in values.items():
            if np.isfinite(value):
                writer.add_scalar(f"{name}/{key}", float(value), tick.tick + 1, walltime=float(strip.time_s[row]))


def _add_film(
    writer: Any, name: str, recording: Recording, progress: Callable[[int, int], None] | None
) -> None:
    """An animated GIF as an image: TensorBoard shows it moving, and nothing but Pillow is needed."""
    from PIL import Image
    from tensorboardX.proto.summary_pb2 import Summary

    from agentsc.view.film import record

    with tempfile.TemporaryDirectory() as scratch:
        path = record(recording, Path(scratch) / "film.gif", fps=10, scale=0.75, progress=progress)
        with Image.open(path) as first:
            width, height = first.size
        data = path.read_bytes()
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
    writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), 0)
