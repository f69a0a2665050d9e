"""Samples of what peers will do, kept under what was heard of them: rows that heard the same share them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.plans import at

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]


class Believed:
    """Believed paths by key, a well-mixed hash (`envs.keyed.hash_words`) of everything they were drawn from.

    Args:
        horizon: ticks that a path spans.
    """

    def __init__(self, horizon: int) -> None:
        self._key: Keys = np.zeros(0, np.uint64)  # ascending
        self._start: Ints = np.zeros(0, np.int64)
        self._path: Floats = np.zeros((0, horizon + 1, 2), np.float32)

    def forget(self, before: int) -> None:
        """Drop paths that start before that tick."""
        self._keep(self._start >= before)

    def missing(self, keys: Keys) -> Ints:
        """Indices into ``keys`` [n] of those not held yet: of equal ones the first, in their order."""
        news = np.flatnonzero(~self._find(keys)[0])
        return news[np.sort(np.unique(keys[news], return_index=True)[1])]

    def put(self, keys: Keys, start: int, path: Floats) -> None:
        """Hold paths [n, H + 1, 2] from tick ``start`` on, under ``keys`` [n] that are not held yet."""
        self._key = np.concatenate([self._key, keys])
        self._start = np.concatenate([self._start, np.full(len(keys), start)])
        self._path = np.concatenate([self._path, path])
        self._keep(np.argsort(self._key))

    def at(self, keys: Keys, ticks: Ints) -> tuple[NDArray[np.bool_], Floats]:
        """Which ``keys`` [n] are held, and their positions [held, k, 2] at ``ticks`` [n, k]."""
        held, place = self._find(keys)
        return held, at(self._path[place[held]], self._start[place[held]], ticks[held])

    def _find(self, keys: Keys) -> tuple[NDArray[np.bool_], Ints]:
        place = np.searchsorted(self._key, keys)
        held = place < len(self._key)
        held[held] = self._key[place[held]] == keys[held]
        return held, place

    def _keep(self, index: NDArray) -> None:
        self._key, self._start, self._path = self._key[index], self._start[index], self._path[index]
