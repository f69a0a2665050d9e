"""What a radio delivers, opened: decoded, and refused where it cannot be what an agent of this fleet sends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.codec import Message, decode
from agentsc.intent.plan import PlanSpec
from agentsc.links.flight import Deliveries


def opened(inbox: Deliveries, spec: PlanSpec, agents: int) -> tuple[Message, NDArray[np.bool_]]:
    """Packets, and which deliveries of them are credible.

    Refused are packets that do not decode, that name an author who is not in the fleet or who is the receiver itself,
    and way-points that are no numbers or lie farther outside the world than the world is wide.

    Args:
        inbox: M deliveries of K packets. spec: as the senders'. agents: in the fleet.

    Returns:
        K messages, and bool [M].
    """
    message, good = decode(inbox.payload, inbox.payload_bits, spec)
    good &= message.id < agents
    if message.waypoints.shape[1]:
        low, high = np.array(spec.bounds[:2]), np.array(spec.bounds[2:])
        with np.errstate(invalid="ignore"):
            near = (message.waypoints > 2.0 * low - high) & (message.waypoints < 2.0 * high - low)
        used = np.arange(message.waypoints.shape[1]) < message.waypoint_count[:, None]
        good &= (near.all(-1) | ~used).all(1)
    return message, good[inbox.packet] & (message.id[inbox.packet] != inbox.receiver)
