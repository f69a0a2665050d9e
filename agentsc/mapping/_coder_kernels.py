"""A binary arithmetic coder, and the order in which it codes a map's cells; integers throughout, exact everywhere.

Probabilities adapt while a packet is coded, from the same start in every packet: so each can be read by itself.

Reference: I. H. Witten, R. M. Neal and J. G. Cleary, "Arithmetic coding for data compression", CACM 30(6), 1987, with
32-bit ends; adaptation by shifts as in F. Mitchell and W. Pennebaker's Q-coder family.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import helper, kernel, result

_TOP = np.int64(0xFFFFFFFF)
_HALF, _QUARTER = np.int64(0x80000000), np.int64(0x40000000)
_RATE = 5
"""A probability moves by 1/32 of what is left."""
_LEAST = 512
"""Of 65536, below which no probability falls."""
LOW, HIGH, PENDING, AT, VALUE, END = range(6)
"""State of a coder: ends of the interval, bits put off, place in the bits, value read, and how many bits there are."""
TOLD, FILLED, LEVEL, BLOCK = 0, 8, 17, 17 + 9 * 7
"""Where each kind of question's probabilities begin: is a cell told, is it filled, its level, is a block told."""
CONTEXTS = BLOCK + 2


@helper
def _emit(state: Any, bits: Any, bit: Any) -> None:
    if state[AT] < bits.shape[0]:
        bits[state[AT]] = bit
    state[AT] += 1
    while state[PENDING] > 0:
        if state[AT] < bits.shape[0]:
            bits[state[AT]] = 1 - bit
        state[AT] += 1
        state[PENDING] -= 1


@helper
def _read(state: Any, bits: Any) -> Any:
    bit = np.int64(bits[state[AT]]) if state[AT] < state[END] else np.int64(0)
    state[AT] += 1
    return bit


@helper
def _code(state: Any, bits: Any, table: Any, context: Any, bit: Any, writing: Any) -> Any:
    """Write ``bit``, or read one, in a context; the one that it was."""
    chance = table[context]
    span = state[HIGH] - state[LOW] + 1
    middle = state[LOW] + ((span * chance) >> 16) - 1  # 1 is at the lower end
    if not writing:
        bit = np.int64(1) if state[VALUE] <= middle else np.int64(0)
    if bit == 1:
        state[HIGH] = middle
        table[context] = min(chance + ((65536 - chance) >> _RATE), 65536 - _LEAST)
    else:
        state[LOW] = middle + 1
        table[context] = max(chance - (chance >> _RATE), _LEAST)
    while True:
        if state[HIGH] < _HALF:
            if writing:
                _emit(state, bits, 0)
        elif state[LOW] >= _HALF:
            if writing:
                _emit(state, bits, 1)
            state[LOW] -= _HALF
            state[HIGH] -= _HALF
            state[VALUE] -= _HALF
        elif state[LOW] >= _QUARTER and state[HIGH] < _HALF + _QUARTER:
            if writing:
                state[PENDING] += 1
            state[LOW] -= _QUARTER
            state[HIGH] -= _QUARTER
            state[VALUE] -= _QUARTER
        else:
            break
        state[LOW] = state[LOW] << 1
        state[HIGH] = (state[HIGH] << 1) | 1
        if not writing:
            state[VALUE] = (state[VALUE] << 1) | _read(state, bits)
    return bit


@kernel(
    result("int64", 1), result("uint8", 1), result("int64", 1), types.int64, types.boolean, types.boolean,
    result("boolean", 1), result("int8", 2), result("int8", 2),
)  # fmt: skip
def code(
    state: Any, bits: Any, table: Any, block: Any, levels: Any, writing: Any, told: Any, cells: Any, level: Any
) -> None:
    """Code which blocks are told, and the cells of those; the same walk writes and reads.

    Args:
        state: [6]. bits: uint8, one each. table: [CONTEXTS], chances of 1 in 65536, changed on the way.
        block: side of a block. levels: whether cells that are not told have a level. writing: or reading.
        told: [block]. cells: [row, column], −1 not told, 0 free, 1 filled. level: [row, column], 0 to 7.
    """
    if not writing:
        for _ in range(32):
            state[VALUE] = (state[VALUE] << 1) | _read(state, bits)
    rows, columns = cells.shape
    across = (columns + block - 1) // block
    for number in range(told.shape[0]):
        near = 1 if number > 0 and told[number - 1] else 0
        told[number] = _code(state, bits, table, BLOCK + near, np.int64(told[number]), writing) == 1
        if not told[number]:
            continue
        top, left = number // across * block, number % across * block
        last = np.int64(7)
        for r in range(top, min(top + block, rows)):
            for c in range(left, min(left + block, columns)):
                west = cells[r, c - 1] if c > left else np.int8(-1)
                north = cells[r - 1, c] if r > top else np.int8(-1)
                corner = cells[r - 1, c - 1] if r > top and c > left else np.int8(-1)
                context = TOLD + (1 if west >= 0 else 0) + (2 if north >= 0 else 0) + (4 if corner >= 0 else 0)
                there = _code(state, bits, table, context, np.int64(1 if cells[r, c] >= 0 else 0), writing)
                if there == 1:
                    wall = FILLED + (west + 1) * 3 + north + 1
                    filled = _code(state, bits, table, wall, np.int64(1 if cells[r, c] == 1 else 0), writing)
                    cells[r, c] = filled
                    continue
                cells[r, c] = -1
                if levels:
                    node = np.int64(1)
                    for place in range(2, -1, -1):
                        asked = (np.int64(level[r, c]) >> place) & 1
                        asked = _code(state, bits, table, LEVEL + (last % 9) * 7 + node - 1, asked, writing)
                        node = 2 * node + asked
                    level[r, c] = node - 8
                    last = node - 8
    if writing:
        state[PENDING] += 1
        _emit(state, bits, 0 if state[LOW] < _QUARTER else 1)
