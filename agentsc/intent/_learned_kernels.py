"""The learned plan code, compiled: what symbols stand for, which symbols come nearest, and symbols as bits.

Everything that a receiver computes is integer arithmetic, exact on every machine. The search for symbols is not
(only its outcome crosses the air), but takes one plan at a time, so that it does not depend on a batch.

Shared arguments:
    codes: int32 [n, columns], as `agentsc.intent.learned.LearnedSpec`: start x, y, the kind of shape, then heading
        and refinements, or the spelled increments.
    books: int16 [stage, symbol, I, 2], increments in units of 2^-12 of their reach. turns: int16 [heading, 2], cosine
        and sine in units of 2^-14. limit: int64 [I], greatest squared length of an increment, lattice steps.
    reach: int64 [I], lattice steps. scale: int64 [I], lattice steps per unit of a spelled increment.
    lengths, words: uint8 and uint32 [table, symbol], bits of each prefix code and the code itself.
    order, first, count: a canonical code for reading: symbols by length, and per length the first place and how many.
    table: int64 [4], number of the first table of kinds, headings, refinements and spelled differences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

FINE = 4
"""Bits below a lattice step in which a shape is summed up."""
SHIFT = 12 + 14 - FINE
LONGEST = 15
"""Bits of the longest prefix code."""


@helper
def _root(square: int) -> int:
    """Integer square root, rounded down."""
    root = int(np.sqrt(float(square)))
    while root * root > square:
        root -= 1
    while (root + 1) * (root + 1) <= square:
        root += 1
    return root


@helper
def _step(x: int, y: int, limit: int) -> tuple[int, int]:
    """Whole lattice steps nearest to (x, y) / 2^FINE, shortened towards zero where that is too long."""
    half = 1 << (FINE - 1)
    dx, dy = (x + half) >> FINE, (y + half) >> FINE
    if dx * dx + dy * dy > limit:
        top, length = _root(limit), _root(x * x + y * y) + 1
        dx, dy = abs(x) * top // length, abs(y) * top // length
        if x < 0:
            dx = -dx
        if y < 0:
            dy = -dy
    return dx, dy


@helper
def _offsets(
    code: Any, books: Any, turns: Any, reach: Any, limit: Any, scale: Any, offset: Any
) -> None:  # fmt: skip
    """``offset`` int64 [I, 2]: lattice steps from the start to each control point after it, of one plan's codes."""
    increments, stages, kinds = books.shape[2], books.shape[0], books.shape[1]
    spelled = code[2] == kinds
    at_x, at_y, sum_x, sum_y = 0, 0, 0, 0
    for i in range(increments):
        if spelled:
            dx, dy = _step((code[3 + 2 * i] * scale[i]) << FINE, (code[4 + 2 * i] * scale[i]) << FINE, limit[i])
        elif code[2] == 0:
            dx, dy = 0, 0
        else:
            x, y = int(books[0, code[2], i, 0]), int(books[0, code[2], i, 1])
            for stage in range(1, stages):
                x += books[stage, code[3 + stage], i, 0]
                y += books[stage, code[3 + stage], i, 1]
            cos, sin = int(turns[code[3], 0]), int(turns[code[3], 1])
            half = 1 << (SHIFT - 1)
            sum_x += ((x * cos - y * sin) * reach[i] + half) >> SHIFT
            sum_y += ((x * sin + y * cos) * reach[i] + half) >> SHIFT
            dx, dy = _step(sum_x - (at_x << FINE), sum_y - (at_y << FINE), limit[i])
        at_x += dx
        at_y += dy
        offset[i, 0], offset[i, 1] = at_x, at_y


@kernel(
    array("int32", 2), array("int16", 4), array("int16", 2), array("int64", 1), array("int64", 1), array("int64", 1),
    result("int64", 3),
)  # fmt: skip
def offsets(
    codes: Any, books: Any, turns: Any, reach: Any, limit: Any, scale: Any, offset: Any
) -> None:  # fmt: skip
    """``offset`` [n, I, 2], lattice steps from the start to each control point after it."""
    for n in range(len(codes)):
        _offsets(codes[n], books, turns, reach, limit, scale, offset[n])


@helper
def _miss(aim: Any, offset: Any, basis: Any) -> float:
    """Greatest squared distance between two plans at the rows of ``basis`` [T, I]."""
    worst = 0.0
    for t in range(basis.shape[0]):
        x, y = 0.0, 0.0
        for i in range(basis.shape[1]):
            x += basis[t, i] * (aim[i, 0] - offset[i, 0])
            y += basis[t, i] * (aim[i, 1] - offset[i, 1])
        worst = max(worst, x * x + y * y)
    return worst


@kernel(
    array("float64", 3), array("int16", 4), array("int16", 2), array("int64", 1), array("int64", 1), array("int64", 1),
    array("float32", 3), array("float32", 2), array("float64", 2), array("float64", 2), types.float64, types.int64,
    result("int32", 2), result("bool_", 1),
)  # fmt: skip
def search(
    aim: Any, books: Any, turns: Any, reach: Any, limit: Any, scale: Any,
    flat: Any, price: Any, metric: Any, basis: Any, tolerance: Any, beam: Any, codes: Any, found: Any,
) -> None:  # fmt: skip
    """The fewest refinements with which each plan is met within ``tolerance``; the start is filled in already.

    Args:
        aim: [n, I, 2], lattice steps from the start to each control point after it.
        flat: [stage, symbol, D], shapes under the metric. price: [stage, symbol], added to squared distances.
        metric: [D, D], increments (units of reach) to numbers whose squared sum is the mean squared distance of plans.
        basis: [T, I], where distances are measured. tolerance: lattice steps. beam: shapes followed at once.
    """
    stages, kinds, dims = flat.shape
    increments = books.shape[2]
    offset = np.zeros((increments, 2), np.int64)
    shape = np.zeros(dims)
    here, there = np.zeros((beam, dims), np.float32), np.zeros((beam, dims), np.float32)
    chosen, picked = np.zeros((beam, stages), np.int32), np.zeros((beam, stages), np.int32)
    paid, cost = np.zeros(beam, np.float32), np.zeros(beam, np.float32)
    parent, symbol = np.zeros(beam, np.int64), np.zeros(beam, np.int64)
    allowed = tolerance * tolerance
    for n in range(len(aim)):
        code = codes[n]
        code[2:] = 0
        found[n] = _miss(aim[n], offset * 0, basis) <= allowed
        if found[n]:
            continue
        last = increments - 1
        best, heading = -np.inf, 0
        for h in range(len(turns)):
            along = turns[h, 0] * aim[n, last, 0] + turns[h, 1] * aim[n, last, 1]
            if along > best:
                best, heading = along, h
        cos, sin = turns[heading, 0] / 16384.0, turns[heading, 1] / 16384.0
        before_x, before_y = 0.0, 0.0
        for i in range(increments):
            x, y = (aim[n, i, 0] - before_x) / reach[i], (aim[n, i, 1] - before_y) / reach[i]
            shape[2 * i], shape[2 * i + 1] = x * cos + y * sin, y * cos - x * sin
            before_x, before_y = aim[n, i, 0], aim[n, i, 1]
        for d in range(dims):
            total = 0.0
            for e in range(dims):
                total += metric[d, e] * shape[e]
            here[0, d] = total
        width, chosen[:], paid[:] = 1, 0, 0.0
        for stage in range(stages):
            cost[:] = np.inf
            for b in range(width):
                for k in range(1, kinds):
                    far = paid[b] + price[stage, k]
                    for d in range(dims):
                        gap = here[b, d] - flat[stage, k, d]
                        far += gap * gap
                        if far >= cost[beam - 1]:
                            break
                    if far < cost[beam - 1]:
                        place = beam - 1
                        while place > 0 and cost[place - 1] > far:
                            cost[place], parent[place], symbol[place] = (
                                cost[place - 1], parent[place - 1], symbol[place - 1],
                            )  # fmt: skip
                            place -= 1
                        cost[place], parent[place], symbol[place] = far, b, k
            width = min(beam, kinds - 1)
            for b in range(width):
                p, k = parent[b], symbol[b]
                square = 0.0
                for d in range(dims):
                    there[b, d] = here[p, d] - flat[stage, k, d]
                    square += there[b, d] * there[b, d]
                picked[b] = chosen[p]
                picked[b, stage] = k
                paid[b] = cost[b] - square
            here[:], chosen[:] = there, picked
            least = np.inf
            for b in range(width):
                code[2], code[3] = chosen[b, 0], heading
                code[4 : 3 + stages] = chosen[b, 1:]
                _offsets(code, books, turns, reach, limit, scale, offset)
                miss = _miss(aim[n], offset, basis)
                if miss < least:
                    least, place = miss, b
            code[2], code[4 : 3 + stages] = chosen[place, 0], chosen[place, 1:]
            found[n] = least <= allowed
            if found[n]:
                break
        offset[:] = 0


@helper
def _put(out: Any, at: int, word: int, length: int) -> int:
    """Write the low ``length`` bits of a word behind bit ``at``; the place behind them."""
    for bit in range(length):
        if (word >> (length - 1 - bit)) & 1:
            out[(at + bit) >> 3] |= np.uint8(128 >> ((at + bit) & 7))
    return at + length


@kernel(
    array("int32", 2), array("int64", 1), array("int64", 1), types.int64, types.int64, types.int64,
    array("uint8", 2), array("uint32", 2), array("int64", 1), result("uint8", 2), result("int64", 1),
)  # fmt: skip
def write(
    codes: Any, context: Any, bearing: Any, kinds: Any, stages: Any, top: Any, lengths: Any, words: Any, table: Any,
    out: Any, bits: Any,
) -> None:  # fmt: skip
    """``out`` [n, bytes] (zeros) and ``bits`` [n] of each plan without its start.

    Args:
        context: [n], which tables of kinds and headings. bearing: [n], heading from which headings are counted.
        kinds, stages: as of ``books``. top: greatest spelled code.
    """
    headings = 0
    while headings < lengths.shape[1] and lengths[table[1], headings] > 0:
        headings += 1
    for n in range(len(codes)):
        code = codes[n]
        row = table[0] + context[n]
        at = _put(out[n], 0, words[row, code[2]], lengths[row, code[2]])
        if code[2] == kinds:
            for i in range(3, codes.shape[1]):
                before = code[i - 2] if i > 4 else 0
                row, change = table[3] + (i - 3) // 2, code[i] - before + 2 * top
                at = _put(out[n], at, words[row, change], lengths[row, change])
        elif code[2] > 0:
            row, turn = table[1] + context[n], (code[3] - bearing[n]) % headings
            at = _put(out[n], at, words[row, turn], lengths[row, turn])
            for stage in range(1, stages):
                row, symbol = table[2] + stage - 1, code[3 + stage]
                at = _put(out[n], at, words[row, symbol], lengths[row, symbol])
                if symbol == 0:
                    break
        bits[n] = at


@helper
def _symbol(data: Any, at: int, order: Any, first: Any, count: Any) -> tuple[int, int]:
    """The symbol of a canonical code that starts at bit ``at``, and its length; bits behind the data are zeros."""
    word, start = 0, 0
    for length in range(1, LONGEST + 1):
        bit, place = 0, at + length - 1
        if (place >> 3) < len(data):
            bit = (data[place >> 3] >> (7 - (place & 7))) & 1
        word, start = (word << 1) | bit, start << 1
        if word - start < count[length]:
            return order[first[length] + word - start], length
        start += count[length]
    return 0, LONGEST  # codes are complete: never reached


@kernel(
    array("uint8", 2), array("int64", 1), array("int64", 1), array("int64", 1),
    types.int64, types.int64, types.int64, types.int64,
    array("int32", 2), array("int32", 2), array("int32", 2), array("int64", 1), result("int32", 2), result("int64", 1),
)  # fmt: skip
def read(
    data: Any, begin: Any, context: Any, bearing: Any, kinds: Any, stages: Any, headings: Any, top: Any,
    order: Any, first: Any, count: Any, table: Any, codes: Any, bits: Any,
) -> None:  # fmt: skip
    """``codes`` (zeros, starts filled in) and ``bits`` [n] that they took, of plans that begin at bit ``begin`` [n].

    Spelled increments that no sender writes are cut to ±top, so whatever the bits, codes are in their ranges.
    """
    for n in range(len(data)):
        code, at = codes[n], begin[n]
        row = table[0] + context[n]
        symbol, length = _symbol(data[n], at, order[row], first[row], count[row])
        at += length
        code[2] = symbol
        if symbol == kinds:
            for i in range(3, codes.shape[1]):
                row = table[3] + (i - 3) // 2
                symbol, length = _symbol(data[n], at, order[row], first[row], count[row])
                at += length
                before = code[i - 2] if i > 4 else 0
                code[i] = min(max(before + symbol - 2 * top, -top), top)
        elif symbol > 0:
            row = table[1] + context[n]
            symbol, length = _symbol(data[n], at, order[row], first[row], count[row])
            at += length
            code[3] = (symbol + bearing[n]) % headings
            for stage in range(1, stages):
                row = table[2] + stage - 1
                symbol, length = _symbol(data[n], at, order[row], first[row], count[row])
                at += length
                if symbol == 0:
                    break
                code[3 + stage] = symbol
        bits[n] = at - begin[n]
