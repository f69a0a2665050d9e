"""What a camera sees: arena scenes as shapes to be painted, drawn from seeds or taken from a running arena.

Everything in a scene is a rounded box with a class, a colour and a surface, in the order in which it is painted:
zones, trails of plans, shadows, goals, blocks, agents. A scene is a function of its seed alone; which map family it
belongs to is the seed's choice among the families allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs import keyed
from envs.errors import ConfigError, unknown_name

Floats = NDArray[np.float32]
Boxes = NDArray[np.float64]
Number = NDArray[np.float64] | float

CLASSES = ("floor", "obstacle", "zone", "trail", "goal", "agent")
"""Names of the semantic classes, by number."""
FLOOR, OBSTACLE, ZONE, TRAIL, GOAL, AGENT = range(len(CLASSES))
SHADOW = -1
"""Painted, but of no class."""

SHAPE_COLUMNS = 15
"""class, x, y, half extents (2), cos, sin, radius, depth, colour (3), opacity, surface, scale of the surface.

Depth is how far inside the edge it is filled; surface: 0 plain, 1 tiles, 2 checks, 3 stripes, 4 raised."""
LOOK_COLUMNS = 18
"""Floor colours (3 + 3), pattern, its scale, cos, sin and strength, grain and its scale, gradient of the light (2),
seed of the grain, side of the arena in metres, mean light."""

_AGENTS = 5
_SEGMENTS = 5
"""Straight pieces of a trail."""


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes.

    Attributes:
        shapes: float32 [scene, shape, SHAPE_COLUMNS], metres. counts: int64 [scene], shapes that are there.
        looks: float32 [scene, LOOK_COLUMNS]. side: float32 [scene], of the square arena, metres.
        agents: float32 [scene, agent, 3], position and heading; NaN where there is none.
        family: int64 [scene], index into `FAMILIES`.
    """

    shapes: Floats
    counts: NDArray[np.int64]
    looks: Floats
    side: Floats
    agents: Floats
    family: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.counts)


Draws = Callable[..., NDArray[np.float64]]
"""draws(name, *shape) → uniform [scene, *shape], a function of every scene's seed and the name."""


def _lines(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Columns (x, y, half x, half y, angle, radius) → [scene, block, 6]."""
    return np.stack(np.broadcast_arrays(*rows), axis=-1)


def _open(side: NDArray[np.float64], draws: Draws) -> NDArray[np.float64]:
    """A few small things."""
    place, size = draws("place", 4, 2), draws("size", 4)
    there = np.where(draws("there", 4) < 0.5, 0.25 + 0.5 * size, np.nan)
    return _lines([*np.moveaxis(place * side[:, None, None], -1, 0), 0.0 * size, 0.0 * size, 0.0 * size, there])


def _boxes(side: NDArray[np.float64], draws: Draws) -> NDArray[np.float64]:
    """Boxes at any angle."""
    place, size = draws("place", 9, 2) * side[:, None, None], 0.3 + 0.9 * draws("size", 9, 2)
    there = np.where(draws("there", 9) < 0.45 + 0.5 * draws("crowd")[:, None], 0.06, np.nan)
    turned = np.where(draws("turned")[:, None] < 0.5, 0.0, np.pi * draws("angle", 9))
    return _lines([place[..., 0], place[..., 1], size[..., 0], size[..., 1], turned, there])


def _discs(side: NDArray[np.float64], draws: Draws) -> NDArray[np.float64]:
    """Round things of several sizes."""
    place, size = draws("place", 12, 2) * side[:, None, None], draws("size", 12)
    there = np.where(draws("there", 12) < 0.4 + 0.5 * draws("crowd")[:, None], 0.25 + 0.9 * size**2, np.nan)
    return _lines([place[..., 0], place[..., 1], 0.0 * size, 0.0 * size, 0.0 * size, there])


def _aisles(side: NDArray[np.float64], draws: Draws) -> NDArray[np.float64]:
    """A warehouse: rows of shelves with gaps."""
    lanes = 3 + np.floor(3 * draws("lanes"))[:, None, None]
    row, part = np.arange(6.0)[:, None], np.arange(3.0)[None]
    pitch = side[:, None, None] / lanes
    x = (row + 0.5) * pitch + 0.0 * part
    length = side[:, None, None] / 3.0
    y = (part + 0.5) * length + 0.0 * row
    there = np.where((row < lanes) & (draws("there", 6, 3) < 0.85), 0.03, np.nan)
    half = pitch * (0.16 + 0.12 * draws("width")[:, None, None])
    reach = 0.5 * length - 0.35 - 0.5 * draws("gap", 6, 3)
    flat = [np.broadcast_to(each, there.shape).reshape(len(side), 18) for each in (x, y, half, reach, there)]
    swap = (draws("swap") < 0.5)[:, None]
    x, y, half, reach, there = flat
    return _lines(
        [np.where(swap, y, x), np.where(swap, x, y), np.where(swap, reach, half), np.where(swap, half, reach),
         0.0 * x, there]
    )  # fmt: skip


def _grid_walls(side: NDArray[np.float64], draws: Draws, cells: int, kept: float) -> NDArray[np.float64]:
    """Walls between cells × cells rooms; of every wall both halves stand, one with a door, or none."""
    count = cells * (cells - 1)
    across = np.arange(count)
    line = (across // cells + 1.0) / cells
    along = (across % cells) / cells
    parts = []
    for name, swap in (("columns", False), ("rows", True)):
        door = 0.3 + 0.4 * draws(name + "-door", count)
        wide = 0.9 / side[:, None]
        shut = draws(name + "-shut", count) < kept
        gone = draws(name + "-gone", count) < 0.12
        for first, last in ((0.0 * door, door - 0.5 * wide * cells), (door + 0.5 * wide * cells, 0.0 * door + 1.0)):
            # A wall that is shut has two pieces that meet.
            first, last = np.where(shut & (first > 0.0), door, first), np.where(shut & (last < 1.0), door, last)
            middle = (along + 0.5 * (first + last) / cells) * side[:, None]
            half = np.maximum(0.5 * (last - first) / cells * side[:, None], 0.05)
            fixed = line * side[:, None] + 0.0 * middle
            there = np.where(gone, np.nan, 0.02)
            thick = 0.16 + 0.0 * middle
            pair = (fixed, middle, thick, half) if not swap else (middle, fixed, half, thick)
            parts.append(_lines([*pair, 0.0 * middle, there]))
    return np.concatenate(parts, axis=1)


def _rooms(side: NDArray[np.float64], draws: Draws) -> NDArray[np.float64]:
    """Two by two rooms with doors, and some furniture."""
    furniture = _boxes(side, draws)[:, :3]
    return np.concatenate([_grid_walls(side, draws, 2, 0.1), furniture], axis=1)


def _corridor(side: NDArray[np.float64], draws: Draws) -> NDArray[np.float64]:
    """Two large blocks that leave a way between them, with bays."""
    middle = (0.35 + 0.3 * draws("middle")) * side
    half = 0.7 + 0.9 * draws("half")
    spread = 0.25 + 0.5 * draws("spread")
    count = 3
    x = (np.arange(count) + 0.5)[None] / count * side[:, None]
    reach = side[:, None] / count * 0.5 - 0.35 * draws("bay", 2, count).reshape(len(side), -1)[:, :count]
    parts = []
    for name, sign in (("low", -1.0), ("high", 1.0)):
        edge = (middle + sign * half)[:, None] + sign * spread[:, None] * draws(name, count)
        end = 0.0 * edge if sign < 0 else 0.0 * edge + side[:, None]
        y, extent = 0.5 * (edge + end), 0.5 * abs(edge - end)
        parts.append(_lines([x, y, reach, np.maximum(extent, 0.05), 0.0 * x, 0.0 * x + 0.02]))
    made = np.concatenate(parts, axis=1)
    swap = (draws("swap") < 0.5)[:, None, None]
    return np.where(swap, made[..., [1, 0, 3, 2, 4, 5]], made)


def _maze(side: NDArray[np.float64], draws: Draws) -> NDArray[np.float64]:
    """Four by four cells with many walls."""
    return _grid_walls(side, draws, 4, 0.35)


def _ring(side: NDArray[np.float64], draws: Draws) -> NDArray[np.float64]:
    """Pillars around a middle."""
    count = 6 + np.floor(5 * draws("count"))[:, None]
    number = np.arange(10.0)[None]
    angle = 2.0 * np.pi * (number / count + draws("phase")[:, None])
    reach = side[:, None] * (0.22 + 0.16 * draws("reach")[:, None])
    x, y = 0.5 * side[:, None] + reach * np.cos(angle), 0.5 * side[:, None] + reach * np.sin(angle)
    there = np.where(number < count, 0.05, np.nan)
    half = 0.25 + 0.25 * draws("half")[:, None] + 0.0 * x
    pillars = _lines([x, y, half, half, angle, there])
    middle = np.where(draws("core") < 0.6, 0.5 + 0.6 * draws("core-size"), np.nan)
    core = _lines([0.5 * side, 0.5 * side, 0.0 * side, 0.0 * side, 0.0 * side, middle])
    return np.concatenate([pillars, core[:, None]], axis=1)


FAMILIES: dict[str, Callable[[NDArray[np.float64], Draws], NDArray[np.float64]]] = {
    "open": _open, "boxes": _boxes, "discs": _discs, "aisles": _aisles, "rooms": _rooms, "corridor": _corridor,
    "maze": _maze, "ring": _ring,
}  # fmt: skip
TRAINED = ("open", "boxes", "discs", "aisles", "rooms", "corridor")
"""Families that models are trained on."""
HELD_OUT = ("maze", "ring")
"""Families that training never sees."""


def draw(seeds: ArrayLike, families: Sequence[str] = TRAINED) -> Scenes:
    """The scene of every seed.

    Args:
        seeds: integers [scene]. families: what a seed chooses from.

    Raises:
        ConfigError: no seeds, no families, or an unknown one.
    """
    seeds = np.atleast_1d(np.asarray(seeds))
    if seeds.ndim != 1 or not len(seeds) or seeds.dtype.kind not in "iu":
        raise ConfigError(f"seeds must be whole numbers [scene], got {seeds.dtype} {list(seeds.shape)}")
    if not families:
        raise ConfigError("families must name at least one family, got none (see envs.scenery.FAMILIES)")
    for name in families:
        if name not in FAMILIES:
            raise unknown_name("family", name, FAMILIES)
    keys = keyed.hash_words(keyed.stream_id("scenery"), seeds)
    names = list(FAMILIES)
    chosen = np.floor(_uniform(keys, "family") * len(families)).astype(int)
    family = np.asarray([names.index(name) for name in families])[chosen]
    side = 8.0 + 4.0 * _uniform(keys, "side")
    parts: list[tuple[NDArray[np.intp], NDArray[np.float64]]] = []
    for number in np.unique(family):
        rows = np.flatnonzero(family == number)
        make = FAMILIES[names[number]]
        parts.append((rows, make(side[rows], lambda name, *shape, k=keys[rows]: _uniform(k, name, *shape))))
    most = max(part.shape[1] for _, part in parts)
    blocks = np.full((len(seeds), most, 6), np.nan)
    for rows, part in parts:
        blocks[rows, : part.shape[1]] = part
    return _compose(keys, side, blocks, family)


def _uniform(keys: NDArray[np.uint64], name: str, *shape: int) -> NDArray[np.float64]:
    """Uniform draws [scene, *shape]."""
    count = int(np.prod(shape))
    words = keyed.uniform(keys[:, None], keyed.stream_id(name), np.arange(count))
    return words.reshape(len(keys), *shape)


def _hue(hue: NDArray[np.float64], saturation: Number, value: Number) -> NDArray[np.float64]:
    """HSV → RGB, [..., 3]."""
    wheel = np.abs((hue[..., None] * 6.0 + np.asarray([0.0, 4.0, 2.0])) % 6.0 - 3.0) - 1.0
    pure = np.clip(wheel, 0.0, 1.0)
    saturation, value = np.asarray(saturation)[..., None], np.asarray(value)[..., None]
    return np.asarray(value * (1.0 - saturation * (1.0 - pure)))


def _clearance(points: NDArray[np.float64], blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance [scene, point] from the nearest block; infinite where there is none."""
    offset = points[:, :, None] - blocks[:, None, :, :2]
    cos, sin = np.cos(blocks[:, None, :, 4]), np.sin(blocks[:, None, :, 4])
    along = np.abs(cos * offset[..., 0] + sin * offset[..., 1]) - blocks[:, None, :, 2]
    across = np.abs(cos * offset[..., 1] - sin * offset[..., 0]) - blocks[:, None, :, 3]
    outside = np.hypot(np.maximum(along, 0.0), np.maximum(across, 0.0))
    away = outside + np.minimum(np.maximum(along, across), 0.0) - blocks[:, None, :, 5]
    return np.asarray(np.where(np.isnan(away), np.inf, away).min(axis=2, initial=np.inf))


def _spots(keys: NDArray[np.uint64], side: NDArray[np.float64], blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """2 × _AGENTS places [scene, spot, 2], as far as they can be found clear of blocks; the emptiest come first."""
    tried = 4 * _AGENTS
    places = 0.6 + _uniform(keys, "spots", tried, 2) * (side[:, None, None] - 1.2)
    blocked = _clearance(places, blocks) < 0.55
    order = np.argsort(blocked, axis=1, kind="stable")[:, : 2 * _AGENTS]
    return np.take_along_axis(places, order[..., None], axis=1)


def _compose(
    keys: NDArray[np.uint64], side: NDArray[np.float64], blocks: NDArray[np.float64], family: NDArray[np.int64]
) -> Scenes:
    scenes = len(keys)
    spots = _spots(keys, side, blocks)
    start, goal = spots[:, :_AGENTS], spots[:, _AGENTS:]
    there = np.arange(_AGENTS) < 1 + np.floor(_uniform(keys, "agents") * _AGENTS)[:, None]
    bend = (_uniform(keys, "bend", _AGENTS) - 0.5)[..., None]
    leg = goal - start
    middle = 0.5 * (start + goal) + 0.7 * bend * np.stack([-leg[..., 1], leg[..., 0]], axis=-1)
    share = np.linspace(0.0, 1.0, _SEGMENTS + 1)[:, None]
    path = (
        (1.0 - share) ** 2 * start[:, :, None] + 2.0 * share * (1.0 - share) * middle[:, :, None]
        + share**2 * goal[:, :, None]
    )  # fmt: skip
    path = np.clip(path, 0.2, side[:, None, None, None] - 0.2)
    lit = 2.0 * np.pi * _uniform(keys, "sun")
    zone = _uniform(keys, "zone", 2, 6)
    zones = _lines(
        [
            zone[..., 0] * side[:, None], zone[..., 1] * side[:, None], 0.6 + 0.9 * zone[..., 2],
            0.6 + 0.9 * zone[..., 3], 0.0 * zone[..., 4], np.where(zone[..., 5] < 0.6, 0.1, np.nan),
        ]
    )  # fmt: skip
    radius = 0.42 + 0.2 * _uniform(keys, "radius")[:, None] + np.zeros((scenes, _AGENTS))
    heading = np.arctan2(path[:, :, 1, 1] - start[..., 1], path[:, :, 1, 0] - start[..., 0])
    radius = np.where(there, radius, np.nan)
    planned = there & (_uniform(keys, "planned", _AGENTS) < 0.8)
    return assemble(
        keys, side, blocks, zones, np.where(planned[..., None, None], path, np.nan), goal,
        np.concatenate([start, heading[..., None]], axis=-1), radius, lit, family,
    )  # fmt: skip


def assemble(
    keys: NDArray[np.uint64],
    side: NDArray[np.float64],
    blocks: NDArray[np.float64],
    zones: NDArray[np.float64],
    paths: NDArray[np.float64],
    goals: NDArray[np.float64],
    agents: NDArray[np.float64],
    radius: NDArray[np.float64],
    lit: NDArray[np.float64],
    family: NDArray[np.int64] | None = None,
) -> Scenes:
    """Scenes of given things, in colours and lights that the keys draw. NaN stands for what is not there.

    Args:
        keys: uint64 [scene]. side: of the square arena [scene], metres.
        blocks, zones: [scene, …, 6]: x, y, half extents (2), angle, corner radius.
        paths: [scene, agent, point, 2]. goals: [scene, agent, 2]. agents: [scene, agent, 3]: place and heading.
        radius: [scene, agent], metres. lit: [scene], direction that shadows fall in.
        family: [scene], index into `FAMILIES`; −1 throughout if left out.
    """
    scenes, fleet = radius.shape
    tone = _uniform(keys, "tone", 8)
    hues = (tone[:, :1] + (np.arange(fleet) + 0.3 * _uniform(keys, "hues", fleet)) / fleet) % 1.0
    body = _hue(hues, 0.75 + 0.0 * hues, 0.95 + 0.0 * hues)
    block_colour = _hue(tone[:, 1], 0.15 + 0.4 * tone[:, 2], 0.35 + 0.35 * tone[:, 3])
    zone_colour = _hue(_uniform(keys, "zone-hue", zones.shape[1]), 0.5, 0.75)
    surface = np.floor(_uniform(keys, "surface") * 5.0)
    there = np.asarray(~np.isnan(radius))
    shadow = 0.3 + 0.25 * _uniform(keys, "shade")
    fall = np.stack([np.cos(lit), np.sin(lit)], axis=-1) * (0.25 + 0.3 * _uniform(keys, "height"))[:, None]

    def shapes(
        kind: int, boxes: Boxes, colour: Boxes, opacity: Number, texture: Number, scale: Number, depth: Number
    ) -> Boxes:
        x, y, hx, hy, angle, corner = np.moveaxis(boxes, -1, 0)
        columns = [
            kind, x, y, hx, hy, np.cos(angle), np.sin(angle), corner, depth, *np.moveaxis(colour, -1, 0), opacity,
            texture, scale,
        ]  # fmt: skip
        return np.stack([np.broadcast_to(column, x.shape) for column in columns], axis=-1)

    first, last = paths[:, :, :-1], paths[:, :, 1:]
    span = last - first
    trails = _lines(
        [
            *np.moveaxis(0.5 * (first + last), -1, 0), 0.5 * np.hypot(span[..., 0], span[..., 1]),
            0.0 * span[..., 0], np.arctan2(span[..., 1], span[..., 0]), 0.17 + 0.0 * span[..., 0],
        ]
    )  # fmt: skip
    trail_colour = np.broadcast_to(0.8 * body[:, :, None] + 0.15, (*trails.shape[:3], 3))
    nothing = np.zeros((scenes, fleet))
    rings = _lines([*np.moveaxis(goals, -1, 0), nothing, nothing, nothing, np.where(there, 0.62, np.nan)])
    bodies = _lines([agents[..., 0], agents[..., 1], nothing, nothing, agents[..., 2], radius])
    nose = agents[..., :2] + 0.6 * radius[..., None] * np.stack([np.cos(agents[..., 2]), np.sin(agents[..., 2])], -1)
    noses = _lines([*np.moveaxis(nose, -1, 0), nothing, nothing, nothing, 0.42 * radius])

    def cast(boxes: Boxes) -> Boxes:
        moved = boxes.copy()
        moved[..., :2] += fall[:, None]
        return shapes(SHADOW, moved, np.zeros((*moved.shape[:-1], 3)), shadow[:, None], 0.0, 1.0, np.inf)

    spread = np.broadcast_to(block_colour[:, None], (*blocks.shape[:2], 3))
    wide = 0.45 + 0.3 * _uniform(keys, "surface-scale")[:, None]
    parts = [
        shapes(ZONE, zones, zone_colour, 0.55, 3.0, 0.5, np.inf),
        shapes(TRAIL, trails, trail_colour, 0.8, 0.0, 1.0, np.inf).reshape(scenes, -1, SHAPE_COLUMNS),
        cast(blocks), cast(bodies),
        shapes(GOAL, rings, 0.9 * body + 0.1, 1.0, 0.0, 1.0, 0.34),
        shapes(OBSTACLE, blocks, spread, 1.0, surface[:, None], wide, np.inf),
        shapes(AGENT, bodies, body, 1.0, 0.0, 1.0, np.inf),
        shapes(AGENT, noses, 0.25 * body, 1.0, 0.0, 1.0, np.inf),
    ]  # fmt: skip
    whole = np.concatenate(parts, axis=1)
    absent = np.asarray(~np.isfinite(whole[..., [1, 2, 3, 4, 5, 6, 7]]).all(axis=-1))
    order = np.argsort(absent, axis=1, kind="stable")
    whole = np.take_along_axis(np.where(absent[..., None], 0.0, whole), order[..., None], axis=1)
    return Scenes(
        whole.astype(np.float32), (~absent).sum(axis=1), _looks(keys, side), side.astype(np.float32),
        np.where(there[..., None], agents, np.nan).astype(np.float32),
        np.full(scenes, -1) if family is None else family.astype(np.int64),
    )  # fmt: skip


def _looks(keys: NDArray[np.uint64], side: NDArray[np.float64]) -> Floats:
    """How the floor looks and how the light falls, [scene, LOOK_COLUMNS]."""
    u = _uniform(keys, "look", 14)
    base = _hue(u[:, 0], 0.05 + 0.25 * u[:, 1], 0.5 + 0.4 * u[:, 2])
    second = base * (0.6 + 0.7 * u[:, 3])[:, None]
    turn = np.where(u[:, 4] < 0.5, 0.0, np.pi * u[:, 5])
    bright, towards = 0.5 * u[:, 6], 2.0 * np.pi * u[:, 7]
    columns = [
        *base.T, *second.T, np.floor(4.0 * u[:, 8]), 0.8 + 1.4 * u[:, 9], np.cos(turn), np.sin(turn),
        0.4 + 0.6 * u[:, 10], 0.04 + 0.14 * u[:, 11], 0.6 + 1.6 * u[:, 12], bright * np.cos(towards),
        bright * np.sin(towards), (keys & np.uint64(0xFFFFF)).astype(np.float64), side, 0.75 + 0.3 * u[:, 13],
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)


def of_arena(
    boxes: ArrayLike,
    side: float,
    positions: ArrayLike,
    headings: ArrayLike,
    goals: ArrayLike,
    radius: float,
    *,
    plans: ArrayLike | None = None,
    zones: ArrayLike = (),
    origin: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> Scenes:
    """A moment of a running arena as a scene for the camera (a batch of one).

    Args:
        boxes: float [M, 5], as `envs.geometry.Obstacles.boxes`. side: of the square that counts as the arena, metres.
        positions, goals: [agent, 2], metres. headings: [agent], radians. radius: of an agent, metres.
        plans: [agent, point, 2], way-points ahead, or None. zones: [zone, 4] rows (x, y, half extents).
        origin: lower corner of the arena. seed: of colours and light.

    Raises:
        ConfigError: something is not finite, or a side or radius that is not positive.
    """
    where = np.asarray(positions, np.float64).reshape(-1, 2) - origin
    if not (side > 0.0 and radius > 0.0):
        raise ConfigError(f"side and radius must be positive, got {side:g} and {radius:g} (metres)")
    goal = np.asarray(goals, np.float64).reshape(-1, 2) - origin
    turned = np.asarray(headings, np.float64).reshape(-1, 1)
    fixed = np.asarray(boxes, np.float64).reshape(-1, 5)
    if not all(np.isfinite(each).all() for each in (where, goal, turned, fixed)):
        raise ConfigError("positions, headings, goals and boxes must be finite, got NaN or inf (metres)")
    corner = fixed[:, 4:5]
    blocks = np.concatenate([fixed[:, :2] - origin, fixed[:, 2:4] - corner, 0.0 * corner, corner], axis=1)
    area = np.asarray(zones, np.float64).reshape(-1, 4)
    area = np.concatenate([area[:, :2] - origin, area[:, 2:], np.zeros((len(area), 2))], axis=1)
    empty = np.full((len(where), 2, 2), np.nan)
    paths = empty if plans is None else np.asarray(plans, np.float64) - origin
    keys = keyed.hash_words(keyed.stream_id("scenery"), np.asarray([seed]))
    return assemble(
        keys, np.asarray([side]), blocks[None], area[None], paths[None], goal[None],
        np.concatenate([where, turned], axis=1)[None], np.full((1, len(where)), radius),
        2.0 * np.pi * _uniform(keys, "sun"),
    )  # fmt: skip
