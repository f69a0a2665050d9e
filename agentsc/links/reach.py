"""Lists of pairs: everyone, those within a distance, the nearest, those in two lists."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.links.hop import Ints, Pairs

_FEW = 48
"""Up to so many agents, looking at all of them is quicker than a grid."""
_ROOM = 32
"""Neighbours of a packet, on average, that a first pass has room for; with more of them there is a second."""


def everyone(sender: Ints, agents: int) -> Pairs:
    """All other agents of every packet's lane.

    Args:
        sender: int32 [K]. agents: A.
    """
    from agentsc.links import _kernels

    count = len(sender) * agents - int((sender < agents).sum())
    packet, receiver = np.empty(count, np.int32), np.empty(count, np.int32)
    _kernels.everyone(sender, agents, packet, receiver)
    return Pairs(packet, receiver)


def within(
    lane: Ints, sender: Ints, position: NDArray[np.floating], metres: float, agents: int | None = None
) -> Pairs:
    """Those no farther than ``metres`` from the sender; the cost grows with how many there are.

    Agents are sorted into a grid of cells that are no smaller than the distance, so that neighbours are in
    the nine cells around.

    Args:
        lane, sender: int32 [K]. position: float [L, N, 2], metres.
        agents: nodes below that number can hear; None for all.
    """
    from agentsc.links import _kernels

    agents = position.shape[1] if agents is None else agents
    spot = np.ascontiguousarray(position, np.float64)
    span = float((spot - spot.min(1, keepdims=True)).max(initial=0.0))
    # No more cells than about agents, however small the distance; rounding must not skip a cell.
    width = max(metres * (1 + 1e-9), span / np.ceil(np.sqrt(agents)))
    cell, column, member, begin = _cells(spot, width, agents)
    count = np.empty(len(lane), np.int64)
    grid = (lane, sender, spot, metres * metres, cell, column, member, begin, count)
    room = _ROOM * len(lane)
    while True:
        packet, receiver = np.empty(room, np.int32), np.empty(room, np.int32)
        _kernels.in_range(*grid, packet, receiver)
        total = int(count.sum())
        if total <= room:
            return Pairs(packet[:total], receiver[:total])
        room = total


def nearest(
    lane: Ints, sender: Ints, position: NDArray[np.floating], k: int, agents: int | None = None
) -> Pairs:
    """The k others nearest to the sender, of equally near ones those with the lower number; all if there are fewer.

    Args:
        lane, sender: int32 [K]. position: float [L, N, 2], metres.
        agents: nodes below that number can hear; None for all.
    """
    from agentsc.links import _kernels

    agents = position.shape[1] if agents is None else agents
    reached = min(k, agents - 1)
    spot = np.ascontiguousarray(position, np.float64)
    span = float((spot - spot.min(1, keepdims=True)).max(initial=0.0))
    # Cells mostly more than half as wide as the k-th nearest is far: two rings of them will do. With few agents
    # all are looked at, in one cell.
    side = np.ceil(np.sqrt(agents / max(0.1 * reached, 1.0))) if agents > _FEW else 1.0
    width = max(span / side, 1e-9)
    receiver = np.empty((len(lane), reached), np.int32)
    _kernels.k_nearest(lane, sender, spot, width, *_cells(spot, width, agents), np.empty(reached), receiver)
    return Pairs(np.repeat(np.arange(len(lane), dtype=np.int32), reached), receiver.ravel())


def _cells(
    spot: NDArray[np.float64], width: float, agents: int
) -> tuple[NDArray[np.int64], int, NDArray[np.int64], NDArray[np.int64]]:
    """Agents sorted into square cells of every lane's own grid, with an empty border all around.

    Returns:
        Each node's cell [L, N], cells in a column, agents (numbered within their lane) sorted by cell [L A], and
        where each cell begins among them [cells + 1].
    """
    lanes = len(spot)
    at = ((spot - spot.min(1, keepdims=True)) / width).astype(np.int64) + 1
    column = int(at.max(initial=1)) + 2
    cell = (np.arange(lanes)[:, None] * column + at[..., 0]) * column + at[..., 1]
    begin = np.zeros(lanes * column**2 + 1, np.int64)
    mine = cell[:, :agents].ravel()
    np.cumsum(np.bincount(mine, minlength=len(begin) - 1), out=begin[1:])
    return cell, column, np.argsort(mine, kind="stable") % agents, begin


def both(one: Pairs, other: Pairs, agents: int) -> Pairs:
    """Pairs that are in both lists."""
    first, second = (np.int64(agents) * pairs.packet + pairs.receiver for pairs in (one, other))
    packet, receiver = np.divmod(np.intersect1d(first, second, assume_unique=True), agents)
    return Pairs(packet.astype(np.int32), receiver.astype(np.int32))
