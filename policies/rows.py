"""Batches as frozen data classes of arrays: rows are taken out, batches are put together.

In such a class every numpy array has the batch as its first axis, a data class inside is a batch of
its own, a tuple holds several of them, and anything else (a number, a name, None) is shared by all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

B = TypeVar("B")


def take(batch: B, rows: slice | NDArray[np.intp]) -> B:
    """The sub-batch of those rows, in that order."""
    return each(batch, lambda array: array[rows])


def stack(batches: Sequence[B]) -> B:
    """Several batches, one after the other; what rows share is taken from the first."""
    first = batches[0]
    if len(batches) == 1:
        return first
    made: dict[str, Any] = {}
    for name in _names(type(first)):  # type: ignore[arg-type]
        parts = [getattr(batch, name) for batch in batches]
        if isinstance(parts[0], np.ndarray):
            made[name] = np.concatenate(parts)
        elif is_dataclass(parts[0]):
            made[name] = stack(parts)
        elif isinstance(parts[0], tuple):
            made[name] = tuple(stack(each) for each in zip(*parts, strict=True))
    return replace(first, **made)  # type: ignore[type-var]


def finite(batch: Any) -> NDArray[np.bool_]:
    """Which rows [batch] hold neither NaN nor inf, over all arrays of real numbers."""
    good: list[NDArray[np.bool_]] = []
    each(batch, lambda array: _note(array, good))
    return np.logical_and.reduce(good)


def _note(array: NDArray, good: list[NDArray[np.bool_]]) -> NDArray:
    real = np.issubdtype(array.dtype, np.floating)
    good.append(np.isfinite(array.reshape(len(array), -1)).all(1) if real else np.ones(len(array), np.bool_))
    return array


def each(batch: Any, change: Any) -> Any:
    """The batch with every array changed."""
    made = {}
    for name in _names(type(batch)):  # type: ignore[arg-type]
        value = getattr(batch, name)
        if isinstance(value, np.ndarray):
            value = change(value)
        elif is_dataclass(value):
            value = each(value, change)
        elif isinstance(value, tuple):
            value = tuple(each(part, change) for part in value)
        made[name] = value
    return type(batch)(**made)


@cache
def _names(kind: type) -> tuple[str, ...]:
    # Looked up once: hundreds of small requests are taken apart in every round.
    return tuple(field.name for field in fields(kind))
