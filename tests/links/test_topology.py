"""Graphs over the fleet: fixed, falling apart, through gateways; relays; what a graph is worth."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic import broadcast, everyone, nobody

from agentsc.links.age import AgeOfInformation
from agentsc.links.medium import Medium
from agentsc.links.topology import KINDS, OverTime, generated, metrics
from envs.errors import ConfigError

ROUND_S = 0.05
SPOTS = np.random.default_rng(3).uniform(0, 2, (3, 7, 2))


def adjacency(graph: nx.Graph, agents: int) -> np.ndarray:
    return nx.to_numpy_array(graph, nodelist=range(agents)) > 0


@pytest.mark.parametrize("agents", [4, 9, 16])
def test_metrics_have_their_closed_forms(agents: int) -> None:
    found = {kind: metrics(adjacency(generated(kind, agents, 2, 0.3, 0), agents)) for kind in KINDS[:5]}
    angle = 2 * np.pi / agents
    side = int(np.sqrt(agents))
    wanted = {
        "ring": (2 - 2 * np.cos(angle), agents // 2, 2.0),
        "line": (2 - 2 * np.cos(angle / 2), agents - 1, 2 * (agents - 1) / agents),
        "star": (1.0, 2, 2 * (agents - 1) / agents),
        "complete": (agents, 1, agents - 1.0),
        "grid": (2 - 2 * np.cos(np.pi / side), 2 * (side - 1), 4 * (side - 1) / side),
    }
    for kind, (second, diameter, degree) in wanted.items():
        assert found[kind] == pytest.approx((1.0, second, diameter, degree)), kind


def test_metrics_of_what_is_not_whole() -> None:
    graph = np.zeros((5, 5), bool)
    graph[0, 1] = graph[1, 0] = graph[1, 2] = graph[2, 1] = True
    graph[3, 4] = True  # one way only: no edge
    assert metrics(graph) == pytest.approx((0.0, 0.0, 2.0, 4 / 5))
    over = OverTime(2)
    over.take(np.stack([graph, np.ones((5, 5), bool)]), np.array([True, True]))
    over.take(np.stack([np.ones((5, 5), bool)] * 2), np.array([True, False]))
    assert over.columns["graph_connected"].tolist() == [0.5, 1.0]
    assert np.isnan(OverTime(1).columns["graph_diameter"]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_packets_pass_along_edges_only(kind: str) -> None:
    agents, k = 12, 4 if kind in ("small-world", "random-regular") else 2
    medium = Medium(f"graph:kind={kind},k={k},p=0.3,seed=5", 1, [0, 1], agents, ROUND_S)
    medium.transmit(everyone(2, agents), 0)
    found = medium.deliver(1)
    heard = np.zeros((2, agents, agents), bool)
    heard[found.lane, found.sender, found.receiver] = True
    wanted = adjacency(generated(kind, agents, k, 0.3, 5), agents)
    np.testing.assert_array_equal(heard, [wanted, wanted])
    np.testing.assert_array_equal(medium.in_touch(1), heard)


def test_graphs_come_from_files(tmp_path: Path) -> None:
    edges = [(0, 1), (1, 2), (3, 1)]
    graph = nx.Graph(edges)
    (tmp_path / "g.csv").write_text("sender,receiver\n" + "".join(f"{a},{b}\n" for a, b in edges))
    nx.write_graphml(graph, tmp_path / "g.graphml")
    nx.write_gexf(graph, tmp_path / "g.gexf")
    import json

    (tmp_path / "g.json").write_text(json.dumps(nx.node_link_data(graph, edges="links")))
    for name in ("g.csv", "g.graphml", "g.gexf", "g.json"):
        medium = Medium(f"graph:path={tmp_path / name}", 1, [0], 4, ROUND_S)
        np.testing.assert_array_equal(medium.in_touch(0)[0], adjacency(graph, 4))
    one_way = Medium(f"graph:path={tmp_path / 'g.csv'},directed=true", 1, [0], 4, ROUND_S)
    assert np.argwhere(one_way.in_touch(0)[0]).tolist() == sorted(map(list, edges))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("g.csv", "sender,to\n0,1\n", r"line 1 must have a column receiver, got 'sender,to'"),
        ("g.csv", "sender,receiver\n0,1\n2\n", r"line 3 must have 2 columns, got 1"),
        ("g.csv", "sender,receiver\n0,-1\n", r"line 2 column receiver must be an agent's number, from 0, got '-1'"),
        ("g.csv", "sender,receiver\n0,1\nann,1\n", r"line 3 column sender must be an agent's number.*'ann'"),
        ("g.csv", "sender,receiver\n0,1\n0,7\n", r"line 3 must name agents 0 to 3, got 7 \(there are 4"),
        ("g.json", "{}", r"must be a node-link JSON file"),
        ("g.json", "[1", r"must be a node-link JSON file"),
        ("g.graphml", "<a>", r"must be a graphml file, got one with a mistake"),
        ("g.json", '{"nodes":[{"id":"bob"}],"links":[]}', r"node bob must be an agent's number"),
    ],
)
def test_mistakes_in_a_graph_have_a_place(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        Medium(f"graph:path={tmp_path / name}", 1, [0], 4, ROUND_S)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("graph:kind=random-regular,k=3", r"no random-regular graph over 5 agents with k=3"),
        ("graph:kind=moebius", r"link\.graph\.kind must be 'ring', 'line'"),
        ("graph:path=nowhere.csv", r"path must be a readable file, got 'nowhere\.csv' \(No such"),
        ("partition:schedule=3-2", r"link\.partition\.schedule: a split must end after it begins, got 3-2"),
        ("partition:schedule=a-2", r"link\.partition\.schedule\.0\.0 must be .*got 'a'"),
        ("partition:schedule=1-2,every_s=3", r"give either schedule or every_s, got both"),
        ("partition:groups=1", r"link\.partition\.groups must be .*2, got 1"),
        ("gateways:metres=0", r"link\.gateways\.metres must be greater than 0"),
        ("relay:hops=0", r"link\.relay\.hops must be .*1, got 0"),
        ("relay:only=x", r"link\.relay\.only\.0 must be .*got 'x'"),
    ],
)
def test_bad_topologies_get_a_sentence(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Medium(spec, 1, [0], 5, ROUND_S)


def heard(medium: Medium, clock: int, spots: np.ndarray | None = None) -> np.ndarray:
    lanes, agents = medium.packets.shape
    medium.transmit(everyone(lanes, agents), clock, spots)
    found = medium.deliver(clock + 1)
    table = np.zeros((lanes, agents, agents), bool)
    table[found.lane, found.sender, found.receiver] = True
    return table


def test_a_partition_splits_on_schedule_and_heals() -> None:
    medium = Medium("partition:schedule=0.1-0.2,groups=3", 1, [0], 7, ROUND_S)
    group = np.arange(7) % 3
    apart = (group[:, None] == group) & ~np.eye(7, dtype=bool)
    for clock, split in enumerate([False, False, True, True, False]):
        np.testing.assert_array_equal(heard(medium, clock)[0], apart if split else ~np.eye(7, dtype=bool))


def test_random_partitions_are_drawn_anew_and_stripes_are_stripes() -> None:
    medium = Medium("partition:every_s=0.1,lasts_s=0.04,by=random", 1, [0, 1], 7, ROUND_S)
    tables = [heard(medium, clock) for clock in range(12)]
    assert all(tables[clock][0].sum() == 42 for clock in (0, 1, 3, 5)), "the first split is after one period"
    assert len({table.tobytes() for table in tables[2::2]}) > 2
    stripes = Medium("partition:by=place", 1, [0, 1, 2], 7, ROUND_S)
    x = SPOTS[..., 0]
    right = x - x.min(1, keepdims=True) >= 0.5 * np.ptp(x, axis=1, keepdims=True)
    wanted = (right[:, :, None] == right[:, None]) & ~np.eye(7, dtype=bool)
    np.testing.assert_array_equal(heard(stripes, 0, SPOTS), wanted)


def test_a_dead_gateway_silences_its_region() -> None:
    spots = np.array([[[1.0, 1.0], [2.0, 2.0], [9.0, 1.0], [9.5, 2.0]]])
    medium = Medium("gateways:metres=4,dies_s=0.1,back_s=0.2,dead_x=2,dead_y=2,backbone_ms=60", 1, [0], 4, ROUND_S)
    assert heard(medium, 0, spots).sum() == 4, "between regions a packet takes longer than a round"
    medium.deliver(2)
    assert medium.delivered.sum() == 12
    lone = heard(medium, 2, spots)[0]
    assert np.argwhere(lone).tolist() == [[2, 3], [3, 2]]
    assert heard(medium, 4, spots).sum() == 4


@pytest.mark.parametrize("kind", ["ring", "line", "grid", "star", "tree", "erdos-renyi"])
def test_flooding_reaches_as_far_as_hops_and_as_soon_as_distances_say(kind: str) -> None:
    agents, hops = 11, 3
    medium = Medium(f"graph:kind={kind},p=0.25,seed=3+relay:hops={hops}", 1, [0], agents, ROUND_S)
    far = np.full((agents, agents), np.inf)
    for source, lengths in nx.all_pairs_shortest_path_length(generated(kind, agents, 2, 0.25, 3)):
        for target, length in lengths.items():
            far[source, target] = length
    arrived = np.full((agents, agents), np.inf)
    for clock in range(10):
        found = medium.deliver(clock)
        assert np.isinf(arrived[found.sender, found.receiver]).all(), "once only"
        arrived[found.sender, found.receiver] = clock
        medium.transmit(everyone(1, agents) if clock == 0 else nobody(), clock)
    wanted = np.where((far >= 1) & (far <= hops), far, np.inf)
    np.testing.assert_array_equal(arrived, wanted)
    assert (medium.books.whole == medium.delivered + medium.lost + medium.in_flight).all()


def test_who_relays_and_how_often() -> None:
    links = (f"graph:kind=star+relay:hops=2,{who}" for who in ("only=1", "p=0.5"))
    never, half = (Medium(link, 1, range(400), 5, ROUND_S) for link in links)
    for medium in (never, half):
        for clock in range(4):
            medium.deliver(clock)
            medium.transmit(everyone(400, 5) if clock == 0 else nobody(), clock)
    assert never.delivered.sum() == 400 * 8, "agent 1 is a leaf: what it relays everybody has"
    through = (half.delivered - 8) / 12  # of twelve pairs of leaves
    assert abs(through.mean() - 0.5) < 5 * through.std() / 20


def test_ages_are_those_of_the_author() -> None:
    medium, age = Medium("graph:kind=line+relay:hops=5", 1, [0], 3, ROUND_S), AgeOfInformation(1, 3, ROUND_S)
    for clock in range(9):
        found = medium.deliver(clock)
        age.update(found, clock)
        assert (found.sent_clock == clock - np.abs(found.sender - found.receiver)).all()
        medium.transmit(everyone(1, 3), clock)


@given(
    st.lists(
        st.sampled_from(
            ["erasure:p=0.3", "range:metres=1", "duplicate:p=0.4,ms=90", "delay:ms=10,jitter_ms=70", "bandwidth:kbps=2",
             "graph:kind=ring", "partition:every_s=0.3,lasts_s=0.1", "csma:kbps=9", "authentication", "k-nearest:k=2"]
        ), max_size=3, unique=True,
    ),
    st.integers(0, 2**31), st.integers(1, 4),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_with_relays_books_balance_and_everybody_hears_once(others: list[str], seed: int, hops: int) -> None:
    rng = np.random.default_rng(seed)
    speaks = rng.random((10, 3, 7)) < 0.5
    logs = []
    for lanes in (slice(0, 3), slice(1, 2)):
        spots = SPOTS[lanes]
        medium, log = Medium("+".join([f"relay:hops={hops}", *others]), seed, np.arange(3)[lanes], 7, ROUND_S), []
        seen = set()
        for clock in range(26):
            found = medium.deliver(clock)
            assert (medium.books.whole == medium.delivered + medium.lost + medium.in_flight).all()
            columns = (found.lane, found.sender, found.receiver, found.sent_clock)
            rows = list(zip(*(column.tolist() for column in columns), strict=True))
            assert len(set(rows)) == len(rows) and not seen & set(rows)
            seen |= set(rows)
            mine = found.lane == (1 if len(spots) > 1 else 0)
            log.append((found.sender[mine].tolist(), found.receiver[mine].tolist(), found.arrival_s[mine].tolist()))
            lane, sender = np.nonzero(speaks[clock, lanes]) if clock < 10 else (np.zeros(0, int),) * 2
            medium.transmit(broadcast(lane, sender, clock), clock, spots)
        logs.append(log)
    assert logs[0] == logs[1]
