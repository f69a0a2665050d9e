"""Maps: MovingAI ``.map`` and ``.scen`` files, public multi-robot scene JSON, and generators.

Grid maps are bool arrays ``blocked [H, W]``, row 0 first in the file. One cell is one metre and
the centre of column c, row r lies at x = c + 0.5, y = r + 0.5: y grows downwards in the file.

MovingAI's terrain for ground vehicles: ``.`` and ``G`` are ground and ``S`` is shallow swamp,
all passable; ``@`` and ``O`` are out of bounds, ``T`` trees and ``W`` water, all blocked. A step
between diagonal neighbours needs both shared neighbours free. Cells outside the file are blocked.

The warehouse map that ships was made by ``python -m envs.maps warehouse envs/data/warehouse.map``.

Reference: N. Sturtevant, "Benchmarks for grid-based pathfinding", 2012 (movingai.com/benchmarks).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.errors import ConfigError
from envs.keyed import hash_words, stream_id, uniform

PASSABLE = frozenset(".GS")
BLOCKED = frozenset("@OTW")
DATA = Path(__file__).parent / "data"
WAREHOUSE = DATA / "warehouse.map"
"""The map that ships, in MovingAI format."""

Blocked = NDArray[np.bool_]


def cell_centre(cells: ArrayLike) -> NDArray[np.float32]:
    """World position of the centre of each cell.

    Args:
        cells: integers [..., 2], (column, row).

    Returns:
        float32 [..., 2], (x, y) in metres.
    """
    return np.asarray(cells, np.float32) + np.float32(0.5)


# ------------------------------------------------------------------------------------------ files


def _read_text(path: str | Path, field: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{field} must be an existing file, got {str(path)!r} (no such file)") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{field} must be a readable text file, got {str(path)!r} ({reason})") from None


def _header(path: str | Path, lines: list[str]) -> tuple[int, int]:
    """Height and width from the four header lines."""
    sizes: dict[str, int] = {}
    expected = ("type octile", "height H", "width W", "map")
    for number, rule in enumerate(expected, start=1):
        words = lines[number - 1].split() if number <= len(lines) else []
        key = rule.split()[0]
        # Height and width come in either order in the wild.
        if number in (2, 3):
            good = len(words) == 2 and words[0] in ("height", "width") and words[0] not in sizes
            if good and words[1].isdecimal() and int(words[1]) > 0:
                sizes[words[0]] = int(words[1])
                continue
        elif words == rule.split():
            continue
        got = " ".join(words) or "nothing"
        raise ConfigError(
            f"map must have {rule!r} as header line {number}, got {got!r} ({path} line {number}; "
            f"a MovingAI map starts with the lines type octile, height H, width W, map"
            + (f", and {key} is a positive integer)" if number in (2, 3) else ")")
        )
    return sizes["height"], sizes["width"]


def read_map(path: str | Path) -> Blocked:
    """Read a MovingAI ``.map`` file.

    Returns:
        bool [H, W], True where a cell is blocked.

    Raises:
        ConfigError: absent or unreadable file, bad header, ragged or missing row, unknown
            terrain; the message names the line.
    """
    lines = _read_text(path, "map").splitlines()
    height, width = _header(path, lines)
    rows = [row.rstrip() for row in lines[4:]]
    while rows and not rows[-1] and len(rows) > height:
        rows.pop()
    known = PASSABLE | BLOCKED
    for number, row in enumerate(rows[:height], start=5):
        if len(row) != width:
            raise ConfigError(
                f"map must have rows of {width} cells, got {len(row)} ({path} line {number}; "
                f"mend the row or the header's width)"
            )
        for column, terrain in enumerate(row, start=1):
            if terrain not in known:
                raise ConfigError(
                    f"map must use the terrain letters . G S @ O T W, got {terrain!r} "
                    f"({path} line {number} column {column})"
                )
    if len(rows) != height:
        raise ConfigError(
            f"map must have {height} rows, got {len(rows)} ({path} line {4 + min(len(rows), height) + 1}; "
            f"mend the rows or the header's height)"
        )
    return np.array([[terrain in BLOCKED for terrain in row] for row in rows], bool)


def write_map(path: str | Path, blocked: Blocked) -> None:
    """Write a MovingAI ``.map`` file: ``.`` free, ``@`` blocked."""
    height, width = blocked.shape
    rows = ["".join("@" if cell else "." for cell in row) for row in blocked]
    Path(path).write_text("\n".join(["type octile", f"height {height}", f"width {width}", "map", *rows, ""]))


class ScenPair(NamedTuple):
    """One line of a ``.scen`` file: cells are (column, row), the length is the octile optimum."""

    bucket: int
    start: tuple[int, int]
    goal: tuple[int, int]
    length: float


def read_scen(path: str | Path, blocked: Blocked) -> list[ScenPair]:
    """Read the start and goal pairs of a MovingAI ``.scen`` file for the map given.

    Args:
        path: the file: ``version 1``, then nine columns per pair: bucket, map, map width, map
            height, start x, start y, goal x, goal y, optimal length.
        blocked: bool [H, W], the map the pairs belong to.

    Raises:
        ConfigError: malformed line, another map's size, or a pair that stands in an obstacle;
            the message names the line.
    """
    height, width = blocked.shape
    pairs: list[ScenPair] = []
    lines = _read_text(path, "scen").splitlines()
    words = lines[0].split() if lines else []
    if len(words) != 2 or words[0] != "version" or words[1] not in ("1", "1.0"):
        raise ConfigError(
            f"scen must start with 'version 1', got {lines[0] if lines else 'nothing'!r} ({path} line 1)"
        )
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        # The map's name may hold blanks, so columns are counted from the right; tabs when there are any.
        words = line.split("\t") if "\t" in line else line.split()
        try:
            bucket = int(words[0])
            w, h, sx, sy, gx, gy = (int(word) for word in words[-7:-1])
            length = float(words[-1])
            if len(words) < 9 or not math.isfinite(length) or length < 0:
                raise ValueError
        except (ValueError, IndexError):
            raise ConfigError(
                f"scen must have nine columns (bucket, map, width, height, start x y, goal x y, length), "
                f"got {line.strip()[:60]!r} ({path} line {number})"
            ) from None
        if (h, w) != (height, width):
            raise ConfigError(
                f"scen must be for a {width}×{height} map, got {w}×{h} ({path} line {number}; "
                f"it belongs to another map)"
            )
        for label, x, y in (("start", sx, sy), ("goal", gx, gy)):
            if not (0 <= x < width and 0 <= y < height) or blocked[y, x]:
                raise ConfigError(
                    f"scen {label} must be a free cell, got ({x}, {y}) ({path} line {number}; "
                    f"check that map and scen belong together)"
                )
        pairs.append(ScenPair(bucket, (sx, sy), (gx, gy), length))
    if not pairs:
        raise ConfigError(f"scen must list at least one start and goal, got none ({path})")
    return pairs


@dataclass(frozen=True)
class Scene:
    """A frozen multi-robot scene.

    Attributes:
        starts, goals: float32 [A, 2], metres.
        radii: float32 [A], metres.
        boxes: float32 [M, 5], rounded boxes (cx, cy, half width, half height, corner radius).
        bounds: (xmin, ymin, xmax, ymax), metres.
        family: the scene's map family, for the tables.
        facts: what the file's key ``agentsc`` holds, unchecked; None in files that others made.
    """

    starts: NDArray[np.float32]
    goals: NDArray[np.float32]
    radii: NDArray[np.float32]
    boxes: NDArray[np.float32]
    bounds: tuple[float, float, float, float]
    family: str = ""
    trial: int = 0
    generation_seed: int = 0
    facts: Any = None


def _numbers(path: str | Path, name: str, value: Any, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    """``value`` as a finite float32 array; None in ``shape`` stands for any length."""
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        array = np.full((), np.nan, np.float32)
    if not array.size and None in shape:
        array = array.reshape([0 if n is None else n for n in shape])
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits or not np.isfinite(array).all():
        form = " × ".join("any" if n is None else str(n) for n in shape) or "one"
        raise ConfigError(f"scene.{name} must be finite numbers ({form}), got {str(value)[:60]} ({path})")
    return array


def read_scene_json(path: str | Path) -> Scene:
    """Read a public multi-robot scene.

    The format is that of Akule's frozen MMD and SMD scenes: ``starts``, ``goals``, ``radii``,
    ``obstacles {kind: boxes|circles, items: [{center, size, corner_radius}]}`` (a circle has
    ``radius``), ``workspace [[x0, y0], [x1, y1]]`` and optionally ``population``, ``family``,
    ``trial``, ``generation_seed``. A box's ``size`` is its full extent, rounding included. Our own
    files have one key more, ``agentsc`` (`envs.frozen.Facts`).

    Raises:
        ConfigError: not JSON, a key missing, or numbers that do not fit together.
    """
    return parse_scene(_read_text(path, "scene"), path)


def parse_scene(text: str, path: str | Path) -> Scene:
    """The scene in the text of a file; ``path`` is for the messages. See `read_scene_json`."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"scene must be JSON, got {error.msg} ({path} line {error.lineno})") from None
    needed = ("starts", "goals", "radii", "obstacles", "workspace")
    missing = [k for k in needed if k not in data] if isinstance(data, dict) else list(needed)
    if missing:
        raise ConfigError(f"scene must have the keys {', '.join(needed)}, got none for {missing[0]} ({path})")
    starts = _numbers(path, "starts", data["starts"], (None, 2))
    count = len(starts)
    if not count or data.get("population", count) != count:
        got = f"{count} starts and population {data.get('population')!r}"
        raise ConfigError(f"scene.starts must have one point for each of the population, got {got} ({path})")
    goals = _numbers(path, "goals", data["goals"], (count, 2))
    radii = _numbers(path, "radii", data["radii"], (count,))
    workspace = _numbers(path, "workspace", data["workspace"], (2, 2))
    if not (workspace[0] < workspace[1]).all() or not (radii > 0).all():
        raise ConfigError(
            f"scene.workspace must be [[x0, y0], [x1, y1]] with x0 < x1, y0 < y1 and radii must be positive, "
            f"got {workspace.tolist()} and {radii.tolist()[:3]} ({path})"
        )
    obstacles = data["obstacles"]
    kind = obstacles.get("kind") if isinstance(obstacles, dict) else None
    if kind not in ("boxes", "circles") or not isinstance(obstacles.get("items"), list):
        raise ConfigError(
            f"scene.obstacles must be {{kind: boxes or circles, items: [...]}}, got kind {kind!r} ({path})"
        )
    boxes = np.zeros((len(obstacles["items"]), 5), np.float32)
    for index, item in enumerate(obstacles["items"]):
        name = f"obstacles.items[{index}]"
        item = item if isinstance(item, dict) else {}
        boxes[index, :2] = _numbers(path, f"{name}.center", item.get("center"), (2,))
        if kind == "circles":
            boxes[index, 2:] = _numbers(path, f"{name}.radius", item.get("radius"), ())
        else:
            boxes[index, 2:4] = _numbers(path, f"{name}.size", item.get("size"), (2,)) / 2
            boxes[index, 4] = _numbers(path, f"{name}.corner_radius", item.get("corner_radius", 0.0), ())
        half, corner = boxes[index, 2:4], boxes[index, 4]
        if not (half > 0).all() or not 0 <= corner <= half.min() * (1 + 1e-6):
            raise ConfigError(
                f"scene.{name} must have a positive size and a corner radius of at most half of it, "
                f"got size {(2 * half).tolist()} and corner radius {float(corner)} ({path})"
            )
    x0, y0, x1, y1 = (float(value) for value in workspace.ravel())
    return Scene(
        starts,
        goals,
        radii,
        boxes,
        (x0, y0, x1, y1),
        family=str(data.get("family", "")),
        trial=int(data.get("trial") or 0),
        generation_seed=int(data.get("generation_seed") or 0),
        facts=data.get("agentsc"),
    )


def exact(values: ArrayLike) -> Any:
    """Float32 numbers as nested lists of the shortest decimals that read back as the same float32."""
    return np.asarray(values, np.float32).astype(np.str_).astype(np.float64).tolist()


def canonical_json(data: Any) -> str:
    """The one JSON text of some data: keys sorted, no blanks, ASCII, a final newline."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def scene_json(scene: Scene) -> str:
    """A scene in the format that `read_scene_json` reads: equal scenes give equal texts, no digit is lost."""
    items = [
        {"center": exact(box[:2]), "size": exact(2 * box[2:4]), "corner_radius": exact(box[4])} for box in scene.boxes
    ]
    data = {
        "family": scene.family,
        "population": len(scene.starts),
        "trial": scene.trial,
        "generation_seed": scene.generation_seed,
        "workspace": [list(scene.bounds[:2]), list(scene.bounds[2:])],
        "radii": exact(scene.radii),
        "starts": exact(scene.starts),
        "goals": exact(scene.goals),
        "obstacles": {"kind": "boxes", "items": items},
    }
    return canonical_json(data if scene.facts is None else data | {"agentsc": scene.facts})


def write_scene_json(path: str | Path, scene: Scene) -> None:
    """Write a scene's text, see `scene_json`."""
    Path(path).write_text(scene_json(scene), encoding="ascii")


# ------------------------------------------------------------------------------------- generators


def _check(generator: str, **rules: tuple[float, float, float, str]) -> None:
    """Each rule is (value, least, most, meaning)."""
    for name, (value, least, most, meaning) in rules.items():
        if not least <= value <= most:
            bound = f"in [{least}, {most}]" if math.isfinite(most) else f"at least {least}"
            raise ConfigError(f"{generator}.{name} must be {bound}, got {value} ({meaning})")


def warehouse(
    rows: int = 6,
    bays: int = 3,
    shelf: int = 8,
    depth: int = 2,
    aisle: int = 2,
    cross: int = 2,
    margin: int = 4,
    missing: float = 0.0,
    seed: int = 0,
) -> Blocked:
    """A warehouse: rows of shelves with aisles between them and an open margin around.

    Args:
        rows, bays: shelves down and across.
        shelf, depth: cells of one shelf across and down.
        aisle, cross: width of the aisles between rows and between bays, cells.
        margin: free cells at both sides; at top and bottom an aisle's width, at least two.
        missing: chance that a shelf is absent.
        seed: which shelves are absent.
    """
    inf = math.inf
    _check(
        "warehouse",
        rows=(rows, 1, inf, "shelves down"),
        bays=(bays, 1, inf, "shelves across"),
        shelf=(shelf, 1, inf, "cells of a shelf across"),
        depth=(depth, 1, inf, "cells of a shelf down"),
        aisle=(aisle, 1, inf, "cells between rows"),
        cross=(cross, 1, inf, "cells between bays"),
        margin=(margin, 1, inf, "free cells at the sides"),
        missing=(missing, 0, 1, "chance that a shelf is absent"),
    )
    end = max(aisle, 2)
    height = 2 * end + rows * depth + (rows - 1) * aisle
    width = 2 * margin + bays * shelf + (bays - 1) * cross
    blocked = np.zeros((height, width), bool)
    stand = uniform(seed, stream_id("maps.warehouse"), np.arange(rows * bays)) >= missing
    for index in np.flatnonzero(stand):
        row, bay = divmod(int(index), bays)
        top, left = end + row * (depth + aisle), margin + bay * (shelf + cross)
        blocked[top : top + depth, left : left + shelf] = True
    return blocked


def random_cells(height: int = 32, width: int = 32, density: float = 0.1, seed: int = 0) -> Blocked:
    """Exactly ``floor(density · height · width)`` blocked cells, spread at random."""
    _check(
        "random_cells",
        height=(height, 1, math.inf, "cells"),
        width=(width, 1, math.inf, "cells"),
        density=(density, 0, 0.9, "share of blocked cells"),
    )
    keys = hash_words(seed, stream_id("maps.random_cells"), np.arange(height * width))
    order = np.argsort(keys, kind="stable")
    blocked = np.zeros(height * width, bool)
    blocked[order[: int(density * height * width)]] = True
    return blocked.reshape(height, width)


def _lattice(rows: int, columns: int, size: int, door: int, loops: float, seed: int, stream: str) -> Blocked:
    """Square rooms between one-cell walls; doors on a random spanning tree, and some more.

    The tree is the minimum spanning tree of keyed random weights, so every room is reachable.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    room = np.arange(rows * columns).reshape(rows, columns)
    first = np.concatenate([room[:, :-1].ravel(), room[:-1].ravel()])
    second = np.concatenate([room[:, 1:].ravel(), room[1:].ravel()])
    key = (seed, stream_id(stream))
    # Weights are 1 + a permutation: distinct and never zero, which a sparse matrix would drop.
    weight = 1.0 + np.argsort(np.argsort(hash_words(*key, first, second), kind="stable"), kind="stable")
    count = rows * columns
    tree = minimum_spanning_tree(coo_array((weight, (first, second)), shape=(count, count)).tocsr())
    opened = np.isin(weight, tree.data) | (uniform(*key, 1, first, second) < loops)
    place = (uniform(*key, 2, first, second) * (size - door + 1)).astype(int)

    step = size + 1
    blocked = np.zeros((rows * step - 1, columns * step - 1), bool)
    blocked[size::step] = True
    blocked[:, size::step] = True
    for a, b, offset in zip(first[opened], second[opened], place[opened], strict=True):
        row, column = divmod(int(a), columns)
        top, left = row * step, column * step
        if b == a + 1:
            blocked[top + offset : top + offset + door, left + size] = False
        else:
            blocked[top + size, left + offset : left + offset + door] = False
    return blocked


def maze(rows: int = 10, columns: int = 10, corridor: int = 1, loops: float = 0.1, seed: int = 0) -> Blocked:
    """A maze of corridors between one-cell walls.

    Args:
        rows, columns: corridor junctions down and across.
        corridor: width of the corridors, cells.
        loops: chance that a wall outside the spanning tree is opened too; 0 is a perfect maze.
        seed: which walls are open.
    """
    _check(
        "maze",
        rows=(rows, 1, math.inf, "junctions down"),
        columns=(columns, 1, math.inf, "junctions across"),
        corridor=(corridor, 1, math.inf, "cells"),
        loops=(loops, 0, 1, "chance of an extra opening"),
    )
    return _lattice(rows, columns, corridor, corridor, loops, seed, "maps.maze")


def rooms(
    rows: int = 4, columns: int = 4, size: int = 7, door: int = 1, loops: float = 0.5, seed: int = 0
) -> Blocked:
    """Square rooms with doors.

    Args:
        rows, columns: rooms down and across.
        size: inner side of a room, cells.
        door: width of a door, cells.
        loops: chance of a door beyond those that connect all rooms.
        seed: where the doors are.
    """
    _check(
        "rooms",
        rows=(rows, 1, math.inf, "rooms down"),
        columns=(columns, 1, math.inf, "rooms across"),
        size=(size, 1, math.inf, "cells"),
        door=(door, 1, size, "cells, at most the room's side"),
        loops=(loops, 0, 1, "chance of an extra door"),
    )
    return _lattice(rows, columns, size, door, loops, seed, "maps.rooms")


GENERATORS: dict[str, Callable[..., Blocked]] = {
    "warehouse": warehouse,
    "random_cells": random_cells,
    "maze": maze,
    "rooms": rooms,
}


def main(arguments: list[str] | None = None) -> None:
    """``python -m envs.maps GENERATOR OUT.map [name=value …]``: write a generated map."""
    import argparse
    import inspect
    import sys

    parser = argparse.ArgumentParser(prog="python -m envs.maps", description="write a generated MovingAI map")
    parser.add_argument("generator", choices=sorted(GENERATORS))
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("parameter", nargs="*", help="name=value, e.g. rows=4 seed=7")
    options = parser.parse_args(arguments)
    make = GENERATORS[options.generator]
    known = {name: type(p.default) for name, p in inspect.signature(make).parameters.items()}
    values: dict[str, Any] = {}
    for text in options.parameter:
        name, _, value = text.partition("=")
        try:
            values[name] = known[name](value)
        except (KeyError, ValueError):
            forms = ", ".join(f"{name}={kind.__name__}" for name, kind in known.items())
            parser.error(f"parameter must be one of {forms}, got {text!r}")
    try:
        write_map(options.out, make(**values))
    except ConfigError as error:
        parser.error(str(error))
    print(f"wrote {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
