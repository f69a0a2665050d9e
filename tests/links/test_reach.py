"""Who can hear whom, and the keys of those who can."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic import everyone as all_speak

from agentsc.links import Draw, Held, Hop, Pairs, Surroundings
from agentsc.links.medium import Medium
from agentsc.links.reach import both, everyone, nearest, within
from envs.keyed import hash_words


def heard(pairs: Pairs, packets: int, agents: int) -> np.ndarray:
    """bool [K, A]; a list that is not sorted, or holds a pair twice, is refused."""
    flat = pairs.packet.astype(int) * agents + pairs.receiver
    assert (np.diff(flat) > 0).all()
    table = np.zeros((packets, agents), bool)
    table[pairs] = True
    return table


def distances(lane: np.ndarray, sender: np.ndarray, spots: np.ndarray) -> np.ndarray:
    """float [K, A], of a sender from itself inf."""
    wide = spots.astype(np.float64)
    gap = np.linalg.norm(wide[lane] - wide[lane, sender][:, None], axis=-1)
    gap[np.arange(len(lane)), sender] = np.inf
    return gap


@given(
    seed=st.integers(0, 999), lanes=st.integers(1, 3), agents=st.integers(1, 40),
    metres=st.sampled_from([1e-3, 0.05, 0.3, 1.0, 50.0]), lattice=st.booleans(),
)  # fmt: skip
def test_the_grid_finds_whom_all_distances_find(
    seed: int, lanes: int, agents: int, metres: float, lattice: bool
) -> None:
    rng = np.random.default_rng(seed)
    spots = rng.uniform(-2, 2, (lanes, agents, 2)).astype(np.float32)
    if lattice:  # equal places, distances of exactly the range
        spots, metres = np.rint(spots), 1.0
    lane, sender = (p.astype(np.int32) for p in np.nonzero(rng.random((lanes, agents)) < 0.6))
    found = heard(within(lane, sender, spots, metres), len(lane), agents)
    np.testing.assert_array_equal(found, distances(lane, sender, spots) <= metres)


@given(
    seed=st.integers(0, 999), lanes=st.integers(1, 3), agents=st.sampled_from([2, 7, 40, 60, 150]),
    k=st.sampled_from([1, 3, 10, 200]), lattice=st.booleans(),
)  # fmt: skip
def test_the_nearest_are_the_nearest(seed: int, lanes: int, agents: int, k: int, lattice: bool) -> None:
    """With the lower number first among equals, in one cell and in many."""
    rng = np.random.default_rng(seed)
    spots = rng.uniform(-2, 2, (lanes, agents, 2)) * rng.choice([1e-3, 1.0, 1e3], (lanes, 1, 1))
    spots[:, : agents // 3] *= 0.05  # a crowd, and others far from it
    if lattice:  # equal places and equal distances
        spots = np.rint(2 * spots)
    lane, sender = (p.astype(np.int32) for p in np.nonzero(rng.random((lanes, agents)) < 0.6))
    found = heard(nearest(lane, sender, spots, k), len(lane), agents)
    square = ((spots[lane] - spots[lane, sender][:, None]) ** 2).sum(-1)
    square[np.arange(len(lane)), sender] = np.inf
    order = np.argsort(square, axis=1, kind="stable")[:, : min(k, agents - 1)]
    wanted = np.zeros_like(found)
    np.put_along_axis(wanted, order, True, axis=1)
    np.testing.assert_array_equal(found, wanted)


def test_at_one_spot_there_are_still_k_nearest() -> None:
    lane, sender = np.zeros(6, np.int32), np.arange(6, dtype=np.int32)
    pairs = nearest(lane, sender, np.zeros((1, 6, 2), np.float32), 2)
    assert heard(pairs, 6, 6).sum(1).tolist() == [2] * 6 and (pairs.receiver != sender[pairs.packet]).all()


def test_pairs_in_both_lists() -> None:
    rng = np.random.default_rng(0)
    tables = rng.random((2, 7, 9)) < 0.5
    one, other = (Pairs(*(p.astype(np.int32) for p in np.nonzero(table))) for table in tables)
    np.testing.assert_array_equal(heard(both(one, other, 9), 7, 9), tables.all(0))


def test_keys_are_those_of_the_words() -> None:
    rng = np.random.default_rng(1)
    lane, sender = (p.astype(np.int32) for p in np.nonzero(rng.random((3, 200)) < 0.5))
    clock = rng.integers(0, 60_000, len(lane)).astype(np.int32)
    pairs = everyone(sender, 200)
    packets = Held.new(lane, sender, clock, np.zeros((len(lane), 1), np.uint8), clock, clock * 0.05)
    hop = Hop(packets, pairs, Surroundings(200))
    seeds = hash_words(5, np.arange(3))
    draw = Draw(hop, seeds)
    word = (sender.astype(np.int64)[pairs.packet] << 16) + pairs.receiver
    at = lane[pairs.packet]
    np.testing.assert_array_equal(draw.packet, hash_words(seeds[at], clock[pairs.packet], word))
    np.testing.assert_array_equal(draw.pair, hash_words(seeds[at], -1, word))
    np.testing.assert_array_equal(draw.lane, hash_words(seeds[at], -2))
    copies = hop.with_copies(np.arange(0, len(hop), 2), 3)
    keys = Draw(copies.with_copies(np.arange(len(hop), len(hop) + 9), 3), seeds).packet
    assert len(np.unique(keys)) == len(keys) and np.array_equal(keys[: len(hop)], draw.packet)


def test_fate_within_range_does_not_depend_on_the_range() -> None:
    """Restricting who hears leaves what those who hear meet as it was."""
    spots = np.random.default_rng(2).uniform(0, 1, (1, 9, 2))
    near, far = (Medium(f"erasure:p=0.5+range:metres={m}", 4, [7], 9, 0.05) for m in (0.4, 9.0))
    gap = distances(np.zeros(9, int), np.arange(9), spots)
    for clock in range(20):
        logs = []
        for medium in (near, far):
            medium.transmit(all_speak(1, 9), clock, spots)
            logs.append(medium.transmissions(0))
        close = gap[logs[1].sender, logs[1].receiver] <= 0.4
        np.testing.assert_array_equal(logs[0].receiver, logs[1].receiver[close])
        np.testing.assert_array_equal(logs[0].lost, logs[1].lost[close])
    out = int((gap[np.isfinite(gap)] > 0.4).sum())
    assert near.books.by_reason["range"].tolist() == [20 * out] and out > 0


def test_a_link_that_needs_positions_says_so() -> None:
    with pytest.raises(ValueError, match="needs to know where agents are"):
        Medium("range:metres=3", 1, [0], 3, 0.05).transmit(all_speak(1, 3), 0)
