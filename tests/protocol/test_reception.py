"""The gate in front of every protocol: what an agent can have said passes, everything else is refused and counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from air import ROUNDS, crowd, setup_of

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import INTENT, PLAN, STATE, STATUS, T0_PAST, TRAJECTORY
from agentsc.links.flight import Deliveries
from agentsc.protocol import PROTOCOLS, Block
from agentsc.protocol.reception import within_reach

AGENTS, POINTS, CLOCK = 3, 33, 40
SETUP = setup_of(crowd(1, AGENTS, 0))
SPEC = SETUP.spec
HEARERS = {"negotiated": PLAN, "full-trajectory": TRAJECTORY, "mader": TRAJECTORY, "orca": STATE}
"""Protocol → a section or kind that its packets have."""


def one(protocol: str) -> Message:
    """A packet of agent 1 that receiver 0 has no reason to doubt."""
    message = Message.blank(1, SPEC, 0, POINTS)
    message.id[:], message.clock[:] = 1, CLOCK - 1
    if protocol == "negotiated":
        message.sections[:] = INTENT | STATUS | PLAN
        message.plan[:, :2] = SPEC.lattice(np.zeros((1, 2), np.float32))
        message.t0_offset[:] = T0_PAST + 1
    else:
        message.kind[:] = HEARERS[protocol]
        message.position[:] = SPEC.lattice(np.zeros((1, 2), np.float32))
        message.waypoint_count[:] = POINTS if message.kind[0] == TRAJECTORY else 0
        message.waypoint_t0[:] = (CLOCK - 1) // ROUNDS + 1
    return message


def heard(message: Message, block: Block, receiver: int = 0) -> int:
    """How many deliveries a block refuses when it hears this once."""
    data, bits = encode(message, SPEC)
    none, number = np.zeros(1, np.int32), np.arange(1, dtype=np.int32)
    inbox = Deliveries(
        none, message.id.astype(np.int32), np.full(1, receiver, np.int32), none, np.zeros(1), number, data, bits,
        none, np.zeros(1, bool),
    )  # fmt: skip
    block.listen(inbox, CLOCK)
    return int(block.counters.invalid.sum())


def block(protocol: str) -> Block:
    return PROTOCOLS.create(protocol).block(SETUP, range(AGENTS))


@pytest.mark.parametrize("protocol", HEARERS)
def test_what_an_agent_may_say_passes(protocol: str) -> None:
    assert heard(one(protocol), block(protocol)) == 0


@pytest.mark.parametrize("protocol", HEARERS)
@pytest.mark.parametrize("name", [AGENTS, 200, 255])
def test_nobody_is_heard_who_is_not_on_the_roster(protocol: str, name: int) -> None:
    message = one(protocol)
    message.id[:] = name
    assert heard(message, block(protocol)) == 1


@pytest.mark.parametrize("protocol", HEARERS)
def test_nobody_hears_itself(protocol: str) -> None:
    assert heard(one(protocol), block(protocol), receiver=1) == 1


@pytest.mark.parametrize("protocol", HEARERS)
def test_nothing_was_sent_before_the_start(protocol: str) -> None:
    message = one(protocol)
    message.clock[:] = CLOCK + 1 if protocol != "negotiated" else (1 << 16) - 1
    assert heard(message, block(protocol)) == 1


def somewhere(value: float) -> Callable[[Message], None]:
    def change(message: Message) -> None:
        message.waypoints[0, 7, 1] = value

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 100.0, -100.0])
@pytest.mark.parametrize("protocol", ["full-trajectory", "mader"])
def test_way_points_are_numbers_near_the_world(protocol: str, value: float) -> None:
    message = one(protocol)
    somewhere(value)(message)
    listener = block(protocol)
    before = listener.knowledge.plans.path.copy()  # type: ignore[attr-defined]
    assert heard(message, listener) == 1
    np.testing.assert_array_equal(listener.knowledge.plans.path, before)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("ahead", "refused"), [(1, 0), (0, 0), (2, 1), (5000, 1)])
def test_a_trajectory_starts_no_later_than_the_protocol_plans_ahead(ahead: int, refused: int) -> None:
    message = one("full-trajectory")
    message.waypoint_t0[:] = (CLOCK - 1) // ROUNDS + ahead
    assert heard(message, block("full-trajectory")) == refused


@pytest.mark.parametrize(("offset", "refused"), [(T0_PAST + 24, 0), (T0_PAST + 25, 1), (T0_PAST - 19, 0), (0, 1)])
def test_a_proposal_starts_between_the_start_and_the_longest_lead(offset: int, refused: int) -> None:
    message = one("negotiated")
    message.t0_offset[:] = offset
    assert heard(message, block("negotiated")) == refused, "the tick of sending is 19"


@pytest.mark.parametrize("protocol", HEARERS)
@pytest.mark.parametrize("other", HEARERS)
def test_messages_of_other_protocols_are_refused(protocol: str, other: str) -> None:
    assert heard(one(other), block(protocol)) == int(HEARERS[protocol] != HEARERS[other])


def test_refusals_are_counted_per_receiver_in_lanes_that_still_run() -> None:
    setup = setup_of(crowd(2, AGENTS, 0))
    listener = PROTOCOLS.create("negotiated").block(setup, range(AGENTS))
    listener.active = np.array([True, False])
    lane = np.repeat(np.int32([0, 1]), 2)
    receiver = np.tile(np.int32([1, 2]), 2)
    none = np.zeros(4, np.int32)
    garbage, bits = np.full((1, 9), 0x5A, np.uint8), np.full(1, 72, np.int32)
    first = np.zeros(1, np.int32)
    inbox = Deliveries(lane, none, receiver, none, np.zeros(4), none, garbage, bits, first, first.astype(bool))
    listener.listen(inbox, CLOCK)
    assert listener.counters.invalid.tolist() == [2, 0]


def test_the_world_ends_where_a_plan_ends_that_starts_at_its_edge() -> None:
    reach = SPEC.v_max * SPEC.horizon_s
    x1, y1 = SPEC.bounds[2:]
    points = np.float32([[x1 + 0.99 * reach, 0], [x1 + 1.01 * reach, 0], [0, y1 + 1.01 * reach], [np.nan, 0]])
    assert within_reach(points, SPEC).tolist() == [True, False, False, False]
