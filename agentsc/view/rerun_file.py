"""A recording as a Rerun file (.rrd), to be scrubbed through and measured in the Rerun viewer.

Entities under ``world`` are drawn in metres, y downwards as in films: ``obstacles``, ``goals``,
``agents`` (one hue each), ``trails``, ``plans``, ``proposals``, ``beliefs``, ``packets`` that
arrived and packets that were ``lost``. Entities under ``plots`` are one value per tick. Timelines:
``tick`` and ``time``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsc.view.recording import Source, Tick
from envs.errors import ConfigError
from envs.render import THEME, Colour

Array = NDArray[Any]
Lines = dict[str, tuple[Array, list[Colour]]]
"""Entity under ``world`` → polylines [n, Q, 2], metres, and a colour each (or one for all)."""

TRAIL = 32  # ticks


def check_rerun(name: str) -> None:
    """Whether ``.rrd`` files can be written here.

    Args:
        name: of the file, for the message.

    Raises:
        ConfigError: the library is not installed.
    """
    if importlib.util.find_spec("rerun") is None:
        raise ConfigError(f"record {name!r} needs the Rerun SDK: pip install 'agentsc[rerun]', or record a .gif")


def write_rrd(source: Source, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write all ticks of a lane.

    Args:
        source: what to write. path: the file, replaced if it is there.
        progress: called with (ticks done, ticks in all).
    """
    import rerun as rr

    scene = source.scene
    hues = [THEME.agent(agent) for agent in range(scene.agents)]
    title = " · ".join(str(scene.meta[key]) for key in ("scenario", "protocol", "link") if key in scene.meta)
    stream = rr.RecordingStream("agentsc")
    try:
        stream.save(path, default_blueprint=_blueprint())
        stream.send_recording_name(title or "agentsc")
        for key, value in scene.meta.items():
            stream.log(f"about/{key}", rr.TextDocument(str(value)), static=True)
        x0, y0, x1, y1 = scene.bounds
        stream.log(
            "world/bounds",
            rr.Boxes2D(mins=[(x0, y0)], sizes=[(x1 - x0, y1 - y0)], colors=[THEME.faint]),
            static=True,
        )
        boxes = scene.boxes
        stream.log(
            "world/obstacles",
            rr.Boxes2D(centers=boxes[:, :2], half_sizes=boxes[:, 2:4], colors=[THEME.wall_edge]),
            static=True,
        )
        if all(tick.goals is None for tick in source.ticks):  # what is static could not change later
            stream.log("world/goals", rr.Points2D(scene.goals, radii=0.4 * scene.radius, colors=hues), static=True)
        if len(scene.sites):
            sites = rr.Points2D(scene.sites, radii=0.8 * scene.radius, colors=[THEME.faint])
            stream.log("world/sites", sites, static=True)
        if len(scene.hubs):
            hubs = rr.Boxes2D(centers=scene.hubs, half_sizes=[[scene.radius] * 2] * len(scene.hubs), colors=[THEME.ink])
            stream.log("world/hubs", hubs, static=True)
        for name, colour in (("sent", THEME.accent), ("lost", THEME.alarm)):
            stream.log(f"plots/bits/{name}", rr.SeriesLines(colors=[colour], names=[name]), static=True)
        _positions(rr, stream, scene.starts, scene.radius, hues, 0, 0.0)
        strip, past = source.strip(), [np.asarray(scene.starts)]
        for row, tick in enumerate(source.ticks):
            past = [*past[-TRAIL:], np.asarray(tick.position)]
            _positions(rr, stream, tick.position, scene.radius, hues, tick.tick + 1, (tick.tick + 1) * scene.dt)
            lines: Lines = {
                "trails": (np.stack(past, axis=1), hues),
                **_plans(tick, hues),
                **_packets(tick, scene.radios(np.asarray(tick.position))),
            }
            for name, (strips, colours) in lines.items():
                stream.log(f"world/{name}", rr.LineStrips2D(strips, colors=colours, radii=0.1 * scene.radius))
            if tick.goals is not None:
                stream.log("world/goals", rr.Points2D(tick.goals, radii=0.4 * scene.radius, colors=hues))
            if tick.late is not None:
                stream.log("world/late", _late(rr, scene.late, np.asarray(tick.late)))
            stream.log("plots/bits/sent", rr.Scalars(float(strip.sent[row])))
            stream.log("plots/bits/lost", rr.Scalars(float(strip.lost[row])))
            if np.isfinite(tick.closest):
                stream.log("plots/closest_m", rr.Scalars(float(tick.closest)))
            if tick.at_goal is not None:
                stream.log("plots/agents_at_goal", rr.Scalars(float(np.sum(tick.at_goal))))
            if progress:
                progress(row + 1, len(source))
    finally:
        stream.disconnect()  # flushes and closes the file


def _positions(
    rr: Any, stream: Any, position: Array, radius: float, hues: list[Colour], tick: int, time_s: float
) -> None:
    stream.set_time("tick", sequence=tick)
    stream.set_time("time", duration=time_s)
    stream.log("world/agents", rr.Points2D(position, radii=radius, colors=hues))


def _late(rr: Any, boxes: Array, state: Array) -> Any:
    """Late boxes that can be seen: announced ones amber, solid ones as obstacles."""
    seen, colours = state > 0, [THEME.amber if now == 1 else THEME.wall_edge for now in state[state > 0].tolist()]
    return rr.Boxes2D(centers=boxes[seen, :2], half_sizes=boxes[seen, 2:4], colors=colours)


def _plans(tick: Tick, hues: list[Colour]) -> Lines:
    """What agents intend, and what peers believe of them; NaN rows are none."""
    shown: Lines = {}
    for name, values in (("plans", tick.plans), ("proposals", tick.proposals), ("beliefs", tick.beliefs)):
        if values is None:
            continue
        array = np.asarray(values, np.float32)
        fans = array if name == "beliefs" else array[:, None]
        known = ~np.isnan(fans).any(axis=(-1, -2))
        agent = np.broadcast_to(np.arange(len(fans))[:, None], known.shape)[known]
        shown[name] = (fans[known], [hues[a] for a in agent])
    return shown


def _packets(tick: Tick, places: Array) -> Lines:
    """From sender to receiver of the packets of a tick, between radios at ``places``."""
    ends = np.stack([places[tick.packets["sender"]], places[tick.packets["receiver"]]], axis=1)
    lost = np.isnan(tick.packets["arrival_s"])
    return {"packets": (ends[~lost], [THEME.accent]), "lost": (ends[lost], [THEME.alarm])}


def _blueprint() -> Any:
    """The map beside the plots."""
    import rerun.blueprint as rrb

    plots = [
        rrb.TimeSeriesView(origin="plots/bits", name="bit/s per agent"),
        rrb.TimeSeriesView(origin="plots/closest_m", name="closest pair, m"),
        rrb.TimeSeriesView(origin="plots/agents_at_goal", name="agents at their goal"),
    ]
    world = rrb.Spatial2DView(origin="world", name="map, m")
    return rrb.Blueprint(rrb.Horizontal(world, rrb.Vertical(*plots), column_shares=[2, 1]), collapse_panels=True)
