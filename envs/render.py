"""Drawing on a pygame surface: the primitives every picture of a world is made of.

Nothing here opens a window: surfaces live in memory and need no display, so the same code makes
``rgb_array`` frames, films and the live view. pygame is imported on first use. Shapes with an
inside (discs, rings, diamonds, crosses) are small sprites whose coverage is computed from their
signed distance, cached at a quarter of a pixel: smooth edges and smooth motion at the price of a
blit. Standing things (floor, obstacles) are supersampled once into a backdrop.

Arrays of points are float [..., 2] in metres; rows with a NaN in them are left out.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pygame
    from pygame import Surface

Colour = tuple[int, int, int]
Array = NDArray[Any]
Box = tuple[float, float, float, float]
Point = Sequence[float] | Array

_PHASES = 4  # sprites are cached at 1/4 pixel, finer than the eye follows
_SUPERSAMPLE = 3


@lru_cache(maxsize=1)
def load_pygame() -> Any:
    """The pygame module, quiet (its greeting would land in ``--json`` output)."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    return pygame


# ---------------------------------------------------------------------------------- colours


@dataclass(frozen=True)
class Theme:
    """The colours of a picture. Red is kept for what goes wrong, so no agent is red."""

    page: Colour = (13, 18, 28)
    floor: Colour = (21, 28, 42)
    wall: Colour = (54, 66, 90)
    wall_edge: Colour = (78, 93, 122)
    panel: Colour = (19, 26, 39)
    ink: Colour = (233, 238, 247)
    muted: Colour = (154, 167, 190)
    faint: Colour = (84, 98, 124)
    accent: Colour = (120, 190, 255)
    alarm: Colour = (255, 84, 89)
    amber: Colour = (255, 190, 60)
    # Okabe and Ito's colour-blind-safe hues, lightened for a dark floor, without vermilion.
    agents: tuple[Colour, ...] = (
        (92, 184, 240),
        (242, 166, 60),
        (52, 199, 154),
        (232, 142, 198),
        (244, 228, 96),
        (160, 146, 255),
        (222, 212, 194),
    )

    def agent(self, index: int) -> Colour:
        """The hue of one agent; hues repeat in fleets larger than the palette."""
        return self.agents[index % len(self.agents)]


THEME = Theme()


@lru_cache(maxsize=16384)
def mix(below: Colour, above: Colour, share: float) -> Colour:
    """``above`` laid over ``below`` with opacity ``share`` in [0, 1]."""
    r, g, b = (round(u + (v - u) * share) for u, v in zip(below, above, strict=True))
    return (r, g, b)


# ----------------------------------------------------------------------------------- camera


class Camera:
    """Maps metres to pixels: the bounds fitted into a rectangle, one scale for both axes.

    Grid maps start at the origin and their y grows downwards, as in the map file. Worlds around
    the origin are drawn with y upwards, so that counter-clockwise looks counter-clockwise.

    Args:
        bounds: (xmin, ymin, xmax, ymax), metres.
        rect: (left, top, width, height), pixels.
    """

    def __init__(self, bounds: Sequence[float], rect: Sequence[float]) -> None:
        x0, y0, x1, y1 = (float(v) for v in bounds)
        left, top, width, height = (float(v) for v in rect)
        self.scale = min(width / max(x1 - x0, 1e-9), height / max(y1 - y0, 1e-9))
        self.up = y0 < 0.0 < y1
        w, h = (x1 - x0) * self.scale, (y1 - y0) * self.scale
        self.rect: Box = (left + (width - w) / 2, top + (height - h) / 2, w, h)
        self._gain = np.array([self.scale, -self.scale if self.up else self.scale])
        self._origin = np.array(self.rect[:2]) - self._gain * (x0, y1 if self.up else y0)

    def pixels(self, points: Array) -> Array:
        """Pixel coordinates, float64 of the shape of ``points``."""
        return np.asarray(points, np.float64) * self._gain + self._origin

    def metres(self, pixel: Sequence[float]) -> Array:
        """World coordinates of a pixel, float64 [2]."""
        return (np.asarray(pixel, np.float64) - self._origin) / self._gain


# ----------------------------------------------------------------------------------- sprites


def _disc(x: Array, y: Array, r: float) -> Array:
    return np.hypot(x, y) - r


def _diamond(x: Array, y: Array, r: float) -> Array:
    return (np.abs(x) + np.abs(y) - r) * 0.7071


def _cross(x: Array, y: Array, r: float) -> Array:
    u, v = np.abs(x + y) * 0.7071, np.abs(x - y) * 0.7071
    return np.hypot(np.minimum(u, v), np.maximum(np.maximum(u, v) - r, 0.0))


_SHAPES: dict[str, Callable[[Array, Array, float], Array]] = {
    "disc": _disc,
    "diamond": _diamond,
    "cross": _cross,
}


@lru_cache(maxsize=8192)
def _sprite(
    shape: str,
    radius: float,
    fill: Colour | None,
    edge: Colour | None,
    width: float,
    opacity: float,
    phase: tuple[int, int],
) -> Surface:
    pygame = load_pygame()
    half = int(np.ceil(radius + width)) + 2
    axis = np.arange(2 * half + 1) - half
    distance = _SHAPES[shape](axis[None, :] - phase[0] / _PHASES, axis[:, None] - phase[1] / _PHASES, radius)
    if shape == "cross":  # has no inside: its stroke is its fill
        distance, width = distance - width / 2, 0.0
    # Coverage of a pixel by an edge at that signed distance, then fill under edge.
    inside = np.clip(0.5 - distance, 0.0, 1.0) * (fill is not None)
    rim = np.clip(0.5 + width / 2 - np.abs(distance), 0.0, 1.0) * (edge is not None)
    alpha = rim + inside * (1.0 - rim)
    over, under = np.array(edge or (0, 0, 0)), np.array(fill or edge or (0, 0, 0))
    share = (rim / np.maximum(alpha, 1e-6))[..., None]
    colour = share * over + (1.0 - share) * under
    rgba = np.concatenate([colour, alpha[..., None] * 255.0 * opacity], axis=-1).round().astype(np.uint8)
    side = 2 * half + 1
    return pygame.image.frombytes(rgba.tobytes(), (side, side), "RGBA")


def stamp(
    surface: Surface,
    centre: Point,
    radius: float,
    *,
    shape: str = "disc",
    fill: Colour | None = None,
    edge: Colour | None = None,
    width: float = 1.5,
    opacity: float = 1.0,
) -> None:
    """Blit one smooth shape (``disc``, ``diamond`` or ``cross``) centred at a pixel position.

    Args:
        centre: (x, y), pixels, fractions allowed.
        radius: pixels to the edge (to the corners of a diamond and a cross).
        fill: colour inside; None leaves it open.
        edge: colour of a stroke of ``width`` pixels on the edge; None for none.
        opacity: in [0, 1]; rounded to 1/16, so that a fading shape stays in the cache.
    """
    x, y = float(centre[0]), float(centre[1])
    if not (abs(x) < 1e6 and abs(y) < 1e6):  # NaN or far away
        return
    px, py = int(np.floor(x)), int(np.floor(y))
    phase = (int((x - px) * _PHASES), int((y - py) * _PHASES))
    sprite = _sprite(
        shape, round(radius * 4) / 4, fill, edge, round(width * 4) / 4, round(opacity * 16) / 16, phase
    )
    half = sprite.get_width() // 2
    surface.blit(sprite, (px - half, py - half))


# ------------------------------------------------------------------------------------- lines


def strokes(surface: Surface, paths: Array, colours: Sequence[Colour], width: float = 1.0) -> None:
    """Smooth polylines, float [N, Q, 2] pixels, one colour each; paths with a NaN are left out.

    A line wider than a pixel is a sheaf of parallel hair lines: pygame's own wide smooth lines
    show every joint. Points on a straight run are dropped for the same reason.
    """
    count, length = paths.shape[:2]
    if not count or length < 2:
        return
    aalines = load_pygame().draw.aalines
    step = np.diff(paths, axis=1)
    size = np.hypot(step[..., 0], step[..., 1])
    keep = np.ones((count, length), bool)
    turn = np.abs(step[:, :-1, 0] * step[:, 1:, 1] - step[:, :-1, 1] * step[:, 1:, 0])
    keep[:, 1:-1] = turn > 1e-3 * size[:, :-1] * size[:, 1:]
    keep &= np.all(np.isfinite(paths), axis=(1, 2), keepdims=True)[..., 0]
    lanes = max(int(round(width)), 1)
    shift = np.zeros_like(paths)
    if lanes > 1:
        normal = np.stack([-step[..., 1], step[..., 0]], axis=-1) / np.maximum(size, 1e-9)[..., None]
        shift[:, 0], shift[:, -1] = normal[:, 0], normal[:, -1]
        shift[:, 1:-1] = (normal[:, :-1] + normal[:, 1:]) / 2
    for lane in range(lanes):
        moved = paths + shift * (lane - (lanes - 1) / 2) if lanes > 1 else paths
        for path, kept, colour in zip(moved, keep, colours, strict=True):
            points = path[kept].tolist()
            if len(points) > 1:
                aalines(surface, colour, False, points)


def stroke(surface: Surface, points: Array, colour: Colour, width: float = 1.0) -> None:
    """One smooth polyline through float [Q, 2] pixels."""
    strokes(surface, np.asarray(points, np.float64)[None], [colour], width)


def dashes(
    surface: Surface, points: Array, colour: Colour, width: float = 1.0, *, on: float = 6.0, off: float = 4.0
) -> None:
    """A dashed polyline; dashes are measured along the line, in pixels."""
    step = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(step)])
    begin = np.arange(0.0, along[-1] - 1.0, on + off)
    ends = np.stack([begin, np.minimum(begin + on, along[-1])], axis=1)
    cut = np.stack([np.interp(ends, along, points[:, 0]), np.interp(ends, along, points[:, 1])], axis=-1)
    aaline, thick = load_pygame().draw.aaline, max(int(round(width)), 1)
    for a, b in cut.tolist():
        aaline(surface, colour, a, b, thick)


def ring(surface: Surface, centre: Point, radius: float, colour: Colour, width: float = 1.0) -> None:
    """An open circle to the nearest pixel: cheaper than `stamp` for radii that keep changing."""
    x, y = round(float(centre[0])), round(float(centre[1]))
    load_pygame().draw.aacircle(surface, colour, (x, y), radius, max(round(width), 1))


# -------------------------------------------------------------------------------------- text


@lru_cache(maxsize=1)
def _typeface() -> bytes | None:
    """A clean sans-serif with figures of one width, the same on every machine.

    Pillow carries Aileron (public domain) inside; pygame's own font is the fallback.
    """
    try:
        from PIL import ImageFont

        return getattr(ImageFont.load_default(12), "font_bytes", None)
    except (ImportError, OSError):
        return None


@lru_cache(maxsize=64)
def _font(size: int) -> pygame.font.Font:
    pygame = load_pygame()
    pygame.font.init()
    face = _typeface()
    return pygame.font.Font(io.BytesIO(face) if face else None, size)


@lru_cache(maxsize=2048)
def label(text: str, size: int, colour: Colour, bold: bool = False) -> Surface:
    """A rendered line of text, cached.

    Args:
        size: height of the font, pixels.
        bold: draw twice, a fraction of a pixel apart (the built-in face has one weight).
    """
    pygame = load_pygame()
    plain = _font(max(size, 6)).render(text, True, colour)
    if not bold:
        return plain
    shift = max(1, round(size / 26))
    thick = pygame.Surface((plain.get_width() + shift, plain.get_height()), pygame.SRCALPHA)
    thick.blit(plain, (0, 0))
    thick.blit(plain, (shift, 0))
    return thick


def write(
    surface: Surface,
    text: str,
    at: Sequence[float],
    size: int,
    colour: Colour,
    *,
    anchor: tuple[float, float] = (0.0, 0.0),
    room: float | None = None,
    bold: bool = False,
) -> tuple[int, int, int, int]:
    """Write a line of text and return the rectangle it took.

    Args:
        at: (x, y), pixels, of the point of the text's box that ``anchor`` names.
        anchor: (0, 0) top left … (1, 1) bottom right.
        room: most pixels it may take; a longer text ends in an ellipsis.
    """
    if room is not None and _font(size).size(text)[0] > room:
        while text and _font(size).size(text + "...")[0] > room:
            text = text[:-1]
        text = text.rstrip(" ·,:") + "..."
    image = label(text, size, colour, bold)
    x, y = round(at[0] - anchor[0] * image.get_width()), round(at[1] - anchor[1] * image.get_height())
    surface.blit(image, (x, y))
    return (x, y, image.get_width(), image.get_height())


# --------------------------------------------------------------------------- parts of a world


def canvas(size: tuple[int, int], fill: Colour | None = None) -> Surface:
    """A new surface in memory (no display), opaque and filled, or clear when ``fill`` is None."""
    pygame = load_pygame()
    if fill is None:
        return pygame.Surface(size, pygame.SRCALPHA, 32)
    surface = pygame.Surface(size, 0, 32)
    surface.fill(fill)
    return surface


def draw_backdrop(surface: Surface, camera: Camera, boxes: Array, theme: Theme = THEME) -> None:
    """Floor and obstacles.

    Args:
        boxes: float [M, 5]: centre x, y, half width, half height, corner radius, metres.
    """
    pygame = load_pygame()
    s = _SUPERSAMPLE
    left, top = int(np.floor(camera.rect[0])), int(np.floor(camera.rect[1]))
    width = int(np.ceil(camera.rect[0] + camera.rect[2])) - left
    height = int(np.ceil(camera.rect[1] + camera.rect[3])) - top
    solid = pygame.Surface((width * s, height * s), 0, 8)
    solid.set_palette([(i, i, i) for i in range(256)])
    boxes = np.asarray(boxes, np.float64).reshape(-1, 5)
    corners = np.stack([boxes[:, :2] - boxes[:, 2:4], boxes[:, :2] + boxes[:, 2:4]], axis=1)
    pixels = (camera.pixels(corners) - (left, top)) * s
    low, high = np.rint(pixels.min(axis=1)).astype(int), np.rint(pixels.max(axis=1)).astype(int)
    rounds = np.rint(boxes[:, 4] * camera.scale * s).astype(int)
    for (x0, y0), (x1, y1), r in zip(low.tolist(), high.tolist(), rounds.tolist(), strict=True):
        rect = (x0, y0, max(x1 - x0, 1), max(y1 - y0, 1))
        pygame.draw.rect(solid, 255, rect, border_radius=int(min(r, min(rect[2:]) // 2)))
    mask = pygame.surfarray.pixels2d(solid) > 127  # [x, y]
    # The rim is what an erosion by one (supersampled) pixel and a half removes, so boxes that
    # touch become one obstacle with one outline.
    core = mask.copy()
    for axis in (0, 1):
        padded = np.pad(core, [(s, s) if a == axis else (0, 0) for a in (0, 1)], constant_values=True)
        size = core.shape[axis]
        core = np.logical_and.reduce([np.take(padded, range(o, o + size), axis=axis) for o in (0, s, 2 * s)])
    shades = np.array([theme.floor, theme.wall_edge, theme.wall], np.uint8)
    image = shades[mask.astype(np.uint8) + core]
    large = pygame.image.frombytes(image.swapaxes(0, 1).tobytes(), (width * s, height * s), "RGB")
    surface.blit(pygame.transform.smoothscale(large.convert(32), (width, height)), (left, top))
    pygame.draw.rect(surface, theme.wall_edge, (left, top, width, height), 1)


def draw_late(
    surface: Surface, camera: Camera, boxes: Array, state: Array, *, scale: float = 1.0, theme: Theme = THEME
) -> None:
    """Boxes that come later: an amber dashed outline once announced, a wall with an amber rim once they stand.

    Args:
        boxes: float [B, 5] as for `draw_backdrop`. state: int [B], 0 not there, 1 announced, 2 solid.
    """
    pygame = load_pygame()
    for (x, y, hx, hy, _), now in zip(np.asarray(boxes, np.float64).tolist(), np.asarray(state).tolist(), strict=True):
        if not now:
            continue
        corner = camera.pixels(np.array([(x - hx, y - hy), (x + hx, y - hy), (x + hx, y + hy), (x - hx, y + hy)]))
        if now == 2:
            low, high = np.rint(corner.min(0)), np.rint(corner.max(0))
            pygame.draw.rect(surface, theme.wall, (*low.tolist(), *(high - low).tolist()))
            stroke(surface, np.concatenate([corner, corner[:1]]), theme.amber, 1.5 * scale)
        else:
            dashes(surface, np.concatenate([corner, corner[:1]]), theme.amber, 1.5 * scale, on=4 * scale, off=4 * scale)


def draw_sites(
    surface: Surface, camera: Camera, sites: Array, radius: float, *, scale: float = 1.0, theme: Theme = THEME
) -> None:
    """A ring around each site, float [S, 2]."""
    size = max(1.6 * radius * camera.scale, 7.0 * scale)
    for centre in camera.pixels(sites).tolist():
        ring(surface, centre, size, theme.faint, 1.5 * scale)


def draw_goals(
    surface: Surface,
    camera: Camera,
    goals: Array,
    radius: float,
    *,
    weight: Array | None = None,
    scale: float = 1.0,
    theme: Theme = THEME,
) -> None:
    """An open diamond in its agent's hue at each goal, float [A, 2]."""
    size = max(radius * camera.scale * 1.05, 5.0 * scale)
    for a, centre in enumerate(camera.pixels(goals).tolist()):
        hue = mix(theme.floor, theme.agent(a), 0.85 * _weight(weight, a))
        stamp(surface, centre, size, shape="diamond", edge=hue, width=1.5 * scale)


def draw_trails(
    surface: Surface,
    camera: Camera,
    trail: Array,
    *,
    weight: Array | None = None,
    scale: float = 1.0,
    theme: Theme = THEME,
) -> None:
    """Where agents have been, oldest first and fading with age, float [N, A, 2]."""
    if len(trail) < 2:
        return
    paths = camera.pixels(trail).swapaxes(0, 1)
    moves = np.flatnonzero(np.abs(paths - paths[:, -1:]).max(axis=(1, 2)) >= 0.5).tolist()
    pieces = np.array_split(np.arange(len(trail)), min(4, max(1, len(trail) // 2)))
    for n, piece in enumerate(pieces):
        fade = 0.15 + 0.45 * (n + 1) / len(pieces)
        hues = [mix(theme.floor, theme.agent(a), fade * _weight(weight, a)) for a in moves]
        strokes(surface, paths[moves, piece[0] : piece[-1] + 2], hues, scale)


def draw_fans(
    surface: Surface,
    camera: Camera,
    beliefs: Array,
    *,
    weight: Array | None = None,
    scale: float = 1.0,
    most: int = 8,
    theme: Theme = THEME,
) -> None:
    """What peers believe of each agent: fine lines, one per sample, float [A, K, Q, 2].

    Args:
        most: number of samples to draw per agent.
    """
    paths = camera.pixels(beliefs[:, :most])
    agents, samples, length = paths.shape[:3]
    hues = [mix(theme.floor, theme.agent(a), 0.33 * _weight(weight, a)) for a in range(agents)]
    flat = paths.reshape(agents * samples, length, 2)
    strokes(surface, flat, [hue for hue in hues for _ in range(samples)], scale)


def draw_plans(
    surface: Surface,
    camera: Camera,
    plans: Array,
    *,
    weight: Array | None = None,
    scale: float = 1.0,
    dashed: bool = False,
    theme: Theme = THEME,
) -> None:
    """Committed plans (solid, with a dot where they stop) or proposals (dashed), float [A, Q, 2]."""
    paths = camera.pixels(plans)
    # Plans that go nowhere are left out, with those that are not there (NaN).
    goes = np.abs(paths - paths[:, :1]).max(axis=(1, 2), initial=0.0) >= 1.0
    who = np.flatnonzero(goes).tolist()
    if dashed:
        for a in who:
            hue = mix(theme.floor, mix(theme.agent(a), (255, 255, 255), 0.45), _weight(weight, a))
            dashes(surface, paths[a], hue, 1.5 * scale, on=5 * scale, off=4 * scale)
            stamp(surface, paths[a, -1], 3.0 * scale, edge=hue, width=1.25 * scale)
        return
    hues = [mix(theme.floor, theme.agent(a), 0.9 * _weight(weight, a)) for a in who]
    strokes(surface, paths[who], hues, 2.0 * scale)
    for a, hue in zip(who, hues, strict=True):
        stamp(surface, paths[a, -1], 2.5 * scale, fill=hue)


def draw_agents(
    surface: Surface,
    camera: Camera,
    positions: Array,
    radius: float,
    *,
    weight: Array | None = None,
    rest: Array | None = None,
    alive: Array | None = None,
    beside: bool = False,
    scale: float = 1.0,
    theme: Theme = THEME,
) -> None:
    """Discs of the true radius (never smaller than can be seen), with numbers where they fit.

    Args:
        positions: float [A, 2], metres.
        radius: metres.
        rest: bool [A], agents that have arrived: drawn calmer.
        alive: bool [A]; the others have failed or not joined yet, and are drawn as shadows with a cross.
        beside: write the number next to a disc too small to hold it.
    """
    size = agent_pixels(camera, radius, scale)
    for a, centre in enumerate(camera.pixels(positions).tolist()):
        share = _weight(weight, a) * (0.62 if rest is not None and rest[a] else 1.0)
        hue = mix(theme.floor, theme.agent(a), share)
        if alive is not None and not alive[a]:
            stamp(surface, centre, size, fill=mix(theme.floor, hue, 0.25), edge=theme.faint, width=1.5 * scale)
            stamp(surface, centre, 0.6 * size, shape="cross", fill=theme.muted, width=1.75 * scale)
            continue
        stamp(surface, centre, size, fill=hue, edge=mix(theme.page, hue, 0.25), width=1.5 * scale)
        if size >= (8.0 if beside else 6.5) * scale:
            number = label(str(a), round(min(size * (1.25 if a < 10 else 1.05), 26 * scale)), theme.page)
            w, h = number.get_size()
            surface.blit(number, (round(centre[0] - w / 2 + 0.25), round(centre[1] - h / 2 + 0.25)))
        elif beside:
            number = label(str(a), round(11 * scale), mix(theme.floor, theme.ink, 0.85 * _weight(weight, a)))
            w, h = number.get_size()
            gap, left, top = size + 3.5 * scale, camera.rect[0], camera.rect[1]
            x = centre[0] + gap if centre[0] + gap + w < left + camera.rect[2] else centre[0] - gap - w
            y = centre[1] - gap - 0.7 * h if centre[1] - gap - 0.7 * h > top else centre[1] + gap - 0.3 * h
            surface.blit(number, (round(x), round(y)))


def agent_pixels(camera: Camera, radius: float, scale: float = 1.0) -> float:
    """The radius agents are drawn with, pixels."""
    return max(radius * camera.scale, 3.5 * scale)


def _weight(weight: Array | None, agent: int) -> float:
    return 1.0 if weight is None else float(weight[agent])


def pixels_of(surface: Surface) -> NDArray[np.uint8]:
    """A surface as an image, uint8 [h, w, 3].

    A string of bytes is an order of magnitude faster than pygame's own array views here.
    """
    width, height = surface.get_size()
    raw = load_pygame().image.tobytes(surface, "RGB")
    return np.frombuffer(raw, np.uint8).reshape(height, width, 3)


# ------------------------------------------------------------------------- the simple picture

_BACKDROPS: OrderedDict[tuple[int, tuple[int, int]], tuple[Any, Camera, Surface]] = OrderedDict()


def world_bounds(world: Any) -> Box:
    """The area to show: the walls around a world, or else all that is in it with a margin."""
    bounds = getattr(world.obstacles, "bounds", None)
    if bounds is not None:
        x0, y0, x1, y1 = (float(v) for v in bounds)
        return (x0, y0, x1, y1)
    boxes = np.asarray(world.obstacles.boxes, np.float64).reshape(-1, 5)
    points = np.concatenate(
        [
            np.asarray(world.starts, np.float64).reshape(-1, 2),
            np.asarray(world.goals, np.float64).reshape(-1, 2),
            boxes[:, :2] - boxes[:, 2:4],
            boxes[:, :2] + boxes[:, 2:4],
        ]
    )
    low, high = points.min(axis=0) - 3 * world.radius, points.max(axis=0) + 3 * world.radius
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def draw_world(
    world: Any,
    positions: Array,
    velocities: Array | None = None,
    size: tuple[int, int] = (600, 600),
    lane: int = 0,
    *,
    goals: Array | None = None,
    alive: Array | None = None,
    late: Array | None = None,
) -> NDArray[np.uint8]:
    """One still of a world: map, sites, goals, agents and, if given, where they are heading.

    Args:
        world: an `envs.world.World`.
        positions: float [A, 2], metres, of one lane.
        velocities: float [A, 2], metres per second.
        size: (width, height), pixels.
        lane: whose goals to draw.
        goals: float [A, 2], metres, current ones; the world's own unless given.
        alive: bool [A], see `draw_agents`. late: int [B], state of the late boxes, see `draw_late`.

    Returns:
        uint8 [height, width, 3].
    """
    key = (id(world.obstacles), size)
    kept = _BACKDROPS.get(key)
    if kept is None or kept[0] is not world.obstacles:
        margin = max(4, min(size) // 60)
        view = Camera(world_bounds(world), (margin, margin, size[0] - 2 * margin, size[1] - 2 * margin))
        backdrop = canvas(size, THEME.page)
        draw_backdrop(backdrop, view, world.obstacles.boxes)
        kept = _BACKDROPS[key] = (world.obstacles, view, backdrop)
        while len(_BACKDROPS) > 4:
            _BACKDROPS.popitem(last=False)
    _, camera, backdrop = kept
    surface = backdrop.copy()
    if (sites := getattr(world, "sites", None)) is not None:
        draw_sites(surface, camera, sites.position[lane], world.radius)
    if late is not None and (events := getattr(world, "events", None)) is not None:
        draw_late(surface, camera, events.boxes[lane], late)
    draw_goals(surface, camera, world.goals[lane] if goals is None else goals, world.radius)
    if velocities is not None:
        ahead = np.asarray(positions) + np.asarray(velocities)  # one second ahead
        draw_plans(surface, camera, np.stack([positions, ahead], axis=1))
    draw_agents(surface, camera, positions, world.radius, alive=alive)
    return pixels_of(surface)


class Window:
    """A plain window that shows frames, for ``render_mode="human"``.

    Raises:
        ConfigError: there is no display to open it on.
    """

    def __init__(self, size: tuple[int, int], title: str) -> None:
        from envs.errors import ConfigError

        pygame = load_pygame()
        try:
            pygame.display.init()
            self._screen = pygame.display.set_mode(size)
        except pygame.error as error:
            raise ConfigError(
                f"a window needs a display, got none ({error}): use render_mode='rgb_array', "
                "or record a film with agentsc record"
            ) from None
        pygame.display.set_caption(title)

    def show(self, frame: NDArray[np.uint8]) -> None:
        """Show one uint8 [h, w, 3] frame and keep the window responsive."""
        pygame = load_pygame()
        height, width = frame.shape[:2]
        pygame.event.pump()
        image = pygame.image.frombuffer(np.ascontiguousarray(frame).data, (width, height), "RGB")
        self._screen.blit(image, (0, 0))
        pygame.display.flip()

    def close(self) -> None:
        """Close the window; calling it twice is fine."""
        load_pygame().display.quit()
