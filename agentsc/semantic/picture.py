"""Sent and received images side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentsc.semantic.source import Source

MOST = 16
"""Images that are shown of many."""


def side_by_side(source: Source, made: dict[str, NDArray[np.float32]], path: Path) -> None:
    """Write a picture with a column for what was sent and one for each of ``made``.

    Args:
        made: title → float32 [B, 3, size, size] in [0, 1]. path: of the PNG.
    """
    from PIL import Image, ImageDraw

    columns = {"sent": source.rgb, **made}
    sheets = [_sheet(images, source.grid) for images in columns.values()]
    height, width = int(sheets[0].shape[0]), int(sheets[0].shape[1])
    scale = max(1, round(320 / max(height, width)))
    gap, head = 12, 22
    canvas = Image.new("RGB", (len(sheets) * (width * scale + gap) + gap, height * scale + head + gap), "white")
    pen = ImageDraw.Draw(canvas)
    for number, (title, sheet) in enumerate(zip(columns, sheets, strict=True)):
        left = gap + number * (width * scale + gap)
        pen.text((left, 5), title, fill="black")
        shown = Image.fromarray(sheet).resize((width * scale, height * scale), Image.Resampling.NEAREST)
        canvas.paste(shown, (left, head))
    canvas.save(path)


def received_alone(source: Source, made: NDArray[np.float32], path: Path) -> None:
    """Write what was received, float32 [B, 3, size, size] in [0, 1], pixel by pixel."""
    from PIL import Image

    Image.fromarray(_sheet(made, source.grid)).save(path)


def heat(values: NDArray[np.floating], top: float) -> NDArray[np.float32]:
    """Values [B, H, W] as colours from black over red to yellow at ``top`` and beyond, float32 [B, 3, H, W]."""
    import matplotlib

    colours = matplotlib.colormaps["inferno"](np.clip(values / top, 0.0, 1.0))[..., :3]
    return np.ascontiguousarray(np.moveaxis(colours, -1, 1), np.float32)


def _sheet(images: NDArray[np.float32], grid: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Tiles as one picture, or the first of separate images on a square, uint8 [height, width, 3]."""
    if grid is None:
        columns = int(np.ceil(np.sqrt(min(len(images), MOST))))
        rows = -(-min(len(images), MOST) // columns)
    else:
        rows, columns = grid
    size = images.shape[-1]
    filled = np.ones((rows * columns, 3, size, size), np.float32)
    filled[: min(len(images), rows * columns)] = images[: rows * columns]
    whole = filled.reshape(rows, columns, 3, size, size).transpose(0, 3, 1, 4, 2)
    return np.round(255.0 * np.clip(whole, 0.0, 1.0)).astype(np.uint8).reshape(rows * size, columns * size, 3)
