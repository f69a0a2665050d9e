"""A fleet of random planners under any packet schedule: what the safety tests drive.

The planner is replaced by one that proposes random plans, the network and the medium by an
adversary that loses, delays, repeats and reorders packets per receiver as it likes. Everything
between them, from bytes to locks, is the real protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from agentsc.links.medium import Deliveries, Packets
from agentsc.protocol import PROTOCOLS, Block, Setup, Variant
from agentsc.protocol.planner import PlanningBlock
from agentsc.protocol.plans import PlanTable
from agentsc.protocol.variants.negotiated import NegotiatedBlock
from envs.arena import Arena
from envs.geometry import Obstacles
from envs.world import World
from policies.requests import SampleReply, SampleRequest
from policies.trajectory.spline import greville

ROUNDS = 2


def crowd(lanes: int, agents: int, seed: int, *, half: float = 0.38, ticks: int = 80, apart: float = 0.12) -> World:
    """``agents`` discs at random places of a small walled square, ``apart`` metres or more, nothing else in it."""
    rng = np.random.default_rng(seed)
    starts = np.empty((lanes, agents, 2), np.float32)
    for lane in range(lanes):
        for agent in range(agents):
            while True:
                spot = rng.uniform(-half + 0.06, half - 0.06, 2)
                if (np.linalg.norm(starts[lane, :agent] - spot, axis=-1) > apart).all():
                    break
            starts[lane, agent] = spot
    return World(
        name="crowd", obstacles=Obstacles(bounds=(-half, -half, half, half)), radius=0.05, v_max=0.64,
        a_max=np.inf, dt=5 / 64, dynamics="single", goal_tolerance=0.05, separation=0.1, max_ticks=ticks,
        cell=0.1,
        starts=starts, goals=-starts, episodes=np.arange(lanes, dtype=np.int64),
    )  # fmt: skip


def setup_of(world: World, seed: int = 0) -> Setup:
    return Setup.of(world, prior="edge-prior", rounds=ROUNDS, seed=seed)


class RandomChoice(PlanningBlock):
    """Plans drawn at random instead of sampled and scored; whatever keeps them apart is the rule."""

    rng: np.random.Generator

    def imagine(self, clock: int) -> None:
        self.own_priority = np.zeros(len(self.rows), np.int64)
        self.due = self._whose_turn(self.now)

    def propose(self, imagined: Any, clock: int) -> Any:
        return Ellipsis if len(self.due) else None

    def choose(self, sampled: Any) -> tuple[NDArray[np.int64], NDArray[np.int32], PlanTable]:
        due, spec, rng = self.due, self.setup.spec, self.rng
        start = self.now + self.lead[due]
        here = self.executed(due, start[:, None])[:, 0]
        x0, y0, x1, y1 = self.setup.world.bounds
        target = rng.uniform((x0, y0), (x1, y1), (len(due), 2))
        share = greville(spec.control_points)[:, None] * rng.uniform(0.7, 3.0, (len(due), 1, 1))
        control = here[:, None] + (target - here)[:, None] * np.minimum(share, 1.0)
        control += rng.normal(0.0, 0.03, control.shape)
        control[:, 0] = here
        codes = spec.quantise(control.astype(np.float32), spec.lattice(here))
        path = self._points(spec.dequantise(codes))
        new = np.flatnonzero(self.clear_of_peers(due, path, start))
        table = PlanTable(np.zeros(len(new), np.int64), start[new], path[new], np.ones(len(new), bool))
        return new, codes[new], table


class RandomPlanner(RandomChoice, NegotiatedBlock):
    """The real protocol around plans drawn at random."""


@dataclass(frozen=True)
class Schedule:
    """How an adversary treats packets; every lane gets a strength of its own up to these.

    Attributes:
        loss, repeat: probabilities. delay: rounds, at most. stall: rounds; packets to a stalled
            receiver wait for the next multiple of this (1: never). tail: share of packets that take
            ten times as long. jitter: 0, a link takes equally long every time; 1, anything up to that.
    """

    loss: float = 0.0
    repeat: float = 0.0
    delay: int = 1
    stall: int = 1
    tail: float = 0.0
    jitter: float = 1.0


schedules = st.builds(
    Schedule,
    loss=st.sampled_from([0.0, 0.2, 0.5, 0.9]),
    repeat=st.sampled_from([0.0, 0.3, 1.0]),
    delay=st.sampled_from([1, 4, 20, 120]),
    stall=st.sampled_from([1, 7, 40]),
    tail=st.sampled_from([0.0, 0.1]),
    jitter=st.sampled_from([0.0, 0.3, 1.0]),
)
"""Any of them, as Hypothesis draws them."""


class Air:
    """Carries packets of all lanes as a schedule says, bytes unharmed.

    Attributes:
        data, bits, lane, sender: of every packet that was ever sent. disturb: what an inbox goes through before it
            is handed over, with the round; none: nothing.
    """

    disturb: Callable[[Deliveries, int], Deliveries] | None = None

    def __init__(self, schedule: Schedule, lanes: int, agents: int, rng: np.random.Generator) -> None:
        self.schedule, self.agents, self.rng = schedule, agents, rng
        pair = (lanes, agents, agents)
        # Links differ: some are clean while others are nearly dead, which is when ranks disagree most.
        self.loss = schedule.loss * rng.random(pair) ** 0.5
        self.delay = float(schedule.delay) ** rng.random(pair)
        self.stall = np.where(rng.random(pair) < 0.3, schedule.stall, 1)
        self.due: dict[int, list[tuple[NDArray[np.int64], ...]]] = {}
        self.data: list[NDArray[np.uint8]] = []
        self.bits: list[int] = []
        self.lane: list[int] = []
        self.sender: list[int] = []

    def send(self, packets: Packets, clock: int) -> None:
        schedule, rng = self.schedule, self.rng
        if not len(packets.lane):
            return
        first = len(self.data)
        self.data += list(packets.data)
        self.bits += packets.bits.tolist()
        self.lane += packets.lane.tolist()
        self.sender += packets.sender.tolist()
        packet, receiver = (a.ravel() for a in np.indices((len(packets.lane), self.agents)))
        lane, sender = packets.lane[packet].astype(np.int64), packets.sender[packet].astype(np.int64)
        copies = (rng.random(len(packet)) >= self.loss[lane, sender, receiver]).astype(np.int64)
        copies += rng.random(len(packet)) < schedule.repeat
        copies[receiver == sender] = 0
        every = np.repeat(np.arange(len(packet)), copies)
        packet, receiver, lane, sender = packet[every], receiver[every], lane[every], sender[every]
        wait = (1.0 - schedule.jitter * rng.random(len(every))) * (self.delay[lane, sender, receiver] - 1.0)
        wait = np.where(rng.random(len(every)) < schedule.tail, 10 * wait, wait)
        period = self.stall[lane, sender, receiver]
        when = clock + 1 + wait.astype(np.int64)
        when = -(-when // period) * period
        for due in np.unique(when):
            now = when == due
            rows = (lane[now], sender[now], receiver[now], np.full(now.sum(), clock), first + packet[now])
            self.due.setdefault(int(due), []).append(rows)

    def deliver(self, clock: int) -> Deliveries:
        parts = self.due.pop(clock, [])
        lane, sender, receiver, sent, packet = (
            np.concatenate([part[k] for part in parts]) if parts else np.zeros(0, np.int64) for k in range(5)
        )
        order = self.rng.permutation(len(lane))  # the order within a round must not matter either
        kept, renumbered = np.unique(packet[order], return_inverse=True)
        width = max((len(self.data[k]) for k in kept), default=0)
        payload = np.zeros((len(kept), width), np.uint8)
        for row, k in enumerate(kept):
            payload[row, : len(self.data[k])] = self.data[k]
        small = np.int32
        inbox = Deliveries(
            lane[order].astype(small), sender[order].astype(small), receiver[order].astype(small),
            sent[order].astype(small), np.zeros(len(order)), renumbered.astype(small), payload,
            np.array([self.bits[k] for k in kept], small), np.zeros(len(kept), small), np.zeros(len(kept), bool),
        )  # fmt: skip
        return inbox if self.disturb is None else self.disturb(inbox, clock)


@dataclass
class Outcome:
    """closest: float [lane], metres, least centre distance in continuous time; collided: it was too small.

    commits, proposals, refused: int64 [lane].
    """

    closest: NDArray[np.float32]
    collided: NDArray[np.bool_]
    commits: NDArray[np.int64]
    proposals: NDArray[np.int64]
    refused: NDArray[np.int64]


def random_samples(request: Any, rng: np.random.Generator) -> Any:
    """What a core that has lost its mind would answer: plans that start right and go anywhere."""
    if not isinstance(request, SampleRequest):
        return request
    context, warm = request.context, 0 if request.warm is None else request.warm.shape[1]
    batch, points = context.nominal.shape[:2]
    control = np.repeat(context.nominal[:, None], request.fresh + warm, axis=1)
    if request.warm is not None:
        control[:, request.fresh :] = request.warm
    noise = rng.normal(0.0, 0.1, (batch, request.fresh + warm, 1, 2)) * np.arange(points)[:, None] / points
    noise += rng.normal(0.0, 0.02, control.shape)
    control[:, :, 1:] += noise[:, :, 1:].astype(np.float32)
    control[:, :, -1] = control[:, :, -2]
    cost = None if request.peers is None else np.zeros(control.shape[:2], np.float32)
    return SampleReply(control, cost)


def part_of(inbox: Deliveries, ids: NDArray[np.int64]) -> Deliveries:
    return inbox.take(np.isin(inbox.receiver, ids))


def fly(
    schedule: Schedule, *, lanes: int = 48, agents: int = 5, ticks: int = 80, seed: int = 0, hosts: int = 2,
    planner: Callable[[Any, Setup, list[int]], Block] = RandomPlanner, variant: Variant | None = None,
    prepare: Any = None, first_seq: int = 0, links: Any = None, air_seed: int = 1, meanwhile: Any = None,
) -> Outcome:  # fmt: skip
    """Random planners under a schedule.

    Args:
        planner: the block; the real one is fed random samples in place of the core's.
        variant: what the block is made from; our protocol, eager to plan, if not given.
        prepare: called with every block before the start.
        first_seq: sequence number that agents start from.
        links: called with the air before the start, to set links on purpose.
        air_seed: of the packets' fate and of random plans, for the same fleet under other circumstances.
        meanwhile: called with every block and the tick, before that begins.
    """
    world = crowd(lanes, agents, seed, ticks=ticks)
    setup = setup_of(world, seed)
    variant = variant or PROTOCOLS.create("negotiated", replan_ticks=2)
    rng = np.random.default_rng([seed, air_seed])
    air = Air(schedule, lanes, agents, rng)
    if links is not None:
        links(air)
    parts = [part for part in np.array_split(np.arange(agents), hosts) if len(part)]
    blocks = [planner(variant, setup, part.tolist()) for part in parts]
    for block in blocks:
        block.rng = rng  # type: ignore[attr-defined]
        if isinstance(block, NegotiatedBlock):
            block.seq[:] = first_seq
        if prepare is not None:
            prepare(block)
    arena = Arena(world)
    closest = np.full(lanes, np.inf, np.float32)
    far = np.full((lanes, agents), np.inf, np.float32)
    for tick in range(ticks):
        for block in blocks if meanwhile is not None else ():
            meanwhile(block, tick)
        for number in range(ROUNDS):
            clock = tick * ROUNDS + number
            inbox = air.deliver(clock)
            spoken = []
            for block, part in zip(blocks, parts, strict=True):
                block.listen(part_of(inbox, part), clock)
                sampled = None
                if number == 0:
                    imagined = random_samples(block.imagine(clock), rng)
                    sampled = random_samples(block.propose(imagined, clock), rng)
                spoken.append(block.speak(sampled, clock))
            for packets in spoken:
                air.send(packets, clock)
        command = np.concatenate(
            [
                block.act(arena.position[:, part], arena.velocity[:, part], far[:, part], tick)
                for block, part in zip(blocks, parts, strict=True)
            ],
            axis=1,
        )
        closest = np.minimum(closest, arena.step(command).closest)
    counters = [block.counters for block in blocks]
    return Outcome(
        closest,
        closest < world.separation,
        sum(c.commits for c in counters),
        sum(c.proposals for c in counters),
        sum(c.invalid for c in counters),
    )
