"""Multi-hop flooding: who gets what, when and how often, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic import broadcast, everyone, nobody

from agentsc.links import parse_link
from agentsc.links.age import AgeOfInformation
from agentsc.links.flight import Deliveries
from agentsc.links.medium import Medium, Packets
from agentsc.links.topology import distances
from envs.errors import ConfigError
from envs.keyed import uniform

ROUND_S = 0.05
PARTS = [
    "graph:kind=ring",
    "graph:kind=line",
    "graph:kind=erdos-renyi,p=0.5,seed=3",
    "range:metres=0.6",
    "k-nearest:k=2",
    "erasure:p=0.3",
    "gilbert-elliott:p=0.2,r=0.3",
    "duplicate:p=0.5,ms=120",
    "delay:ms=0,jitter_ms=150",
    "delay:ms=50",
    "bandwidth:kbps=2,queue=4",
    "bandwidth:kbps=1,queue=2,drop=head",
    "partition:every_s=0.5,lasts_s=0.2,by=random",
    "gateways:uplink_loss=0.1,backbone_loss=0.3,downlink_loss=0.2,backbone_ms=60",
    "authentication",
    "replayer:age=3",
    "babbler",
]
"""What a relay may stand beside."""


def spots(episodes: list[int], agents: int, clock: int) -> np.ndarray:
    """Places in the unit square that change from round to round: float [L, A, 2]."""
    return uniform(np.reshape(episodes, (-1, 1, 1)), clock, np.arange(agents)[:, None], np.arange(2))


def adjacency(kind: str, agents: int) -> np.ndarray:
    """bool [A, A], from sender to receiver."""
    (link,) = parse_link(kind)
    begin, receiver = link._table(agents)  # type: ignore[attr-defined]
    graph = np.zeros((agents, agents), bool)
    graph[np.repeat(np.arange(agents), np.diff(begin)[:agents]), receiver[: begin[agents]]] = True
    return graph


def flood(link: str, agents: int, rounds: int = 1, after: int = 12) -> list[Deliveries]:
    """Deliveries by round when everybody speaks in the first rounds."""
    medium = Medium(link, 1, [0], agents, ROUND_S)
    found = []
    for clock in range(rounds + after):
        found.append(medium.deliver(clock))
        medium.transmit(everyone(1, agents, clock) if clock < rounds else nobody(), clock)
    assert (medium.books.whole == medium.delivered + medium.lost + medium.in_flight).all()
    return found


@pytest.mark.parametrize("kind", ["ring", "line", "star", "grid", "tree", "erdos-renyi,p=0.25,seed=5"])
@pytest.mark.parametrize("hops", [1, 2, 4, 20])
def test_a_packet_takes_a_shortest_path_in_a_round_per_hop(kind: str, hops: int) -> None:
    agents = 10
    far = distances(adjacency(f"graph:kind={kind}", agents))
    after = 24
    for clock, found in enumerate(flood(f"graph:kind={kind}+relay:hops={hops}", agents, after=after)):
        reached = np.zeros((agents, agents), int)
        np.add.at(reached, (found.sender, found.receiver), 1)
        np.testing.assert_array_equal(reached, (far == clock) & (clock <= hops) & (clock > 0))
        assert (found.hops[found.packet] + 1 == clock).all() and (found.sent_clock == 0).all()
        written = np.stack([found.lane, found.sender, found.sent_clock], 1)
        assert len(found) == 0 or np.array_equal(found.data, written)


def test_one_hop_is_no_relay_at_all() -> None:
    one, without = (flood(link + "+erasure:p=0.3", 6, rounds=8) for link in ("relay:hops=1", "perfect"))
    for relayed, plain in zip(one, without, strict=True):
        for column in ("sender", "receiver", "sent_clock", "arrival_s"):
            np.testing.assert_array_equal(getattr(relayed, column), getattr(plain, column))


def test_only_some_relay() -> None:
    """On a line a packet stops where nobody sends it on."""
    found = flood("graph:kind=line+relay:hops=9,only=1/2", 6)
    got = {(int(s), int(r)) for part in found for s, r in zip(part.sender, part.receiver, strict=True)}
    assert {r for s, r in got if s == 0} == {1, 2, 3}
    assert {r for s, r in got if s == 5} == {4}
    assert {r for s, r in got if s == 3} == {0, 1, 2, 4}


def test_what_is_relayed_is_counted_for_who_sends_it_on() -> None:
    agents = 5
    medium = Medium("graph:kind=line+relay:hops=9", 1, [0], agents, ROUND_S)
    medium.transmit(broadcast([0], [0], bits=24), 0)
    for clock in range(1, 12):
        medium.deliver(clock)
        medium.transmit(nobody(), clock)
    # The last one relays too: it cannot know that nobody is behind it.
    assert medium.relayed_bits[0].tolist() == [0, 24, 24, 24, 24]
    assert medium.bits[0].tolist() == [24, 0, 0, 0, 0] and medium.packets[0].tolist() == [1, 0, 0, 0, 0]
    assert medium.books.relayed[0] == 4 * (agents - 1) and medium.delivered[0] == agents - 1
    # Agents 1 … 4 send it back to the one before them, and it stops there.
    assert medium.books.by_reason["repeat"][0] == 4
    columns = medium.columns()
    assert columns["relayed"][0] == 16 and columns["relayed_bits"][0] == 96


def test_the_hop_limit_is_not_passed_on() -> None:
    """With two hops on a line, agent 1 relays and agent 2 does not: nothing is sent that must not be taken."""
    medium = Medium("graph:kind=line+relay:hops=2", 1, [0], 6, ROUND_S)
    medium.transmit(broadcast([0], [0]), 0)
    for clock in range(1, 9):
        medium.deliver(clock)
        medium.transmit(nobody(), clock)
    assert np.flatnonzero(medium.relayed_bits[0]).tolist() == [1]


def test_a_flood_costs_at_most_one_transmission_of_each_agent_per_packet() -> None:
    agents, rounds = 12, 30
    for link in ("relay:hops=255", "graph:kind=complete+duplicate:p=1,ms=200+relay:hops=255+delay:ms=0,jitter_ms=300"):
        medium = Medium(link, 1, [0], agents, ROUND_S)
        for clock in range(rounds + 40):
            medium.deliver(clock)
            medium.transmit(everyone(1, agents) if clock < rounds else nobody(), clock)
        assert medium.relayed_bits.sum() <= rounds * agents * (agents - 1) * 24
        assert not medium.in_flight.any()


def test_delays_count_from_the_authors_round() -> None:
    """120 ms per hop are 0, 3, 6, 9 rounds on a line; arrival and delay are those of all hops together."""
    medium = Medium("graph:kind=line+relay:hops=9+delay:ms=120", 1, [0], 4, ROUND_S)
    age = AgeOfInformation(1, 4, ROUND_S)
    medium.transmit(broadcast([0], [0]), 0)
    handed = []
    for clock in range(1, 20):
        found = medium.deliver(clock)
        age.update(found, clock)
        handed += [(clock, int(r), round(float(t), 9)) for r, t in zip(found.receiver, found.arrival_s, strict=True)]
        medium.transmit(nobody(), clock)
    # Each relay takes it in at the start of a round: 3, 6 and 9; so hops begin at 0, 150 and 300 ms.
    assert handed == [(3, 1, 0.12), (6, 2, 0.27), (9, 3, 0.42)]
    assert medium.delay_sum_s[0] == pytest.approx((3 + 6 + 9) * ROUND_S)
    # It was sent in round 0, so it makes nobody's information younger than the start did.
    area, time = age.totals(20)
    assert area[0] / time[0] == pytest.approx(10 * ROUND_S)


def test_age_of_information_over_several_hops() -> None:
    """A packet every round over h loss-free hops is h rounds old when it comes, and h + ½ on average."""
    agents = 6
    medium = Medium("graph:kind=line+relay:hops=9", 1, [0], agents, ROUND_S)
    age = AgeOfInformation(1, agents, ROUND_S)
    before = (np.zeros(1), np.zeros(1))
    for clock in range(60):
        age.update(medium.deliver(clock), clock)
        if clock == 20:
            before = age.totals(clock)
        medium.transmit(everyone(1, agents), clock)
    area, time = (after - start for after, start in zip(age.totals(59), before, strict=True))
    far = np.abs(np.subtract.outer(np.arange(agents), np.arange(agents)))
    mean = (far[far > 0] + 0.5).mean() * ROUND_S
    assert area[0] / time[0] == pytest.approx(mean, rel=1e-9)


def test_a_packet_of_several_ways_arrives_in_the_end() -> None:
    """On a ring with one dead arc the other way round still leads there, later."""
    agents = 6
    medium = Medium("graph:kind=ring+relay:hops=9,only=0/2/3/4/5", 1, [0], agents, ROUND_S)
    medium.transmit(broadcast([0], [0]), 0)
    when = {}
    for clock in range(1, 9):
        found = medium.deliver(clock)
        when |= {int(r): clock for r in found.receiver}
        medium.transmit(nobody(), clock)
    assert when == {1: 1, 5: 1, 4: 2, 3: 3, 2: 4}


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.sampled_from(PARTS), max_size=3, unique=True),
    relay=st.sampled_from(["relay:hops=2", "relay:hops=4,p=0.6", "relay:hops=9", "relay:hops=3,only=0/2"]),
    seed=st.integers(0, 99),
    busy=st.sampled_from([0.1, 0.6, 1.0]),
)
def test_books_balance_and_everything_is_handed_over_once(parts: list[str], relay: str, seed: int, busy: float) -> None:
    lanes, agents, rounds = 2, 5, 14
    rng = np.random.default_rng(seed)
    medium = Medium("+".join([*parts, relay]), seed, range(lanes), agents, ROUND_S)
    books, handed, got = medium.books, np.zeros(lanes, np.int64), set()
    honest = not any(name in part for part in parts for name in ("replayer", "babbler"))
    sent = set()
    for clock in range(rounds + 40):
        found = medium.deliver(clock)
        handed += np.bincount(found.lane, minlength=lanes)
        rows = list(zip(found.lane, found.receiver, found.sender, found.sent_clock, strict=True))
        keys = {tuple(map(int, row)) for row in rows}
        assert len(keys) == len(rows) and not keys & got, "a packet is handed over once to every receiver"
        assert all(receiver != sender for _, receiver, sender, _ in keys)
        assert not honest or {(lane, sender, at) for lane, _, sender, at in keys} <= sent
        got |= keys
        lane, sender = (p.astype(np.int32) for p in np.nonzero(rng.random((lanes, agents)) < busy))
        if clock >= rounds:
            lane, sender = lane[:0], sender[:0]
        sent |= {(int(a), int(b), clock) for a, b in zip(lane, sender, strict=True)}
        medium.transmit(broadcast(lane, sender, clock), clock, rng.random((lanes, agents, 2)))
        np.testing.assert_array_equal(books.whole, handed + books.lost + medium.in_flight)
        np.testing.assert_array_equal(books.delivered, handed)
    medium.deliver(3_000)
    if honest:
        # What the last hand-over made somebody relay is waiting for a round that does not come.
        waiting = sum((medium._receivers(held) for held in medium._onward), np.zeros(lanes, np.int64))
        np.testing.assert_array_equal(medium.in_flight, waiting)


LANES = [
    "graph:kind=ring+relay:hops=3+erasure:p=0.3",
    "relay:hops=3,p=0.5+erasure:p=0.5",
    "range:metres=0.5+relay:hops=4+duplicate:p=0.4,ms=90+delay:ms=0,jitter_ms=120",
    "k-nearest:k=2+relay:hops=3+bandwidth:kbps=1,queue=2,drop=head+gilbert-elliott:p=0.2,r=0.4",
    "partition:every_s=0.3,lasts_s=0.2,by=random+relay:hops=3+gateways:uplink_loss=0.2,backbone_loss=0.2",
]


def run(link: str, episodes: list[int], rounds: int = 16, agents: int = 5, shuffle: bool = False) -> list[Deliveries]:
    medium = Medium(link, 7, episodes, agents, ROUND_S)
    out = []
    for clock in range(rounds):
        out.append(medium.deliver(clock))
        speaks = [[(e * 7 + a * 3 + clock * 5) % 11 < 5 for a in range(agents)] for e in episodes]
        lane, sender = np.nonzero(np.array(speaks))
        packets = broadcast(lane, sender, clock)
        packets.data[:, 0] = np.array(episodes)[lane]
        if shuffle:
            order = np.random.default_rng(clock).permutation(len(lane))
            packets = Packets(*(column[order] for column in packets))
        medium.transmit(packets, clock, spots(episodes, agents, clock))
    return out


@pytest.mark.parametrize("link", LANES)
def test_a_lane_fares_the_same_alone_beside_others_and_in_any_order(link: str) -> None:
    together = run(link, [4, 9, 2])
    columns = ("sender", "receiver", "sent_clock", "arrival_s", "data", "bits")
    for lane, episode in enumerate([4, 9, 2]):
        for both, alone in zip(together, run(link, [episode]), strict=True):
            mine = both.lane == lane
            assert mine.sum() == len(alone)
            for column in columns if mine.any() else ():
                np.testing.assert_array_equal(getattr(both, column)[mine], getattr(alone, column))
    for one, other in zip(together, run(link, [4, 9, 2], shuffle=True), strict=True):
        for column in columns:
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
    assert sum(map(len, together)) > 100


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("relay:hops=0", r"link\.relay\.hops must be .*1, got 0"),
        ("relay:hops=2.5", r"link\.relay\.hops must be .*got 2\.5"),
        ("relay:p=1.5", r"link\.relay\.p must be .*got 1\.5 \(probability of sending a packet on\)"),
        ("relay:only=0/-1", r"link\.relay\.only\.1 must be .*got '-1'"),
        ("relay:only=0/6", r"link\.relay\.only must name agents 0 to 5, got 6"),
        ("relay+erasure:p=0.1+relay:hops=2", r"link\.relay must be given once"),
    ],
)
def test_bad_specs_name_field_value_and_fix(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Medium(spec, 1, [0], 6, ROUND_S)
