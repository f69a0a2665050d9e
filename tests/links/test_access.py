"""Access to a shared medium: who is on the air when, whom that disturbs, and that nothing is lost from the books."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic import broadcast, everyone, nobody

from agentsc.links import parse_link
from agentsc.links import uniform as of_bits
from agentsc.links.access import fates, neighbours, overlaps
from agentsc.links.access.stage import AccessStage
from agentsc.links.hop import Hop, Surroundings
from agentsc.links.medium import Medium, Packets
from agentsc.links.packets import Held, join
from agentsc.links.parts import Air, Site
from agentsc.links.reach import everyone as all_pairs
from envs.errors import ConfigError
from envs.keyed import hash_words, uniform

ROUND_S = 0.05
ACCESS = [
    "half-duplex:kbps=3,jitter_ms=20",
    "half-duplex:kbps=0.5,jitter_ms=60,queue=1,drop=head,metres=0.5",
    "pure-aloha:kbps=2",
    "pure-aloha:kbps=1,window_ms=130,queue=1,half_duplex=false",
    "slotted-aloha:kbps=3,slot_ms=10",
    "slotted-aloha:kbps=1.5,slot_ms=10,slots=20,queue=2,drop=head,metres=0.6",
    "csma:kbps=3,jitter_ms=10",
    "csma:kbps=0.8,queue=2,metres=0.6,sense_m=0.4,jitter_ms=5",
    "csma:kbps=0.8,queue=1,drop=head,cw=3,slot_us=900",
    "tdma:kbps=4",
    "tdma:kbps=1,slot_ms=10,slots=3,guard_us=500,queue=2,drop=head",
]
OTHERS = [
    "erasure:p=0.2",
    "range:metres=0.6",
    "duplicate:p=0.5,ms=60",
    "delay:ms=30,jitter_ms=100",
    "bandwidth:kbps=0.7,queue=2",
    "bandwidth:kbps=0.6,queue=1,drop=head",
    "babbler:bits=64",
    "relay:hops=2",
    "authentication",
]


def chatter(rng: np.random.Generator, lanes: int, agents: int, busy: float) -> Packets:
    """Packets of different lengths from a random part of the fleet."""
    lane, sender = (part.astype(np.int32) for part in np.nonzero(rng.random((lanes, agents)) < busy))
    bits = rng.integers(24, 72, len(lane)).astype(np.int32)
    return Packets(lane, sender, np.zeros((len(lane), 9), np.uint8), bits)


# ---- the books -----------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    access=st.sampled_from(ACCESS),
    before=st.lists(st.sampled_from(OTHERS), max_size=2, unique=True),
    behind=st.lists(st.sampled_from(OTHERS), max_size=2, unique=True),
    seed=st.integers(0, 99),
    busy=st.sampled_from([0.2, 0.7, 1.0]),
)
def test_nothing_is_lost_from_the_books(
    access: str, before: list[str], behind: list[str], seed: int, busy: float
) -> None:
    lanes, agents = 2, 5
    rng = np.random.default_rng(seed)
    parts = dict.fromkeys([*before, access, *behind])  # a relay or a tag may be named once
    medium = Medium("+".join(parts), seed, range(lanes), agents, ROUND_S)
    books, handed = medium.books, np.zeros(lanes, np.int64)
    for clock in range(60):
        if clock % 7 != 3:  # sometimes nobody fetches
            handed += np.bincount(medium.deliver(clock).lane, minlength=lanes)
        packets = chatter(rng, lanes, agents, busy) if clock < 20 else nobody()
        medium.transmit(packets, clock, rng.random((lanes, agents, 2)))
        np.testing.assert_array_equal(books.whole, handed + books.lost + medium.in_flight)
    if not any(link.stations for link in medium.links):
        medium.deliver(3_000)
        medium.transmit(nobody(), 3_001, rng.random((lanes, agents, 2)))  # what relays still have
        medium.deliver(6_000)
        medium.transmit(nobody(), 6_001, rng.random((lanes, agents, 2)))
        medium.deliver(9_000)
        assert not medium.in_flight.any()
        np.testing.assert_array_equal(books.whole, books.delivered + books.lost)


def outcome(link: str, episodes: list[int]) -> tuple[list, list]:
    """What each lane's agents receive, and each lane's losses."""
    medium = Medium(link, 7, episodes, 5, ROUND_S)
    heard: list[list] = [[] for _ in episodes]
    for clock in range(40):
        found = medium.deliver(clock)
        for lane in range(len(episodes)):
            mine = found.lane == lane
            heard[lane] += zip(
                found.sender[mine], found.receiver[mine], found.sent_clock[mine], found.arrival_s[mine], strict=True
            )
        speaks = uniform(9, np.reshape(episodes, (-1, 1)), clock, np.arange(5)) < 0.6
        lane, sender = np.nonzero(speaks)
        spots = uniform(np.reshape(episodes, (-1, 1, 1)), clock, np.arange(5)[:, None], np.arange(2))
        medium.transmit(broadcast(lane, sender, clock) if clock < 25 else nobody(), clock, spots)
    return heard, [
        {reason: int(count[lane]) for reason, count in medium.books.by_reason.items()} for lane in range(len(episodes))
    ]


@pytest.mark.parametrize("link", [*ACCESS, *(f"bandwidth:kbps=0.7+{link}" for link in ACCESS[6:9])])
def test_a_lane_fares_the_same_alone_and_beside_others(link: str) -> None:
    heard, lost = outcome(link, [4, 9, 2])
    assert all(heard) and (any(map(any, map(dict.values, lost))) or link == "tdma:kbps=4")
    for lane, episode in enumerate([4, 9, 2]):
        alone, gone = outcome(link, [episode])
        assert heard[lane] == alone[0] and lost[lane] == gone[0]


# ---- when radios send ----------------------------------------------------------------------------


def offered(clock: int, lanes: int, agents: int, rng: np.random.Generator) -> Held:
    """Packets of a random part of the fleet, at times within a round."""
    packets = chatter(rng, lanes, agents, 0.7)
    count = len(packets.lane)
    at = (clock + rng.random(count)) * ROUND_S
    return Held.new(packets.lane, packets.sender, np.full(count, clock, np.int32), packets.data, packets.bits, at)


def stage_of(link: str, seed: int) -> AccessStage:
    """The stage of two lanes with five radios."""
    stage = parse_link(link)[0].stage(Site(2, 5, 5, hash_words(seed, np.arange(2)), ROUND_S))
    assert isinstance(stage, AccessStage)
    return stage


def packet_names(packets: Held) -> list[tuple]:
    return list(zip(packets.lane.tolist(), packets.sender.tolist(), packets.clock.tolist(), strict=True))


def on_the_air(link: str, seed: int, steps: int) -> tuple[Held, Held]:
    """What a stage was offered, and what it sent; without a ``queue``, there are places for everything.

    Args:
        steps: how often a round the stage is asked.
    """
    stage = stage_of(link if "queue" in link else f"{link},queue=4096", seed)
    rng, given, sent = np.random.default_rng(seed), [], []
    spots = rng.random((2, 5, 2))
    for clock in range(60):
        for step in range(steps):
            sent += stage.advance((clock + step / steps) * ROUND_S)
            if step == 0 and clock < 20:
                stage.see(Surroundings(5, spots))
                given.append(offered(clock, 2, 5, rng))
                sent += stage.offer(given[-1])[0]
    sent += stage.advance(1e4)
    assert stage.waiting is None
    return join(given), join(sent)


@settings(max_examples=40)
@given(link=st.sampled_from(ACCESS), seed=st.integers(0, 99))
def test_a_radio_sends_its_packets_one_after_the_other_and_in_their_order(link: str, seed: int) -> None:
    came, sent = on_the_air(link, seed, 1)
    if "queue" not in link:
        assert len(sent.lane) == len(came.lane)
    at_s = dict(zip(packet_names(came), came.at_s, strict=True))
    names = packet_names(sent)
    assert len(set(names)) == len(names)
    assert all(start >= at_s[name] - 1e-9 for name, start in zip(names, sent.start_s, strict=True))
    rate = parse_link(link)[0].rate_bps  # type: ignore[attr-defined]
    assert (sent.at_s - sent.start_s >= sent.bits / rate - 1e-9).all()
    mine = sent.take(np.lexsort((sent.clock, sent.sender, sent.lane)))
    same = (np.diff(mine.lane) == 0) & (np.diff(mine.sender) == 0)
    assert (mine.start_s[1:] >= mine.at_s[:-1] - 1e-9)[same].all()


@settings(max_examples=40)
@given(link=st.sampled_from(ACCESS), seed=st.integers(0, 99), steps=st.integers(2, 5))
def test_when_a_stage_is_asked_does_not_change_what_it_does(link: str, seed: int, steps: int) -> None:
    if link.startswith("csma"):  # what finds a place may depend on it, as documented
        link = re.sub(",queue=[0-9]+", "", link)
    one, other = (on_the_air(link, seed, count)[1] for count in (1, steps))
    assert len(one.lane)
    order = [np.lexsort((packets.clock, packets.sender, packets.lane)) for packets in (one, other)]
    for column in ("lane", "sender", "clock", "start_s", "at_s"):
        first, second = (getattr(p, column)[o] for p, o in zip((one, other), order, strict=True))
        np.testing.assert_array_equal(first, second)


@settings(max_examples=30)
@given(seed=st.integers(0, 999), sense=st.sampled_from([None, 0.5]), slot_us=st.sampled_from([100, 3000]))
def test_radios_that_sense_each_other_wait(seed: int, sense: float | None, slot_us: int) -> None:
    """Two that overlap began less than a slot apart; whoever waited began DIFS after the last, at the earliest."""
    difs = 700e-6
    text = f"csma:kbps=2,difs_us=700,cw=3,slot_us={slot_us}"
    _, sent = on_the_air(text if sense is None else f"{text},sense_m={sense}", seed, 1)
    rng = np.random.default_rng(seed)
    spots = rng.random((2, 5, 2))
    for lane in range(2):
        mine = sent.take(sent.lane == lane)
        begin, end = mine.start_s, mine.at_s
        gap = np.linalg.norm(spots[lane][mine.sender][:, None] - spots[lane][mine.sender][None], axis=-1)
        senses = (gap <= (np.inf if sense is None else sense)) & (mine.sender[:, None] != mine.sender[None])
        later = senses & (begin[None] >= begin[:, None])  # [first, second]
        too_late = begin[None] - begin[:, None] < slot_us * 1e-6 - 1e-9
        waits = begin[None] >= end[:, None] + difs - 1e-9
        assert (too_late | waits)[later].all()
        assert waits[later].any()


def test_time_division_sends_in_pieces_that_disturb_nobody() -> None:
    """Slots of 10 ms, 1 ms of them guard; 24 bits at 1 kbit/s are 24 ms: two slots of 9 ms and 6 ms of a third."""
    medium = Medium("tdma:kbps=1,slot_ms=10,guard_us=1000", 1, [0], 3, 0.5)
    medium.transmit(everyone(1, 3), 0)
    found = medium.deliver(1)
    arrival = {int(s): a for s, a in zip(found.sender, found.arrival_s, strict=True)}
    assert arrival == pytest.approx({i: 0.01 * i + 2 * 0.03 + 0.006 for i in range(3)})
    assert len(found) == 6 and not medium.lost.any()
    np.testing.assert_allclose(medium.airtime_s, 0.024)


def waits_of(link: str, speaks: int, rounds: int) -> list[tuple[int, float]]:
    """(round of sending, seconds to arrival) of agent 0's packets."""
    medium, found = Medium(link, 1, [0], 2, ROUND_S), []
    for clock in range(rounds):
        inbox = medium.deliver(clock)
        wait = (inbox.arrival_s - inbox.sent_clock * ROUND_S).round(9)
        found += zip(inbox.sent_clock.tolist(), wait.tolist(), strict=True)
        medium.transmit(broadcast([0], [0], clock) if clock < speaks else nobody(), clock)
    return found


@pytest.mark.parametrize("drop", ["tail", "head"])
def test_a_full_queue_drops_as_that_of_bandwidth(drop: str) -> None:
    """A half-duplex radio without jitter, alone, is a queue; 100 ms a packet, one every 50 ms."""
    found = waits_of(f"half-duplex:kbps=0.24,queue=2,drop={drop}", 8, 40)
    assert found == waits_of(f"bandwidth:kbps=0.24,queue=2,drop={drop}", 8, 40)
    assert len(found) == 6


def test_a_radio_that_senses_drops_at_head_or_tail() -> None:
    """100 ms a packet, two may wait beside the one that contends; DIFS and back-off are next to nothing."""
    link = "csma:kbps=0.24,queue=2,cw=0,difs_us=1,slot_us=1"
    tail, head = (waits_of(f"{link},drop={drop}", 30, 90) for drop in ("tail", "head"))
    assert abs(len(tail) - len(head)) <= 1 and len(head) < 22
    # Fresher at the head; the newest packet of all is sent only there.
    assert np.mean([wait for _, wait in head]) < np.mean([wait for _, wait in tail])
    assert head[-1][0] == 29


@settings(max_examples=30)
@given(seed=st.integers(0, 999), queue=st.integers(1, 3))
def test_what_takes_the_place_of_a_dropped_packet_waits_on_its_own(seed: int, queue: int) -> None:
    """No packet begins before its own jitter and DIFS are over, whatever was dropped before it."""
    link = f"csma:kbps=0.8,queue={queue},drop=head,jitter_ms=70,cw=7,slot_us=5000,difs_us=2000"
    came, sent = on_the_air(link, seed, 1)
    assert len(sent.lane) < len(came.lane)
    keys = stage_of(link, seed).keys(sent)
    at_s = dict(zip(packet_names(came), came.at_s, strict=True))
    offer = np.array([at_s[name] for name in packet_names(sent)])
    own = 0.07 * of_bits(hash_words(keys, 1)) + 0.002
    assert (sent.start_s >= offer + own - 1e-9).all()


# ---- whom that disturbs --------------------------------------------------------------------------


def test_two_that_send_at_once_are_deaf_and_others_hear_neither() -> None:
    medium = Medium("half-duplex:kbps=10", 1, [0], 4, ROUND_S)
    medium.transmit(broadcast([0, 0], [0, 1]), 0)
    assert not len(medium.deliver(1))
    assert {k: int(v.sum()) for k, v in medium.books.by_reason.items()} == {
        "queue": 0, "half-duplex": 2, "collision": 4,
    }  # fmt: skip
    medium = Medium("half-duplex:kbps=10,half_duplex=false", 1, [0], 4, ROUND_S)
    medium.transmit(broadcast([0, 0], [0, 1]), 0)
    assert len(medium.deliver(1)) == 2 and medium.books.by_reason["collision"].sum() == 4


def test_those_far_apart_do_not_disturb_each_other() -> None:
    places = np.array([[[0.0, 0], [1, 0], [50, 0], [51, 0]]])
    medium = Medium("range:metres=5+half-duplex:kbps=10,metres=5", 1, [0], 4, ROUND_S)
    medium.transmit(broadcast([0, 0], [0, 2]), 0, places)
    found = medium.deliver(1)
    assert sorted(zip(found.sender, found.receiver, strict=True)) == [(0, 1), (2, 3)]


def test_a_radio_link_weighs_interference_itself() -> None:
    places = np.array([[[0.0, 0], [1, 0], [2, 0]]])
    medium = Medium("awgn:tx_dbm=20,carrier_ghz=2.4,bandwidth_khz=1000+half-duplex", 1, [0], 3, ROUND_S)
    medium.transmit(broadcast([0, 0], [0, 2]), 0, places)
    medium.deliver(1)
    assert not medium.books.by_reason["collision"].any()
    assert medium.books.by_reason["half-duplex"].sum() == 2


def test_queues_come_before_access_wherever_they_stand() -> None:
    outcomes = []
    for link in ("bandwidth:kbps=2+tdma:kbps=8", "tdma:kbps=8+bandwidth:kbps=2"):
        medium, found = Medium(link, 1, [0], 4, ROUND_S), []
        for clock in range(12):
            inbox = medium.deliver(clock)
            found += zip(inbox.sender, inbox.receiver, inbox.sent_clock, inbox.arrival_s, strict=True)
            medium.transmit(everyone(1, 4, clock) if clock < 8 else nobody(), clock)
        outcomes.append(found)
    assert outcomes[0] == outcomes[1] and len(outcomes[0]) == 8 * 12


def random_air(seed: int, agents: int, count: int, channels: int) -> tuple[Held, Air, np.ndarray]:
    """Transmissions of two lanes, nobody's overlapping its own, and where everybody is."""
    rng = np.random.default_rng(seed)
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((2, agents)))
    lane, sender = np.repeat(lane, count), np.repeat(sender, count)
    start = np.tile(np.arange(count) * 1.0, 2 * agents) + rng.integers(0, 8, len(lane)) / 16
    end = start + rng.integers(1, 8, len(lane)) / 16
    kept = rng.random(len(lane)) < 0.8
    lane, sender, start, end = lane[kept], sender[kept], start[kept], end[kept]
    order = np.lexsort((start, lane))
    lane, sender, start, end = lane[order], sender[order], start[order], end[order]
    zero, data = np.zeros(len(lane), np.int32), np.zeros((len(lane), 1), np.uint8)
    held = Held.new(lane, sender, zero, data, zero, end)._replace(start_s=start)
    air = Air(lane, sender, start, end, sender % np.int32(channels))
    return held, air, rng.random((2, agents, 2))


def beside(held: Held, air: Air) -> np.ndarray:
    """float [K, T]: seconds for which others are on the air during each packet, as the formula says it."""
    time = np.minimum(held.at_s[:, None], air.end_s) - np.maximum(held.start_s[:, None], air.start_s)
    own = np.array([
        air.channel[(air.lane == lane) & (air.sender == sender) & (air.start_s == start)][0]
        for lane, sender, start in zip(held.lane, held.sender, held.start_s, strict=True)
    ])  # fmt: skip
    other = (held.lane[:, None] == air.lane) & (held.sender[:, None] != air.sender) & (own[:, None] == air.channel)
    return np.where(other, np.maximum(time, 0.0), 0.0)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 999),
    agents=st.sampled_from([2, 5, 40]),
    channels=st.sampled_from([1, 3]),
    metres=st.sampled_from([np.inf, 0.3]),
)
def test_overlaps_and_collisions_are_those_of_the_formulas(
    seed: int, agents: int, channels: int, metres: float
) -> None:
    held, air, spots = random_air(seed, agents, 2, channels)
    time = beside(held, air)
    found = overlaps(held, air)
    for k in range(len(held.lane)):
        rows = slice(found.begin[k], found.begin[k + 1])
        there = np.flatnonzero(time[k] > 0)
        assert sorted(found.sender[rows]) == sorted(air.sender[there])
        share = time[k, there] / (held.at_s[k] - held.start_s[k])
        np.testing.assert_allclose(np.sort(found.share[rows]), np.sort(share))
    hop = Hop(held, all_pairs(held.sender, agents), Surroundings(agents, spots, air=air))
    busy, collision = fates(hop, air, metres, deaf=True, collides=True)
    during = time[hop.packet] > 0  # [N, T]
    mine = air.sender == hop.receiver[:, None]
    np.testing.assert_array_equal(busy, (during & mine).any(1))
    lane = hop.lane[hop.packet]
    gap = np.linalg.norm(spots[lane[:, None], air.sender] - spots[lane, hop.receiver][:, None], axis=-1)
    np.testing.assert_array_equal(collision, (during & ~mine & (gap <= metres)).any(1))


def test_neighbours_are_those_within_the_distance() -> None:
    spots = np.random.default_rng(3).random((3, 30, 2))
    begin, who = neighbours(spots, 0.25)
    for lane in range(3):
        for node in range(30):
            row = lane * 30 + node
            gap = np.linalg.norm(spots[lane] - spots[lane, node], axis=1)
            near = [i for i in range(30) if gap[i] <= 0.25 and i != node]
            assert who[begin[row] : begin[row + 1]].tolist() == near


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("csma", r"must know how fast radios send: give kbps, or add a radio link"),
        ("tdma:kbps=1+csma:kbps=1", r"at most one access link, got several"),
        ("half-duplex:kbps=0", r"link\.half-duplex\.kbps must be greater than 0, got 0.*\(rate"),
        ("half-duplex:kbps=1,queue=0", r"link\.half-duplex\.queue must be .*1, got 0"),
        ("pure-aloha:kbps=1,window_ms=0", r"link\.pure-aloha\.window_ms must be greater than 0"),
        ("pure-aloha:kbps=1,drop=middle", r"link\.pure-aloha\.drop must be 'tail' or 'head', got 'middle'"),
        ("slotted-aloha:kbps=1", r"link\.slotted-aloha\.slot_ms is missing"),
        ("csma:kbps=1,cw=-1", r"link\.csma\.cw must be .*0, got -1"),
        ("tdma:kbps=1,slot_ms=1,guard_us=1000", r"link\.tdma\.guard_us must be below a slot's 1000, got 1000"),
    ],
)
def test_bad_specs_name_field_value_and_fix(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Medium(spec, 1, [0], 3, ROUND_S)


@pytest.mark.parametrize("link", ["csma:kbps=9,sense_m=3", "pure-aloha:kbps=9,metres=3"])
def test_distances_need_positions(link: str) -> None:
    medium = Medium(link, 1, [0], 3, ROUND_S)
    with pytest.raises(ValueError, match="needs to know where agents are"):
        for clock in range(3):
            medium.deliver(clock)
            medium.transmit(everyone(1, 3), clock)
