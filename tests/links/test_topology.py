"""Graphs, partitions, gateways, and what a graph is worth: known graphs, exact schedules, closed forms."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic import broadcast, everyone, nobody

from agentsc.links import Surroundings, parse_link
from agentsc.links.graphs import KINDS, edges_of, generated, table
from agentsc.links.medium import Medium
from agentsc.links.topology import (
    Metrics,
    OverTime,
    algebraic_connectivity,
    components,
    diameter,
    distances,
    metrics,
    mutual,
)  # fmt: skip
from envs.errors import ConfigError
from envs.geometry import Obstacles

ROUND_S = 0.05


def matrix(graph: nx.Graph) -> np.ndarray:
    """bool [A, A]."""
    return nx.to_numpy_array(graph, nodelist=sorted(graph), dtype=int).astype(bool)


def heard(medium: Medium, clock: int = 0, position: np.ndarray | None = None) -> np.ndarray:
    """bool [L, A, A], from sender to receiver: who gets what everybody says in one round, at once."""
    lanes, agents = medium.packets.shape
    medium.transmit(everyone(lanes, agents, clock), clock, position)
    found = medium.deliver(clock + 1)
    graph = np.zeros((lanes, agents, agents), bool)
    graph[found.lane, found.sender, found.receiver] = True
    return graph


# ---- fixed graphs --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("agents", [1, 2, 3, 7, 12])
def test_packets_pass_along_edges_and_nowhere_else(kind: str, agents: int) -> None:
    more = {"small-world": ",k=4,p=0.3,seed=5", "random-regular": ",k=2,seed=5", "erdos-renyi": ",p=0.4,seed=5"}
    spec = f"graph:kind={kind}{more.get(kind, '')}"
    if (kind, agents) in {("small-world", n) for n in (1, 2, 3)} | {("random-regular", n) for n in (1, 2)}:
        with pytest.raises(ConfigError, match=rf"link\.graph: there is no {kind} graph over {agents} agents with k="):
            Medium(spec, 1, [0], agents, ROUND_S)
        return
    medium = Medium(spec, 1, [0, 1], agents, ROUND_S)
    k, p = (4, 0.3) if kind == "small-world" else (2, 0.4)
    expected = matrix(generated(kind, agents, k, p, 5))
    graph = heard(medium)
    np.testing.assert_array_equal(graph, [expected, expected])
    lost = agents * (agents - 1) - expected.sum()
    assert medium.books.by_reason["topology"].tolist() == [lost, lost]
    np.testing.assert_array_equal(medium.in_touch(0), graph)


def test_graphs_are_what_their_names_say() -> None:
    ring, line, star, grid, tree = (
        matrix(generated(kind, 9, 2, 0.0, 0)) for kind in ("ring", "line", "star", "grid", "tree")
    )
    i = np.arange(9)
    gap = np.abs(np.subtract.outer(i, i))
    np.testing.assert_array_equal(ring, (gap == 1) | (gap == 8))
    np.testing.assert_array_equal(line, gap == 1)
    np.testing.assert_array_equal(star, (i[:, None] == 0) ^ (i == 0))
    x, y = i // 3, i % 3
    np.testing.assert_array_equal(grid, np.abs(np.subtract.outer(x, x)) + np.abs(np.subtract.outer(y, y)) == 1)
    parent = (i - 1) // 2
    down = (parent == i[:, None]) & (i > 0)
    np.testing.assert_array_equal(tree, down | down.T)
    regular = matrix(generated("random-regular", 10, 3, 0.0, 7))
    assert (regular.sum(0) == 3).all()


def test_random_graphs_follow_their_seed_and_not_the_runs() -> None:
    def graph(seed: int, run: int, episode: int = 0) -> np.ndarray:
        return heard(Medium(f"graph:kind=erdos-renyi,p=0.5,seed={seed}", run, [episode], 10, ROUND_S))[0]

    np.testing.assert_array_equal(graph(1, 3), graph(1, 4, 9))
    assert (graph(1, 3) != graph(2, 3)).any()


def test_edges_of_a_random_graph_have_their_probability() -> None:
    agents, p = 400, 0.2
    begin, _ = table(edges_of(generated("erdos-renyi", agents, 2, p, 1)), agents)
    pairs = agents * (agents - 1)
    assert pairs > 1e5
    # Edges come in both directions at once, so half as many are independent.
    assert abs(begin[agents] / pairs - p) <= 4.5 * np.sqrt(2 * p * (1 - p) / pairs)


def written(tmp_path: Path, suffix: str, graph: nx.Graph) -> Path:
    path = tmp_path / f"graph{suffix}"
    if suffix == ".csv":
        lines = [f"{a},{b}" for a, b in graph.edges]
        path.write_text("\n".join(["sender,receiver", *lines]) + "\n")
    elif suffix == ".json":
        path.write_text(json.dumps(nx.node_link_data(graph, edges="links")))
    else:
        {".graphml": nx.write_graphml, ".gexf": nx.write_gexf}[suffix](graph, path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".graphml", ".gexf", ".json"])
@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph])
def test_files_say_which_way_their_edges_lead(suffix: str, kind: type, tmp_path: Path) -> None:
    graph = kind([(0, 1), (1, 2), (2, 3), (2, 4)])
    graph.add_node(5)  # hears nobody
    path = written(tmp_path, suffix, graph)
    there = np.zeros((6, 6), bool)
    there[[0, 1, 2, 2], [1, 2, 3, 4]] = True
    both = there | there.T
    plain = there if kind is nx.DiGraph and suffix != ".csv" else both
    for option, expected in (("", plain), (",directed=true", there), (",directed=false", both)):
        medium = Medium(f"graph:path={path}{option}", 1, [0], 6, ROUND_S)
        np.testing.assert_array_equal(heard(medium)[0], expected)


def test_loops_and_repeated_edges_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    path.write_text("receiver,weight,sender\n1,5,0\n1,5,0\n0,5,1\n\n2,1,2\n")
    graph = heard(Medium(f"graph:path={path}", 1, [0], 3, ROUND_S))[0]
    assert np.argwhere(graph).tolist() == [[0, 1], [1, 0]]


BAD = [
    ("g.csv", "", r"line 1 must have a column sender, got 'nothing'"),
    ("g.csv", "sender,to\n0,1\n", r"line 1 must have a column receiver, got 'sender,to'"),
    ("g.csv", "sender,receiver\n0,1\n0\n", r"line 3 must have 2 columns, got 1"),
    ("g.csv", "sender,receiver\n0,1\n\n2,x\n", r"line 4 column receiver must be an agent's number, from 0, got 'x'"),
    ("g.csv", "sender,receiver\n-1,1\n", r"line 2 column sender must be an agent's number, from 0, got '-1'"),
    ("g.csv", "sender,receiver\n0,1.5\n", r"line 2 column receiver must be an agent's number.*got '1\.5'"),
    ("g.csv", "sender,receiver\n0,1\n1,6\n", r"line 3 column receiver must be one of the 6 agents, 0 to 5, got 6"),
    ("g.json", "{", r"line 1 must be JSON, got a mistake"),
    ("g.json", "[]", r"must be node-link JSON"),
    ("g.json", '{"nodes": []}', r"must be node-link JSON, got one without 'links'"),
    ("g.json", '{"nodes": [{"id": 0}, {"id": 9}], "links": []}', r"node 9 must be one of the 6 agents, 0 to 5, got 9"),
    ("g.json", '{"nodes": [{"id": "a"}], "links": []}', r"node a must be an agent's number, from 0, got 'a'"),
    ("g.json", '{"nodes": [], "edges": [{"source": 0, "target": 7}]}', r"edge 0 – 7 must be one of the 6 agents"),
    ("g.json", '{"nodes": [{"id": -2}], "links": []}', r"node -2 must be an agent's number, from 0, got '-2'"),
    ("g.graphml", "<graphml", r"must be a graphml file, got one with a mistake"),
    ("g.graphml", "{graph}", r"node 8 must be one of the 6 agents, 0 to 5, got 8"),
    ("g.gexf", "nothing", r"must be a gexf file, got one with a mistake"),
    ("g.txt", "0 1", r"path must end in \.csv, \.graphml, \.gexf or \.json"),
    ("nowhere.csv", None, r"path must be a readable file, got .*nowhere\.csv' \(No such file"),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_mistakes_in_a_graph_are_named_with_their_place(
    name: str, text: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if text == "{graph}":
        nx.write_graphml(nx.path_graph([0, 8]), path)
    elif text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=rf"link\.graph: .*{message}"):
        Medium(f"graph:path={path}", 1, [0], 6, ROUND_S)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("graph:kind=circle", r"link\.graph\.kind must be .*'ring'.*got 'circle'"),
        ("graph:p=2", r"link\.graph\.p must be .*got 2"),
        ("graph:directed=true", r"link\.graph: directed goes with a path"),
        ("graph:kind=small-world,k=3", r"link\.graph: k must be even, .*got 3"),
        ("graph:kind=random-regular,k=3", r"there is no random-regular graph over 5 agents with k=3"),
        ("graph:path=x.csv,kind=ring", r"give either path or kind, got both"),
        ("partition:schedule=5-2", r"link\.partition\.schedule: a split must end after it begins, got 5-2"),
        ("partition:schedule=1-4/3-6", r"must begin after the one before has ended, 4, got 3-6"),
        ("partition:schedule=3", r"link\.partition\.schedule must be .*got 3"),
        ("partition:schedule=3-x", r"link\.partition\.schedule\.0\.1 must be .*got 'x'"),
        ("partition:schedule=1-2,every_s=3", r"give either schedule or every_s, got both"),
        ("partition:every_s=3,lasts_s=3", r"lasts_s must be below every_s, 3, got 3"),
        ("partition:lasts_s=3", r"lasts_s goes with every_s"),
        ("partition:groups=1", r"link\.partition\.groups must be .*2, got 1"),
        ("partition:by=colour", r"link\.partition\.by must be .*got 'colour'"),
        ("gateways:count=0", r"link\.gateways\.count must be .*1, got 0"),
        ("gateways:count=4,metres=3", r"give either count or metres, got both"),
        ("gateways:metres=-1", r"link\.gateways\.metres must be greater than 0, got -1"),
        ("gateways:dies_s=3", r"dies_s goes with dead"),
        ("gateways:dead=1/1,dies_s=3,back_s=2", r"back_s must be above dies_s, 3, got 2"),
        ("gateways:dead=1", r"link\.gateways\.dead\.1 is missing"),
        ("gateways:uplink_loss=1.2", r"link\.gateways\.uplink_loss must be .*got 1\.2"),
    ],
)
def test_bad_specs_name_field_value_and_fix(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Medium(spec, 1, [0], 5, ROUND_S)


def test_hostile_stations_reach_everybody_over_any_graph_and_through_any_split() -> None:
    medium = Medium("graph:kind=line+partition+replayer:age=1", 1, [0], 6, ROUND_S)
    for clock in range(8):
        medium.deliver(clock)
        medium.transmit(broadcast([0], [0], clock), clock)
    injected, lost = medium.books.injected[0], medium.books.by_reason
    assert injected > 0 and lost["topology"][0] == 8 * 4
    # Agent 1 is the only one in reach of agent 0, and in the other group.
    assert lost["partition"][0] == 8


# ---- partitions ----------------------------------------------------------------------------------


def test_a_schedule_splits_and_heals_at_the_time_of_sending() -> None:
    """Splits are closed on the left and open on the right; what is in the air when a split begins arrives."""
    agents, rounds = 6, 200
    medium = Medium("partition:schedule=2-5/7.5-9+delay:ms=300", 1, [0], agents, ROUND_S)
    apart = np.subtract.outer(np.arange(agents), np.arange(agents)) % 2 != 0
    lost = []
    for clock in range(rounds):
        before = medium.lost[0]
        medium.deliver(clock)
        medium.transmit(everyone(1, agents), clock)
        lost.append(medium.lost[0] - before)
        split = 40 <= clock < 100 or 150 <= clock < 180
        assert (medium.in_touch(clock)[0] == ~(apart & split) & ~np.eye(agents, dtype=bool)).all()
        assert lost[-1] == split * apart.sum()
    medium.deliver(rounds + 10)
    assert medium.delivered[0] + medium.lost[0] == medium.decisions[0] and medium.lost[0] == 90 * apart.sum()
    assert set(medium.books.by_reason) == {"partition"}


def test_a_packet_is_cut_by_a_split_during_which_its_first_or_last_bit_leaves() -> None:
    """240 ms on the air, a split from 1 s to 2 s: sent 0.8 to 2 s, everything is cut; queued behind, the same rule."""
    medium = Medium("bandwidth:kbps=0.1,queue=9+partition:schedule=1-2", 1, [0], 2, ROUND_S)
    arrived = []
    for clock in range(80):
        found = medium.deliver(clock)
        arrived += (found.arrival_s.round(9)).tolist()
        medium.transmit(broadcast([0], [0]) if clock % 5 == 0 and clock < 60 else nobody(), clock)
    sent = np.arange(12) * 0.25
    cut = (sent + 0.24 >= 1.0) & (sent < 2.0)
    np.testing.assert_allclose(arrived, (sent + 0.24)[~cut])


def test_periodic_splits_lose_their_share_between_groups() -> None:
    agents, rounds = 8, 400
    medium = Medium("partition:every_s=2,lasts_s=0.5,groups=2", 1, [0], agents, ROUND_S)
    for clock in range(rounds):
        medium.transmit(everyone(1, agents), clock)
    # 20 s: splits at 2, 4, … 18 s, ten rounds each; 32 of 56 pairs are in different groups.
    assert medium.lost[0] == 9 * 10 * 32


@pytest.mark.parametrize(
    ("by", "group"),
    [("number", [0, 1, 2, 0, 1, 2, 0]), ("blocks", [0, 0, 0, 1, 1, 2, 2]), ("position", [2, 2, 0, 1, 1, 0, 0])],
)
def test_groups_are_numbers_blocks_or_stripes(by: str, group: list[int]) -> None:
    x = np.array([9.0, 7.0, 0.0, 4.0, 5.0, 1.0, 2.0])
    position = np.stack([x, np.zeros(7)], 1)[None].astype(np.float32)
    graph = heard(Medium(f"partition:groups=3,by={by}", 1, [0], 7, ROUND_S), position=position)[0]
    same = np.equal.outer(group, group)
    np.testing.assert_array_equal(graph, same & ~np.eye(7, dtype=bool))


def test_a_hostile_station_far_away_does_not_move_the_stripes() -> None:
    position = np.stack([np.arange(4.0), np.zeros(4)], 1)[None].astype(np.float32)
    medium = Medium("partition:by=position+babbler:x=1000", 1, [0], 4, ROUND_S)
    medium.transmit(everyone(1, 4), 0, position)
    np.testing.assert_array_equal(medium.in_touch(0)[0], np.kron(np.eye(2), np.ones((2, 2))) - np.eye(4) > 0)


def test_random_groups_are_drawn_for_every_split_and_episode() -> None:
    """Two agents are apart with 1 − 1/groups, whichever split and episode it is; groups stay while a split lasts."""
    lanes, agents, groups = 600, 24, 3
    medium = Medium(f"partition:by=random,groups={groups},every_s=0.5,lasts_s=0.2", 1, range(lanes), agents, ROUND_S)
    graphs = []
    for clock in (10, 13, 20):
        medium.transmit(nobody(), clock)
        graphs.append(~medium.in_touch(clock))
    first, later, second = graphs
    np.testing.assert_array_equal(first, later)
    pairs = np.triu_indices(agents, 1)
    for graph in (first, second):
        apart = graph[:, *pairs]
        assert apart.size > 1e5
        each = apart.mean(1)
        assert abs(each.mean() - (1 - 1 / groups)) <= 4.5 * each.std(ddof=1) / np.sqrt(lanes)
    both = (first & second)[:, *pairs].mean(1)
    assert abs(both.mean() - (1 - 1 / groups) ** 2) <= 4.5 * both.std(ddof=1) / np.sqrt(lanes)


# ---- gateways ------------------------------------------------------------------------------------


def regional(lanes: int, each: int = 3) -> np.ndarray:
    """float [L, 4 each, 2]: as many agents in each quarter of 10 m × 10 m."""
    rng = np.random.default_rng(0)
    corner = np.repeat([[0, 0], [5, 0], [0, 5], [5, 5]], each, axis=0)
    return (corner + rng.uniform(0.2, 4.8, (lanes, 4 * each, 2))).astype(np.float32)


@pytest.mark.parametrize("regions", ["count=4", "metres=5"])
def test_gateways_lose_on_the_way_up_across_and_down(regions: str) -> None:
    """Losses and joint fates: receivers share the way up, those of a region the backbone, too."""
    lanes, agents, rounds = 400, 12, 4
    up, across, down = 0.2, 0.3, 0.1
    medium = Medium(
        f"gateways:{regions},uplink_loss={up},backbone_loss={across},downlink_loss={down}", 3, range(lanes), agents,
        ROUND_S, Obstacles(bounds=(0, 0, 10, 10)),
    )  # fmt: skip
    got = np.stack([heard(medium, clock, regional(lanes)) for clock in range(rounds)])
    assert got.size > 1e5
    region = np.arange(agents) // 3

    def check(rows: np.ndarray, expected: float) -> None:
        each = rows.reshape(rounds, lanes, -1).mean((0, 2))
        assert abs(each.mean() - expected) <= 4.5 * each.std(ddof=1) / np.sqrt(lanes)

    same = np.equal.outer(region, region) & ~np.eye(agents, dtype=bool)
    other = ~np.equal.outer(region, region)
    near, far = (1 - up) * (1 - down), (1 - up) * (1 - across) * (1 - down)
    check(got[..., same], near)
    check(got[..., other], far)
    # From agent 0: 1 and 2 share its region, 3 and 4 another one, 6 a third.
    check(got[..., 0, 1] & got[..., 0, 2], (1 - up) * (1 - down) ** 2)
    check(got[..., 0, 3] & got[..., 0, 4], (1 - up) * (1 - across) * (1 - down) ** 2)
    check(got[..., 0, 3] & got[..., 0, 6], (1 - up) * ((1 - across) * (1 - down)) ** 2)
    lost = medium.books.by_reason
    assert lost["uplink"].sum() + lost["backbone"].sum() + lost["downlink"].sum() == (~got).sum() - got[..., 0].size
    assert set(lost) == {"gateway", "uplink", "backbone", "downlink"} and not lost["gateway"].any()


def test_gateways_take_their_time() -> None:
    medium = Medium("gateways:metres=5,uplink_ms=10,backbone_ms=40,downlink_ms=5", 1, [0], 12, ROUND_S)
    medium.transmit(everyone(1, 12), 0, regional(1))
    found = medium.deliver(10)
    far = found.sender // 3 != found.receiver // 3
    assert far.sum() == 12 * 9
    np.testing.assert_allclose(found.arrival_s, 0.015 + 0.04 * far)


def test_a_region_is_silent_while_its_gateway_is_dead() -> None:
    medium = Medium("gateways:metres=5,dead=7/1,dies_s=1,back_s=2", 1, [0], 12, ROUND_S)
    region = np.arange(12) // 3
    silent = np.logical_or.outer(region == 1, region == 1)
    for clock in (0, 19, 20, 39, 40):
        graph = heard(medium, clock, regional(1))[0]
        dead = 20 <= clock < 40
        np.testing.assert_array_equal(graph, ~(silent & dead) & ~np.eye(12, dtype=bool))
        np.testing.assert_array_equal(medium.in_touch(clock)[0], graph)
    assert medium.books.by_reason["gateway"][0] == 2 * (silent.sum() - 3)


def test_a_gateway_reaches_so_far() -> None:
    """One gateway in the middle of 10 m × 10 m that reaches 3 m."""
    position = np.array([[[5.0, 5.0], [5.0, 7.9], [5.0, 8.1], [0.0, 0.0], [2.9, 2.9]]], np.float32)
    medium = Medium("gateways:count=1,reach_m=3", 1, [0], 5, ROUND_S, Obstacles(bounds=(0, 0, 10, 10)))
    inside = np.array([True, True, False, False, True])
    np.testing.assert_array_equal(heard(medium, 0, position)[0], np.outer(inside, inside) & ~np.eye(5, dtype=bool))


@pytest.mark.parametrize("walls", [True, False])
@pytest.mark.parametrize("count", [1, 2, 6, 7, 12])
def test_regions_are_equal_parts_of_the_world(count: int, walls: bool) -> None:
    """Agents spread evenly over the world meet every gateway equally often; without walls the fleet makes the box."""
    (link,) = parse_link(f"gateways:count={count}")
    side = 84
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    position = np.stack([x.ravel(), y.ravel()], 1)[None]
    obstacles = Obstacles(bounds=(0, 0, side, side)) if walls else None
    number, gateway = link.regions(position, Surroundings(side**2, position, obstacles))  # type: ignore[attr-defined]
    found, size = np.unique(number, return_counts=True)
    assert len(found) == count
    if walls:
        assert (size == side**2 // count).all()
        for each in found:
            np.testing.assert_allclose(gateway[number == each][0], position[number == each].mean(0))


# ---- what a graph is worth -----------------------------------------------------------------------


def of(graph: nx.Graph) -> Metrics:
    return Metrics(*(float(value[0]) for value in metrics(matrix(graph)[None])))


@pytest.mark.parametrize("n", [3, 4, 5, 8, 13, 40])
def test_known_graphs_have_their_known_worth(n: int) -> None:
    known = {
        "ring": (nx.cycle_graph(n), 2 - 2 * np.cos(2 * np.pi / n), n // 2, 2),
        "line": (nx.path_graph(n), 2 - 2 * np.cos(np.pi / n), n - 1, 2 - 2 / n),
        "complete": (nx.complete_graph(n), n, 1, n - 1),
        "star": (nx.star_graph(n - 1), 1, 2, 2 - 2 / n),
    }
    for name, (graph, second, across, degree) in known.items():
        found = of(graph)
        assert found.connected == 1.0 and found.diameter == across, name
        assert found.algebraic_connectivity == pytest.approx(second, abs=1e-9), name
        assert found.mean_degree == pytest.approx(degree), name


def test_a_graph_in_parts_is_worth_its_largest_part() -> None:
    graph = nx.disjoint_union(nx.path_graph(5), nx.cycle_graph(3))
    assert of(graph) == Metrics(0.0, 0.0, 4.0, pytest.approx((8 + 6) / 8))
    twins = nx.disjoint_union(nx.complete_graph(4), nx.path_graph(4))
    assert of(twins).diameter == 3.0  # of equally large parts, the wider
    assert components(matrix(graph)).tolist() == [0] * 5 + [1] * 3
    assert of(nx.empty_graph(4)) == Metrics(0.0, 0.0, 0.0, 0.0)
    assert of(nx.empty_graph(1)) == Metrics(1.0, 0.0, 0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(agents=st.integers(2, 14), p=st.floats(0.0, 1.0), seed=st.integers(0, 999))
def test_metrics_are_those_of_networkx(agents: int, p: float, seed: int) -> None:
    graph = nx.gnp_random_graph(agents, p, seed=seed)
    found, largest = of(graph), max(nx.connected_components(graph), key=len)
    assert found.connected == nx.is_connected(graph)
    sizes = [part for part in nx.connected_components(graph) if len(part) == len(largest)]
    assert found.diameter == max(nx.diameter(graph.subgraph(part)) for part in sizes)
    second = np.sort(np.linalg.eigvalsh(nx.laplacian_matrix(graph).toarray()))[1]
    assert found.algebraic_connectivity == pytest.approx(second, abs=1e-9)
    assert found.mean_degree == pytest.approx(2 * graph.number_of_edges() / agents)
    far = dict(nx.all_pairs_shortest_path_length(graph))
    known = [[far[a].get(b, np.inf) for b in range(agents)] for a in range(agents)]
    np.testing.assert_array_equal(distances(matrix(graph)), known)
    assert diameter(matrix(graph)) == found.diameter
    # Fiedler 1973: not above the least degree of a graph that is not complete, nor the vertex connectivity.
    if graph.number_of_edges() < agents * (agents - 1) // 2:
        assert algebraic_connectivity(matrix(graph)) <= nx.node_connectivity(graph) + 1e-9


def test_only_those_who_hear_each_other_are_neighbours() -> None:
    reach = np.zeros((1, 3, 3), bool)
    reach[0, [0, 1, 1], [1, 0, 2]] = True
    np.testing.assert_array_equal(np.argwhere(mutual(reach)[0]), [[0, 1], [1, 0]])
    assert metrics(reach).connected[0] == 0.0


def test_means_over_time_are_of_running_lanes_alone() -> None:
    over = OverTime(3)
    ring, none = matrix(nx.cycle_graph(4)), np.zeros((4, 4), bool)
    over.take(np.stack([ring, none, ring]), np.array([True, True, False]))
    over.take(np.stack([none, none, ring]), np.array([True, False, False]))
    columns = over.columns
    assert list(columns) == [
        "graph_connected", "graph_algebraic_connectivity", "graph_diameter", "graph_mean_degree"
    ]  # fmt: skip
    np.testing.assert_allclose(columns["graph_connected"], [0.5, 0.0, np.nan])
    np.testing.assert_allclose(columns["graph_algebraic_connectivity"], [1.0, 0.0, np.nan])
    np.testing.assert_allclose(columns["graph_diameter"], [1.0, 0.0, np.nan])


def test_asking_who_is_in_touch_leaves_no_trace() -> None:
    def fates(asks: bool) -> list[list[int]]:
        medium = Medium("range:metres=0.5+partition:by=random+gilbert-elliott:p=0.2,r=0.3", 1, [0, 1], 6, ROUND_S)
        rng, found = np.random.default_rng(0), []
        for clock in range(20):
            found.append(medium.deliver(clock).sender.tolist())
            medium.transmit(everyone(2, 6), clock, rng.random((2, 6, 2)))
            if asks:
                before = {reason: count.copy() for reason, count in medium.books.by_reason.items()}
                assert medium.in_touch(clock).shape == (2, 6, 6)
                for reason, count in medium.books.by_reason.items():
                    np.testing.assert_array_equal(count, before[reason])
        return found

    assert fates(True) == fates(False)
    assert Medium("range:metres=1+erasure:p=0.1", 1, [0], 3, ROUND_S).parts_agents
    assert not Medium("erasure:p=0.9+delay:ms=10", 1, [0], 3, ROUND_S).parts_agents
