"""Compiled loops: how the few formulas that decide the speed of a round become machine code.

A kernel is a plain loop that states, once more and element by element, a formula that exists as a
readable array expression; tests compare the two. Kernels live in modules named ``_kernels`` (or
close to it) that are imported where they are called, because importing the compiler takes half a
second. Their signatures are given, so nothing is compiled behind the caller's back: a module's
kernels are compiled when it is first imported, and come from a cache on disk in later processes.

Rules that keep results equal everywhere: one thread, no reordering of sums (``fastmath`` off), and
kernels call only functions of their own module, because the cache of a caller does not notice when
a function of another module changes.
"""

from __future__ import annotations

from typing import Any

from numba import njit, types


def array(dtype: str, dimensions: int) -> types.Array:
    """The type of an argument that a kernel only reads: contiguous, or one-dimensional with any stride."""
    return types.Array(getattr(types, dtype), dimensions, "C" if dimensions > 1 else "A", readonly=True)


def result(dtype: str, dimensions: int) -> types.Array:
    """The type of a contiguous argument that a kernel fills in."""
    return types.Array(getattr(types, dtype), dimensions, "C")


def kernel(*arguments: types.Type) -> Any:
    """Decorator: compile for exactly these argument types, and keep the machine code on disk."""
    return njit(types.void(*arguments), cache=True, fastmath=False, error_model="numpy")


helper = njit(fastmath=False, error_model="numpy")
"""Decorator: a function that kernels of the same module call."""
