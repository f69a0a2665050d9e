"""Objects in class maps, and how well they are found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from envs.scenery import AGENT, GOAL, OBSTACLE

OBJECTS = (OBSTACLE, GOAL, AGENT)
"""Classes whose connected pieces are objects."""
OVERLAP = 0.5
"""Intersection over union above which two objects count as the same; above a half no object has two partners."""
_TOUCHING = np.ones((3, 3), int)


def objects(labels: NDArray[np.integer]) -> list[tuple[int, NDArray[np.bool_]]]:
    """Class and cells [H, W] of every object of a map: pieces of `OBJECTS`, corners count as touching."""
    found = []
    for number in OBJECTS:
        pieces, count = label(labels == number, _TOUCHING)
        found += [(number, pieces == piece) for piece in range(1, count + 1)]
    return found


def f1(made: NDArray[np.integer], truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """F1 of the objects of maps [B, H, W] against those of the true ones, [B]: 2 TP / (2 TP + FP + FN).

    An object is found if one of its class overlaps it by more than `OVERLAP`. Of two maps without objects it is 1.
    """
    return np.asarray([_f1(first, second) for first, second in zip(made, truth, strict=True)])


def _f1(made: NDArray[np.integer], truth: NDArray[np.integer]) -> float:
    first, second = objects(made), objects(truth)
    if not first and not second:
        return 1.0
    hits = sum(
        any(a == b and (x & y).sum() > OVERLAP * (x | y).sum() for b, y in first) for a, x in second
    )
    return 2.0 * hits / (len(first) + len(second))
