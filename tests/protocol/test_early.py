"""Clocks that differ: who waits for what, and how much farther apart plans have to be."""

from __future__ import annotations

import numpy as np
import pytest
from air import ROUNDS, crowd, setup_of

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import INTENT, STATUS
from agentsc.links.flight import NONE, Deliveries
from agentsc.protocol import PROTOCOLS
from agentsc.protocol.early import Early, rounds_ahead, widened
from envs.errors import ConfigError

SETUP = setup_of(crowd(1, 4, 0))


def packets(*stamps: int, sections: int = INTENT | STATUS) -> Deliveries:
    """One packet of agent 1 to agent 0 per stamp."""
    count = len(stamps)
    message = Message.blank(count, SETUP.spec)
    message.sections[:], message.id[:], message.clock[:] = sections, 1, stamps
    data, bits = encode(message, SETUP.spec)
    none, number = np.zeros(count, np.int32), np.arange(count, dtype=np.int32)
    return Deliveries(none, none + 1, none, none, np.zeros(count), number, data, bits, none, np.zeros(count, bool))


@pytest.mark.parametrize("sections", [INTENT, INTENT | STATUS])
def test_a_packet_is_looked_at_when_its_round_has_come(sections: int) -> None:
    early = Early(SETUP.spec, 3)
    arrives = {7: packets(7, 8, 10, sections=sections)}
    handed = [len(early.due(arrives.get(clock, NONE), clock)) for clock in range(6, 13)]
    assert handed == [0, 1, 1, 0, 1, 0, 0]


def test_packets_wait_for_each_receiver_and_keep_their_bytes() -> None:
    early = Early(SETUP.spec, 5)
    assert len(early.due(packets(12, 14), 10)) == 0
    now = early.due(packets(11, 13, 15), 13)
    assert len(now) == 3
    stamps = {tuple(now.payload[k]) for k in now.packet}
    assert stamps == {tuple(row) for row in packets(12, 11, 13).payload}
    assert len(early.due(NONE, 14)) == len(early.due(NONE, 15)) == 1


def test_what_claims_to_come_from_further_ahead_is_refused() -> None:
    variant = PROTOCOLS.create("negotiated", clock_skew_s=2 * SETUP.world.dt / ROUNDS)
    block = variant.block(SETUP, range(4))
    block.listen(packets(12, 13), 10)
    assert block.counters.invalid.sum() == 1, "13 is three rounds ahead"
    heard = block.knowledge.clock[0, 1]  # type: ignore[attr-defined]
    assert heard == -1
    block.listen(NONE, 12)
    assert block.knowledge.clock[0, 1] == 12  # type: ignore[attr-defined]


def test_vehicles_that_follow_widened_plans_by_different_clocks_keep_the_distance() -> None:
    """Two that pass each other at full speed: the bound is met, and nothing less would do."""
    distance, skew, v = 0.1, 0.2, 0.64
    apart = widened(distance, skew, v)
    late = np.linspace(-skew, skew, 41)[:, None]
    t = np.linspace(-2.0, 2.0, 4001)
    # One follows the other on one line: at equal times exactly `apart` behind it.
    gap = np.abs(v * (t + late) - (v * t - apart)).min(1)
    assert gap.min() >= distance and gap.min() < distance + 0.01 * skew * v


def test_skew_counts_in_whole_rounds_and_has_an_end() -> None:
    assert [rounds_ahead(s, 0.04) for s in (0.0, 0.01, 0.04, 0.041)] == [0, 1, 1, 2]
    with pytest.raises(ConfigError, match="clock_skew_s must be at most 5.08"):
        rounds_ahead(6.0, 0.04)


def test_no_skew_changes_nothing() -> None:
    block = PROTOCOLS.create("negotiated").block(SETUP, range(4))
    assert block.distance == SETUP.world.separation + 0.1 * SETUP.world.radius  # type: ignore[attr-defined]
    assert block._early is None  # type: ignore[attr-defined]
