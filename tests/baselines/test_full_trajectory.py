"""Whole trajectories: their exact size on the air, and what receivers make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agentsc
from agentsc.baselines.full_trajectory import FullTrajectoryBlock
from agentsc.intent.codec import decode
from agentsc.links.flight import NONE, Deliveries
from agentsc.links.packets import Packets
from agentsc.protocol import PROTOCOLS, Setup
from envs.scenarios import SCENARIOS

ROUNDS = 2
BITS = 20 + 4 + 16 + 8 + 33 * 64 + 16
"""Header, kind, start tick, count, way-points, checksum."""


def block(ids: range) -> FullTrajectoryBlock:
    world = SCENARIOS.create("circle", agents=3).build(0, [0])
    setup = Setup.of(world, prior="edge-prior", rounds=ROUNDS, seed=0)
    made = PROTOCOLS.create("full-trajectory").block(setup, ids)
    assert isinstance(made, FullTrajectoryBlock)
    return made


def said(speaker: FullTrajectoryBlock, tick: int, to: Any = None) -> Packets:
    """What ``speaker`` says in a tick, after adopting a plan on which it drifts ``to``."""
    clock = ROUNDS * tick
    speaker.listen(NONE, clock)
    if to is not None:
        here = speaker.executed(speaker.rows, np.full((len(speaker.rows), 1), tick + 1))[:, 0]
        share = np.linspace(0, 1, 33, dtype=np.float32)[:, None]
        path = here[:, None] + (np.float32(to) - here)[:, None] * share
        seq = speaker.own.seq[:, 1] + 1
        speaker.pending.put((speaker.rows,), seq, np.full(len(seq), tick + 1), path)
        speaker.commit(speaker.rows)
    return speaker.speak(None, clock)


def heard(packets: list[Packets], sent: list[int], receiver: int) -> Deliveries:
    """All packets of one lane, as one receiver gets them, in the order given."""
    data = np.concatenate([p.data for p in packets])
    count = len(data)
    small = np.int32
    return Deliveries(
        np.zeros(count, small), np.concatenate([p.sender for p in packets]), np.full(count, receiver, small),
        np.repeat(sent, [len(p.lane) for p in packets]).astype(small), np.zeros(count),
        np.arange(count, dtype=small), data, np.concatenate([p.bits for p in packets]), np.zeros(count, small),
        np.zeros(count, bool),
    )  # fmt: skip


def test_every_agent_sends_its_whole_plan_every_tick(tmp_path: Path) -> None:
    log = agentsc.run(
        scenario="weave", agents=3, episodes=1, seed=3, ticks=12, protocol="full-trajectory",
        set=["record.episodes=[]"], out=tmp_path / "run",
    ).log  # fmt: skip
    assert log.bits is not None and log.packets is not None
    np.testing.assert_array_equal(log.packets, 12)
    np.testing.assert_array_equal(log.bits, 12 * BITS)


def test_a_packet_holds_the_committed_way_points_as_they_are() -> None:
    speaker = block(range(1, 2))
    packets = said(speaker, 4, to=(0.1, 0.2))
    assert packets.bits.tolist() == [BITS]
    message, good = decode(packets.data, packets.bits, speaker.setup.spec)
    assert good.all() and message.waypoint_t0.tolist() == [5]
    np.testing.assert_array_equal(message.waypoints[0], speaker.own.path[0, 1])
    assert len(speaker.speak(None, ROUNDS * 4 + 1).lane) == 0


@pytest.mark.parametrize("together", [True, False])
def test_the_newest_trajectory_of_a_peer_counts_in_whatever_order_they_arrive(together: bool) -> None:
    speaker, listener = block(range(1, 2)), block(range(0, 1))
    old = said(speaker, 4, to=(0.1, 0.2))
    new = said(speaker, 8, to=(-0.3, 0.1))
    if together:
        listener.listen(heard([new, old], [16, 8], 0), 20)
    else:
        listener.listen(heard([new], [16], 0), 20)
        listener.listen(heard([old], [8], 0), 21)
    plans = listener.knowledge.plans
    assert plans.start[0, 1, 0] == 9
    expected = speaker.executed(speaker.rows, 9 + np.arange(33)[None])[0]
    np.testing.assert_array_equal(plans.path[0, 1, 0], expected)
    assert plans.start[0, 2, 0] == 0  # nothing was heard of the third


def test_a_packet_with_a_flipped_bit_is_refused_and_counted() -> None:
    speaker, listener = block(range(1, 2)), block(range(0, 1))
    packets = said(speaker, 4, to=(0.1, 0.2))
    packets.data[0, 40] ^= 4
    listener.listen(heard([packets], [8], 0), 9)
    assert listener.knowledge.plans.start[0, 1, 0] == 0 and listener.counters.invalid.tolist() == [1]


def test_who_hears_of_a_crossing_plan_plans_again_at_once() -> None:
    speaker, listener = block(range(1, 2)), block(range(0, 1))
    here = listener.executed(listener.rows, np.array([[4]]))[0, 0]
    listener.listen(heard([said(speaker, 4, to=here)], [8], 0), 9)
    listener.now = 5
    assert listener._whose_turn(5).tolist() == [0]
    listener.knowledge.plans.path[0, 1, 0] = 5.0
    assert listener._whose_turn(6).tolist() == []
