"""What a station sees and what a screen paints: the background once, what moves over it.

Both use the camera of `envs.camera` on a square that holds the arena. Colours and light are drawn from one seed that
both ends know, so a screen paints agents as the station sees them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agentsc.semantic.feed.ends import Shown
from agentsc.semantic.feed.tokens import Ints, Lattice
from envs import camera, scenery

Floats = NDArray[np.float32]
GREY = 0.5
"""Of a screen before its first key frame."""


class Painter:
    """Pictures of one arena, [3, pixels, pixels] in [0, 1].

    Args:
        bounds: (xmin, ymin, xmax, ymax), metres. boxes: float32 [M, 5], what stands there. radius: of agents, metres.
        pixels: per side. look: seed of colours and light.
    """

    def __init__(
        self, bounds: tuple[float, float, float, float], boxes: ArrayLike, radius: float, pixels: int, look: int
    ) -> None:
        self.boxes, self.radius, self.pixels, self.look = np.asarray(boxes, np.float32), radius, pixels, look
        self.side = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
        self.origin = (0.5 * (bounds[0] + bounds[2] - self.side), 0.5 * (bounds[1] + bounds[3] - self.side))

    def background(self) -> Floats:
        """The arena with nobody in it."""
        return self._render(self.boxes, np.zeros((0, 2)), np.zeros(0), np.zeros((0, 2)))[0]

    def truth(
        self, position: Floats, heading: NDArray[np.floating], goals: Floats, there: NDArray[np.bool_], late: Floats
    ) -> Floats:
        """What is there: agents [A], their goals, and late boxes that are solid [B, 5]."""
        gone = np.where(there[:, None], 0.0, np.float32(1e3 * self.side))  # far out of sight; colours go by number
        boxes = np.concatenate([self.boxes, late])
        return self._render(boxes, position + gone, heading, goals + gone)[0]

    def shown(self, background: Floats | None, seen: Shown, lattice: Lattice) -> Floats:
        """What a screen shows, from the background that it has received and from tokens alone."""
        picture = np.full((3, self.pixels, self.pixels), GREY, np.float32) if background is None else background
        if seen.opacity == 0.0:
            return picture
        gone = np.where(seen.there[:, None], 0.0, np.float32(1e3 * self.side))
        goals = np.where(np.isfinite(seen.goals), seen.goals, np.float32(1e3 * self.side)) + gone
        late = boxes_of(seen.boxes, lattice)
        over, labels = self._render(late, seen.at + gone, seen.heading, goals)
        share = np.zeros((self.pixels, self.pixels), np.float32)
        share[(labels == scenery.GOAL) | (labels == scenery.OBSTACLE)] = 1.0
        share[labels == scenery.AGENT] = seen.opacity
        return (share * over + (1.0 - share) * picture).astype(np.float32)

    def _render(
        self, boxes: Floats, position: NDArray[np.floating], heading: NDArray[np.floating], goals: NDArray[np.floating]
    ) -> tuple[Floats, NDArray[np.uint8]]:
        scene = scenery.of_arena(
            boxes, self.side, position, heading, goals, self.radius, origin=self.origin, seed=self.look
        )
        images = camera.render(scene, self.pixels)
        return images.rgb[0], images.labels[0]


def boxes_of(boxes: Mapping[int, Ints], lattice: Lattice) -> Floats:
    """Late boxes float32 [B, 5] that a screen holds to be solid, metres."""
    solid = [box for _, box in sorted(boxes.items()) if box[0] == 2]
    made = np.zeros((len(solid), 5), np.float32)
    for row, box in zip(made, solid, strict=True):
        row[:2], row[2:4] = lattice.place(box[1:3]), box[3:5] * lattice.pitch
    return made


def tiles(picture: Floats, size: int) -> Floats:
    """A picture [3, H, W] as tiles [n, 3, size, size], row by row."""
    rows, columns = picture.shape[1] // size, picture.shape[2] // size
    cut = picture.reshape(3, rows, size, columns, size).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(cut.reshape(-1, 3, size, size))


def whole(parts: Floats, columns: int) -> Floats:
    """Inverse of `tiles`."""
    count, _, size, _ = parts.shape
    grid = parts.reshape(count // columns, columns, 3, size, size).transpose(2, 0, 3, 1, 4)
    return np.ascontiguousarray(grid.reshape(3, count // columns * size, columns * size))
