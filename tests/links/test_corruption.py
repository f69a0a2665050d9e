"""Bits that arrive wrong: as many as said, one by one, and what a checksum makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from test_hostile import proposals

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import INTENT, PLAN, STATUS
from agentsc.intent.plan import PlanSpec
from agentsc.links.bitwise import cut
from agentsc.links.corruption import corrupt
from agentsc.links.framing import intact, with_checksum
from agentsc.links.medium import Medium, Packets
from envs.keyed import hash_words

SPEC = PlanSpec((0.0, 0.0, 32.0, 32.0), 1.0, 0.25)
LEAST = 1e-6
"""p-value under which a count is not what it should be; all draws are keyed, so never flaky."""


def keys(count: int) -> NDArray[np.uint64]:
    return hash_words(7, np.arange(count))


def wrong_bits(rate: float, rows: int, bits: int) -> NDArray[np.bool_]:
    """bool [rows, bits], from data of zeros."""
    data = np.zeros((1, -(-bits // 8)), np.uint8)
    packet = np.zeros(rows, np.int32)
    changed, found = corrupt(keys(rows), np.full(rows, rate), data, packet, np.array([bits], np.int32))
    wrong = np.zeros((rows, bits), bool)
    everything = np.unpackbits(found, axis=1)
    assert not everything[:, bits:].any(), "behind the last bit there is nothing to go wrong"
    assert everything.any(1).all(), "only rows that changed are returned"
    wrong[changed] = everything[:, :bits]
    return wrong


def packets(lanes: int, agents: int, sections: int = INTENT) -> Packets:
    """A real packet of every agent."""
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((lanes, agents)))
    message = Message.blank(len(lane), SPEC)
    message.sections[:], message.id[:] = sections, sender
    return Packets(lane, sender, *encode(message, SPEC))


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("bits", [72, 13])
def test_as_many_bits_are_wrong_as_said(rate: float, bits: int) -> None:
    wrong = wrong_bits(rate, 20_000, bits)
    assert wrong.size >= 1e5
    assert stats.binomtest(int(wrong.sum()), wrong.size, rate).pvalue > LEAST
    places = wrong.sum(0)
    expected = np.full(bits, rate * len(wrong))
    chi = ((places - expected) ** 2 / (expected * (1 - rate))).sum()
    assert stats.chi2.sf(chi, bits) > LEAST, "at every place alike"


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_gaps_between_wrong_bits_are_geometric(rate: float) -> None:
    row, at = np.nonzero(wrong_bits(rate, 500, 4000))
    gaps = np.diff(at)[np.diff(row) == 0]
    longest = int(np.log(0.001) / np.log1p(-rate))
    counts = np.bincount(np.minimum(gaps, longest + 1), minlength=longest + 2)[1:]
    law = rate * (1 - rate) ** np.arange(longest)
    law = np.append(law, 1 - law.sum())
    # A row ends; that cuts long gaps, by less than one in a thousand here.
    assert len(gaps) > 3e4
    assert stats.chisquare(counts, law * counts.sum()).pvalue > LEAST


def test_none_and_all_bits_wrong() -> None:
    assert not wrong_bits(0.0, 100, 33).any()
    assert wrong_bits(1.0, 100, 33).all()


def test_rows_have_rates_and_packets_of_their_own() -> None:
    data, bits = np.array([[0xFF, 0x00], [0x0F, 0xF0]], np.uint8), np.array([16, 12], np.int32)
    rows, found = corrupt(keys(4), np.array([0.0, 1.0, 0.0, 1.0]), data, np.int32([0, 0, 1, 1]), bits)
    assert rows.tolist() == [1, 3]
    assert found.tolist() == [[0x00, 0xFF], [0xF0, 0x00]], "the last four bits of the second are not sent"
    assert data.tolist() == [[0xFF, 0x00], [0x0F, 0xF0]]


@pytest.mark.parametrize(("sections", "width"), [(INTENT, 8), (INTENT | STATUS | PLAN, 16)])
def test_a_checksum_misses_as_rarely_as_it_must(sections: int, width: int) -> None:
    """Every bit behind the sections wrong or not by the toss of a coin."""
    one = packets(1, 1, sections)
    rounds, passed, total = 8 if width == 8 else 40, 0, 0
    rng = np.random.default_rng(3)
    for _ in range(rounds):
        data = rng.integers(0, 256, (50_000, one.data.shape[1]), np.uint8)
        data[:, 0] = (one.data[0, 0] & 0xF0) | (data[:, 0] & 0x0F)
        passed += int(intact(data, np.full(len(data), one.bits[0])).sum())
        total += len(data)
    assert stats.binomtest(passed, total, 2.0**-width).pvalue > LEAST


@pytest.mark.parametrize("p", [0.0005, 0.005])
def test_packets_are_lost_as_the_closed_form_says_and_the_books_balance(p: float) -> None:
    lanes, agents = 40, 16
    medium = Medium(f"bit-errors:p={p}", 3, range(lanes), agents, 0.05)
    sent = packets(lanes, agents)
    for clock in range(12):
        medium.deliver(clock)
        medium.transmit(sent, clock)
        books = medium.books
        np.testing.assert_array_equal(books.whole, books.delivered + books.lost + medium.in_flight)
    n, total = int(sent.bits[0]), int(books.offered.sum())
    assert total >= 1e5 and set(books.by_reason) == {"crc"}
    hit = 1 - (1 - p) ** n
    # What is hit is lost or undetected.
    assert stats.binomtest(int(books.lost.sum() + books.undetected.sum()), total, hit).pvalue > LEAST
    assert books.undetected.sum() <= 0.01 * books.lost.sum()


def test_at_worst_the_checksum_is_a_lottery_and_the_undetected_are_delivered() -> None:
    lanes, agents = 64, 16
    medium = Medium("bit-errors:p=0.5", 4, range(lanes), agents, 0.05)
    sent, wrong = packets(lanes, agents), 0
    for clock in range(40):
        inbox = medium.deliver(clock)
        assert intact(inbox.payload, inbox.payload_bits).all(), "nothing arrives whose checksum does not hold"
        wrong += len(inbox)
        medium.transmit(sent, clock)
    wrong += len(medium.deliver(40))
    books = medium.books
    # A packet's first four bits say which checksum it has: one in sixteen has eight bits.
    expected = (2.0**-8 + 15 * 2.0**-16) / 16
    assert wrong == books.delivered.sum() == books.undetected.sum() > 100
    assert stats.binomtest(wrong, int(books.offered.sum()), expected).pvalue > LEAST


def test_a_packet_and_its_copy_go_wrong_on_their_own() -> None:
    lanes, agents, p = 30, 12, 0.005
    medium = Medium(f"duplicate:p=1+bit-errors:p={p}", 5, range(lanes), agents, 0.05)
    sent, counts, others = packets(lanes, agents), np.zeros(3, np.int64), ~np.eye(agents, dtype=bool)
    for clock in range(10):
        medium.transmit(sent, clock)
        inbox = medium.deliver(clock + 1)
        arrived = np.zeros((lanes, agents, agents), np.int64)
        np.add.at(arrived, (inbox.lane, inbox.sender, inbox.receiver), 1)
        counts += np.bincount(arrived[:, others].ravel(), minlength=3)
    whole = (1 - p) ** int(sent.bits[0])
    law = stats.binom.pmf([0, 1, 2], 2, whole)
    assert counts.sum() == lanes * agents * (agents - 1) * 10
    assert stats.chisquare(counts, law * counts.sum()).pvalue > LEAST


def test_lanes_do_not_touch_each_other() -> None:
    agents = 8

    def arrived(episodes: list[int], of: int) -> list[list[tuple]]:
        medium = Medium("bit-errors:p=0.01", 6, episodes, agents, 0.05)
        found = []
        for clock in range(20):
            medium.transmit(packets(len(episodes), agents), clock)
            inbox = medium.deliver(clock + 1)
            mine = inbox.lane == of
            rows = zip(inbox.sender[mine], inbox.receiver[mine], inbox.data[mine], strict=True)
            found.append([(int(s), int(r), bytes(d)) for s, r, d in rows])
        return found

    alone = arrived([9], 0)
    assert alone == arrived([3, 9, 1], 1)
    assert alone != arrived([3, 9, 1], 2)


def test_two_noisy_links_are_one_that_is_noisier() -> None:
    """Wrong twice is right: p + q − 2 p q."""
    lanes, agents = 40, 16
    medium = Medium("bit-errors:p=0.004+bit-errors:p=0.01", 8, range(lanes), agents, 0.05)
    sent = packets(lanes, agents)
    for clock in range(11):
        medium.transmit(sent, clock)
    books, p = medium.books, 0.004 + 0.01 - 2 * 0.004 * 0.01
    gone = int(books.lost.sum() + books.undetected.sum())
    assert stats.binomtest(gone, int(books.offered.sum()), 1 - (1 - p) ** int(sent.bits[0])).pvalue > LEAST


def test_checksums_hold_on_what_the_codec_makes_and_on_nothing_else() -> None:
    made = proposals(3, 5, 9)
    assert intact(made.data, made.bits).all()
    for bit in range(int(made.bits[0])):
        wrong = made.data.copy()
        wrong[:, bit // 8] ^= 0x80 >> bit % 8
        assert not intact(wrong, made.bits).any()
    assert not intact(made.data, made.bits - 1).any()
    assert not intact(made.data, np.full(len(made.bits), 7)).any()
    again, bits = with_checksum(cut(made.data, np.full(15, 60)), np.full(15, 60))
    assert intact(again, bits).all()


def test_books_of_wrong_bits() -> None:
    """Loss 1 − (1 − p)^L less what the checksum misses, which is delivered and counted; copies fare on their own."""
    lanes, agents, p = 300, 6, 0.08
    medium = Medium(f"duplicate:p=0.5+bit-errors:p={p}", 5, range(lanes), agents, 0.05)
    sent = packets(lanes, agents)
    sound = 0
    for clock in range(26):
        found = medium.deliver(clock)
        if len(found):
            sound += int((found.data == sent.data[found.sender]).all(1).sum())
        if clock < 25:
            medium.transmit(sent, clock)
    books = medium.books
    assert (books.whole == medium.delivered + medium.lost + medium.in_flight).all()
    wrong = books.by_reason["crc"] + books.undetected
    share = wrong / books.whole
    assert abs(share.mean() - (1 - (1 - p) ** 72)) < 4.5 * share.std() / np.sqrt(lanes)
    # With so many wrong bits nearly 2^-8 of all slip through; all others that arrive are as they were sent.
    most = stats.binom.isf(1e-6, int(wrong.sum()), 2.0**-8)
    assert 0.5 * most < books.undetected.sum() <= most
    assert medium.delivered.sum() == sound + books.undetected.sum()
