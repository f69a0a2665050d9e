"""Cameras: colour images and semantic maps of arena scenes, from above or from an agent.

    images = camera.bank(first=0, count=64)            # 64 bird's-eye views, the scenes of seeds 0 … 63
    images.rgb                                         # float32 [64, 3, 32, 32] in [0, 1]
    images.labels                                      # uint8 [64, 32, 32], see scenery.CLASSES

An onboard view looks down, too: its picture is centred ahead of the scene's first agent and turned with it, as if
every vehicle had stitched its cameras into a map of what surrounds it. Nothing is hidden by walls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from envs import keyed, scenery
from envs.errors import ConfigError
from envs.scenery import Scenes

View = Literal["birds-eye", "onboard"]
SIZES = (32, 64)
"""Pixels per side that the models know; any multiple of 8 can be rendered."""
FIELD_M = 8.0
"""Side of the square that an onboard camera sees, metres."""
AHEAD_M = 2.0
"""How far ahead of its agent an onboard image is centred, metres."""


class Images(NamedTuple):
    """rgb: float32 [image, 3, height, width] in [0, 1]. labels: uint8 [image, height, width], classes."""

    rgb: NDArray[np.float32]
    labels: NDArray[np.uint8]


def render(scenes: Scenes, size: int = 32, view: View = "birds-eye", samples: int = 2) -> Images:
    """Images of a batch of scenes.

    Args:
        size: pixels per side. view: where the camera is. samples: per pixel and axis, for smooth edges.

    Raises:
        ConfigError: a size that is not a positive multiple of 8, an unknown view, samples below 1, or an onboard
            view of a scene without agents.
    """
    if size < 8 or size % 8 or size > 1024:
        raise ConfigError(f"size must be a multiple of 8 from 8 to 1024, got {size} (pixels per side)")
    if view not in get_args(View):
        raise ConfigError(f"view must be one of {', '.join(get_args(View))}, got {view!r} (where the camera is)")
    if not 1 <= samples <= 8:
        raise ConfigError(f"samples must be in [1, 8], got {samples} (per pixel and axis)")
    from envs._camera_kernels import paint

    rgb = np.empty((len(scenes), 3, size, size), np.float32)
    labels = np.empty((len(scenes), size, size), np.uint8)
    paint(scenes.shapes, scenes.counts, scenes.looks, _views(scenes, size, view), samples, rgb, labels)
    return Images(rgb, labels)


def _views(scenes: Scenes, size: int, view: View) -> NDArray[np.float32]:
    """[scene, 6]: centre of the image, and metres per pixel to the right and down."""
    made = np.zeros((len(scenes), 6), np.float32)
    if view == "birds-eye":
        pixel = 1.04 * scenes.side / size  # a rim of what lies beyond the arena
        made[:, :2] = 0.5 * scenes.side[:, None]
        made[:, 2], made[:, 5] = pixel, pixel
        return made
    x, y, heading = (scenes.agents[:, 0].T if scenes.agents.shape[1] else np.full((3, len(scenes)), np.nan))
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ConfigError(f"view must be birds-eye for a scene without agents, got 'onboard' for scene {row}")
    cos, sin, metres = np.cos(heading), np.sin(heading), FIELD_M / size
    made[:, 0], made[:, 1] = x + AHEAD_M * cos, y + AHEAD_M * sin
    # Up in the image is ahead; y grows downwards in the world as in the image, so right is ahead turned by 90°.
    made[:, 2], made[:, 3] = -metres * sin, metres * cos
    made[:, 4], made[:, 5] = -metres * cos, -metres * sin
    return made


def bank(
    first: int,
    count: int,
    size: int = 32,
    view: View | Literal["both"] = "birds-eye",
    families: Sequence[str] = scenery.TRAINED,
    chunk: int = 512,
) -> Images:
    """Images of the scenes with seeds ``first`` to ``first + count − 1``.

    Args:
        view: with ``both``, each seed chooses one. chunk: scenes that are drawn at a time.

    Raises:
        ConfigError: as `render` and `scenery.draw`, and a count below 1.
    """
    if count < 1:
        raise ConfigError(f"count must be at least 1, got {count} (images)")
    parts: list[Images] = []
    for start in range(first, first + count, chunk):
        seeds = np.arange(start, min(start + chunk, first + count))
        scenes = scenery.draw(seeds, families)
        if view != "both":
            parts.append(render(scenes, size, view))
            continue
        onboard = keyed.uniform(seeds, keyed.stream_id("view")) < 0.5
        above, aboard = render(scenes, size, "birds-eye"), render(scenes, size, "onboard")
        parts.append(
            Images(
                np.where(onboard[:, None, None, None], aboard.rgb, above.rgb),
                np.where(onboard[:, None, None], aboard.labels, above.labels),
            )
        )
    return Images(np.concatenate([part.rgb for part in parts]), np.concatenate([part.labels for part in parts]))
