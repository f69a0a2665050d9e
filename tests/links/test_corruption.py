"""Bits that arrive wrong, and what the checksum makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from test_hostile import proposals

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import INTENT
from agentsc.intent.plan import PlanSpec
from agentsc.links.bitwise import cut
from agentsc.links.corruption import corrupt
from agentsc.links.framing import intact, with_checksum
from agentsc.links.medium import Medium, Packets
from envs.keyed import hash_words


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5, 0.97, 1.0])
def test_bits_flip_at_their_rate_wherever_they_are(rate: float) -> None:
    count, bits = 20_000, 77
    packet, data = np.zeros(count, np.int32), np.full((1, 11), 0xA5, np.uint8)
    rows, wrong = corrupt(
        hash_words(3, np.arange(count)), np.full(count, rate), data, packet, np.array([bits], np.int32)
    )
    flips = np.zeros((count, 88), np.uint8)
    flips[rows] = np.unpackbits(wrong ^ data[0], axis=1)
    assert not flips[:, bits:].any() and flips[rows].any(1).all()
    low, high = stats.binom.interval(1 - 1e-7, count, rate)
    each = flips[:, :bits].sum(0)
    assert (each >= low).all() and (each <= high).all()
    # Independent: the number of wrong bits in a packet is binomial, in mean and variance.
    total = flips.sum(1)
    assert total.mean() == pytest.approx(bits * rate, abs=6 * np.sqrt(bits * rate / count) + 1e-9)
    assert total.var() == pytest.approx(bits * rate * (1 - rate), rel=0.08, abs=1e-9)


def test_nothing_flips_at_rate_zero() -> None:
    rows, wrong = corrupt(
        hash_words(3, np.arange(9)), np.zeros(9), np.ones((9, 4), np.uint8), np.arange(9, dtype=np.int32),
        np.full(9, 32, np.int32),
    )  # fmt: skip
    assert len(rows) == 0 and wrong.shape == (0, 4)


def test_checksums_hold_on_what_the_codec_makes_and_on_nothing_else() -> None:
    packets = proposals(3, 5, 9)
    assert intact(packets.data, packets.bits).all()
    for bit in range(int(packets.bits[0])):
        wrong = packets.data.copy()
        wrong[:, bit // 8] ^= 0x80 >> bit % 8
        assert not intact(wrong, packets.bits).any()
    assert not intact(packets.data, packets.bits - 1).any()
    assert not intact(packets.data, np.full(len(packets.bits), 7)).any()
    again, bits = with_checksum(cut(packets.data, np.full(15, 60)), np.full(15, 60))
    assert intact(again, bits).all()


def tokens(lanes: int, agents: int) -> Packets:
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((lanes, agents)))
    spec = PlanSpec((0.0, 0.0, 1.0, 1.0), 1.0, 0.1)
    message = Message.blank(len(lane), spec)
    message.sections[:], message.id[:] = INTENT, sender
    data, bits = encode(message, spec)
    return Packets(lane, sender, data, bits)


def test_books_of_wrong_bits() -> None:
    """Loss 1 − (1 − p)^L less what the checksum misses, which is delivered and counted; copies fare on their own."""
    lanes, agents, p = 300, 6, 0.08
    medium = Medium(f"duplicate:p=0.5+bit-errors:p={p}", 5, range(lanes), agents, 0.05)
    packets = tokens(lanes, agents)
    sound = 0
    for clock in range(26):
        found = medium.deliver(clock)
        if len(found):
            sound += int((found.data == packets.data[found.sender]).all(1).sum())
        if clock < 25:
            medium.transmit(packets, clock)
    books = medium.books
    assert (books.whole == medium.delivered + medium.lost + medium.in_flight).all()
    wrong = books.by_reason["crc"] + books.undetected
    share = wrong / books.whole
    assert abs(share.mean() - (1 - (1 - p) ** 72)) < 4.5 * share.std() / np.sqrt(lanes)
    # With so many wrong bits nearly 2^-8 of all slip through; all others that arrive are as they were sent.
    most = stats.binom.isf(1e-6, int(wrong.sum()), 2.0**-8)
    assert 0.5 * most < books.undetected.sum() <= most
    assert medium.delivered.sum() == sound + books.undetected.sum()


def test_what_goes_wrong_in_a_lane_does_not_depend_on_the_lanes_beside_it() -> None:
    logs = []
    for episodes in ([7], [1, 7, 8]):
        medium = Medium("bit-errors:p=0.01", 5, episodes, 5, 0.05)
        mine, log = episodes.index(7), []
        for clock in range(20):
            found = medium.deliver(clock)
            log.append(found.data[found.lane == mine].tolist())
            medium.transmit(tokens(len(episodes), 5), clock)
        logs.append(log)
    assert logs[0] == logs[1]
