"""Counter-based randomness: every draw is a pure function of its key.

A key is (seed, stream, episode, tick, agent, …). Nothing is stateful, so a draw never depends
on how many hosts, lanes or other environments run beside it, nor on the order of evaluation.

The generator is the SplitMix64 finaliser applied to the running hash once per key word
(Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
Statistical tests are in ``tests/envs/test_keyed.py``.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = (np.uint64(s) for s in (30, 27, 31, 11))

Words = Any
"""An integer or an integer array; arrays broadcast against each other."""


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


def stream_id(name: str) -> int:
    """A stable number for a stream's name (the same on every machine and Python)."""
    return zlib.crc32(name.encode())


def hash_words(*words: Words) -> NDArray[np.uint64]:
    """64 well-mixed bits per key.

    Args:
        words: integers or integer arrays, broadcast together. The order matters.

    Returns:
        uint64 array of the broadcast shape.
    """
    with np.errstate(over="ignore"):
        state: NDArray[np.uint64] = np.asarray(_GOLDEN)
        for word in words:
            word = np.asarray(word)
            if word.dtype != np.uint64:
                word = word.astype(np.int64).astype(np.uint64)
            state = _mix((state ^ word) * _GOLDEN + _GOLDEN)
        return state


def uniform(*words: Words) -> NDArray[np.float64]:
    """Uniform in [0, 1) with 53 random bits, one per key."""
    return np.asarray((hash_words(*words) >> _S11).astype(np.float64) * (1.0 / (1 << 53)))


def normal(keys: NDArray[np.uint64], shape: tuple[int, ...], *words: Words) -> NDArray[np.float32]:
    """Standard normal draws, ``shape`` of them for every key (Box–Muller).

    Args:
        keys: uint64 [batch], e.g. from `hash_words`.
        shape: the shape of one key's draw.
        words: further key words shared by the batch, e.g. the step number.

    Returns:
        float32 [batch, *shape].
    """
    count = int(np.prod(shape))
    half = (count + 1) // 2
    bits = hash_words(keys[:, None], *words, np.arange(half, dtype=np.int64)[None, :])
    # One 64-bit hash gives both Box–Muller uniforms: 32 bits each; the first is kept off zero.
    first = ((bits >> np.uint64(32)).astype(np.float64) + 0.5) * 2.0**-32
    second = (bits & np.uint64(0xFFFFFFFF)).astype(np.float64) * (2.0 * np.pi * 2.0**-32)
    radius = np.sqrt(-2.0 * np.log(first)).astype(np.float32)
    angle = second.astype(np.float32)
    draws = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return draws[:, :count].reshape(len(keys), *shape)
