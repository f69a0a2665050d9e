"""A recording as a film (mp4, gif), a still (png) or a Rerun file (rrd), made without a display."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsc.view.picture import Picture
from agentsc.view.recording import Source, open_recording
from agentsc.view.rerun_file import check_rerun, write_rrd
from envs.errors import ConfigError
from envs.render import load_pygame, pixels_of

Progress = Callable[[int, int], None]

_KINDS = (".mp4", ".gif", ".png", ".rrd")
_HOLD_S = 1.0  # the last frame stays a moment


def check_output(path: str | Path) -> Path:
    """Whether a film could be written there; call it before the work starts.

    Raises:
        ConfigError: unknown ending, no such folder, not writable, mp4 without PyAV, or rrd without Rerun.
    """
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in _KINDS:
        raise ConfigError(
            f"record must end in .mp4, .gif, .png or .rrd, got {target.name!r} (the ending chooses the kind)"
        )
    folder = target.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or target.is_dir():
        raise ConfigError(
            f"record must be a file in a folder that exists and is writable, got {str(target)!r}"
        )
    if kind == ".mp4" and importlib.util.find_spec("av") is None:
        raise ConfigError(
            f"record {target.name!r} needs PyAV to make mp4: pip install 'agentsc[film]', or record a .gif"
        )
    if kind == ".rrd":
        check_rerun(target.name)
    return target


def record(
    source: Source | str | Path,
    path: str | Path,
    *,
    moment_s: float | None = None,
    selected: int | None = None,
    fps: int | None = None,
    speed: float | None = None,
    size: tuple[int, int] | None = None,
    scale: float | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make a film, a still or a Rerun file of a recording.

    Args:
        source: a `Recording`, its file, or a run folder (its first recording).
        path: ends in ``.mp4``, ``.gif``, ``.png`` or ``.rrd``; the latter takes no options.
        moment_s: for a still, when; the most telling moment unless given.
        selected: an agent to bring out.
        fps: frames per second of film; 25 for mp4, 12.5 for gif unless given.
        speed: seconds of the run per second of film; a film of 6 to 12 s unless given.
        size: (width, height), points; chosen to suit the map unless given.
        scale: pixels per point; 2 for a still, 1 for a film unless given.
        progress: called with (frames done, frames in all).

    Returns:
        The path.

    Raises:
        ConfigError: see `check_output`; or nothing was recorded.
    """
    target = check_output(path)
    if not isinstance(source, Source):
        source = open_recording(source)
    if not len(source):
        raise ConfigError("recording has no ticks, so there is nothing to show: run for at least one tick")
    kind = target.suffix.lower()
    partial = target.with_name(f".{target.name}.part")  # a film is whole or not there
    if kind == ".rrd":
        try:
            write_rrd(source, partial, progress)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        return target
    if scale is None:
        scale = 2.0 if kind == ".png" else 1.0
    if size is not None:
        size = (size[0] + size[0] % 2, size[1] + size[1] % 2)  # video wants even sides
    picture = Picture(source.scene, size, scale=scale)
    try:
        if kind == ".png":
            moment = source.telling_moment() if moment_s is None else moment_s
            surface = picture.draw(
                source.frame(moment, flight_s=_flight(source, source.pace())),
                source.strip(),
                duration_s=source.duration_s,
                selected=selected,
            )
            with partial.open("wb") as file:
                load_pygame().image.save(surface, file, "png")
            if progress:
                progress(1, 1)
        else:
            rate = Fraction(fps) if fps else Fraction(25) if kind == ".mp4" else Fraction(25, 2)
            pace = source.pace() if speed is None else speed
            times = np.arange(0.0, source.duration_s, pace / float(rate))
            times = np.append(times, np.full(round(_HOLD_S * rate), source.duration_s))
            frames = _frames(source, picture, times, _flight(source, pace), selected, progress)
            (_write_mp4 if kind == ".mp4" else _write_gif)(partial, frames, picture.size, rate)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _flight(source: Source, pace: float) -> float:
    """Packets are shown for a third of a second of film, so that the eye can follow them."""
    dt = source.scene.dt
    return float(np.clip(0.3 * pace, dt, max(1.0, 2 * dt)))


def _frames(
    source: Source,
    picture: Picture,
    times: NDArray[np.float64],
    flight_s: float,
    selected: int | None,
    progress: Progress | None,
) -> Iterator[NDArray[np.uint8]]:
    strip, drawn, last = source.strip(), -1.0, np.empty(0, np.uint8)
    for n, time_s in enumerate(times.tolist()):
        if time_s != drawn:
            frame = source.frame(time_s, flight_s=flight_s)
            last = pixels_of(picture.draw(frame, strip, duration_s=source.duration_s, selected=selected))
            drawn = time_s
        yield last
        if progress:
            progress(n + 1, len(times))


def write_film(path: Path, frames: Iterator[NDArray[np.uint8]], rate: Fraction) -> None:
    """Any frames, uint8 [height, width, 3] with even sides, as a .gif or .mp4: whole, or not there.

    Args:
        path: see `check_output`; call that first. rate: frames per second.
    """
    first = next(frames)
    partial = path.with_name(f".{path.name}.part")
    size = (int(first.shape[1]), int(first.shape[0]))
    try:
        (_write_mp4 if path.suffix.lower() == ".mp4" else _write_gif)(partial, chain([first], frames), size, rate)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write_mp4(
    path: Path, frames: Iterator[NDArray[np.uint8]], size: tuple[int, int], rate: Fraction
) -> None:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    options = {"crf": "20", "preset": "veryfast"} if codec == "libx264" else {"qscale": "3"}
    colour: dict[str, Any] = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.thread_count = 2
        for image in frames:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", **colour)))
        container.mux(stream.encode())


def _write_gif(
    path: Path, frames: Iterator[NDArray[np.uint8]], size: tuple[int, int], rate: Fraction
) -> None:
    from PIL import Image

    first = Image.fromarray(next(frames))
    # One palette for all frames: flat areas stay still, so frames differ in little and pack well.
    # The first frame already shows every hue (goals, agents, legend); its tints are kept finely.
    palette = first.quantize(255, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)

    def rest() -> Iterator[Image.Image]:
        for image in frames:
            yield Image.fromarray(image).quantize(palette=palette, dither=Image.Dither.NONE)

    with path.open("wb") as file:
        palette.save(
            file,
            "GIF",
            save_all=True,
            append_images=rest(),
            duration=round(1000 / rate),
            loop=0,
            optimize=False,
        )
