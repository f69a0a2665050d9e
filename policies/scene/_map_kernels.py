"""Compiled loops of `policies.scene.map_code`: a small network in whole numbers, and an arithmetic coder.

Everything is integer arithmetic, so sender and receiver get the same probabilities on any machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.compiled import array, helper, kernel, result

_TOP = np.int64(0xFFFFFFFF)
_HALF, _QUARTER = np.int64(0x80000000), np.int64(0x40000000)
_WHOLE = 65536
"""Sum of the frequencies of a cell's classes."""
_ADAPTS = 3
"""Right shift of a score's step towards what was coded."""


@helper
def _frequencies(
    labels: Any, y: Any, x: Any, table: Any, bias: Any, second: Any, second_bias: Any, third: Any, third_bias: Any,
    powers: Any, bent: Any, first_layer: Any, hidden: Any, out: Any,
) -> None:
    """Frequencies [classes] of the cell (y, x), of sum _WHOLE and at least 1 each."""
    width, classes = bias.shape[0], out.shape[0]
    reach = (np.int64(np.sqrt(1.0 + 2.0 * table.shape[0])) - 1) // 2
    rows, columns = labels.shape
    for k in range(width):
        first_layer[k] = bias[k]
    place = 0
    for dy in range(-reach, 1):
        last = reach if dy < 0 else -1
        for dx in range(-reach, last + 1):
            i, j = y + dy, x + dx
            seen = classes if i < 0 or j < 0 or j >= columns else np.int64(labels[i, j])
            part = table[place, seen]
            for k in range(width):
                first_layer[k] += part[k]
            place += 1
    for h in range(hidden.shape[0]):
        hidden[h] = 0
    for k in range(width):
        on = np.int64(first_layer[k])
        if on > 0:  # half of them are not
            for h in range(hidden.shape[0]):
                hidden[h] += np.int64(second[k, h]) * on
    for h in range(hidden.shape[0]):
        hidden[h] = max((hidden[h] >> 8) + second_bias[h], 0)
    best = np.int64(-(1 << 40))
    for c in range(classes):
        total = np.int64(0)
        for h in range(hidden.shape[0]):
            total += np.int64(third[c, h]) * hidden[h]
        out[c] = (total >> 8) + third_bias[c] + bent[c]
        best = max(best, out[c])
    whole = np.int64(0)
    for c in range(classes):
        down = best - out[c]  # in 1/256 of a bit
        out[c] = 0 if down >= 20 * 256 else (powers[down & 255] >> (down >> 8))
        whole += out[c]
    left, largest = np.int64(_WHOLE), 0
    for c in range(classes):
        if out[c] > out[largest]:
            largest = c
    for c in range(classes):
        out[c] = 1 + out[c] * (_WHOLE - classes) // whole
        left -= out[c]
    out[largest] += left


@helper
def _adapt(bent: Any, frequencies: Any, coded: Any) -> None:
    """Move the scores of a context towards what was coded there, 256 of them are a bit."""
    for c in range(frequencies.shape[0]):
        wanted = _WHOLE if c == coded else 0
        bent[c] += (wanted - frequencies[c]) >> (8 + _ADAPTS)


@helper
def _around(labels: Any, y: Any, x: Any, classes: Any) -> Any:
    """Number of the context that adapts: the cells to the left and above."""
    left = np.int64(labels[y, x - 1]) if x > 0 else classes
    above = np.int64(labels[y - 1, x]) if y > 0 else classes
    return left * (classes + 1) + above


@helper
def _put(out: Any, at: Any, bit: Any) -> Any:
    if bit:
        out[at >> 3] |= np.uint8(128 >> (at & 7))
    return at + 1


_NETWORK = (
    array("int32", 3), array("int32", 1), array("int32", 2), array("int32", 1), array("int32", 2), array("int32", 1),
    array("int64", 1),
)  # fmt: skip


@kernel(array("uint8", 2), *_NETWORK, result("uint8", 1), result("int64", 1))
def encode(
    labels: Any, table: Any, bias: Any, second: Any, second_bias: Any, third: Any, third_bias: Any, powers: Any,
    out: Any, bits: Any,
) -> None:
    """Code of a map [rows, columns] into zeroed bytes ``out``, most significant bit first; bits[0] is its length.

    Reference: Witten, Neal and Cleary, "Arithmetic coding for data compression", 1987.
    """
    classes = third.shape[0]
    bent = np.zeros(((classes + 1) * (classes + 1), classes), np.int64)
    first_layer, hidden = np.zeros(bias.shape[0], np.int32), np.zeros(second.shape[1], np.int64)
    share = np.zeros(classes, np.int64)
    low, high, waiting, at = np.int64(0), _TOP, 0, 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            context = bent[_around(labels, y, x, classes)]
            _frequencies(
                labels, y, x, table, bias, second, second_bias, third, third_bias, powers, context, first_layer,
                hidden, share,
            )  # fmt: skip
            coded = np.int64(labels[y, x])
            below = np.int64(0)
            for c in range(coded):
                below += share[c]
            wide = high - low + 1
            high = low + ((wide * (below + share[coded])) >> 16) - 1
            low = low + ((wide * below) >> 16)
            _adapt(context, share, coded)
            while True:
                if high < _HALF or low >= _HALF:
                    bit = low >= _HALF
                    at = _put(out, at, bit)
                    for _ in range(waiting):
                        at = _put(out, at, not bit)
                    waiting = 0
                    if bit:
                        low -= _HALF
                        high -= _HALF
                elif low >= _QUARTER and high < _HALF + _QUARTER:
                    waiting += 1
                    low -= _QUARTER
                    high -= _QUARTER
                else:
                    break
                low, high = low << 1, (high << 1) + 1
    # Zeros follow what was sent. Here low < half <= high, so a one is enough, and none is needed where zeros will do.
    if low > 0 or waiting > 0:
        at = _put(out, at, True)
    bits[0] = at
    while bits[0] > 0 and not (out[(bits[0] - 1) >> 3] >> (7 - ((bits[0] - 1) & 7))) & 1:
        bits[0] -= 1


@kernel(array("uint8", 1), *_NETWORK, result("uint8", 2))
def decode(
    data: Any, table: Any, bias: Any, second: Any, second_bias: Any, third: Any, third_bias: Any, powers: Any,
    labels: Any,
) -> None:
    """Fill ``labels`` [rows, columns] from bytes; zeros follow them."""
    classes = third.shape[0]
    bent = np.zeros(((classes + 1) * (classes + 1), classes), np.int64)
    first_layer, hidden = np.zeros(bias.shape[0], np.int32), np.zeros(second.shape[1], np.int64)
    share = np.zeros(classes, np.int64)
    low, high, value, at, length = np.int64(0), _TOP, np.int64(0), 0, 8 * data.shape[0]
    for _ in range(32):
        bit = (data[at >> 3] >> np.uint8(7 - (at & 7))) & 1 if at < length else 0
        value = (value << 1) | np.int64(bit)
        at += 1
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            context = bent[_around(labels, y, x, classes)]
            _frequencies(
                labels, y, x, table, bias, second, second_bias, third, third_bias, powers, context, first_layer,
                hidden, share,
            )  # fmt: skip
            wide = high - low + 1
            sought = (((value - low + 1) << 16) - 1) // wide
            coded, below = 0, np.int64(0)
            while coded < classes - 1 and below + share[coded] <= sought:
                below += share[coded]
                coded += 1
            labels[y, x] = coded
            high = low + ((wide * (below + share[coded])) >> 16) - 1
            low = low + ((wide * below) >> 16)
            _adapt(context, share, coded)
            while True:
                if high < _HALF or low >= _HALF:
                    if low >= _HALF:
                        low -= _HALF
                        high -= _HALF
                        value -= _HALF
                elif low >= _QUARTER and high < _HALF + _QUARTER:
                    low -= _QUARTER
                    high -= _QUARTER
                    value -= _QUARTER
                else:
                    break
                bit = (data[at >> 3] >> np.uint8(7 - (at & 7))) & 1 if at < length else 0
                low, high, value = low << 1, (high << 1) + 1, (value << 1) | np.int64(bit)
                at += 1


