"""Who goes where, where that is open: sharing out places, and waiting for them. Pure functions over arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.trajectory.terms import Places

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


def matched(worth: Doubles) -> Ints:
    """The place of each agent in a greedy sharing out: the best pair first, then the best of what is left.

    Args:
        worth: float [n, agent, place]; pairs worth nothing are never matched. Ties go to the lower agent, then place.

    Returns:
        int64 [n, agent]; −1 for no place. Worth at least half of the best sharing out.
    """
    worth = worth.copy()
    n, agents, places = worth.shape
    took, row = np.full((n, agents), -1), np.arange(n)
    for _ in range(min(agents, places)):
        best = worth.reshape(n, -1).argmax(1)
        agent, place = best // places, best % places
        good = worth[row, agent, place] > 0
        took[row[good], agent[good]] = place[good]
        worth[row[good], agent[good]] = 0.0
        worth[row[good], :, place[good]] = 0.0
    return took


def queueing(arrival: Doubles, served: float, mine: Doubles) -> Doubles:
    """Seconds until each place has served whoever comes there before a newcomer, and who has waited till then.

    Args:
        arrival: float [n, peer, place], seconds until peers arrive where they go; inf elsewhere.
        served: float, seconds that one takes. mine: float [n, place], seconds until the newcomer arrives.

    Returns:
        float [n, place], when the newcomer can be served, counted from now; at least ``mine``.
    """
    order = np.sort(np.where(arrival <= mine[:, None], arrival, np.inf), axis=1)
    free = np.zeros_like(mine)
    for turn in range(order.shape[1]):
        there = np.isfinite(order[:, turn])
        if not there.any():
            break
        free = np.where(there, np.maximum(free, order[:, turn]) + served, free)
    return np.maximum(free, mine)


def point_places(position: Floats, rim: float) -> Places:
    """Points [n, place, 2] as places with a soft rim of so many metres."""
    return Places(position, np.zeros_like(position), np.full(position.shape[:2], rim, np.float32))
