"""MADER and RMADER: what makes a plan die, what crosses the air, and where the published safety ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agentsc.actors.fleet import LocalFleet
from agentsc.baselines._deconfliction import DeconflictingBlock
from agentsc.experiment.config import resolve
from agentsc.experiment.metrics import lane_rows, metrics
from agentsc.experiment.run import prepare
from agentsc.experiment.runner import run_lanes
from agentsc.intent.codec import decode
from agentsc.intent.fields import OPTIMISED, TRAJECTORY
from agentsc.links.medium import Deliveries, Medium, Packets
from agentsc.protocol import PROTOCOLS, Setup
from envs.arena import Arena
from envs.geometry import segment_closest
from envs.scenarios import SCENARIOS

ROUNDS = 2
ROUND_MS = 1000 * 5 / 64 / ROUNDS
BITS = 20 + 4 + 16 + 8 + 33 * 64 + 16
"""Header, kind, start tick, count, way-points, checksum: as full-trajectory."""
FAR, ACROSS = (-0.7, -0.7), (0.0, 0.0)


def setup_of(agents: int, lanes: int = 1) -> Setup:
    world = SCENARIOS.create("circle", agents=agents).build(0, range(lanes))
    return Setup.of(world, prior="edge-prior", rounds=ROUNDS, seed=0)


def block(name: str, ids: range, **parameters: Any) -> DeconflictingBlock:
    made = PROTOCOLS.create(name, **parameters).block(setup_of(3), ids)
    assert isinstance(made, DeconflictingBlock)
    return made


def decide(speaker: DeconflictingBlock, clock: int, to: Any, ready: int = 1) -> None:
    """In round ``clock`` its agents choose to drift ``to``; their optimisation ends ``ready`` rounds later."""
    rows = speaker.rows
    start = speaker.tick(clock) + speaker.lead
    here = speaker.executed(rows, start[:, None])[:, 0]
    share = np.minimum(np.arange(33, dtype=np.float32) / 32, 1.0)[:, None]
    path = here[:, None] + (np.float32(to) - here)[:, None] * share
    speaker.pending.put((rows,), speaker.own.seq[:, 1] + 1, start, path)
    speaker.began[:], speaker.ready[:] = clock, clock + ready


def hear(*parts: tuple[Packets, int]) -> Deliveries:
    """Packets of one lane with their rounds of sending, as receiver 0 gets them, in the order given."""
    some = [(packets, sent) for packets, sent in parts if len(packets.lane)]
    count = sum(len(packets.lane) for packets, _ in some)
    data = np.concatenate([p.data for p, _ in some]) if some else np.zeros((0, 0), np.uint8)
    sender = np.concatenate([p.sender for p, _ in some]) if some else np.zeros(0, np.int32)
    bits = np.concatenate([p.bits for p, _ in some]) if some else np.zeros(0, np.int32)
    sent = np.repeat([s for _, s in some], [len(p.lane) for p, _ in some]).astype(np.int32)
    zero = np.zeros(count, np.int32)
    packet, whole = np.arange(count, dtype=np.int32), np.zeros(count, bool)
    return Deliveries(zero, sender, zero, sent, np.zeros(count), packet, data, bits, zero, whole)


def go(speaker: DeconflictingBlock, clock: int, *parts: tuple[Packets, int]) -> Packets:
    speaker.listen(hear(*parts), clock)
    return speaker.speak(None, clock)


def kinds(packets: Packets, of: DeconflictingBlock) -> list[int]:
    message, good = decode(packets.data, packets.bits, of.setup.spec)
    assert good.all() and (packets.bits == BITS).all()
    return [int(kind) for kind in message.kind]


def published(to: Any, clock: int, ready: int = 1) -> tuple[Packets, int]:
    """Agent 1's commitment to drift ``to``, as MADER publishes it, and the round of that."""
    peer = block("mader", range(1, 2), check_rounds=1)
    go(peer, clock)
    decide(peer, clock, to, ready)
    for later in range(clock + 1, clock + ready + 1):
        assert len(go(peer, later).lane) == 0
    packets = go(peer, clock + ready + 1)
    assert kinds(packets, peer) == [TRAJECTORY]
    return packets, clock + ready + 1


# -- MADER ---------------------------------------------------------------------------------------


def test_mader_commits_after_check_and_recheck() -> None:
    me = block("mader", range(0, 1), check_rounds=1)
    go(me, 0)
    decide(me, 0, ACROSS, ready=2)
    assert [len(go(me, clock).lane) for clock in (1, 2)] == [0, 0] and me.pending.valid[0]
    assert kinds(go(me, 3), me) == [TRAJECTORY] and not me.pending.valid[0]
    np.testing.assert_array_equal(me.own.path[0, 1], me.pending.path[0])
    assert me.counters.commits.tolist() == [1] and me.counters.commit_rounds.tolist() == [3]


@pytest.mark.parametrize(
    ("arrives", "to", "commits"),
    [(11, ACROSS, False), (11, FAR, True), (12, ACROSS, False), (12, FAR, False), (13, ACROSS, True)],
    ids=["in the optimisation, crossing", "in the optimisation, clear", "in the check, crossing",
         "in the check, clear", "after the commit"],
)  # fmt: skip
def test_what_arrives_decides_what_mader_does(arrives: int, to: Any, commits: bool) -> None:
    packets = published(to, 4)
    me = block("mader", range(0, 1), check_rounds=1)
    go(me, 10)
    decide(me, 10, ACROSS)  # ready in round 11, checked until round 12
    for clock in (11, 12, 13):
        go(me, clock, *[packets] * (clock == arrives))
    assert me.counters.commits.tolist() == [int(commits)] and not me.pending.valid[0]
    assert commits or me.retry[0] == me.tick(12 if arrives == 12 else 11) + 1


@pytest.mark.parametrize(("to", "commits"), [(ACROSS, False), (FAR, True)], ids=["crossing", "clear"])
def test_a_check_of_no_time_sees_what_came_while_optimising_and_commits_at_once(to: Any, commits: bool) -> None:
    packets = published(to, 4)
    me = block("mader", range(0, 1), check_rounds=0)
    go(me, 10)
    decide(me, 10, ACROSS, ready=2)
    go(me, 11)
    assert me.pending.valid[0]
    go(me, 12, packets)
    assert me.counters.commits.tolist() == [int(commits)] and not me.pending.valid[0]


def test_a_repeated_trajectory_is_no_news() -> None:
    packets = published(FAR, 4)
    me = block("mader", range(0, 1), check_rounds=1)
    go(me, 8, packets)
    decide(me, 10, ACROSS)
    go(me, 11)
    again = block("mader", range(1, 2), repeat_s=1e-3)
    again.own.put((0, 1), *(getattr(me.knowledge.plans, name)[0, 1, 0] for name in ("seq", "start", "path")))
    repeated = go(again, 11)
    assert kinds(repeated, again) == [TRAJECTORY]
    go(me, 12, (repeated, 11))
    assert me.knowledge.clock[0, 1] == 11 and me.counters.commits.tolist() == [1]


# -- RMADER --------------------------------------------------------------------------------------


def test_rmader_publishes_twice_and_follows_only_what_is_committed() -> None:
    me = block("rmader", range(0, 1))
    go(me, 0)
    decide(me, 0, ACROSS)
    before = me.own.path[0, 1].copy()
    assert kinds(go(me, 1), me) == [OPTIMISED]
    for clock in (2, 3, 4):
        assert len(go(me, clock).lane) == 0
        np.testing.assert_array_equal(me.own.path[0, 1], before)
    assert kinds(go(me, 5), me) == [TRAJECTORY]
    np.testing.assert_array_equal(me.own.path[0, 1], me.pending.path[0])
    assert me.counters.commit_rounds.tolist() == [5] and me.counters.commits.tolist() == [1]


def test_of_two_offers_that_cross_both_owners_give_up_and_say_so() -> None:
    me, peer = block("rmader", range(0, 1)), block("rmader", range(1, 2))
    for agent in (me, peer):
        go(agent, 0)
        decide(agent, 0, ACROSS)
    theirs = go(peer, 1)
    assert kinds(go(me, 1), me) == kinds(theirs, peer) == [OPTIMISED]
    answer = go(me, 3, (theirs, 1))
    assert kinds(answer, me) == [TRAJECTORY], "what stands is the committed plan"
    assert not me.pending.valid[0] and me.counters.commits.tolist() == [0] and me.retry[0] == 2
    assert me.knowledge.plans.valid[0, 1].all(), "of the peer, both plans are held"
    # The peer's committed plan takes its offer back.
    peer.pending.valid[0], peer.commit_due[0], peer.out[0] = False, True, False
    go(me, 5, (go(peer, 4), 4))
    assert me.knowledge.plans.valid[0, 1].tolist() == [True, False]


def test_a_commitment_that_is_overtaken_by_the_next_offer_still_counts() -> None:
    me, peer = block("rmader", range(0, 1), delay_check_s=0.3), block("rmader", range(1, 2))
    go(peer, 0)
    decide(peer, 0, FAR)
    said = {clock: go(peer, clock) for clock in range(1, 9)}
    first = peer.own.path[0, 1].copy()
    assert peer.counters.commits.tolist() == [1]
    decide(peer, 8, (0.7, 0.7))
    offer = go(peer, 9)
    assert kinds(said[5], peer) == [TRAJECTORY] and kinds(offer, peer) == [OPTIMISED]
    go(me, 10, (offer, 9))
    go(me, 11, (said[5], 5))
    plans = me.knowledge.plans
    assert plans.valid[0, 1].all()
    np.testing.assert_array_equal(plans.path[0, 1, 0], first)
    np.testing.assert_array_equal(plans.path[0, 1, 1], peer.pending.path[0])


# -- whole experiments ---------------------------------------------------------------------------


def crossings(name: str, delay_ms: float, lanes: int = 12, ticks: int = 32, **parameters: Any) -> NDArray[np.bool_]:
    """bool [lane]: two agents that meet head-on ever followed plans that touch."""
    setup = setup_of(2, lanes)
    world = setup.world
    fleet = LocalFleet(PROTOCOLS.create(name, **parameters), setup, None, "cpu")
    medium = Medium(f"delay:ms={delay_ms}", 0, world.episodes, 2, world.dt / ROUNDS)
    arena, agents = Arena(world), fleet.block
    assert isinstance(agents, DeconflictingBlock)
    far = np.full((lanes, 2), np.inf, np.float32)
    crossed = np.zeros(lanes, bool)
    for tick in range(ticks):
        for clock in (ROUNDS * tick, ROUNDS * tick + 1):
            medium.transmit(fleet.round(medium.deliver(clock), clock, deciding=clock % ROUNDS == 0), clock)
        ahead = np.broadcast_to(tick + np.arange(50), (len(agents.rows), 50))
        path = agents.executed(agents.rows, ahead).reshape(lanes, 2, -1, 2)
        gap = segment_closest(path[:, 0, :-1], path[:, 0, 1:], path[:, 1, :-1], path[:, 1, 1:])
        crossed |= gap.min(-1) < world.separation
        arena.step(fleet.act(arena.position, arena.velocity, far, tick))
    assert np.linalg.norm(arena.position - world.starts, axis=-1).mean() > world.separation, "they are under way"
    return crossed


def test_head_on_over_a_late_link_mader_commits_to_crossing_plans_and_rmader_never() -> None:
    assert crossings("mader", 8 * ROUND_MS).mean() > 0.5
    assert not crossings("rmader", 8 * ROUND_MS, delay_check_s=8 * ROUND_MS / 1000).any()


def test_a_delay_beyond_the_delay_check_defeats_rmader() -> None:
    assert crossings("rmader", 16 * ROUND_MS).any()


@pytest.mark.parametrize("name", ["mader", "rmader"])
def test_what_is_measured_and_what_is_not(name: str) -> None:
    config = {"scenario": {"name": "weave", "agents": 4}, "episodes": 2, "seed": 3, "device": "cpu"}
    job = prepare(resolve(None, {**config, "protocol": {"name": name}, "link": "erasure:p=0.2"}))
    log = run_lanes(job.config, job.world)
    assert log.proposals is not None and log.commits is not None and log.bits is not None and log.packets is not None
    assert (log.proposals >= log.commits).all() and (log.commits > 4).all()
    np.testing.assert_array_equal(log.bits, log.packets * BITS)
    found = metrics(lane_rows(log))
    span = {"mader": 1, "rmader": 4}[name]
    assert span + 1 <= found["rounds_per_commit"]["mean"] <= span + ROUNDS
    assert found["grant_ratio"]["mean"] is None and "grants" in found["grant_ratio"]["reason"]
