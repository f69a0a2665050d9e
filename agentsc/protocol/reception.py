"""What a protocol believes of what its radios delivered: one gate, the same for all of them.

A checksum says that a packet most likely is as it was sent. It does not say that it makes sense: one wrong packet in
2^8 or 2^16 passes it, and a hostile radio computes it like everybody else. So nothing is taken in that no agent of
this fleet can have said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.codec import Message, decode
from agentsc.intent.fields import PLAN, STATE, T0_PAST, WAYPOINT_KINDS, unwrap
from agentsc.intent.plan import PlanSpec
from agentsc.links.flight import Deliveries

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Wanted = Callable[[Message], Flags]


class Received(NamedTuple):
    """What may be taken in: n deliveries, in the order of the inbox.

    message: the K packets behind them. packet: int64 [n], row of ``message``. lane: int64 [n]. place: int64 [n], the
    receiver's place in the block. sender: int64 [n], whom the packet names. sent: int64 [n], round of sending.
    """

    message: Message
    packet: Ints
    lane: Ints
    place: Ints
    sender: Ints
    sent: Ints


def receive(
    inbox: Deliveries, clock: int, spec: PlanSpec, ids: Ints, agents: int, rounds: int, lead: int, wanted: Wanted
) -> tuple[Received, Flags]:
    """Decode what was delivered, and leave out what no agent can have said.

    Args:
        inbox: M deliveries. clock: the message round. ids: of the block's agents, ascending. agents: of the fleet.
        rounds: message rounds per tick. lead: ticks ahead of its sending at which a plan may start.
        wanted: bool [K], which messages the protocol has a use for.

    Returns:
        What is left, and bool [M], which deliveries were refused.
    """
    message, good = decode(inbox.payload, inbox.payload_bits, spec)
    sent = sending_rounds(message, clock)
    good &= wanted(message) & credible(message, sent, spec, agents, rounds, lead)
    # Nobody hears itself: what comes under the own name is somebody else's.
    fine = good[inbox.packet] & (message.id[inbox.packet] != inbox.receiver)
    rows = np.flatnonzero(fine)
    packet = inbox.packet[rows].astype(np.int64)
    received = Received(
        message=message,
        packet=packet,
        lane=inbox.lane[rows].astype(np.int64),
        place=np.searchsorted(ids, inbox.receiver[rows]),
        sender=message.id[packet].astype(np.int64),
        sent=sent[packet],
    )
    return received, ~fine


def sending_rounds(message: Message, clock: int) -> Ints:
    """int64 [K]: round in which each packet says it was sent, the latest one not after ``clock`` that fits its bits."""
    full, low = unwrap(message.clock, clock, 16), unwrap(message.clock & 255, clock, 8)
    return np.where(message.has_clock_high, full, low)


def credible(message: Message, sent: Ints, spec: PlanSpec, agents: int, rounds: int, lead: int) -> Flags:
    """bool [K]: whether some agent of the fleet can have sent each packet, as far as a packet shows.

    Its sender is one of the fleet; it was sent after the start; what it says of places is a number and no farther from
    the world than a plan reaches; a plan starts after the start, and no more than ``lead`` ticks after it was sent.
    """
    good: Flags = (message.id < agents) & (sent >= 0)
    tick = sent // rounds
    planned = np.flatnonzero(message.sections & PLAN)
    if len(planned):
        start = tick[planned] + message.t0_offset[planned] - T0_PAST
        near = within_reach(spec.point(message.plan[planned, :2]), spec)
        good[planned] &= near & (start >= 0) & (start <= tick[planned] + lead)
    bare = message.sections == 0
    state = np.flatnonzero(bare & (message.kind == STATE))
    if len(state):
        good[state] &= within_reach(spec.point(message.position[state]), spec)
    path = np.flatnonzero(bare & np.isin(message.kind, WAYPOINT_KINDS))
    if len(path):
        points = message.waypoints[path]
        absent = np.arange(points.shape[1]) >= message.waypoint_count[path, None]
        inside = (within_reach(points, spec) | absent).all(1)
        good[path] &= inside & (message.waypoint_t0[path] <= tick[path] + lead)
    return good


def within_reach(points: NDArray[np.float32], spec: PlanSpec) -> Flags:
    """bool [...]: which points [..., 2] are in the world or no farther from it than a plan reaches; NaN is not."""
    low, high = np.array(spec.bounds[:2]), np.array(spec.bounds[2:])
    reach = spec.v_max * spec.horizon_s
    return np.asarray(((points >= low - reach) & (points <= high + reach)).all(-1))
