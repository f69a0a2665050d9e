"""Traffic for tests of the medium."""

from __future__ import annotations

import numpy as np

from agentsc.links.medium import Packets


def broadcast(lane: np.ndarray, sender: np.ndarray, stamp: int = 0, bits: int = 24) -> Packets:
    """Packets whose bytes say which packet they are."""
    lane, sender = np.asarray(lane, np.int32), np.asarray(sender, np.int32)
    data = np.stack([lane, sender, np.full_like(lane, stamp)], 1).astype(np.uint8)
    return Packets(lane, sender, data, np.full(len(lane), bits, np.int32))


def everyone(lanes: int, agents: int, stamp: int = 0, bits: int = 24) -> Packets:
    return broadcast(np.repeat(np.arange(lanes), agents), np.tile(np.arange(agents), lanes), stamp, bits)


def nobody() -> Packets:
    return broadcast(np.zeros(0), np.zeros(0))
