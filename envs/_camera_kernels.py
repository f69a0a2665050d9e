"""Compiled painter of `envs.camera`: floor, then shapes in their order, on a grid finer than the image.

A shape is a rounded box; only the samples inside its circumscribed circle are looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S1, _S2, _S3 = np.uint64(30), np.uint64(27), np.uint64(31)


@helper
def _lattice(i: Any, j: Any, seed: Any) -> Any:
    """Uniform in [0, 1) for a lattice point."""
    x = np.uint64(i) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(j) * np.uint64(0xC2B2AE3D27D4EB4F) ^ np.uint64(seed)
    x = (x ^ (x >> _S1)) * _M1
    x = (x ^ (x >> _S2)) * _M2
    x = x ^ (x >> _S3)
    return np.float64(x >> np.uint64(40)) / 16777216.0


@helper
def _smooth_noise(x: Any, y: Any, seed: Any) -> Any:
    """Value noise in [−1, 1]: lattice values, joined smoothly."""
    i, j = np.int64(np.floor(x)), np.int64(np.floor(y))
    u, v = x - i, y - j
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    top = _lattice(i, j, seed) * (1.0 - u) + _lattice(i + 1, j, seed) * u
    low = _lattice(i, j + 1, seed) * (1.0 - u) + _lattice(i + 1, j + 1, seed) * u
    return 2.0 * (top * (1.0 - v) + low * v) - 1.0


@helper
def _outside(dx: Any, dy: Any, hx: Any, hy: Any, radius: Any) -> Any:
    """Signed distance to a box with half extents (hx, hy) around the origin, grown by ``radius``."""
    qx, qy = abs(dx) - hx, abs(dy) - hy
    if qx <= 0.0 or qy <= 0.0:
        return max(qx, qy) - radius
    return np.sqrt(qx * qx + qy * qy) - radius


@helper
def _pattern(kind: Any, x: Any, y: Any, scale: Any) -> Any:
    """0 or 1: which of two colours a patterned surface shows. kind: 0 plain, 1 tiles, 2 checks, 3 stripes."""
    if kind == 1:
        u, v = x / scale - np.floor(x / scale), y / scale - np.floor(y / scale)
        return 1.0 if min(u, v) < 0.14 else 0.0
    if kind == 2:
        return 1.0 if (np.int64(np.floor(x / scale)) + np.int64(np.floor(y / scale))) % 2 == 0 else 0.0
    if kind == 3:
        return 1.0 if x / scale - np.floor(x / scale) < 0.4 else 0.0
    return 0.0


@helper
def _reach(low: Any, high: Any, size: Any) -> Any:
    """The whole numbers in [low, high] that are places of a row of ``size``: first, and one past the last."""
    return np.int64(min(max(np.ceil(low), 0.0), size)), np.int64(min(max(np.floor(high) + 1.0, 0.0), size))


@kernel(
    array("float32", 3), array("int64", 1), array("float32", 2), array("float32", 2), types.int64,
    result("float32", 4), result("uint8", 3),
)  # fmt: skip
def paint(shapes: Any, counts: Any, looks: Any, views: Any, fine: Any, rgb: Any, labels: Any) -> None:
    """Images [B, 3, H, W] in [0, 1] and classes [B, H, W]; columns as in `envs.scenery`.

    views: [B, 6], world position of the image's centre, metres per pixel to the right (2) and down (2).
    fine: samples per pixel and axis.
    """
    height, width = rgb.shape[2], rgb.shape[3]
    rows, columns = height * fine, width * fine
    colour = np.empty((rows, columns, 3))
    for image in range(rgb.shape[0]):
        look = looks[image]
        cx, cy = np.float64(views[image, 0]), np.float64(views[image, 1])
        ax, ay = np.float64(views[image, 2]), np.float64(views[image, 3])
        bx, by = np.float64(views[image, 4]), np.float64(views[image, 5])
        square = ax * ax + ay * ay
        pixel = np.sqrt(square)
        seed = np.uint64(look[15])
        for i in range(rows):
            v = (i + 0.5) / fine - 0.5 * height
            for j in range(columns):
                u = (j + 0.5) / fine - 0.5 * width
                x, y = cx + u * ax + v * bx, cy + u * ay + v * by
                px, py = look[8] * x + look[9] * y, look[8] * y - look[9] * x
                mix = look[10] * _pattern(np.int64(look[6]), px, py, look[7])
                grain = 1.0 + look[11] * _smooth_noise(x / look[12], y / look[12], seed)
                grain += 0.5 * look[11] * _smooth_noise(3.1 * x / look[12], 3.1 * y / look[12], seed + np.uint64(1))
                if x < 0.0 or y < 0.0 or x > look[16] or y > look[16]:
                    grain *= 0.35  # beyond the arena's edge
                for channel in range(3):
                    colour[i, j, channel] = grain * (look[channel] * (1.0 - mix) + look[3 + channel] * mix)
        labels[image] = 0
        for number in range(counts[image]):
            shape = shapes[image, number]
            kind = np.int64(shape[0])
            sx, sy, hx, hy = np.float64(shape[1]), np.float64(shape[2]), np.float64(shape[3]), np.float64(shape[4])
            cos, sin, radius = np.float64(shape[5]), np.float64(shape[6]), np.float64(shape[7])
            hole = np.float64(shape[8])
            alpha, surface, scale = np.float64(shape[12]), np.int64(shape[13]), np.float64(shape[14])
            reach = (np.sqrt(hx * hx + hy * hy) + radius) / pixel
            mu = ((sx - cx) * ax + (sy - cy) * ay) / square + 0.5 * width
            mv = ((sx - cx) * bx + (sy - cy) * by) / square + 0.5 * height
            top, bottom = _reach((mv - reach) * fine - 0.5, (mv + reach) * fine - 0.5, rows)
            left, right = _reach((mu - reach) * fine - 0.5, (mu + reach) * fine - 0.5, columns)
            for i in range(top, bottom):
                v = (i + 0.5) / fine - 0.5 * height
                for j in range(left, right):
                    u = (j + 0.5) / fine - 0.5 * width
                    dx, dy = cx + u * ax + v * bx - sx, cy + u * ay + v * by - sy
                    along, across = cos * dx + sin * dy, cos * dy - sin * dx
                    away = _outside(along, across, hx, hy, radius)
                    if away > 0.0 or -away > hole:
                        continue
                    shade = 1.0
                    if surface == 4:  # a raised block: its rim catches the light
                        shade = 1.25 if -away < 0.12 else 1.0
                    elif surface > 0:
                        shade = 1.0 - 0.3 * _pattern(surface, along + 50.0, across + 50.0, scale)
                    for channel in range(3):
                        below = colour[i, j, channel]
                        if kind < 0:  # a shadow darkens what is there
                            colour[i, j, channel] = below * (1.0 - alpha)
                        else:
                            colour[i, j, channel] = below * (1.0 - alpha) + alpha * shade * shape[9 + channel]
            if kind < 0:
                continue
            top, bottom = _reach(mv - reach - 0.5, mv + reach - 0.5, height)
            left, right = _reach(mu - reach - 0.5, mu + reach - 0.5, width)
            for i in range(top, bottom):
                v = i + 0.5 - 0.5 * height
                for j in range(left, right):
                    u = j + 0.5 - 0.5 * width
                    dx, dy = cx + u * ax + v * bx - sx, cy + u * ay + v * by - sy
                    away = _outside(cos * dx + sin * dy, cos * dy - sin * dx, hx, hy, radius)
                    if away <= 0.0 and -away <= hole:
                        labels[image, i, j] = kind
        for i in range(height):
            for j in range(width):
                light = look[17] + look[13] * (j + 0.5 - 0.5 * width) / width
                light += look[14] * (i + 0.5 - 0.5 * height) / height
                for channel in range(3):
                    total = 0.0
                    for p in range(fine):
                        for q in range(fine):
                            total += colour[i * fine + p, j * fine + q, channel]
                    rgb[image, channel, i, j] = min(max(light * total / (fine * fine), 0.0), 1.0)
