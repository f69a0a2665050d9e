"""Access to a shared medium, compiled: carrier sense, overlaps, collisions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

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


@helper
def _sends(
    radio: Any, start: Any, end: Any, on: Any, edge: Any, member: Any, begins: Any, ends: Any, channel: Any
) -> Any:
    """Whether a radio is on the air at some time between start and end, on that channel; see `fates`."""
    for m in range(edge[radio], edge[radio + 1]):
        t = member[m]
        if channel[t] == on and begins[t] < end - _SAME_S and ends[t] > start + _SAME_S:
            return True
    return False


@kernel(
    array("int32", 1), array("int32", 1), array("float64", 1), array("float64", 1), array("int32", 1),
    array("int32", 1), array("int64", 1), array("int32", 1), array("float64", 1), array("float64", 1),
    array("int32", 1), types.int64, array("float64", 3), types.float64, array("int64", 1), array("int32", 1),
    types.boolean, types.boolean, result("int32", 2), result("bool_", 1), result("bool_", 1), result("bool_", 1),
)  # fmt: skip
def fates(
    lane: Any, sender: Any, start: Any, end: Any, packet: Any, receiver: Any, edge: Any, other: Any, begins: Any,
    ends: Any, channel: Any, nodes: Any, spot: Any, square: Any, near: Any, neighbour: Any, deaf: Any, collides: Any,
    found: Any, crowded: Any, busy: Any, collision: Any,
) -> None:  # fmt: skip
    """Receivers [N] that were sending themselves, and those that heard another transmission at the same time.

    Args:
        lane, sender, start, end: [K]. packet, receiver: [N]. edge: [L + 1], where lanes begin in the transmissions
            ``other`` … ``channel`` [T], sorted by start.
        nodes: in a lane. spot: [L, nodes, 2], metres, looked at if ``square``, the hearing distance's square, is
            finite. near: [L nodes + 1], where the neighbours of each node begin in ``neighbour``.
        deaf, collides: what is asked for.
        found: [K, F], room for others on the air during each packet; two will do if everybody hears everybody.
        crowded: [K]; there are more than that, so receivers' neighbours have to be asked. Without ``near``, nothing
            is decided then.
    """
    lanes, count, few = edge.shape[0] - 1, other.shape[0], found.shape[1]
    first, member = np.zeros(lanes * nodes + 2, np.int64), np.empty(count, np.int64)
    longest = np.zeros(lanes)
    for own in range(lanes):  # transmissions sorted by radio
        for t in range(edge[own], edge[own + 1]):
            first[own * nodes + other[t] + 2] += 1
            longest[own] = max(longest[own], ends[t] - begins[t])
    for r in range(2, first.shape[0]):
        first[r] += first[r - 1]
    for own in range(lanes):
        for t in range(edge[own], edge[own + 1]):
            r = own * nodes + other[t] + 1
            member[first[r]] = t
            first[r] += 1
    on, beside = np.zeros(lane.shape[0], np.int32), np.zeros(lane.shape[0], np.int64)
    for k in range(lane.shape[0]):
        own = lane[k]
        r = own * nodes + sender[k]
        for m in range(first[r], first[r + 1]):
            if abs(begins[member[m]] - start[k]) <= _SAME_S:
                on[k] = channel[member[m]]
        low, top = edge[own], edge[own + 1]
        while low < top:  # the first that may still be on the air when the packet begins
            middle = (low + top) // 2
            if begins[middle] < start[k] - longest[own] - _SAME_S:
                low = middle + 1
            else:
                top = middle
        n, crowded[k] = 0, False
        for t in range(low, edge[own + 1]):
            if begins[t] >= end[k] - _SAME_S:
                break
            if other[t] == sender[k] or channel[t] != on[k] or ends[t] <= start[k] + _SAME_S:
                continue
            if n > 0 and found[k, n - 1] == other[t]:
                continue
            if n == few:
                crowded[k] = True
                break
            found[k, n] = other[t]
            n += 1
        beside[k] = n
    asked = square < np.inf and crowded.any()
    if asked and near.shape[0] == 1:
        return
    for n in range(packet.shape[0]):
        k, who = packet[n], receiver[n]
        busy[n] = collision[n] = False
        if beside[k] == 0:
            continue
        own, base = lane[k], lane[k] * nodes
        busy[n] = deaf and _sends(base + who, start[k], end[k], on[k], first, member, begins, ends, channel)
        if not collides:
            continue
        for m in range(0 if asked and crowded[k] else beside[k]):
            i = found[k, m]
            if i == who:
                continue
            if square < np.inf:
                dx, dy = spot[own, i, 0] - spot[own, who, 0], spot[own, i, 1] - spot[own, who, 1]
                if dx * dx + dy * dy > square:
                    continue
            collision[n] = True
            break
        if not (asked and crowded[k]):
            continue
        for m in range(near[base + who], near[base + who + 1]):
            i = neighbour[m]
            if i != sender[k] and _sends(base + i, start[k], end[k], on[k], first, member, begins, ends, channel):
                collision[n] = True
                break


@kernel(
    types.int64, array("int64", 1), array("float64", 1), array("float64", 1), array("int32", 1), array("int64", 1),
    array("int32", 1), types.boolean, types.float64, types.float64, types.float64, result("int64", 1),
    result("float64", 1), result("float64", 1), result("float64", 1), result("float64", 1),
)  # fmt: skip
def carrier_sense(
    nodes: Any, begin: Any, ready: Any, airtime: Any, backoff: Any, near: Any, neighbour: Any, everywhere: Any,
    wait: Any, slot: Any, now: Any, left: Any, idle: Any, since: Any, expiry: Any, start: Any,
) -> None:  # fmt: skip
    """Which waiting packets begin before ``now``, lane by lane, one after the other.

    The radio whose counter ends first begins to send. Others that sense it stop counting, except those whose counters
    end less than a slot later, for whom it is too late.

    Args:
        nodes: N. begin: [L N + 1], where each radio's packets begin; each has them in their order.
        ready, airtime: [M], seconds. backoff: [M], slots. near: [L N + 1], where those that sense each radio begin in
            ``neighbour``; not looked at if they sense each other ``everywhere``.
        wait: seconds that the medium must be idle before counting. slot: seconds.
        left: [L N], slots that the radio's first packet has to count; −1 before the draw. idle: from when on it senses
            nothing. since: from when on it counts. expiry: when it begins to send; infinite without a packet.
        start: [M], filled in where a packet begins.
    """
    following = begin[:-1].copy()
    for radio in range(following.shape[0]):
        if left[radio] < 0 and following[radio] < begin[radio + 1]:
            at = following[radio]
            left[radio] = backoff[at]
            since[radio] = max(idle[radio], ready[at]) + wait
            expiry[radio] = since[radio] + left[radio] * slot
    for lane in range((begin.shape[0] - 1) // nodes):
        base = lane * nodes
        while True:
            radio = base
            for i in range(base + 1, base + nodes):
                if expiry[i] < expiry[radio]:
                    radio = i
            soonest, at = expiry[radio], following[radio]
            if not soonest < now - _SAME_S:
                break
            start[at], end = soonest, soonest + airtime[at]
            first, last = (0, nodes) if everywhere else (near[radio], near[radio + 1])
            for m in range(first, last):
                i = base + (m if everywhere else neighbour[m])
                if i == radio:
                    continue
                idle[i] = max(idle[i], end)
                if left[i] < 0 or expiry[i] < soonest + slot - _SAME_S:
                    continue
                if since[i] <= soonest + _SAME_S:  # it was counting; a busy period counts as one slot
                    left[i] = np.int64(np.ceil((expiry[i] - soonest) / slot - 1e-6)) - 1
                since[i] = max(idle[i], ready[following[i]]) + wait
                expiry[i] = since[i] + left[i] * slot
            idle[radio] = max(idle[radio], end)
            left[radio], expiry[radio] = -1, np.inf
            following[radio] = at = at + 1
            if at < begin[radio + 1]:
                left[radio] = backoff[at]
                since[radio] = max(idle[radio], ready[at]) + wait
                expiry[radio] = since[radio] + left[radio] * slot
