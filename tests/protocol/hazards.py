"""A fleet that has more to bear than a bad radio: clocks that differ, processes that die and come back.

Like `air.fly`, but every agent has a clock of its own, and vehicles move between message rounds, by their own clocks:
at the end of a tick's last round by its own clock a vehicle is where its plan is at that tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from air import ROUNDS, Air, RandomPlanner, Schedule, crowd, part_of, random_samples, setup_of
from numpy.typing import NDArray

from agentsc.links.flight import Deliveries
from agentsc.protocol import PROTOCOLS, Setup, Variant
from agentsc.protocol.forks import Forks
from agentsc.protocol.variants.negotiated import NegotiatedBlock
from envs.geometry import segment_closest

DT = 5 / 64
ROUND_S = DT / ROUNDS


@dataclass(frozen=True)
class Hazards:
    """What else goes wrong.

    Attributes:
        skew: rounds; clocks are ahead by 0 … skew, an agent's by the same in all lanes.
        crashes: probability per agent and round that its process dies. down: rounds until it is back, at most.
        late: agents per lane that are not there at the start; they come within the first half.
        gifts: probability per fork and round that its holder wants to give it away.
        parted: share of the time in which a lane is in two parts that hear nothing of each other.
    """

    skew: int = 0
    crashes: float = 0.0
    down: int = 10
    late: int = 0
    gifts: float = 0.0
    parted: float = 0.0


class Giving:
    """Gives forks away at random."""

    rng: np.random.Generator
    generosity: float
    forks: Forks

    def gives(self) -> NDArray[np.bool_]:
        return self.rng.random(self.forks.known.shape) < self.generosity


class GivingPlanner(Giving, RandomPlanner):
    """The real protocol around plans drawn at random, and gifts of forks."""


class Fate:
    """Which processes die when, and when they are back.

    Args:
        back: int64 [lane, agent], round in which a process starts, 0 for those that are there.
    """

    def __init__(self, hazards: Hazards, lanes: int, agents: int, rounds: int, rng: np.random.Generator) -> None:
        self.hazards, self.rng = hazards, rng
        late = np.argsort(rng.random((lanes, agents)), axis=1) < hazards.late
        self.late = late
        self.back = np.where(late, rng.integers(1, max(rounds // 2, 2), (lanes, agents)), 0)

    def strike(self, clock: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Who dies and who comes back before this round: bool [lane, agent] each."""
        returns = (self.back == clock) & (clock > 0)
        dies = (self.back < clock) & (self.rng.random(self.back.shape) < self.hazards.crashes)
        self.back[dies] = clock + self.rng.integers(0, self.hazards.down + 1, dies.sum())
        return dies, returns | (dies & (self.back == clock))


@dataclass
class Flown:
    """closest: float [lane], metres, least centre distance in continuous time; collided: it was too small.

    Sums over all lanes: commits, proposals, refused; crashes, and gifts of forks, given or taken.
    """

    closest: NDArray[np.float32]
    collided: NDArray[np.bool_]
    commits: int
    proposals: int
    refused: int
    crashes: int
    gifts: int


def part(air: Air, share: float, lanes: int, agents: int, rounds: int, rng: np.random.Generator) -> None:
    """Cut every lane in two for one stretch of time; what arrives across the cut is lost."""
    side = rng.integers(0, 2, (lanes, agents))
    first = rng.integers(0, rounds, lanes)
    last = first + int(2 * share * rounds) * rng.random(lanes)

    def cut(inbox: Deliveries, clock: int) -> Deliveries:
        across = side[inbox.lane, inbox.sender] != side[inbox.lane, inbox.receiver]
        return inbox.take(~(across & (first[inbox.lane] <= clock) & (clock < last[inbox.lane])))

    air.disturb = cut


def place(block: NegotiatedBlock, clock: int) -> NDArray[np.float32]:
    """Where a block's vehicles are [lane, agent, 2] after message round ``clock``."""
    tick, rest = divmod(clock + 1, ROUNDS)
    ticks = np.broadcast_to(tick - 1 + np.arange(2), (len(block.rows), 2))
    spots = block.executed(block.rows, ticks)
    share = np.float32(rest / ROUNDS)
    return ((1 - share) * spots[:, 0] + share * spots[:, 1]).reshape(block.lanes, -1, 2)


def brave(
    schedule: Schedule, hazards: Hazards, *, lanes: int = 40, agents: int = 5, ticks: int = 60, seed: int = 0,
    planner: Callable[[Any, Setup, list[int]], NegotiatedBlock] = GivingPlanner, variant: Variant | None = None,
    apart: float = 0.12, half: float = 0.38, links: Callable[[Air], None] | None = None,
    first_seq: int = 0,
) -> Flown:  # fmt: skip
    """Random planners under a schedule and hazards.

    Args:
        planner: the block. variant: what it is made from; our protocol with the clock skew there is, if not given.
        apart: metres between starting places, at least. half: of the square's side, metres.
        links: called with the air before the start, to set links on purpose.
        first_seq: sequence number that agents start from.
    """
    world = crowd(lanes, agents, seed, ticks=ticks, apart=apart, half=half)
    setup = setup_of(world, seed)
    variant = variant or PROTOCOLS.create("negotiated", replan_ticks=2, clock_skew_s=hazards.skew * ROUND_S)
    rng = np.random.default_rng([seed, 2])
    air = Air(schedule, lanes, agents, rng)
    if links is not None:
        links(air)
    if hazards.parted:
        part(air, hazards.parted, lanes, agents, ticks * ROUNDS, rng)
    ahead = rng.integers(0, hazards.skew + 1, agents)
    ahead[rng.permutation(agents)[:2]] = 0, hazards.skew  # as far apart as can be
    blocks, parts = [], [np.flatnonzero(ahead == offset) for offset in np.unique(ahead)]
    fate = Fate(hazards, lanes, agents, ticks * ROUNDS, rng)
    for ids in parts:
        block = planner(variant, setup, ids.tolist())
        block.rng, block.generosity = rng, hazards.gifts  # type: ignore[attr-defined]
        block.seq[:] = first_seq
        if hazards.late:
            block.late(fate.late)
        blocks.append(block)

    def places(clock: int) -> NDArray[np.float32]:
        spots = np.empty((lanes, agents, 2), np.float32)
        for block, ids in zip(blocks, parts, strict=True):
            spots[:, ids] = place(block, clock + ahead[ids[0]])
        return spots

    first_versions = sum(int(block.forks.version.sum()) for block in blocks)
    closest = np.full(lanes, np.inf, np.float32)
    here = world.starts
    first, second = np.triu_indices(agents, 1)
    crashes = 0
    for clock in range(ticks * ROUNDS):
        dies, returns = fate.strike(clock)
        crashes += int(dies.sum())
        for block, ids in zip(blocks, parts, strict=True):
            block.stop(np.flatnonzero(dies[:, ids]))
            block.restart(np.flatnonzero(returns[:, ids]))
        inbox = air.deliver(clock)
        spoken = []
        for block, ids in zip(blocks, parts, strict=True):
            mine = int(clock + ahead[ids[0]])
            block.listen(part_of(inbox, ids), mine)
            sampled = None
            if mine % ROUNDS == 0:
                imagined = random_samples(block.imagine(mine), rng)
                sampled = random_samples(block.propose(imagined, mine), rng)
            spoken.append(block.speak(sampled, mine))
        for packets in spoken:
            air.send(packets, clock)
        there = places(clock + 1)
        apart_now = segment_closest(here[:, first], there[:, first], here[:, second], there[:, second])
        closest, here = np.minimum(closest, apart_now.min(1)), there
    total = [sum(int(getattr(b.counters, n).sum()) for b in blocks) for n in ("commits", "proposals", "invalid")]
    gifts = sum(int(block.forks.version.sum()) for block in blocks) - first_versions
    return Flown(closest, closest < world.separation - 1e-6, *total, crashes, gifts)
