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

from agentsc.protocol import PROTOCOLS, Setup, Variant
from agentsc.protocol.variants.intent import IntentBlock
from envs.geometry import segment_closest

DT = 5 / 64
ROUND_S = DT / ROUNDS


@dataclass(frozen=True)
class Hazards:
    """What else goes wrong.

    Attributes:
        skew: rounds; clocks are ahead by 0 … skew, an agent's by the same in all lanes.
    """

    skew: int = 0


@dataclass
class Flown:
    """closest: float [lane], metres, least centre distance in continuous time; collided: it was too small.

    Sums over all lanes: commits, proposals, refused.
    """

    closest: NDArray[np.float32]
    collided: NDArray[np.bool_]
    commits: int
    proposals: int
    refused: int


def place(block: IntentBlock, clock: int) -> NDArray[np.float32]:
    """Where a block's vehicles are [lane, agent, 2] after message round ``clock``."""
    tick, rest = divmod(clock + 1, ROUNDS)
    ticks = np.broadcast_to(tick - 1 + np.arange(2), (len(block.rows), 2))
    spots = block.executed(block.rows, ticks)
    share = np.float32(rest / ROUNDS)
    return ((1 - share) * spots[:, 0] + share * spots[:, 1]).reshape(block.lanes, -1, 2)


def brave(
    schedule: Schedule, hazards: Hazards, *, lanes: int = 40, agents: int = 5, ticks: int = 60, seed: int = 0,
    planner: Callable[[Any, Setup, list[int]], IntentBlock] = RandomPlanner, variant: Variant | None = None,
    apart: float = 0.12, half: float = 0.38, links: Callable[[Air], None] | None = None,
) -> Flown:  # fmt: skip
    """Random planners under a schedule and hazards.

    Args:
        planner: the block. variant: what it is made from; our protocol with the clock skew there is, if not given.
        apart: metres between starting places, at least. half: of the square's side, metres.
        links: called with the air before the start, to set links on purpose.
    """
    world = crowd(lanes, agents, seed, ticks=ticks, apart=apart, half=half)
    setup = setup_of(world, seed)
    variant = variant or PROTOCOLS.create("intent", replan_ticks=2, clock_skew_s=hazards.skew * ROUND_S)
    rng = np.random.default_rng([seed, 2])
    air = Air(schedule, lanes, agents, rng)
    if links is not None:
        links(air)
    ahead = rng.integers(0, hazards.skew + 1, agents)
    ahead[rng.permutation(agents)[:2]] = 0, hazards.skew  # as far apart as can be
    blocks, parts = [], [np.flatnonzero(ahead == offset) for offset in np.unique(ahead)]
    for part in parts:
        block = planner(variant, setup, part.tolist())
        block.rng = rng  # type: ignore[attr-defined]
        blocks.append(block)

    def places(clock: int) -> NDArray[np.float32]:
        spots = np.empty((lanes, agents, 2), np.float32)
        for block, part in zip(blocks, parts, strict=True):
            spots[:, part] = place(block, clock + ahead[part[0]])
        return spots

    closest = np.full(lanes, np.inf, np.float32)
    here = world.starts
    first, second = np.triu_indices(agents, 1)
    for clock in range(ticks * ROUNDS):
        inbox = air.deliver(clock)
        spoken = []
        for block, part in zip(blocks, parts, strict=True):
            mine = int(clock + ahead[part[0]])
            block.listen(part_of(inbox, part), mine)
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
    return Flown(closest, closest < world.separation - 1e-6, *total)
