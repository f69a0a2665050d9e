"""The medium's inner loops, compiled: pairs, their random keys, neighbours in range, order of delivery."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, kernel, result

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


@kernel(array("int32", 1), types.int64, result("int32", 1), result("int32", 1))
def everyone(sender: Any, agents: Any, packet: Any, receiver: Any) -> None:
    """All receivers of every packet, in order: ``packet``, ``receiver`` [K (A − 1)]."""
    n = 0
    for k in range(sender.shape[0]):
        for other in range(agents):
            if other != sender[k]:
                packet[n], receiver[n] = k, other
                n += 1


@kernel(array("uint64", 1), array("int32", 1), array("int32", 1), array("int32", 1), result("uint64", 1))
def pair_keys(prefix: Any, sender: Any, packet: Any, receiver: Any, key: Any) -> None:
    """The last word of `envs.keyed.hash_words`: ``prefix`` [K] mixed with (sender << 16) + receiver."""
    for n in range(packet.shape[0]):
        k = packet[n]
        word = (np.uint64(sender[k]) << np.uint64(16)) + np.uint64(receiver[n])
        x = (prefix[k] ^ word) * _GOLDEN + _GOLDEN
        x = (x ^ (x >> _S30)) * _M1
        x = (x ^ (x >> _S27)) * _M2
        key[n] = x ^ (x >> _S31)


@kernel(
    array("int32", 1), array("int32", 1), array("float64", 3), types.float64, array("int64", 2),
    types.int64, array("int64", 1), array("int64", 1), result("int64", 1), result("int32", 1), result("int32", 1),
)  # fmt: skip
def in_range(
    lane: Any, sender: Any, spot: Any, square: Any, cell: Any, column: Any, member: Any, begin: Any,
    count: Any, packet: Any, receiver: Any,
) -> None:  # fmt: skip
    """Receivers within a distance of every packet's sender, found in the nine cells around it.

    Args:
        spot: [L, N, 2], metres. square: the distance's square. cell: [L, N], each node's cell. Numbers run up
            the columns of one lane's grid after another, with an empty border around each grid.
        column: cells in a column. member: [L A], agents (numbered within their lane) sorted by cell.
        begin: [cells + 1], where each cell begins in ``member``.
        count: [K]; how many each packet has. packet, receiver: filled in order as long as there is room.
    """
    n = 0
    for k in range(lane.shape[0]):
        own, who = lane[k], sender[k]
        x, y = spot[own, who, 0], spot[own, who, 1]
        first = n
        for side in range(-1, 2):
            middle = cell[own, who] + side * column
            for m in range(begin[middle - 1], begin[middle + 2]):
                other = member[m]
                dx, dy = spot[own, other, 0] - x, spot[own, other, 1] - y
                if other != who and dx * dx + dy * dy <= square:
                    if n < receiver.shape[0]:
                        packet[n], receiver[n] = k, other
                    n += 1
        count[k] = n - first
        if n <= receiver.shape[0]:
            receiver[first:n].sort()


@kernel(
    array("int32", 1), array("int32", 1), array("float64", 3), types.float64, array("int64", 2),
    types.int64, array("int64", 1), array("int64", 1), result("float64", 1), result("int32", 2),
)  # fmt: skip
def k_nearest(
    lane: Any, sender: Any, spot: Any, width: Any, cell: Any, column: Any, member: Any, begin: Any, square: Any,
    receiver: Any,
) -> None:  # fmt: skip
    """The nearest others of every packet's sender, searched in rings of cells around it.

    Args:
        spot, cell, column, member, begin: as for `in_range`. width: of a cell, metres.
        square: [k], room to work in. receiver: [K, k], each row sorted by number in the end.
    """
    wanted = receiver.shape[1]
    for n in range(lane.shape[0]):
        own, who = lane[n], sender[n]
        x, y = spot[own, who, 0], spot[own, who, 1]
        base = np.int64(own) * column * column
        middle, height = (cell[own, who] - base) // column, (cell[own, who] - base) % column
        found, ring = 0, 0
        while True:
            for across in range(max(middle - ring, 0), min(middle + ring, column - 1) + 1):
                low, high = max(height - ring, 0), min(height + ring, column - 1)
                edge = across == middle - ring or across == middle + ring
                # The whole column at the sides of a ring, its two ends in between.
                for part in range(1 if edge else 2):
                    if edge:
                        first, last = low, high
                    elif part == 0:
                        first, last = height - ring, height - ring
                    else:
                        first, last = height + ring, height + ring
                    if first < 0 or last >= column:
                        continue
                    line = base + across * column
                    for m in range(begin[line + first], begin[line + last + 1]):
                        other = member[m]
                        if other == who:
                            continue
                        dx, dy = spot[own, other, 0] - x, spot[own, other, 1] - y
                        gap = dx * dx + dy * dy
                        place = found
                        while place > 0 and (
                            gap < square[place - 1]
                            or (gap == square[place - 1] and other < receiver[n, place - 1])
                        ):
                            place -= 1
                        if place >= wanted:
                            continue
                        for shift in range(min(found, wanted - 1), place, -1):
                            square[shift], receiver[n, shift] = square[shift - 1], receiver[n, shift - 1]
                        square[place], receiver[n, place] = gap, other
                        found = min(found + 1, wanted)
            # Everything nearer than the searched rings are wide has been seen.
            if found == wanted and (wanted == 0 or square[wanted - 1] < (ring * width) ** 2):
                break
            if ring >= column:
                break
            ring += 1
        receiver[n].sort()


@kernel(
    array("int64", 1), array("float64", 1), array("int32", 1), result("int64", 1), result("int64", 1),
    result("int64", 1),
)  # fmt: skip
def arrivals(inbox: Any, arrival: Any, sender: Any, end: Any, order: Any, spare: Any) -> None:
    """``order`` [M] that sorts by (inbox, arrival, sender), keeping the order of equals.

    Args:
        end: [inboxes + 1], where each inbox begins; used up: afterwards it holds where each ends.
        spare: [M], room to work in.
    """
    for n in range(inbox.shape[0]):
        order[end[inbox[n]]] = n
        end[inbox[n]] += 1
    first = 0
    for box in range(end.shape[0]):
        last = end[box]
        width = 1
        while width < last - first:  # merge sorted stretches of that width, two by two
            for low in range(first, last, 2 * width):
                middle, high = min(low + width, last), min(low + 2 * width, last)
                a, b = low, middle
                for n in range(low, high):
                    if b >= high:
                        left = True
                    elif a >= middle:
                        left = False
                    else:
                        p, q = order[a], order[b]
                        left = arrival[p] < arrival[q] or (
                            arrival[p] == arrival[q] and sender[p] <= sender[q]
                        )
                    if left:
                        spare[n] = order[a]
                        a += 1
                    else:
                        spare[n] = order[b]
                        b += 1
            for n in range(first, last):
                order[n] = spare[n]
            width *= 2
        first = last


@kernel(array("uint64", 1), array("float64", 1), array("int32", 1), array("int32", 1), result("uint8", 2))
def flips(key: Any, rate: Any, packet: Any, bits: Any, wrong: Any) -> None:
    """Set each of the first bits of ``wrong`` [N, W] with a probability, jumping from one wrong bit to the next."""
    for n in range(packet.shape[0]):
        if rate[n] <= 0.0:
            continue
        scale = np.log1p(-rate[n]) if rate[n] < 1.0 else -np.inf
        word, at = key[n], np.int64(-1)
        while True:
            word = (word ^ _M1) * _GOLDEN + _GOLDEN
            x = (word ^ (word >> _S30)) * _M1
            x = (x ^ (x >> _S27)) * _M2
            x = x ^ (x >> _S31)
            # The gap to the next wrong bit is geometric; the draw is kept off zero.
            draw = (np.float64(x >> np.uint64(11)) + 0.5) * 2.0**-53
            gap = np.log(draw) / scale
            if gap >= bits[packet[n]] - at - 1:
                break
            at += 1 + np.int64(gap)
            wrong[n, at >> 3] |= np.uint8(0x80 >> (at & 7))


@kernel(
    array("int64", 1), array("int32", 1), array("bool_", 1), result("int64", 1), result("uint64", 1), result("bool_", 1)
)  # fmt: skip
def first_seen(pair: Any, clock: Any, own: Any, newest: Any, window: Any, fresh: Any) -> None:
    """Sliding windows of 64 rounds: ``fresh`` [M] where a pair's round is new; see `agentsc.links.seen`.

    Args:
        pair, clock, own: [M]; own packets are never new. newest, window: of every pair, brought up to date.
    """
    for n in range(pair.shape[0]):
        if own[n]:
            continue
        which, at = pair[n], np.int64(clock[n])
        ahead = at - newest[which]
        if ahead > 0:
            window[which] = np.uint64(1) if ahead >= 64 else (window[which] << np.uint64(ahead)) | np.uint64(1)
            newest[which] = at
            fresh[n] = True
        elif ahead > -64:
            bit = np.uint64(1) << np.uint64(-ahead)
            if window[which] & bit == np.uint64(0):
                window[which] |= bit
                fresh[n] = True
