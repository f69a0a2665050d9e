"""What is sent: scenes from seeds, or the tiles of a picture file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs import camera
from envs.camera import View
from envs.errors import ConfigError
from envs.scenery import TRAINED

EVALUATION_SEED = 2_000_000_000
"""Scene 0 of ``--scene``; training and tuning never reach it."""
REFERENCE_SEED = 3_000_000_000
"""First of the scenes that features are compared with."""
MOST_PIXELS = 64_000_000
SLIMMEST = 16
"""Longest ratio of the sides of a picture."""


@dataclass(frozen=True)
class Source:
    """Images to be sent.

    Attributes:
        rgb: float32 [B, 3, size, size] in [0, 1]. labels: uint8 [B, size, size], or None if nobody knows them.
        grid: rows and columns of tiles that make one picture; None for separate images.
        about: what it is, for the record.
    """

    rgb: NDArray[np.float32]
    labels: NDArray[np.uint8] | None
    grid: tuple[int, int] | None
    about: dict[str, Any]


def of_scenes(scene: int, images: int, size: int, view: View, families: Sequence[str] = TRAINED) -> Source:
    """The scenes number ``scene`` to ``scene + images − 1``.

    Raises:
        ConfigError: numbers out of bounds, an unknown view or family.
    """
    if not 0 <= scene < 500_000_000:
        raise ConfigError(f"scene must be in [0, 500000000), got {scene} (number of the first scene)")
    if not 1 <= images <= 4096:
        raise ConfigError(f"images must be in [1, 4096], got {images} (scenes to send)")
    made = camera.bank(EVALUATION_SEED + scene, images, size, view, families)
    about = {"scene": scene, "images": images, "view": view, "families": list(families)}
    return Source(made.rgb, made.labels, None, about)


def of_file(path: Path | str, size: int, longest: int = 128) -> Source:
    """A picture as tiles: scaled so that its longer side has at most ``longest`` pixels, then cut about its middle.

    The first frame of an animation is taken, and what is transparent becomes white; both are noted.

    Args:
        size: pixels of a tile per side. longest: pixels, a multiple of ``size``.

    Raises:
        ConfigError: no such file, no picture, a damaged one, more than `MOST_PIXELS`, sides shorter than 8 pixels or
            of a ratio above `SLIMMEST`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if longest < size or longest % size or longest > 1024:
        raise ConfigError(f"longest must be a multiple of {size} up to 1024, got {longest} (pixels of the picture)")
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"image must be an existing file, got {str(path)!r} (no such file; or give --scene SEED)")
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(file)
        with opened:
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise ConfigError(_too_large(file, f"{width} × {height} pixels"))
            if min(width, height) < 8 or max(width, height) > SLIMMEST * min(width, height):
                raise ConfigError(
                    f"image must be at least 8 pixels wide and high with sides of a ratio up to {SLIMMEST}, got "
                    f"{width} × {height} in {file.name!r} (cut or scale it)"
                )
            frames = getattr(opened, "n_frames", 1)
            if frames > 1:
                notes.append(f"first of {frames} frames")
            opened.seek(0)
            opened.load()
            picture: Image.Image = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I") or picture.mode == "F":
                numbers = np.asarray(picture, np.float64)
                most = 65535.0 if picture.mode.startswith("I") else max(float(np.nanmax(numbers)), 1e-9)
                picture = Image.fromarray(np.uint8(255.0 * np.clip(np.nan_to_num(numbers) / most, 0.0, 1.0)))
            if picture.has_transparency_data:
                notes.append("transparent on white")
                layer = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            picture = picture.convert("RGB")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ConfigError(_too_large(file, "more than is safe to unpack")) from None
    except ConfigError:
        raise
    except UnidentifiedImageError:
        raise ConfigError(f"image must be a picture that Pillow reads, got {file.name!r}, which is none") from None
    except Exception as error:  # damaged files raise many unrelated types
        cause = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise ConfigError(f"image must be intact, got {file.name!r}, which cannot be read ({cause})") from None

    width, height = picture.size
    scale = min(longest / max(width, height), 1.0)
    scale = max(scale, size / min(width, height))  # both sides hold a tile
    wide, high = max(round(width * scale), size), max(round(height * scale), size)
    picture = picture.resize((wide, high), Image.Resampling.LANCZOS)
    columns, rows = min(wide // size, longest // size), min(high // size, longest // size)
    left, top = (wide - columns * size) // 2, (high - rows * size) // 2
    cut = np.asarray(picture.crop((left, top, left + columns * size, top + rows * size)), np.float32) / 255.0
    tiles = cut.reshape(rows, size, columns, size, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, size, size)
    about = {
        "image": file.name, "pixels": [width, height], "scaled": [wide, high], "tiles": [rows, columns], "notes": notes,
    }  # fmt: skip
    return Source(np.ascontiguousarray(tiles), None, (rows, columns), about)


def _too_large(file: Path, what: str) -> str:
    return f"image must have at most {MOST_PIXELS:,} pixels, got {file.name!r} with {what} (scale it down)"
