"""The picture of a fleet at work: the map with what agents do and say, and two strips beside it.

One `Picture` belongs to one `Scene` and one size. What stands still (map, goals, legend, frames
of the strips) is drawn once; `Picture.draw` adds the rest to a copy. The layout follows the map:
wide maps have the strips below, others have them at the side, whichever shows the map larger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agentsc.view.recording import Frame, Scene, Strip
from envs.render import (
    THEME,
    Camera,
    Colour,
    Theme,
    agent_pixels,
    canvas,
    dashes,
    draw_agents,
    draw_backdrop,
    draw_fans,
    draw_goals,
    draw_late,
    draw_plans,
    draw_sites,
    draw_trails,
    label,
    load_pygame,
    mix,
    ring,
    stamp,
    stroke,
    strokes,
    write,
)

if TYPE_CHECKING:
    from pygame import Surface

Array = NDArray[Any]
Rect = tuple[int, int, int, int]

# Everything below is in points; a picture of scale 2 has twice the pixels.
_PAD, _GAP, _HEADER, _PANEL, _STRIP, _LEGEND = 20, 14, 70, 250, 112, 30
_MAP_WIDE, _MAP_LEAST, _MAP_HIGH, _MAP_SQUARE = 920, 860, 640, 700
_BIG, _TEXT, _SMALL = 23, 14, 12

_FALLS = 0.55  # share of the arc at which a lost packet is shown to fall
_ARCS = 160  # with more packets than this in the air only their tails are drawn
_PLAN = 4  # bit of `sections` that says that a packet carries a plan


@dataclass(frozen=True)
class Layout:
    """Where things are, in points: map, the two strips, the legend; and whether strips are at the side."""

    size: tuple[int, int]
    map: Rect
    radio: Rect
    gap: Rect
    legend: Rect
    beside: bool

    @classmethod
    def below(cls, size: tuple[int, int], footer: int) -> Layout:
        """Strips in a row under the map."""
        w, h = size
        inner = w - 2 * _PAD
        legend = h - footer - _LEGEND - 8
        strip = legend - _STRIP - 10
        half = (inner - _GAP) // 2
        return cls(
            size=size,
            map=(_PAD, _HEADER, inner, strip - _GAP - _HEADER),
            radio=(_PAD, strip, half, _STRIP),
            gap=(_PAD + half + _GAP, strip, inner - half - _GAP, _STRIP),
            legend=(_PAD, legend, inner, _LEGEND),
            beside=False,
        )

    @classmethod
    def side(cls, size: tuple[int, int], footer: int) -> Layout:
        """Strips and legend in a column to the right of the map."""
        w, h = size
        left = w - _PAD - _PANEL
        high = h - footer - _PAD - _HEADER
        legend = 222
        strip = min(max((high - legend - 2 * _GAP) // 2, 60), 240)
        return cls(
            size=size,
            map=(_PAD, _HEADER, left - _GAP - _PAD, high),
            radio=(left, _HEADER, _PANEL, strip),
            gap=(left, _HEADER + strip + _GAP, _PANEL, strip),
            legend=(left, _HEADER + 2 * (strip + _GAP), _PANEL, legend),
            beside=True,
        )

    @classmethod
    def fit(cls, bounds: Sequence[float], size: tuple[int, int] | None, footer: int = 0) -> Layout:
        """The better of the two for a map; with no size given, also the size that wastes no room."""
        aspect = (bounds[2] - bounds[0]) / max(bounds[3] - bounds[1], 1e-9)
        if size is None:
            if aspect > 1.25:
                high = round(min(max(_MAP_WIDE / aspect, 240), _MAP_HIGH))
                wide = round(min(max(high * aspect, _MAP_LEAST), _MAP_WIDE))
                w, h = wide + 2 * _PAD, _HEADER + high + _GAP + _STRIP + 10 + _LEGEND + 8 + footer
                return cls.below((w + w % 2, h + h % 2), footer)
            wide = round(max(_MAP_SQUARE * aspect, 380))
            w, h = 2 * _PAD + wide + _GAP + _PANEL, _HEADER + _MAP_SQUARE + _PAD + footer
            return cls.side((w + w % 2, h + h % 2), footer)
        both = (cls.below(size, footer), cls.side(size, footer))
        return max(both, key=lambda o: min(o.map[2] / aspect, o.map[3]))


class Picture:
    """Draws frames of a scene.

    Args:
        scene: what stands still.
        size: (width, height), points; chosen to suit the map when None.
        scale: pixels per point: 2 for a sharp still.
        footer: a line at the very bottom, e.g. the keys of the live view.
    """

    def __init__(
        self,
        scene: Scene,
        size: tuple[int, int] | None = None,
        *,
        scale: float = 1.0,
        footer: str = "",
        theme: Theme = THEME,
    ) -> None:
        self.scene, self.scale, self.theme = scene, scale, theme
        self.layout = Layout.fit(scene.bounds, size, 22 if footer else 0)
        self.size = (round(self.layout.size[0] * scale), round(self.layout.size[1] * scale))
        self.camera = Camera(scene.bounds, self._rect(self.layout.map))
        agents = scene.agents
        # Large fleets would drown the map: fewer samples each, and only the nearest listeners.
        self._samples = int(np.clip(240 // max(agents, 1), 3, 8))
        self._peers = agents - 1 if agents <= 9 else int(np.clip(36 // agents, 1, 3))
        self._footer = footer
        self._static = self._draw_static()
        self._under: tuple[tuple[Array, ...], int | None, Surface] | None = None
        self._strips: tuple[Any, list[tuple[Rect, Surface, Surface]]] = (None, [])

    # -- geometry ------------------------------------------------------------------------------

    def _rect(self, rect: Rect) -> Rect:
        x, y, w, h = (round(v * self.scale) for v in rect)
        return (x, y, w, h)

    def _px(self, points: float) -> int:
        return round(points * self.scale)

    def _plot(self, rect: Rect) -> Rect:
        """The area of a strip that its curve fills, pixels."""
        x, y, w, h = self._rect(rect)
        top, bottom, side = self._px(30), self._px(19), self._px(10)
        return (x + side, y + top, w - 2 * side, h - top - bottom)

    def agent_at(self, frame: Frame, pixel: Sequence[float]) -> int | None:
        """The agent at or next to a pixel, None when there is none within reach of a click."""
        if not self.scene.agents:
            return None
        gap = np.hypot(*(self.camera.pixels(frame.position) - np.asarray(pixel)).T)
        near = int(np.argmin(gap))
        reach = agent_pixels(self.camera, self.scene.radius, self.scale) + self._px(8)
        return near if gap[near] <= reach else None

    def time_at(self, pixel: Sequence[float], duration_s: float) -> float | None:
        """The time a pixel on one of the strips stands for, None elsewhere."""
        for rect in (self.layout.radio, self.layout.gap):
            x, y, w, h = self._rect(rect)
            if x <= pixel[0] <= x + w and y <= pixel[1] <= y + h:
                left, _, width, _ = self._plot(rect)
                return float(np.clip((pixel[0] - left) / max(width, 1), 0.0, 1.0)) * duration_s
        return None

    # -- what stands still ---------------------------------------------------------------------

    def _draw_static(self) -> Surface:
        surface, theme, meta = canvas(self.size, self.theme.page), self.theme, self.scene.meta
        draw_backdrop(surface, self.camera, self.scene.boxes, theme)
        draw_sites(surface, self.camera, self.scene.sites, self.scene.radius, scale=self.scale, theme=theme)
        for place in self.camera.pixels(self.scene.hubs).tolist():
            self._mark_hub(surface, place)
        room = self.size[0] - self._px(2 * _PAD + 230)
        agents = f"{self.scene.agents} agents" if self.scene.agents != 1 else "1 agent"
        x = self._px(_PAD)
        title = f"{meta.get('scenario', 'world')}, {agents}"
        write(surface, title, (x, self._px(13)), self._px(_BIG), theme.ink, room=room)
        parts = [f"protocol {meta['protocol']}"] if "protocol" in meta else []
        parts += [f"link {meta['link']}"] if "link" in meta else []
        parts += [f"{k} {meta[k]}" for k in ("seed", "episode") if k in meta]
        write(surface, "   ".join(parts), (x, self._px(43)), self._px(_TEXT), theme.muted, room=room)
        for rect in (self.layout.radio, self.layout.gap):
            self._panel(surface, rect)
        self._draw_legend(surface)
        if self._footer:
            at = (self.size[0] - self._px(_PAD), self.size[1] - self._px(7))
            room = round(0.8 * self.size[0])
            write(surface, self._footer, at, self._px(_SMALL), theme.muted, anchor=(1.0, 1.0), room=room)
        return surface

    def _panel(self, surface: Surface, rect: Rect) -> None:
        pygame = load_pygame()
        pygame.draw.rect(surface, self.theme.panel, self._rect(rect), border_radius=self._px(6))

    def _draw_legend(self, surface: Surface) -> None:
        theme, s = self.theme, self.scale
        hue = theme.agent(0)
        nearest = "" if self._peers == self.scene.agents - 1 else f" (nearest {self._peers})"

        def line(at: Array, colour: Colour, width: float) -> None:
            stroke(surface, at + np.array([[-11.0, 0], [11, 0]]) * s, colour, width * s)

        def fan(at: Array) -> None:
            for tilt in (-6, -2, 2, 6):
                path = np.array([[-11.0, 0], [0, tilt * 0.35], [11, tilt]]) * s
                stroke(surface, at + path, mix(theme.panel, hue, 0.5), s)

        def plan(at: Array) -> None:
            line(at, hue, 2)
            stamp(surface, at + (11 * s, 0), 2.5 * s, fill=hue)

        def proposal(at: Array) -> None:
            pale = mix(hue, (255, 255, 255), 0.45)
            dashes(surface, at + np.array([[-11.0, 0], [11, 0]]) * s, pale, 1.5 * s)

        entries: list[tuple[str, Callable[[Array], None]]] = [
            ("agent", lambda at: stamp(surface, at, 6 * s, fill=hue)),
            ("goal", lambda at: stamp(surface, at, 7 * s, shape="diamond", edge=hue, width=1.5 * s)),
            ("trail", lambda at: line(at, mix(theme.page, hue, 0.5), 1)),
            ("committed plan", plan),
            ("pending proposal", proposal),
            ("peers' belief", fan),
            ("packet" + nearest, partial(self._mark_packet, surface)),
            ("lost packet", partial(self._mark_lost, surface)),
            ("brake", lambda at: stamp(surface, at, 7 * s, edge=theme.alarm, width=2 * s)),
        ]
        if len(self.scene.sites):
            entries.insert(2, ("site", lambda at: stamp(surface, at, 7 * s, edge=theme.faint, width=1.5 * s)))
        if len(self.scene.hubs):
            entries.insert(2, ("hub", partial(self._mark_hub, surface)))
        if len(self.scene.late):
            entries.insert(2, ("late box", partial(self._mark_late, surface, 2)))
            entries.insert(2, ("announced box", partial(self._mark_late, surface, 1)))
        x, y, w, h = self._rect(self.layout.legend)
        if self.layout.beside:
            self._panel(surface, self.layout.legend)
            step = (h - self._px(16)) / len(entries)
            for n, (text, mark) in enumerate(entries):
                mid = y + self._px(8) + step * (n + 0.5)
                mark(np.array([x + self._px(24), mid]))
                at = (x + self._px(46), mid)
                write(surface, text, at, self._px(_SMALL + 1), theme.muted, anchor=(0.0, 0.5))
            return
        size = self._px(_SMALL)
        widths = [label(text, size, theme.muted).get_width() + self._px(30) for text, _ in entries]
        space = min((w - sum(widths)) / max(len(entries) - 1, 1), self._px(26))
        left, mid = x + (w - sum(widths) - space * (len(entries) - 1)) / 2, y + h / 2
        for (text, mark), width in zip(entries, widths, strict=True):
            mark(np.array([left + self._px(11), mid]))
            write(surface, text, (left + self._px(29), mid), size, theme.muted, anchor=(0.0, 0.5))
            left += width + space

    def _mark_late(self, surface: Surface, state: int, at: Array) -> None:
        """A late box as on the map, with a camera whose metres are pixels."""
        half = 6.0 * self.scale
        frame = Camera((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0))
        box = np.array([[*at, half, half, 0.0]])
        draw_late(surface, frame, box, np.array([state]), scale=self.scale, theme=self.theme)

    def _mark_packet(self, surface: Surface, at: Array) -> None:
        s = self.scale
        stroke(surface, at + np.array([[-11.0, 3], [-3, -0.5], [7, -2]]) * s, self.theme.faint, s)
        stamp(surface, at + np.array([7.0, -2]) * s, 2.5 * s, fill=self.theme.ink)

    def _mark_lost(self, surface: Surface, at: Array) -> None:
        s = self.scale
        stamp(surface, at, 4.5 * s, shape="cross", fill=self.theme.alarm, width=2 * s)

    # -- what moves ----------------------------------------------------------------------------

    def draw(
        self, frame: Frame, strip: Strip, *, duration_s: float | None = None, selected: int | None = None
    ) -> Surface:
        """The picture at one instant.

        Args:
            strip: the series for the strips, as far as they are known.
            duration_s: right end of the time axis; the end of ``strip`` unless given.
            selected: an agent to bring out; the others step back.

        Returns:
            A new surface of `size` pixels.
        """
        weight = None
        if selected is not None:
            weight = np.full(self.scene.agents, 0.3)
            weight[selected] = 1.0
        surface = self._intents(frame, selected, weight).copy()
        surface.set_clip(self._map_clip())
        self._draw_map(surface, frame, selected, weight)
        surface.set_clip(None)
        end = duration_s or (float(strip.time_s[-1]) if len(strip.time_s) else self.scene.dt)
        self._draw_strips(surface, frame, strip, end)
        self._draw_status(surface, frame, strip, selected)
        return surface

    def _map_clip(self) -> Rect:
        x, y, w, h = self.camera.rect
        return (int(x), int(y), int(np.ceil(w)) + 1, int(np.ceil(h)) + 1)

    def _intents(self, frame: Frame, selected: int | None, weight: Array | None) -> Surface:
        """Beliefs and plans over what stands still: they change once a tick, so they are kept."""
        key = (frame.plans, frame.proposals, frame.beliefs, frame.goals, frame.late)
        held = self._under
        if held and held[1] == selected and all(a is b for a, b in zip(held[0], key, strict=True)):
            return held[2]
        common: dict[str, Any] = {"weight": weight, "scale": self.scale, "theme": self.theme}
        surface = self._static.copy()
        surface.set_clip(self._map_clip())
        beliefs, most = frame.beliefs, self._samples
        if selected is not None:  # its fan in full, and nobody else's
            beliefs, most = np.full_like(beliefs, np.nan), 8
            beliefs[selected] = frame.beliefs[selected]
        draw_late(surface, self.camera, self.scene.late, frame.late, scale=self.scale, theme=self.theme)
        draw_goals(surface, self.camera, frame.goals, self.scene.radius, scale=self.scale, theme=self.theme)
        draw_fans(surface, self.camera, beliefs, most=most, **common)
        draw_plans(surface, self.camera, frame.plans, **common)
        draw_plans(surface, self.camera, frame.proposals, dashed=True, **common)
        surface.set_clip(None)
        self._under = (key, selected, surface)
        return surface

    def _draw_map(self, surface: Surface, frame: Frame, selected: int | None, weight: Array | None) -> None:
        camera, scene, theme, s = self.camera, self.scene, self.theme, self.scale
        common: dict[str, Any] = {"weight": weight, "scale": s, "theme": theme}
        draw_trails(surface, camera, frame.trail, **common)
        self._draw_packets(surface, frame, selected)
        size = agent_pixels(camera, scene.radius, s)
        centres = camera.pixels(frame.position)
        if min(frame.pair) >= 0 and frame.closest < 1.5 * scene.separation:
            hit = frame.closest < scene.separation
            colour = theme.alarm if hit else theme.ink
            stroke(surface, centres[list(frame.pair)], colour, (2.0 if hit else 1.0) * s)
        few = scene.agents <= 32
        common |= {"rest": frame.at_goal, "alive": frame.alive, "beside": few}
        draw_agents(surface, camera, frame.position, scene.radius, **common)
        for a in np.flatnonzero(frame.pending).tolist():
            pale = mix(theme.agent(a), (255, 255, 255), 0.45)
            pale = pale if weight is None else mix(theme.floor, pale, weight[a])
            stamp(surface, centres[a], size + 3 * s, edge=pale, width=1.25 * s)
        for a in np.flatnonzero(frame.brake).tolist():
            stamp(surface, centres[a], size + 3 * s, edge=theme.alarm, width=2.25 * s)
        if selected is not None:
            stamp(surface, centres[selected], size + 6 * s, edge=theme.ink, width=1.75 * s)
            goal = camera.pixels(frame.goals[selected])
            stamp(surface, goal, max(1.05 * size, 5 * s), shape="diamond", edge=theme.ink, width=2.5 * s)

    def _mark_hub(self, surface: Surface, at: Any) -> None:
        """A small square."""
        corner = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]) * 5.0 * self.scale
        stroke(surface, np.asarray(at) + corner, self.theme.ink, 1.75 * self.scale)

    def _draw_packets(self, surface: Surface, frame: Frame, selected: int | None) -> None:
        """Dots on arcs from sender to receiver, a ring at each sender, a red cross where one was lost."""
        rows, theme, s = frame.packets, self.theme, self.scale
        if not len(rows):
            return
        places = self.scene.radios(frame.position)
        centres = self.camera.pixels(places)
        age = (frame.time_s - rows["sent_s"]).astype(np.float64)
        size = agent_pixels(self.camera, self.scene.radius, s)

        senders, first = np.unique(rows["sender"], return_index=True)
        for a, n in zip(senders.tolist(), first.tolist(), strict=True):
            newest = age[n:][rows["sender"][n:] == a].min() / frame.flight_s
            if newest < 1.0 and (selected is None or a == selected):
                hue = mix(theme.floor, theme.agent(a), 0.75 * (1.0 - newest))
                ring(surface, centres[a], size + (2 + 14 * newest) * s, hue, s)

        if selected is not None:
            shown = (rows["sender"] == selected) | (rows["receiver"] == selected)
        elif self._peers < self.scene.agents - 1:
            gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
            rank = np.argsort(np.argsort(gaps, axis=1), axis=1)  # 0 is the sender itself
            shown = rank[rows["sender"], rows["receiver"]] <= self._peers
        else:
            shown = np.ones(len(rows), bool)
        rows, age = rows[shown], age[shown]

        lost = np.isnan(rows["arrival_s"])
        flight = np.maximum(np.where(lost, 0.0, rows["arrival_s"] - rows["sent_s"]), frame.flight_s)
        along = age / flight
        start, end = centres[rows["sender"]], centres[rows["receiver"]]
        across = (end - start)[:, ::-1] * (0.16, -0.16)
        middle = (start + end) / 2 + across

        def at(u: Array) -> Array:
            v = u[:, None]
            return (1 - v) ** 2 * start + 2 * v * (1 - v) * middle + v**2 * end

        fallen = lost & (along >= _FALLS)
        up = ~fallen
        hues = [theme.agent(a) for a in rows["sender"].tolist()]
        # The arc from the sender, faint, with a bright tail behind the head.
        head = np.where(lost, np.minimum(along, _FALLS), along)
        parts = [(np.linspace(0.0, 1.0, 9), 0.22)] if len(rows) <= _ARCS else []
        for spread, share in [*parts, (np.linspace(0.0, 1.0, 4), 0.65)]:
            begin = 0.0 if share < 0.5 else np.maximum(head - 0.2, 0.0)
            path = np.stack([at(begin + (head - begin) * v) for v in spread], axis=1)
            strokes(surface, path[up], [mix(theme.floor, hues[n], share) for n in np.flatnonzero(up)], s)
        heads = at(head).tolist()
        for n, sections in enumerate(rows["sections"].tolist()):
            if fallen[n]:
                fade = float(np.clip((2.0 - along[n]) / 1.2, 0.0, 1.0))
                red = theme.alarm
                stamp(surface, heads[n], 4.0 * s, shape="cross", fill=red, width=1.75 * s, opacity=fade)
            else:
                large = sections & _PLAN
                stamp(surface, heads[n], (2.6 if large else 1.9) * s, fill=mix(hues[n], theme.ink, 0.6))

    def _draw_status(self, surface: Surface, frame: Frame, strip: Strip, selected: int | None) -> None:
        theme, right = self.theme, self.size[0] - self._px(_PAD)
        at = (right, self._px(13))
        write(surface, f"{frame.time_s:.1f} s", at, self._px(_BIG), theme.ink, anchor=(1.0, 0.0))
        y = self._px(43)
        if selected is not None:
            facts = [f"agent {selected}"]
            if np.isfinite(frame.belief_age[selected]):
                facts.append(f"last heard {frame.belief_age[selected]:.1f} s ago")
            if frame.pending[selected]:
                facts.append("asking")
            hue = theme.agent(selected)
            write(surface, "   ".join(facts), (right, y), self._px(_TEXT), hue, anchor=(1.0, 0.0))
            return
        past = strip.closest[strip.time_s <= frame.time_s + 0.5 * self.scene.dt]
        hits = bool((past < self.scene.separation).any())
        home = f"{int(frame.at_goal.sum())} of {self.scene.agents} at goal"
        box = write(surface, home, (right, y), self._px(_TEXT), theme.muted, anchor=(1.0, 0.0))
        if hits:
            at = (box[0] - self._px(12), y)
            write(surface, "collision", at, self._px(_TEXT), theme.alarm, anchor=(1.0, 0.0))

    # -- strips --------------------------------------------------------------------------------

    def _draw_strips(self, surface: Surface, frame: Frame, strip: Strip, end: float) -> None:
        pygame = load_pygame()
        key = (len(strip.time_s), end)
        if self._strips[0] != key:
            drawn = []
            for rect, curve in ((self.layout.radio, self._radio_strip), (self.layout.gap, self._gap_strip)):
                drawn.append((rect, curve(rect, strip, end, False), curve(rect, strip, end, True)))
            self._strips = (key, drawn)
        row = int(np.searchsorted(strip.time_s, frame.time_s - 1e-6)) if len(strip.time_s) else 0
        row = min(row, len(strip.time_s) - 1)
        facts = (self._radio_now(strip, row), self._gap_now(strip, row))
        for (box, dim, bright), (text, colour) in zip(self._strips[1], facts, strict=True):
            x, y, w, h = self._rect(box)
            left, top, width, height = self._plot(box)
            cursor = left + round(width * min(frame.time_s / end, 1.0))
            surface.blit(bright, (x, y), (0, 0, cursor - x, h))
            surface.blit(dim, (cursor, y), (cursor - x, 0, w, h))
            pygame.draw.line(surface, self.theme.ink, (cursor, top), (cursor, top + height))
            where = (x + w - self._px(10), y + self._px(8))
            write(surface, text, where, self._px(_TEXT), colour, anchor=(1.0, 0.0))

    def _radio_now(self, strip: Strip, row: int) -> tuple[str, Colour]:
        if row < 0:
            return "", self.theme.ink
        return _rate(float(strip.sent[row])), self.theme.ink

    def _gap_now(self, strip: Strip, row: int) -> tuple[str, Colour]:
        if row < 0 or not np.isfinite(strip.closest[row]):
            return "", self.theme.ink
        gap = float(strip.closest[row])
        return f"{gap:.2f} m", self.theme.alarm if gap < self.scene.separation else self.theme.ink

    def _blank_strip(self, rect: Rect, title: str, alarm: str, end: float) -> tuple[Surface, Rect]:
        """A strip's title, what red means in it, its time axis, and the plot's rectangle inside it."""
        _, _, w, h = self._rect(rect)
        surface = canvas((w, h))
        left, top = self._rect(rect)[:2]
        px, py, width, height = self._plot(rect)
        plot = (px - left, py - top, width, height)
        at, text = (self._px(10), self._px(8)), self._px(_SMALL + 1)
        box = write(surface, title, at, text, self.theme.muted)
        beside, room = box[0] + box[2] + self._px(10), w - box[2] - self._px(78)
        write(surface, alarm, (beside, at[1]), text, self.theme.alarm, room=room)
        base = plot[1] + plot[3]
        load_pygame().draw.line(surface, self.theme.faint, (plot[0], base), (plot[0] + plot[2], base))
        for t in _ticks(end, 5):
            x = plot[0] + plot[2] * t / end
            load_pygame().draw.line(surface, self.theme.faint, (x, base), (x, base + self._px(3)))
            side = 0.0 if t == 0 else 1.0 if x > plot[0] + plot[2] - self._px(6) else 0.5
            number, below = "0 s" if t == 0 else f"{t:g}", base + self._px(4)
            write(surface, number, (x, below), self._px(11), self.theme.muted, anchor=(side, 0.0))
        return surface, plot

    def _area(self, surface: Surface, plot: Rect, x: Array, y: Array, colour: Colour, opacity: float) -> None:
        """A filled curve; x and y in [0, 1] of the plot."""
        pygame = load_pygame()
        s = 3
        big = canvas((plot[2] * s, plot[3] * s))
        path = np.stack([x * plot[2] * s, (1 - y) * plot[3] * s], axis=1)
        foot = np.array([[path[-1, 0], plot[3] * s], [path[0, 0], plot[3] * s]])
        pygame.draw.polygon(big, (*colour, round(255 * opacity)), np.concatenate([path, foot]).tolist())
        surface.blit(pygame.transform.smoothscale(big, plot[2:]), plot[:2])

    def _radio_strip(self, rect: Rect, strip: Strip, end: float, bright: bool) -> Surface:
        theme = self.theme
        surface, plot = self._blank_strip(rect, "bits sent per agent", "lost", end)
        if not len(strip.time_s):
            return surface
        top = max(float(strip.sent.max()) * 1.15, 1.0)
        x = np.concatenate([[0.0], strip.time_s / end])
        share = 1.0 if bright else 0.35
        for series, colour, fill in ((strip.sent, theme.accent, 0.45), (strip.lost, theme.alarm, 0.75)):
            y = np.concatenate([series[:1], series]) / top
            self._area(surface, plot, x, y, colour, fill * share)
            if series is strip.sent:
                path = np.stack([plot[0] + x * plot[2], plot[1] + (1 - y) * plot[3]], axis=1)
                stroke(surface, path, mix(theme.panel, colour, share), self.scale)
        return surface

    def _gap_strip(self, rect: Rect, strip: Strip, end: float, bright: bool) -> Surface:
        theme, limit = self.theme, self.scene.separation
        surface, plot = self._blank_strip(rect, "closest pair", f"collision {limit:.2g} m", end)
        known = np.isfinite(strip.closest)
        if known.any():
            gaps = strip.closest[known]
            # The range near the collision line is what matters: wide gaps may run off the top.
            top = max(float(np.quantile(gaps, 0.9)) * 1.2, 2.5 * limit)
            top = min(top, max(6.0 * limit, float(gaps.min()) * 2))
            x, y = strip.time_s[known] / end, np.minimum(gaps / top, 1.0)
            share = 1.0 if bright else 0.35
            path = np.stack([plot[0] + x * plot[2], plot[1] + (1 - y) * plot[3]], axis=1)
            self._area(surface, plot, x, y, theme.accent, 0.18 * share)
            width = (1.6 if bright else 1.0) * self.scale
            stroke(surface, path, mix(theme.panel, theme.accent, share), width)
            level = plot[1] + (1 - limit / top) * plot[3]
            line = np.array([[plot[0], level], [plot[0] + plot[2], level]], np.float64)
            dashes(surface, line, theme.alarm, self.scale, on=5 * self.scale, off=4 * self.scale)
        return surface


def _rate(bits_per_s: float) -> str:
    """Bits per second, readable."""
    return f"{bits_per_s / 1000:.1f} kbit/s" if bits_per_s >= 1000 else f"{bits_per_s:.0f} bit/s"


def _ticks(end: float, most: int) -> list[float]:
    """Round numbers from 0 to ``end``, at most ``most`` steps."""
    raw = max(end, 1e-6) / most
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(next(m * power for m in (1, 2, 5, 10) if m * power >= raw))
    return [round(n * step, 6) for n in range(int(end / step + 1e-9) + 1)]
