"""What a packet is made of: its sections, their fields and widths, and what a code means.

A packet is BASE, then each section whose bit is set in the mask, then a checksum:

| part    | bits          | holds                                                              |
|---------|---------------|--------------------------------------------------------------------|
| BASE    | 20            | section mask, sender, low byte of the sender's round counter        |
| INTENT  | 44            | the intent token: where to, how, how far ahead, how sure            |
| STATUS  | 24            | high byte of the counter, committed and pending sequence numbers    |
| PLAN    | 38 + 2b(P−2)  | start tick, start position, P−2 increments of b bits per coordinate |
| GRANTS  | 6 + 12 each   | verdicts on peers' proposals                                       |
| CRC     | 8 or 16       | 8 for BASE + INTENT (the 64-bit token), 16 for everything else      |

In GRANTS an entry that names the sender ends the verdicts; those behind it are notes (`agentsc.protocol.notes`).
In the learned plan code (`agentsc.intent.learned`) PLAN is 38 bits, and the shape of the plan, whose size varies and
follows from its contents, comes between GRANTS and CRC.

A mask of zero is followed by a 4-bit kind: STATE, TRAJECTORY and OPTIMISED, the baselines' packets (an OPTIMISED
packet is a TRAJECTORY that its sender does not follow yet, and may never), and AGREE, RENEW and PROGRESS, which speak
of a course (`agentsc.protocol.joint.order`): where a peer wants to go and what it has worked out from everybody's
wishes; the same, with how far it goes along the course before; and how far along a course it is. An AUCTION
packet is the market's: its sender's whole table, two counts of 8 bits, then 24 bits for each site that somebody has won
(site, winner, bid), and 24 for each agent that the sender has word of (agent, whether from itself, number of its newest
packet).

RALLY, PACE and RESUME are for fleets that go on without somebody (`agentsc.protocol.rally`): PACE and RESUME are a
PROGRESS and a RENEW with the rally that their course goes back to. A RALLY is its sender's word in one: what it wants,
where it rests from when on, the newest course that it has agreed to, and how far it went along that; then 24 bits for
each agent that is left out (agent, steps that it is known to have made), and 40 for each corner of where those may be
(agent, place).

BOXES tells of boxes that stand in the way, 48 bits each (`agentsc.protocol.boxes`): centre and half sizes. RENEW_BOXES
and RESUME_BOXES are a RENEW and a RESUME that name some, too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

INTENT, STATUS, PLAN, GRANTS = 1, 2, 4, 8
"""Bits of the section mask."""
STATE, TRAJECTORY, OPTIMISED, AGREE, PROGRESS, RENEW, AUCTION, RALLY, PACE, RESUME = range(1, 11)
BOXES, RENEW_BOXES, RESUME_BOXES = range(11, 14)
"""Kinds of packet with an empty mask."""
WAYPOINT_KINDS = (TRAJECTORY, OPTIMISED)
"""Kinds that hold way-points; they have the same layout."""


class Field(NamedTuple):
    """One unsigned number on the air."""

    name: str
    bits: int


BASE = (Field("sections", 4), Field("id", 8), Field("clock_low", 8))
INTENT_FIELDS = (
    Field("goal_x", 8),
    Field("goal_y", 8),
    Field("role", 1),
    Field("mode", 1),
    Field("homotopy", 4),
    Field("priority", 2),
    Field("affordance", 8),
    Field("horizon", 5),
    Field("margin", 3),
    Field("confidence", 4),
)
STATUS_FIELDS = (Field("clock_high", 8), Field("committed_seq", 8), Field("pending_seq", 8))
T0_BITS = 6
T0_PAST = 32
"""A packet's six bits for a plan's start count from this many ticks ago."""
LATTICE_BITS = 16
COUNT_BITS = 6
GRANT_BITS = 12
GRANT_SEQ_BITS = 3
KIND_BITS = 4
STATE_FIELDS = (
    Field("position_x", LATTICE_BITS),
    Field("position_y", LATTICE_BITS),
    Field("velocity_x", 12),
    Field("velocity_y", 12),
)
TRAJECTORY_FIELDS = (Field("waypoint_t0", 16), Field("waypoint_count", 8))
AGREE_FIELDS = (
    Field("course", 16),
    Field("position_x", LATTICE_BITS),
    Field("position_y", LATTICE_BITS),
    Field("digest", 24),
)
PROGRESS_FIELDS = (Field("course", 16), Field("steps", 12), Field("done", 16))
RENEW_FIELDS = (*AGREE_FIELDS, Field("steps", 12), Field("done", 16), Field("lag", 8))
LAGGED_FIELDS = (*RENEW_FIELDS[:-1], Field("lag", 12))
"""As those of a RENEW, and whole bytes."""
BOX_COUNT = Field("box_count", 8)
AUCTION_FIELDS = (Field("award_count", 8), Field("word_count", 8))
ROOT = Field("root", 24)
"""The rally that a course goes back to."""
RALLY_FIELDS = (
    ROOT,
    Field("position_x", LATTICE_BITS),
    Field("position_y", LATTICE_BITS),
    Field("rest_x", LATTICE_BITS),
    Field("rest_y", LATTICE_BITS),
    Field("done", 16),
    Field("before", 24),
    Field("course", 16),
    Field("steps", 15),
    Field("forgetful", 1),
    Field("digest", 24),
    Field("out_count", 8),
    Field("corner_count", 8),
)
KIND_FIELDS = {
    STATE: STATE_FIELDS,
    TRAJECTORY: TRAJECTORY_FIELDS,
    OPTIMISED: TRAJECTORY_FIELDS,
    AGREE: AGREE_FIELDS,
    PROGRESS: PROGRESS_FIELDS,
    RENEW: RENEW_FIELDS,
    AUCTION: AUCTION_FIELDS,
    RALLY: RALLY_FIELDS,
    PACE: (*PROGRESS_FIELDS, ROOT),
    RESUME: (*RENEW_FIELDS, ROOT),
    BOXES: (BOX_COUNT,),
    RENEW_BOXES: (*LAGGED_FIELDS, BOX_COUNT),
    RESUME_BOXES: (*LAGGED_FIELDS, ROOT, BOX_COUNT),
}
"""What follows the kind of a packet with an empty mask."""
AWARD_BITS = (8, 8, 8)
"""Site, winner, bid."""
WORD_BITS = (8, 1, 15)
"""Agent, whether it was heard itself, number of its newest packet."""
RECORD_BITS = 24
OUT_BITS = (8, 0, 16)
"""Agent, nothing, steps that it is known to have made."""
CORNER_BITS = (8, 16, 16)
"""Agent, and a place where it may be, in lattice points."""
BOX_BITS = (16, 16, 8, 8)
"""Centre, in lattice points, and half sizes."""
MAX_BOXES = (1 << 4) - 1
"""In a wish for the next course."""
RECORDS: dict[int, tuple[tuple[str, tuple[int, ...]], ...]] = {
    AUCTION: (("awards", AWARD_BITS), ("words", WORD_BITS)),
    RALLY: (("outs", OUT_BITS), ("corners", CORNER_BITS)),
    **dict.fromkeys((BOXES, RENEW_BOXES, RESUME_BOXES), (("boxes", BOX_BITS),)),
}
"""Packets that end with counts and so many records: names of their arrays, and widths of their columns."""

MAX_AGENTS = 1 << 8
MAX_ROUNDS = 1 << 16
"""A packet's round counter has sixteen bits; an episode must not outlive it."""
MAX_GRANTS = (1 << COUNT_BITS) - 1
MAX_WAYPOINTS = (1 << 8) - 1
MAX_RECORDS = (1 << 8) - 1
"""Of either sort in a packet with records."""
DONE = 255
"""A bid that nobody can raise: the site needs no one any more."""
MAX_BID = DONE - 1

_GOAL_CELLS = 1 << 8
_MARGIN_UNIT = 1.0 / 32.0
_CONFIDENCE_TOP = 15.0
_BIDS_PER_OCTAVE = 16

Codes = NDArray[np.int32]
Bounds = tuple[float, float, float, float]


def goal_code(points: ArrayLike, bounds: Bounds) -> Codes:
    """The cell of a 256 × 256 grid over the world that holds each point.

    Args:
        points: [..., 2], metres. bounds: (xmin, ymin, xmax, ymax), metres.

    Returns:
        int32 [..., 2]; points outside take the nearest cell.
    """
    low, size = np.array(bounds[:2]), np.array(bounds[2:]) - np.array(bounds[:2])
    cell = np.floor((np.asarray(points, np.float64) - low) / size * _GOAL_CELLS)
    return np.clip(cell, 0, _GOAL_CELLS - 1).astype(np.int32)


def goal_point(code: ArrayLike, bounds: Bounds) -> NDArray[np.float32]:
    """Centres of goal cells: float32 [..., 2], metres."""
    low, size = np.array(bounds[:2]), np.array(bounds[2:]) - np.array(bounds[:2])
    return (low + (np.asarray(code) + 0.5) / _GOAL_CELLS * size).astype(np.float32)


def margin_code(margin_m: ArrayLike, radius: float) -> Codes:
    """Smallest of the eight margins radius/32 · 2^code that is not below the one asked for.

    Args:
        margin_m: metres; more than 4 radii is sent as 4 radii. radius: of an agent, metres.

    Returns:
        int32, 0 … 7.
    """
    wanted = np.maximum(np.asarray(margin_m, np.float64), 1e-12) / (radius * _MARGIN_UNIT)
    return np.clip(np.ceil(np.log2(wanted) - 1e-6), 0, 7).astype(np.int32)


def margin_m(code: ArrayLike, radius: float) -> NDArray[np.float32]:
    """Margins that codes stand for, metres."""
    return (radius * _MARGIN_UNIT * np.exp2(np.asarray(code, np.float64))).astype(np.float32)


def confidence_code(confidence: ArrayLike) -> Codes:
    """Nearest of sixteen levels in [0, 1]."""
    return np.clip(np.rint(np.asarray(confidence, np.float64) * _CONFIDENCE_TOP), 0, 15).astype(np.int32)


def confidence(code: ArrayLike) -> NDArray[np.float32]:
    """Confidence in [0, 1] that codes stand for."""
    return (np.asarray(code, np.float64) / _CONFIDENCE_TOP).astype(np.float32)


def bid_code(value: ArrayLike, top: float) -> Codes:
    """The greatest bid that is worth no more than a value: top · 2^−(254 − code) / 16.

    Rounding is monotone, so diminishing values give diminishing bids, and a bid is at most 4.4 % under its value.

    Args:
        value: of a site to a bidder. top: the greatest value that anybody can have for a site.

    Returns:
        int32, 1 … 254; 0 (no bid) for less than 2^−15.8 of ``top``, and for nothing.
    """
    share = np.maximum(np.asarray(value, np.float64), 0.0) / top
    code = np.floor(MAX_BID + _BIDS_PER_OCTAVE * np.log2(np.maximum(share, 1e-9)) + 1e-5)
    return np.clip(code, 0, MAX_BID).astype(np.int32)


def bid_value(code: ArrayLike, top: float) -> NDArray[np.float32]:
    """What bids stand for; 0 for no bid."""
    code = np.asarray(code, np.float64)
    return np.where(code > 0, top * np.exp2((code - MAX_BID) / _BIDS_PER_OCTAVE), 0.0).astype(np.float32)


def unwrap(low: ArrayLike, now: ArrayLike, bits: int = 8) -> NDArray[np.int64]:
    """The latest counter value not after ``now`` that ends in these low bits.

    Args:
        low: the bits that came over the air. now: the receiver's counter.
        bits: how many low bits were sent; right while the value is less than 2^bits old.
    """
    current = np.asarray(now, np.int64)
    return current - ((current - np.asarray(low, np.int64)) & ((1 << bits) - 1))
