"""The market: the published rules, what is agreed on, how soon, how good it is, and what a bad radio does to it."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
from bazaar import SPEC, one_map, sell, tours
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import AUCTION, DONE, MAX_BID, bid_code, bid_value
from agentsc.links.flight import Deliveries
from agentsc.protocol.auction import LEAVE, NOBODY, RESET, UPDATE, Auction, Table, actions, greedy
from agentsc.protocol.exchange import Exchange
from agentsc.protocol.tour import Fixed, Tours
from envs.errors import ConfigError

I, K, M, N = 0, 1, 2, 3  # noqa: E741
"""Receiver, sender and two others, as in the paper."""


# -- bids ------------------------------------------------------------------------------------------


def test_bids_are_logarithmic_monotone_and_never_above_the_value() -> None:
    value = np.geomspace(1e-6, 3.0, 4000)
    code = bid_code(value, 3.0)
    assert code.max() == MAX_BID and code.min() == 0 and (np.diff(code) >= 0).all()
    good = code > 0
    worth = bid_value(code[good], 3.0)
    assert (worth <= value[good] * 1.000001).all() and (worth >= value[good] / 2 ** (1 / 16) * 0.999999).all()
    np.testing.assert_array_equal(bid_code(bid_value(np.arange(1, 255), 3.0), 3.0), np.arange(1, 255))
    assert bid_code([0.0, -1.0, -np.inf], 3.0).tolist() == [0, 0, 0]


# -- table I ---------------------------------------------------------------------------------------


def act(theirs: int, ours: int, bid_k: int, bid_i: int, newer: dict[int, int]) -> int:
    """The action about one site; ``newer``: by how much the sender's word of an agent is newer."""
    one = np.array([0])
    ours_stamp = np.full((1, 4), 5)
    theirs_stamp = ours_stamp + np.array([[newer.get(agent, 0) for agent in range(4)]])
    mine, told = (
        Table(np.array([[who]]), np.array([[bid]]), stamp)
        for who, bid, stamp in ((ours, bid_i, ours_stamp), (theirs, bid_k, theirs_stamp))
    )
    return int(actions(one + I, one + K, mine, told)[0, 0])


@pytest.mark.parametrize(
    ("theirs", "ours", "bid_k", "bid_i", "newer", "action"),
    [
        # the sender believes that it has won
        (K, I, 9, 5, {}, UPDATE), (K, I, 5, 9, {}, LEAVE), (K, I, 5, 5, {}, LEAVE), (K, K, 5, 9, {}, UPDATE),
        (K, M, 5, 9, {M: 1}, UPDATE), (K, M, 9, 5, {M: -1}, UPDATE), (K, M, 5, 9, {M: -1}, LEAVE),
        (K, M, 5, 5, {}, UPDATE), (K, NOBODY, 1, 0, {}, UPDATE),
        # that the receiver has won
        (I, I, 5, 5, {}, LEAVE), (I, K, 9, 5, {}, RESET), (I, M, 9, 5, {M: 1}, RESET), (I, M, 9, 5, {}, LEAVE),
        (I, NOBODY, 9, 0, {}, LEAVE),
        # that a third has won
        (M, I, 9, 5, {M: 1}, UPDATE), (M, I, 9, 5, {}, LEAVE), (M, I, 5, 9, {M: 1}, LEAVE),
        (M, K, 1, 9, {M: 1}, UPDATE), (M, K, 9, 1, {M: 0}, RESET), (M, M, 5, 9, {M: 1}, UPDATE),
        (M, M, 9, 5, {M: -1}, LEAVE), (M, NOBODY, 9, 0, {M: 1}, UPDATE), (M, NOBODY, 9, 0, {}, LEAVE),
        (M, N, 1, 9, {M: 1, N: 1}, UPDATE), (M, N, 9, 1, {M: 1, N: -1}, UPDATE), (M, N, 1, 9, {M: 1, N: -1}, LEAVE),
        (M, N, 9, 1, {M: -1, N: 1}, RESET), (M, N, 9, 1, {N: 1}, LEAVE), (M, N, 9, 1, {M: -1}, LEAVE),
        # that nobody has
        (NOBODY, I, 0, 5, {I: 1}, LEAVE), (NOBODY, K, 0, 5, {}, UPDATE), (NOBODY, M, 0, 5, {M: 1}, UPDATE),
        (NOBODY, M, 0, 5, {}, LEAVE), (NOBODY, NOBODY, 0, 0, {}, LEAVE),
        # what is done is done
        (M, I, DONE, 254, {}, UPDATE), (K, M, 254, DONE, {M: 9}, LEAVE), (NOBODY, M, 0, DONE, {M: 9}, LEAVE),
        (I, M, 9, DONE, {M: 9}, LEAVE),
    ],
)  # fmt: skip
def test_every_rule_of_the_table(
    theirs: int, ours: int, bid_k: int, bid_i: int, newer: dict[int, int], action: int
) -> None:
    assert act(theirs, ours, bid_k, bid_i, newer) == action


def test_two_that_have_both_done_a_site_end_up_agreeing_on_one() -> None:
    assert act(M, N, DONE, DONE, {}) == UPDATE and act(N, M, DONE, DONE, {}) == LEAVE
    assert act(I, K, DONE, DONE, {}) == UPDATE and act(K, I, DONE, DONE, {}) == LEAVE


# -- tours -----------------------------------------------------------------------------------------


def worth_of(score: Tours, row: int, path: list[int]) -> float:
    time, total = 0.0, 0.0
    for place, site in enumerate(path):
        time += score.reach[row, site] if place == 0 else score.between[score.map[row], path[place - 1], site]
        total += score.value[score.map[row], site] * np.exp(-time / score.patience_s)
    return total


def test_gains_are_what_trying_every_place_finds() -> None:
    score, _ = tours(3, 4, 3, 7)
    rows = np.arange(12)
    path = np.full((12, 4), NOBODY)
    for row in rows:
        path[row, : row % 4] = np.random.default_rng(row).permutation(7)[: row % 4]
    gain, place = score.worth(rows, path)
    for row in rows:
        have = [int(site) for site in path[row] if site != NOBODY]
        assert score.total(path)[row] == pytest.approx(worth_of(score, row, have))
        for site in range(7):
            if site in have:
                assert gain[row, site] == -np.inf
                continue
            tried = [worth_of(score, row, [*have[:p], site, *have[p:]]) for p in range(len(have) + 1)]
            assert gain[row, site] == pytest.approx(max(tried) - worth_of(score, row, have), abs=1e-12)
            assert tried[place[row, site]] == pytest.approx(max(tried))


# -- what is agreed --------------------------------------------------------------------------------


def fixed(seed: int, lanes: int, agents: int, sites: int, top: int = MAX_BID) -> Fixed:
    """Bids drawn at random, the same whatever else an agent has; a small ``top`` makes many of them equal."""
    return Fixed(np.random.default_rng(seed).integers(0, top + 1, (lanes * agents, sites)))


GRAPHS = ["perfect", "graph:kind=ring", "graph:kind=line", "graph:kind=star", "graph:kind=tree,k=2"]


def diameter(link: str, agents: int) -> int:
    if link == "perfect":
        return 1
    kind = link.split("kind=")[1].split(",")[0]
    made = {"ring": nx.cycle_graph, "line": nx.path_graph, "star": lambda n: nx.star_graph(n - 1)}
    graph = made[kind](agents) if kind in made else nx.full_rary_tree(2, agents)
    return int(nx.diameter(graph))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), agents=st.integers(2, 7), sites=st.integers(1, 9), bundle=st.integers(1, 4),
    link=st.sampled_from(GRAPHS), kind=st.sampled_from(["tours", "distinct", "ties"]),
)  # fmt: skip
def test_plain_and_event_driven_agree_on_what_a_greedy_auction_sells(
    seed: int, agents: int, sites: int, bundle: int, link: str, kind: str
) -> None:
    lanes = 3
    score = tours(seed, lanes, agents, sites)[0] if kind == "tours" else (
        fixed(seed, lanes, agents, sites, 3 if kind == "ties" else MAX_BID)
    )  # fmt: skip
    reach = diameter(link, agents)
    plain = sell(score, lanes, agents, sites, bundle, sites * reach + 4, link=link, event_driven=False)
    assert plain.agreed.all() and (plain.settled <= min(agents * bundle, sites) * reach).all()
    event = sell(score, lanes, agents, sites, bundle, 400, link=link, heartbeat_rounds=26)
    assert event.agreed.all()
    np.testing.assert_array_equal(event.winner, plain.winner)
    for lane in range(lanes):
        rows = slice(lane * agents, (lane + 1) * agents)
        alone = one_map(score, lane) if isinstance(score, Tours) else Fixed(score.bids[rows])
        central = greedy(alone, np.arange(agents), agents, sites, bundle)
        np.testing.assert_array_equal(plain.winner[lane, 0], central.winner.max(0))
        # In the same order, too; and nobody has what it does not want.
        np.testing.assert_array_equal(plain.exchange.auction.bundle[rows], central.bundle)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), agents=st.integers(1, 7), sites=st.integers(1, 7))
def test_one_site_each_is_worth_at_least_half_of_the_best_assignment(seed: int, agents: int, sites: int) -> None:
    value = np.random.default_rng(seed).uniform(0.01, 1.0, (agents, sites)) ** 3
    sold = greedy(Fixed(bid_code(value, 1.0).astype(np.int64)), np.arange(agents), agents, sites, 1)
    row, site = np.nonzero(sold.mine)
    best = value[linear_sum_assignment(value, maximize=True)].sum()
    # A bid is up to 2^(1/16) under its value, so the best choice may be worth so much more: 1 / (1 + 2^(1/16)).
    assert value[row, site].sum() >= best / (1 + 2 ** (1 / 16)) - 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_small_bundles_are_worth_at_least_half_of_the_best_tours(seed: int) -> None:
    agents, sites, bundle = 2, 4, 2
    score = tours(seed, 1, agents, sites)[0]
    best = 0.0
    for owner in itertools.product(range(-1, agents), repeat=sites):
        total = 0.0
        for agent in range(agents):
            has = [site for site in range(sites) if owner[site] == agent]
            if len(has) > bundle:
                break
            total += max(worth_of(score, agent, list(order)) for order in itertools.permutations(has))
        else:
            best = max(best, total)
    sold = sell(score, 1, agents, sites, bundle, 30, event_driven=False)
    assert score.total(sold.exchange.auction.path).sum() >= best / (1 + 2 ** (1 / 16))


# -- bad radios ------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_driven", [False, True], ids=["plain", "event-driven"])
@pytest.mark.parametrize(
    "link",
    ["erasure:p=0.3", "erasure:p=0.6", "delay:ms=0,jitter_ms=200", "duplicate:p=0.5,ms=300",
     "gilbert-elliott:p=0.1,r=0.2"],
)  # fmt: skip
def test_lost_late_and_repeated_packets_change_when_it_is_agreed_but_not_what(link: str, event_driven: bool) -> None:
    lanes, agents, sites, bundle = 6, 6, 12, 2
    score, _ = tours(11, lanes, agents, sites)
    sold = sell(score, lanes, agents, sites, bundle, 500, link=link, seed=4, event_driven=event_driven)
    clean = sell(score, lanes, agents, sites, bundle, 40, event_driven=False)
    assert sold.agreed.all() and (sold.settled < 400).all()
    np.testing.assert_array_equal(sold.winner, clean.winner)


def test_a_fleet_in_two_parts_sells_twice_and_agrees_when_it_is_whole_again() -> None:
    lanes, agents, sites, bundle = 4, 6, 10, 2
    score, _ = tours(5, lanes, agents, sites)
    link = "partition:schedule=0-6"
    apart = sell(score, lanes, agents, sites, bundle, 120, link=link)
    assert not apart.agreed.any()
    healed = sell(score, lanes, agents, sites, bundle, 400, link=link)
    assert healed.agreed.all()
    np.testing.assert_array_equal(healed.winner, sell(score, lanes, agents, sites, bundle, 40).winner)


def test_once_it_is_agreed_event_driven_agents_only_show_that_they_are_there() -> None:
    score, _ = tours(5, 3, 6, 10)
    sold = sell(score, 3, 6, 10, 2, 300, heartbeat_rounds=50)
    assert (sold.settled < 100).all()
    np.testing.assert_array_equal(sold.packets[150:250].sum(0), 2 * 6)


# -- what else a bidder does -----------------------------------------------------------------------


def test_a_lost_site_takes_along_what_was_gathered_after_it() -> None:
    score = Fixed(np.array([[50, 40, 30, 0]]))
    auction = Auction.open(np.array([0]), 2, 4, 3)
    rows = np.array([0])
    auction.gather(rows, score)
    assert auction.bundle.tolist() == [[0, 1, 2]] and auction.bid.tolist() == [[50, 40, 30, 0]]
    auction.tell(rows)
    told = Table(np.array([[NOBODY, 1, NOBODY, 1]]), np.array([[0, 45, 0, 9]]), np.array([[0, 1]]))
    auction.hear(rows, np.array([1]), told)
    auction.release(rows)
    assert auction.bundle.tolist() == [[0, NOBODY, NOBODY]] and auction.path.tolist() == [[0, NOBODY, NOBODY]]
    assert auction.winner.tolist() == [[0, 1, NOBODY, 1]]


def test_what_is_done_stays_with_who_has_done_it_and_what_a_lost_agent_bid_for_is_free() -> None:
    score = Fixed(np.array([[50, 40, 30], [10, 10, 10]]))
    auction = Auction.open(np.array([0, 1]), 2, 3, 2)
    both = np.arange(2)
    auction.gather(both[:1], score)
    auction.finish(both[:1], np.array([0]))
    assert auction.bundle[0].tolist() == [1, NOBODY] and auction.bid[0].tolist() == [DONE, 40, 0]
    auction.hear(both[1:], np.array([0]), auction.tell(both[:1]))
    auction.gather(both[1:], score)
    assert auction.winner[1].tolist() == [0, 0, 1]
    auction.void(both[1:], np.array([0]))
    auction.gather(both[1:], score)
    assert auction.winner[1].tolist() == [0, 1, 1] and auction.bid[1, 0] == DONE


def test_a_better_site_that_becomes_free_is_gathered_in_its_place() -> None:
    auction, rows = Auction.open(np.array([0]), 2, 3, 2), np.array([0])
    told = Table(np.array([[1, NOBODY, NOBODY]]), np.array([[60, 0, 0]]), np.array([[0, 1]]))
    auction.hear(rows, np.array([1]), told)
    score = Fixed(np.array([[50, 40, 30]]))
    auction.gather(rows, score)
    assert auction.bundle.tolist() == [[1, 2]]
    freed = Table(np.full((1, 3), NOBODY), np.zeros((1, 3), np.int64), np.array([[0, 2]]))
    auction.hear(rows, np.array([1]), freed)
    auction.gather(rows, score)
    assert auction.bundle.tolist() == [[0, 1]] and auction.winner.tolist() == [[0, 0, NOBODY]]


def test_a_bid_taken_back_before_it_was_told_leaves_no_trace() -> None:
    auction, rows = Auction.open(np.array([0]), 3, 1, 1), np.array([0])
    first = Table(np.array([[1]]), np.array([[20]]), np.array([[0, 1, 0]]))
    auction.hear(rows, np.array([1]), first)
    auction.gather(rows, Fixed(np.array([[30]])))
    assert auction.winner.tolist() == [[0]] and auction.news.all()
    auction.gather(rows, Fixed(np.array([[0]])))
    assert (auction.winner.tolist(), auction.bid.tolist()) == ([[1]], [[20]]) and not auction.news.any()


@pytest.mark.parametrize(
    ("awards", "words"),
    [([[9, 0, 5]], [[1, 0, 1]]), ([[0, 7, 5]], [[1, 0, 1]]), ([[0, 0, 0]], [[1, 0, 1]]),
     ([[0, 0, 5], [0, 1, 5]], [[1, 0, 1]]), ([], [[0, 0, 1]]), ([], [[1, 0, 0]]), ([], [[1, 0, 1], [1, 0, 2]]),
     ([], [])],
    ids=["no such site", "no such agent", "no bid", "a site twice", "not of itself", "number none", "an agent twice",
         "nothing"],
)  # fmt: skip
def test_what_no_agent_of_the_fleet_can_have_said_is_refused(awards: list[list[int]], words: list[list[int]]) -> None:
    exchange = Exchange(1, [0], 3, 4, 2, SPEC, 2)
    message = Message.blank(1, SPEC, awards=2, words=2)
    message.kind[:], message.id[:] = AUCTION, 1
    message.award_count[:], message.word_count[:] = len(awards), len(words)
    message.awards[0, : len(awards)] = np.reshape(awards, (-1, 3))
    message.words[0, : len(words)] = np.reshape(words, (-1, 3))
    zero = np.zeros(1, np.int32)
    inbox = Deliveries(
        zero, zero + 1, zero, zero, np.zeros(1), zero, *encode(message, SPEC), zero, np.zeros(1, bool)
    )  # fmt: skip
    assert exchange.listen(inbox, 3).all()
    assert (exchange.auction.winner == NOBODY).all() and (exchange.heard == -1).all()


@pytest.mark.parametrize(("agents", "sites"), [(256, 3), (3, 256), (3, 0)])
def test_more_than_a_packet_can_count_is_refused(agents: int, sites: int) -> None:
    with pytest.raises(ConfigError, match=r"market\.(agents|sites) must be 1 to 255"):
        Exchange(1, [0], agents, sites, 1, SPEC, 2)
