"""Every packet is accounted for at every receiver, whatever the links do to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic import everyone, nobody

from agentsc.intent.fields import INTENT, STATE, STATUS
from agentsc.links import Draw, Effect, Hop, LinkModel
from agentsc.links.framing import overhead_bits
from agentsc.links.medium import Medium, Packets

PARTS = [
    "perfect",
    "erasure:p=0.2",
    "gilbert-elliott:p=0.2,r=0.3",
    "markov:matrix=0.9/0.1:0.5/0.5,loss=0.1/0.9",
    "delay:ms=30,jitter_ms=100",
    "pareto-delay:ms=20,cap_ms=400",
    "duplicate:p=0.5,ms=60",
    "bandwidth:kbps=0.4,queue=2",
    "bandwidth:kbps=0.6,queue=1,drop=head",
    "range:metres=0.5",
    "k-nearest:k=2",
]


@settings(max_examples=60)
@given(
    parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=5),
    seed=st.integers(0, 99),
    busy=st.sampled_from([0.2, 0.7, 1.0]),
)
def test_nothing_is_lost_from_the_books(parts: list[str], seed: int, busy: float) -> None:
    """Offered + duplicated = delivered + lost + in flight, lane by lane and round by round."""
    lanes, agents = 2, 5
    rng = np.random.default_rng(seed)
    medium = Medium("+".join(parts), seed, range(lanes), agents, 0.05)
    books, handed = medium.books, np.zeros(lanes, np.int64)
    for clock in range(40):
        found = medium.deliver(clock)
        handed += np.bincount(found.lane, minlength=lanes)
        lane, sender = (p.astype(np.int32) for p in np.nonzero(rng.random((lanes, agents)) < busy))
        packets = Packets(lane, sender, np.zeros((len(lane), 3), np.uint8), np.full(len(lane), 24, np.int32))
        medium.transmit(packets if clock < 25 else nobody(), clock, rng.random((lanes, agents, 2)))
        whole = books.offered + books.duplicated
        np.testing.assert_array_equal(whole, handed + books.lost + medium.in_flight)
        np.testing.assert_array_equal(books.delivered, handed)
    medium.deliver(2_000)
    assert not medium.in_flight.any()
    np.testing.assert_array_equal(books.offered, medium.packets.sum(1) * (agents - 1))
    np.testing.assert_array_equal(books.offered + books.duplicated, books.delivered + books.lost)
    assert sum(n for link in books.by_link for n in link.values()) == books.lost.sum()
    assert sum(count.sum() for count in books.by_reason.values()) == books.lost.sum()


@pytest.mark.parametrize(
    "link",
    [
        "delay:ms=0,jitter_ms=400",
        "relay:hops=4+delay:ms=60+duplicate:p=0.5,ms=90",
        "bandwidth:kbps=0.4,queue=9+relay:hops=3",
        "csma:kbps=2+babbler:bits=64+authentication",
    ],
)
def test_nothing_happens_in_a_lane_that_has_ended(link: str) -> None:
    """Its books stay as they are, and those of the others are not touched."""
    agents, columns = 4, []
    for lanes, ends in (([5, 6], True), ([5, 6], False), ([6], False)):
        medium = Medium(link, 1, lanes, agents, 0.05)
        for clock in range(60):
            found = medium.deliver(clock)
            assert not (ends and clock > 9) or (found.lane == 1).all()
            sent = everyone(len(lanes), agents, clock)
            live = (sent.lane == len(lanes) - 1) | (clock <= 9)
            if clock < 25:
                medium.transmit(Packets(*(column[live] for column in sent)), clock)
            if clock == 9 and ends:
                closed = {name: count[0] for name, count in medium.columns().items()}
                medium.retire(np.array([False, True]))
        columns.append(medium.columns())
    retired, both, alone = columns
    for name, count in retired.items():
        assert count[0] == closed[name], name
        assert count[1] == pytest.approx(both[name][1]) and count[1] == pytest.approx(alone[name][0]), name
    assert retired["in_flight"][0] > 0 and retired["delivered"][0] < both["delivered"][0]


def test_a_packet_lost_twice_is_counted_for_the_first_link() -> None:
    medium = Medium("erasure:p=0.5+gilbert-elliott:p=0.5,r=0.5+erasure:p=1", 1, [0], 24, 0.05)
    for clock in range(100):
        medium.transmit(everyone(1, 24), clock)
    shares = [sum(link.values()) / medium.books.offered.sum() for link in medium.books.by_link]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.01)
    assert medium.lost.sum() == medium.decisions.sum()
    assert set(medium.books.by_reason) == {"erasure", "burst"}


def test_a_reason_has_to_be_declared() -> None:
    class Rude(LinkModel):
        """Loses packets without a word."""

        def carry(self, hop: Hop, draw: Draw, state: np.ndarray | None) -> Effect:
            return Effect({"rudeness": np.ones(len(hop), bool)})

    with pytest.raises(ValueError, match="declare 'rudeness' in its reasons"):
        Medium([Rude()], 1, [0], 3, 0.05).transmit(everyone(1, 3), 0)


def test_columns_of_a_run_are_the_books() -> None:
    medium = Medium("bandwidth:kbps=2,queue=1+erasure:p=0.5", 1, [0, 1], 4, 0.05)
    for clock in range(20):
        medium.deliver(clock)
        medium.transmit(everyone(2, 4), clock)
    columns = medium.columns()
    assert set(columns) == {
        "delivered", "duplicated", "in_flight", "lost_queue", "lost_erasure", "airtime_s"
    }  # fmt: skip
    # 24 bits at 2 kbit/s are 12 ms, so every packet has left before the next one comes.
    np.testing.assert_allclose(columns["airtime_s"], 20 * 4 * 0.012)
    assert not columns["lost_queue"].any()


def test_header_and_checksum_are_told_from_payload() -> None:
    data = np.uint8([[INTENT << 4, 0, 0], [(INTENT | STATUS) << 4, 0, 0], [0, 0, STATE]])
    header, crc = overhead_bits(data)
    assert header.tolist() == [20, 20, 24] and crc.tolist() == [8, 16, 16]


def test_recordings_see_queue_losses_and_copies() -> None:
    medium = Medium("bandwidth:kbps=0.24,queue=1+duplicate:p=1", 1, [0, 1], 3, 0.05)
    lost = shown = 0
    for clock in range(30):
        medium.deliver(clock)
        medium.transmit(everyone(2, 3, clock), clock)
        log = medium.transmissions(1)
        assert (np.isnan(log.arrival_s) == log.lost).all()
        if not len(log.packet):  # everything waits
            continue
        assert (log.data[log.packet, 0] == 1).all() and (log.data[log.packet, 1] == log.sender).all()
        np.testing.assert_allclose(log.data[log.packet, 2] * 0.05, log.sent_s)
        lost += int(log.lost.sum())
        shown += len(log.packet)
    assert lost == medium.books.by_reason["queue"][1] > 0
    waiting = 2 * 3  # one packet of each agent, for two receivers
    in_the_air = medium.in_flight[1] - waiting
    assert shown - lost == medium.delivered[1] + in_the_air > lost
