"""What single models do, packet by packet, where that is known exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from traffic import broadcast, everyone, nobody

from agentsc.links import LINKS
from agentsc.links.medium import Medium


def sent_rounds(
    link: str, speaks: set[int], rounds: int, bits: int = 24, round_s: float = 0.05
) -> list[tuple]:
    """(round of sending, seconds to arrival) of agent 0's packets, as agent 1 receives them."""
    medium = Medium(link, 1, [0], 2, round_s)
    found = []
    for clock in range(rounds):
        inbox = medium.deliver(clock)
        assert (inbox.arrival_s <= clock * round_s + 1e-9).all()
        assert (inbox.arrival_s > (clock - 1) * round_s + 1e-9).all()
        found += zip(inbox.sent_clock.tolist(), (inbox.arrival_s - inbox.sent_clock * round_s), strict=True)
        medium.transmit(broadcast([0], [0], clock, bits) if clock in speaks else nobody(), clock)
    return [(clock, round(float(wait), 9)) for clock, wait in found]


def test_a_queue_drops_the_newest_at_its_tail() -> None:
    """D/D/1/3: 100 ms to send, a packet every 50 ms, two may wait."""
    found = sent_rounds("bandwidth:kbps=0.24,queue=2", set(range(8)), 40)
    # 0 is sent at once; 1 to 4 wait as 1 and 3 leave in rounds 2 and 4; 5 and 7 find both places taken.
    assert found == [(0, 0.1), (1, 0.15), (2, 0.2), (3, 0.25), (4, 0.3), (6, 0.3)]


def test_a_queue_drops_the_oldest_at_its_head() -> None:
    found = sent_rounds("bandwidth:kbps=0.24,queue=2,drop=head", set(range(8)), 40)
    # Round 5: 3 and 4 wait, and 3 goes; round 7: 5 and 6 wait, and 5 goes.
    assert [clock for clock, _ in found] == [0, 1, 2, 4, 6, 7]
    assert [wait for _, wait in found] == [0.1, 0.15, 0.2, 0.2, 0.2, 0.25]


def test_an_idle_radio_sends_at_once_and_many_in_a_round() -> None:
    assert sent_rounds("bandwidth:kbps=24", {0, 3, 9}, 20) == [(0, 0.001), (3, 0.001), (9, 0.001)]
    slow = sent_rounds("bandwidth:kbps=24+delay:ms=10", {0}, 20, bits=2400)
    assert slow == [(0, 0.11)]


def test_two_queues_in_a_row_are_a_tandem() -> None:
    """The slower one decides the pace; a packet needs both times."""
    found = sent_rounds("bandwidth:kbps=0.48,queue=9+bandwidth:kbps=0.24,queue=9", {0, 1, 2}, 40)
    assert found == [(0, 0.15), (1, 0.2), (2, 0.25)]


def test_head_drop_keeps_information_fresher() -> None:
    waits = {}
    for drop in ("tail", "head"):
        found = sent_rounds(f"bandwidth:kbps=0.24,queue=4,drop={drop}", set(range(200)), 260)
        waits[drop] = np.mean([wait for _, wait in found])
    assert waits["head"] < waits["tail"]


def test_copies_follow_within_their_time_and_leave_chains_alone() -> None:
    once, twice = (
        Medium(f"duplicate:p={p},ms=80+gilbert-elliott:p=0.2,r=0.3", 3, [0], 8, 0.05) for p in (0, 1)
    )
    for clock in range(40):
        for medium in (once, twice):
            medium.transmit(everyone(1, 8), clock)
        one, two = once.transmissions(0), twice.transmissions(0)
        count = len(one.packet)
        assert len(two.packet) == 2 * count
        np.testing.assert_array_equal(one.lost, two.lost[:count])
        later = two.arrival_s[count:] - two.arrival_s[:count]
        later = later[~np.isnan(later)]
        assert (later >= 0).all() and (later <= 0.08).all() and later.max() > 0.05
    assert (once.lost < twice.lost).all()


def write(path: Path, text: str) -> str:
    path.write_text("time_s,loss,delay_ms,sender,receiver\n" + text)
    return str(path)


def test_a_trace_is_followed_pair_by_pair(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "5,0,10,0,1\n6,1,0,0,1\n7,0,30,0,1\n0,1,0,1,0\n9,1,0,1,0\n")
    medium = Medium(f"trace:path={path},start=zero", 1, [0], 2, 0.5)
    seen = []
    for clock in range(12):
        medium.transmit(everyone(1, 2), clock)
        log = medium.transmissions(0)
        seen.append((log.arrival_s - log.sent_s)[log.sender == 0][0])
        assert log.lost[log.sender == 1].all()
    # One second 10 ms, one lost, one 30 ms, and again.
    expected = np.repeat([0.01, np.nan, 0.03, 0.01, np.nan, 0.03], 2)
    np.testing.assert_allclose(seen, expected)


@pytest.mark.parametrize(("start", "shared"), [("episode", True), ("pair", False)])
def test_where_a_trace_begins_is_drawn(start: str, shared: bool, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("time_s,loss,delay_ms\n" + "".join(f"{t},0,{t}\n" for t in range(1000)))
    medium = Medium(f"trace:path={path},start={start}", 1, range(6), 4, 0.5)
    medium.transmit(everyone(6, 4), 0)
    logs = [medium.transmissions(lane) for lane in range(6)]
    delays = [np.unique((log.arrival_s - log.sent_s).round(6)) for log in logs]
    assert all((len(found) == 1) == shared for found in delays)
    assert len(np.unique(np.concatenate(delays))) > 3


def test_pairs_without_rows_follow_some_pair_that_has_them(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "0,0,10,0,1\n1,0,10,0,1\n0,0,70,1,0\n1,0,70,1,0\n")
    medium = Medium(f"trace:path={path}", 1, [0], 12, 0.5)
    medium.transmit(everyone(1, 12), 0)
    log = medium.transmissions(0)
    delay = (log.arrival_s - log.sent_s).round(6)
    assert delay[(log.sender == 0) & (log.receiver == 1)].tolist() == [0.01]
    assert delay[(log.sender == 1) & (log.receiver == 0)].tolist() == [0.07]
    others = delay[(log.sender > 1) | (log.receiver > 1)]
    assert 0.3 < (others == 0.01).mean() < 0.7 and set(others) == {0.01, 0.07}


def test_gilbert_elliott_is_the_chain_with_two_states() -> None:
    link = LINKS.parse("markov:matrix=0.95/0.05:0.2/0.8,loss=0/1")
    np.testing.assert_allclose(link.stationary, [0.8, 0.2])


def test_a_cyclic_chain_has_its_stationary_law_and_moves_as_it_must() -> None:
    """Three states in turn, loss in the last: every third packet of a pair is lost."""
    medium = Medium("markov:matrix=0/1/0:0/0/1:1/0/0,loss=0/0/1", 1, [0], 12, 0.05)
    lost = []
    for clock in range(30):
        medium.transmit(everyone(1, 12), clock)
        lost.append(medium.transmissions(0).lost)
    fate = np.array(lost)
    assert (fate.reshape(10, 3, -1).sum(1) == 1).all() and (fate[3:] == fate[:-3]).all()
    assert 0.2 < fate[0].mean() < 0.47
