"""Sharing the medium: who is on the air when, and what that does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic import broadcast, everyone, nobody

from agentsc.links import Held, parse_link
from agentsc.links.access import overlaps
from agentsc.links.medium import Medium
from agentsc.links.parts import Air
from envs.errors import ConfigError

ROUND_S = 0.05
ACCESS = [
    "half-duplex:kbps=5",
    "half-duplex:kbps=5,jitter_ms=30,queue=1",
    "pure-aloha:kbps=5",
    "slotted-aloha:kbps=5,slot_ms=7",
    "slotted-aloha:kbps=1,slot_ms=5,slots=4,queue=2",
    "tdma:kbps=5",
    "tdma:kbps=1,slots=3,guard_us=500",
    "csma:kbps=5",
    "csma:kbps=1,queue=2,sense_m=0.4,jitter_ms=20",
    "csma:kbps=5,preamble_us=2000,half_duplex=false,metres=0.5",
]
OTHERS = ["erasure:p=0.3", "range:metres=0.7", "duplicate:p=0.4,ms=90", "delay:ms=10,jitter_ms=70", "bandwidth:kbps=2"]
SPOTS = np.random.default_rng(3).uniform(0, 1, (4, 6, 2))


@given(
    st.sampled_from(ACCESS), st.lists(st.sampled_from(OTHERS), max_size=2, unique=True), st.integers(0, 2**31),
    st.floats(0.1, 1.0),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_books_balance_and_a_lane_is_alone(access: str, others: list[str], seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    speaks = rng.random((12, 4, 6)) < share
    logs = []
    for lanes in (slice(0, 4), slice(2, 3)):
        spots = SPOTS[lanes]
        medium, log = Medium("+".join([access, *others]), seed, np.arange(4)[lanes], 6, ROUND_S), []
        for clock in range(30):
            found = medium.deliver(clock)
            assert (medium.books.whole == medium.delivered + medium.lost + medium.in_flight).all()
            mine = found.lane == (2 if len(spots) > 1 else 0)
            log.append((found.sender[mine].tolist(), found.receiver[mine].tolist(), found.arrival_s[mine].tolist()))
            lane, sender = np.nonzero(speaks[clock, lanes]) if clock < 12 else (np.zeros(0, int),) * 2
            medium.transmit(broadcast(lane, sender, clock, bits=24), clock, spots)
        logs.append(log)
    assert logs[0] == logs[1]


@pytest.mark.parametrize("access", ACCESS)
def test_radios_send_one_packet_at_a_time_and_long_enough(access: str) -> None:
    medium = Medium(access, 1, range(4), 6, ROUND_S)
    sent: dict[tuple[int, int], list[tuple[float, float]]] = {}
    link = medium.links[0]
    for clock in range(60):
        medium.deliver(clock)
        medium.transmit(everyone(4, 6, clock) if clock < 15 else nobody(), clock, SPOTS)
        for carried in medium._carried:
            held = carried.hop.packets
            for row in range(len(held.lane)):
                times = sent.setdefault((held.lane[row], held.sender[row]), [])
                if (held.start_s[row], held.at_s[row]) not in times:
                    times.append((held.start_s[row], held.at_s[row]))
    seconds = 24 / (1e3 * link.kbps) + 1e-6 * link.preamble_us  # type: ignore[attr-defined]
    for times in sent.values():
        times.sort()
        assert all(end - start > seconds - 1e-9 for start, end in times)
        assert all(after[0] >= before[1] - 1e-9 for before, after in zip(times, times[1:], strict=False))
    assert len(sent) == 24


def test_overlaps_are_those_of_intervals() -> None:
    rng = np.random.default_rng(0)
    count = 300
    lane, sender = rng.integers(0, 3, count).astype(np.int32), np.arange(count, dtype=np.int32)
    start = rng.uniform(0, 1, count)
    end, channel = start + rng.uniform(0.001, 0.05, count), rng.integers(0, 2, count).astype(np.int32)
    order = np.lexsort((start, lane))
    air = Air(*(column[order] for column in (lane, sender, start, end, channel)))
    some = rng.permutation(count)[:80]
    packets = Held.new(
        lane[some], sender[some], 0 * sender[some], np.zeros((80, 1), np.uint8), 0 * sender[some], end[some]
    )._replace(start_s=start[some])
    found = overlaps(packets, air)
    for k, own in enumerate(some):
        both = np.minimum(end, end[own]) - np.maximum(start, start[own])
        wanted = (lane == lane[own]) & (channel == channel[own]) & (both > 0) & (sender != own)
        mine = slice(found.begin[k], found.begin[k + 1])
        assert sorted(found.sender[mine].tolist()) == np.flatnonzero(wanted).tolist()
        share = dict(zip(found.sender[mine].tolist(), found.share[mine].tolist(), strict=True))
        assert all(share[j] == pytest.approx(both[j] / (end[own] - start[own])) for j in share)


def test_who_sends_hears_nothing_and_two_at_once_destroy_each_other() -> None:
    medium = Medium("half-duplex:kbps=5", 1, [0], 4, ROUND_S)
    medium.transmit(broadcast(np.zeros(2), np.array([0, 1])), 0)
    medium.deliver(1)
    lost = medium.books.by_reason
    assert lost["half-duplex"].sum() == 2 and lost["collision"].sum() == 4 and medium.delivered.sum() == 0
    medium = Medium("half-duplex:kbps=5,half_duplex=false,metres=1", 1, [0], 4, ROUND_S)
    spots = np.array([[[0.0, 0.0], [9.0, 0.0], [0.5, 0.0], [8.5, 0.0]]])
    medium.transmit(broadcast(np.zeros(2), np.array([0, 1])), 0, spots)
    medium.deliver(1)
    # Each of the two senders drowns the other one at its neighbour, and nowhere else.
    assert medium.delivered.sum() == 4 and medium.books.by_reason["collision"].sum() == 2


def test_what_listens_waits_for_what_it_hears_and_not_for_what_is_hidden() -> None:
    """Two radios out of each other's sight, a third between them: they collide there."""
    spots = np.array([[[0.0, 0.0], [2.0, 0.0], [1.0, 0.0]]])
    lost = []
    for sense in (1.5, 3.0):
        medium = Medium(f"csma:kbps=10,cw=1023,sense_m={sense},metres=1.5", 1, [0], 3, ROUND_S)
        for clock in range(400):
            medium.deliver(clock)
            medium.transmit(broadcast(np.zeros(2), np.array([0, 1]), clock) if clock < 390 else nobody(), clock, spots)
        lost.append(medium.books.by_reason["collision"].sum() / 390)
    assert lost[0] > 0.3 and lost[1] < 0.02


def test_slots_of_one_frame_keep_agents_apart_however_long_their_packets() -> None:
    for bits in (24, 90):  # in one piece, and in four
        medium = Medium("tdma:kbps=3,slot_ms=10", 1, [0, 1], 6, ROUND_S)
        for clock in range(200):
            medium.deliver(clock)
            medium.transmit(everyone(2, 6, clock, bits) if clock % 30 == 0 and clock < 120 else nobody(), clock)
        assert medium.lost.sum() == 0 and medium.delivered.sum() == 4 * 2 * 30
    shared = Medium("tdma:kbps=3,slot_ms=10,slots=3", 1, [0], 6, ROUND_S)
    shared.transmit(everyone(1, 6), 0)
    for clock in range(1, 9):
        shared.deliver(clock)
    assert shared.delivered.sum() == 0


def test_rounds_that_do_not_fit_are_late_and_then_dropped() -> None:
    medium = Medium("tdma:kbps=3,slot_ms=20,queue=2", 1, [0], 6, ROUND_S)  # a frame is 120 ms, a round 50
    for clock in range(60):
        medium.deliver(clock)
        medium.transmit(everyone(1, 6, clock), clock)
    assert medium.delay_sum_s.sum() / medium.delivered.sum() > 3 * ROUND_S
    assert medium.books.by_reason["queue"].sum() > 0.3 * medium.decisions.sum()
    assert medium.airtime_s is not None and medium.airtime_s.sum() == pytest.approx(
        24 / 3e3 * (medium.delivered.sum() / 5 + 0), rel=0.1
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("csma", r"give kbps, or add a radio link"),
        ("csma+erasure:p=0.1", r"give kbps, or add a radio link"),
        ("tdma:kbps=5,guard_us=90000", r"link\.tdma\.guard_us must be below a slot's"),
    ],
)
def test_access_that_cannot_work_is_refused_before_anything_is_sent(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Medium(spec, 1, [0], 4, ROUND_S)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("csma:kbps=-3", r"link\.csma\.kbps must be greater than 0, got -3"),
        ("csma:kbps=3,cw=-1", r"link\.csma\.cw must be .*0, got -1"),
        ("slotted-aloha:kbps=3", r"link\.slotted-aloha\.slot_ms is missing"),
        ("pure-aloha:kbps=3,window_ms=0", r"link\.pure-aloha\.window_ms must be greater than 0"),
        ("tdma:kbps=3,slots=0", r"link\.tdma\.slots must be .*1, got 0"),
    ],
)
def test_bad_access_gets_a_sentence(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_link(spec)


def test_sensing_needs_places() -> None:
    with pytest.raises(ValueError, match="needs to know where agents are"):
        Medium("csma:kbps=3,sense_m=2", 1, [0], 3, ROUND_S).transmit(everyone(1, 3), 0)
