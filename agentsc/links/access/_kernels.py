"""Access to a shared medium, compiled: carrier sense, overlaps, collisions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, kernel, result

_SAME_S = 1e-9
"""Times no further apart are the same, computed along two ways."""


@kernel(
    array("int32", 1), array("int32", 1), array("float64", 1), array("float64", 1), array("int64", 1),
    array("int32", 1), array("float64", 1), array("float64", 1), array("int32", 1), types.float64,
    result("int64", 1), result("int32", 1), result("float64", 1),
)  # fmt: skip
def overlaps(
    lane: Any, sender: Any, start: Any, end: Any, edge: Any, other: Any, begins: Any, ends: Any, channel: Any,
    longest: Any, first: Any, found: Any, share: Any,
) -> None:  # fmt: skip
    """See `agentsc.links.access.overlaps`.

    Args:
        lane, sender, start, end: [K]. edge: [L + 1], where lanes begin in the transmissions ``other`` …
            ``channel`` [T], sorted by start. longest: of them, seconds.
        first: [K + 1]. found, share: filled as long as there is room.
    """
    n = 0
    for k in range(lane.shape[0]):
        low, high = edge[lane[k]], edge[lane[k] + 1]
        bottom, top = low, high
        while bottom < top:  # the first that may still be on the air when the packet begins
            middle = (bottom + top) // 2
            if begins[middle] < start[k] - longest - _SAME_S:
                bottom = middle + 1
            else:
                top = middle
        own = -1
        for t in range(bottom, high):
            if begins[t] > start[k] + _SAME_S:
                break
            if other[t] == sender[k] and abs(begins[t] - start[k]) <= _SAME_S:
                own = channel[t]
        for t in range(bottom, high):
            if begins[t] >= end[k] - _SAME_S:
                break
            if other[t] == sender[k] or channel[t] != own or ends[t] <= start[k] + _SAME_S:
                continue
            if n < found.shape[0]:
                found[n] = other[t]
                time = min(ends[t], end[k]) - max(begins[t], start[k])
                share[n] = min(time / (end[k] - start[k]), 1.0)
            n += 1
        first[k + 1] = n


@kernel(
    array("int32", 1), array("int32", 1), array("int32", 1), array("int64", 1), array("int32", 1),
    array("float64", 3), types.float64, types.boolean, types.boolean, result("bool_", 1), result("bool_", 1),
)  # fmt: skip
def fates(
    lane: Any, packet: Any, receiver: Any, begin: Any, other: Any, spot: Any, square: Any, deaf: Any, collides: Any,
    busy: Any, collision: Any,
) -> None:  # fmt: skip
    """Receivers [N] that were sending themselves, and those that heard another transmission at the same time.

    Args:
        lane: [K]. packet, receiver: [N]. begin, other: of `Overlaps`. spot: [L, N, 2], metres, looked at if
            ``square``, the hearing distance's square, is finite. deaf, collides: what is asked for.
    """
    for n in range(packet.shape[0]):
        k, who = packet[n], receiver[n]
        own = lane[k]
        busy[n] = collision[n] = False
        for m in range(begin[k], begin[k + 1]):
            if other[m] == who:
                busy[n] = busy[n] or deaf
            elif collides and not collision[n]:
                if square == np.inf:
                    collision[n] = True
                else:
                    dx = spot[own, other[m], 0] - spot[own, who, 0]
                    dy = spot[own, other[m], 1] - spot[own, who, 1]
                    collision[n] = dx * dx + dy * dy <= square


@kernel(
    types.int64, array("int64", 1), array("float64", 1), array("float64", 1), array("int32", 1), array("float64", 3),
    types.float64, types.float64, types.float64, types.float64, result("int64", 1), result("int64", 1),
    result("float64", 1), result("float64", 1),
)  # fmt: skip
def carrier_sense(
    nodes: Any, begin: Any, ready: Any, airtime: Any, backoff: Any, spot: Any, square: Any, wait: Any, slot: Any,
    now: Any, head: Any, left: Any, idle: Any, start: Any,
) -> None:  # fmt: skip
    """Which waiting packets begin before ``now``, lane by lane, event by event.

    Args:
        nodes: N. begin: [L N + 1], where each node's packets begin; each has them in their order.
        ready, airtime: [M], seconds. backoff: [M], slots. spot: [L, N, 2]; square: of the sensing distance.
        wait: seconds that the medium must be idle before counting. slot: seconds.
        head: [L N], packets of each node that have begun. left: [L N], slots to count, −1 before the draw.
        idle: [L N], from when on each node senses nothing. start: [M], filled in where a packet begins.
    """
    lanes = (begin.shape[0] - 1) // nodes
    expiry = np.empty(nodes)
    count = np.empty(nodes)
    for lane in range(lanes):
        base = lane * nodes
        while True:
            soonest = np.inf
            for i in range(nodes):
                at = begin[base + i] + head[base + i]
                expiry[i] = np.inf
                if at >= begin[base + i + 1]:
                    continue
                if left[base + i] < 0:
                    left[base + i] = backoff[at]
                count[i] = max(idle[base + i], ready[at]) + wait
                expiry[i] = count[i] + left[base + i] * slot
                soonest = min(soonest, expiry[i])
            if not soonest < now - _SAME_S:
                break
            for i in range(nodes):  # all whose counters end in this slot
                if expiry[i] <= soonest + _SAME_S:
                    at = begin[base + i] + head[base + i]
                    start[at] = soonest
            for i in range(nodes):
                if expiry[i] > soonest + _SAME_S:
                    continue
                at = begin[base + i] + head[base + i]
                end = soonest + airtime[at]
                for j in range(nodes):
                    if j != i and square < np.inf:
                        dx = spot[lane, i, 0] - spot[lane, j, 0]
                        dy = spot[lane, i, 1] - spot[lane, j, 1]
                        if dx * dx + dy * dy > square:
                            continue
                    if expiry[j] > soonest + _SAME_S and expiry[j] < np.inf and count[j] <= soonest + _SAME_S:
                        # A busy period counts as one slot. Once per event, though several may send in it.
                        left[base + j] = np.int64(np.ceil((expiry[j] - soonest) / slot - 1e-6)) - 1
                        count[j] = np.inf
                    idle[base + j] = max(idle[base + j], end)
            for i in range(nodes):
                if expiry[i] <= soonest + _SAME_S:
                    head[base + i] += 1
                    left[base + i] = -1
