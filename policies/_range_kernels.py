"""The range coder, compiled: one stream per row, whole numbers only, so the same on every machine.

Shared arguments:
    cumulative: int64 [table, symbols + 1], from 0 to 2^16; what is behind a table's last symbol stays at 2^16.
    table: int64 [n, m], of each symbol, < 0 for none: such a place is skipped.
    state: int64 [n, 5]: of a writer low, range, cache, waiting bytes, place; of a reader code, range, place.
"""

from __future__ import annotations

from typing import Any

from envs.compiled import array, helper, kernel, result

BITS = 16
"""Of probabilities."""
_TOP, _WHOLE = 1 << 24, 1 << 32


@helper
def _carry(row: Any, out: Any) -> None:
    """Move the top byte of ``low`` out, with its carry into the bytes that wait."""
    low = row[0]
    if low < 0xFF000000 or low >= 4294967296:
        carry = low >> 32
        byte = (row[2] + carry) & 0xFF
        while row[3] > 0:
            out[row[4]] = byte
            row[4] += 1
            row[3] -= 1
            byte = (0xFF + carry) & 0xFF
        row[2] = (low >> 24) & 0xFF
    row[3] += 1
    row[0] = (low & 0x00FFFFFF) << 8


@kernel(array("int64", 2), array("int64", 2), array("int64", 2), result("int64", 2), result("uint8", 2))
def put(symbols: Any, table: Any, cumulative: Any, state: Any, out: Any) -> None:
    """Append symbols [n, m]; ``out`` [n, bytes] must have room for 4 bytes a symbol and 6 more."""
    for n in range(len(symbols)):
        row = state[n]
        for k in range(symbols.shape[1]):
            t, s = table[n, k], symbols[n, k]
            if t < 0:
                continue
            unit = row[1] >> 16
            row[0] += unit * cumulative[t, s]
            row[1] = unit * (cumulative[t, s + 1] - cumulative[t, s])
            while row[1] < 16777216:
                row[1] <<= 8
                _carry(row, out[n])


@kernel(result("int64", 2), result("uint8", 2), result("int64", 1))
def finish(state: Any, out: Any, length: Any) -> None:
    """End streams: ``length`` [n] bytes of each, from byte 1 on; zeros that follow need not be sent."""
    for n in range(len(state)):
        row = state[n]
        low, end = row[0], row[0] + row[1]
        for shift in range(32, -1, -1):
            ahead = ((low + (1 << shift) - 1) >> shift) << shift
            if ahead < end:
                row[0] = ahead
                break
        for _ in range(5):
            _carry(row, out[n])
        last = row[4]
        while last > 1 and out[n, last - 1] == 0:
            last -= 1
        length[n] = max(last - 1, 0)


@helper
def _next(data: Any, row: Any) -> int:
    """The next byte; zeros behind the end."""
    place = row[2]
    row[2] += 1
    return data[place] if place < len(data) else 0


@kernel(array("uint8", 2), result("int64", 2))
def begin(data: Any, state: Any) -> None:
    """Take the first bytes of ``data`` [n, bytes] in."""
    for n in range(len(data)):
        row = state[n]
        row[0], row[1], row[2] = 0, 4294967295, 0
        for _ in range(4):
            row[0] = (row[0] << 8) | _next(data[n], row)


@kernel(
    array("uint8", 2), array("int64", 2), array("int64", 1), array("int64", 2), result("int64", 2), result("int64", 2)
)
def get(data: Any, table: Any, count: Any, cumulative: Any, state: Any, symbols: Any) -> None:
    """Read ``symbols`` [n, m]; ``count`` [table], symbols of each table. Places of no table are left alone."""
    for n in range(len(table)):
        row = state[n]
        for k in range(table.shape[1]):
            t = table[n, k]
            if t < 0:
                continue
            unit = row[1] >> 16
            aim = min(row[0] // unit, 65535)
            low, high = 0, count[t]
            while high - low > 1:
                middle = (low + high) >> 1
                if cumulative[t, middle] <= aim:
                    low = middle
                else:
                    high = middle
            symbols[n, k] = low
            row[0] -= unit * cumulative[t, low]
            row[1] = unit * (cumulative[t, low + 1] - cumulative[t, low])
            while row[1] < 16777216:
                row[0] = ((row[0] << 8) | _next(data[n], row)) & 0xFFFFFFFF
                row[1] <<= 8
