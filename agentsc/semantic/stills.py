"""JPEG and WebP without what a receiver knows anyway: the headers of such files are as long as small images' codes."""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Still = Literal["jpeg", "webp"]
QUALITIES = tuple(range(0, 64, 4)) + tuple(range(64, 96, 2))
"""What senders choose from; the choice is the first byte of a code."""


def write(x: NDArray[np.float32], kind: Still, quality: int) -> bytes:
    """One image [3, H, W] in [−1, 1]: the number of its quality, and the file without its known parts."""
    head, tail, whole = len(_head(x.shape[1:], kind, quality)), 2 if kind == "jpeg" else 0, _file(x, kind, quality)
    body = whole[head : len(whole) - tail]
    if kind == "webp":
        # Behind the frame's tag, its start code and size are known.
        body = body[:3] + body[10:]
    return bytes([QUALITIES.index(quality)]) + body


def read(code: bytes, kind: Still, size: tuple[int, int]) -> NDArray[np.float32]:
    """The image [3, H, W] of a code; zeros may follow it.

    Raises:
        ValueError: bytes that are no code.
    """
    from PIL import Image

    if not code or code[0] >= len(QUALITIES):
        raise ValueError("the first byte is no quality")
    quality, body = QUALITIES[code[0]], code[1:]
    head = _head(size, kind, quality)
    if kind == "jpeg":
        whole = head + body + b"\xff\xd9"
    else:
        middle = _file(np.zeros((3, *size), np.float32), kind, quality)[len(head) + 3 : len(head) + 10]
        frame = body[:3] + middle + body[3:]
        frame += b"\0" * (len(frame) % 2)
        sized = b"VP8 " + len(frame).to_bytes(4, "little")
        whole = b"RIFF" + (4 + len(sized) + len(frame)).to_bytes(4, "little") + b"WEBP" + sized + frame
    try:
        with Image.open(io.BytesIO(whole)) as opened:
            made = np.asarray(opened.convert("RGB"), np.float32)
    except Exception as error:  # damaged files raise many unrelated types
        raise ValueError(f"the bytes are no {kind} image ({type(error).__name__})") from None
    return np.ascontiguousarray(made.transpose(2, 0, 1) / 127.5 - 1.0)


def fit(x: NDArray[np.float32], kind: Still, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Frames uint8 [B, bits // 8] of the best that fits, and the bytes in use [B]; −1 where nothing does."""
    room = bits // 8
    frames, length = np.zeros((len(x), room), np.uint8), np.full(len(x), -1, np.int64)
    for row, image in enumerate(x):
        for quality in reversed(QUALITIES):
            code = write(image, kind, quality)
            if len(code) <= room:
                frames[row, : len(code)], length[row] = np.frombuffer(code, np.uint8), len(code)
                break
    return frames, length


def _file(x: NDArray[np.float32], kind: Still, quality: int) -> bytes:
    from PIL import Image

    pixels = np.round(127.5 * (np.clip(x, -1.0, 1.0) + 1.0)).astype(np.uint8).transpose(1, 2, 0)
    out = io.BytesIO()
    options: dict[str, Any] = {"method": 6} if kind == "webp" else {"subsampling": 2, "optimize": False}
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, kind, quality=quality, **options)
    return out.getvalue()


def _head(size: tuple[int, ...], kind: Still, quality: int) -> bytes:
    """What comes before the coded image: it depends on size and quality alone."""
    if kind == "webp":
        return b"\0" * 20
    blank = _file(np.zeros((3, *size), np.float32), kind, quality)
    start = blank.index(b"\xff\xda")
    return blank[: start + 2 + int.from_bytes(blank[start + 2 : start + 4], "big")]
