"""Runs whose insides a script can look at: a world, a fleet and a medium, tick by tick, as `agentsc run` does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.actors.fleet import LocalFleet
from agentsc.experiment.runner import nearest
from agentsc.intent.codes import PlanCode
from agentsc.links.medium import Medium, Packets
from agentsc.protocol import Block, Setup, Variant
from envs.arena import Arena
from envs.scenarios import SCENARIOS

ROUNDS = 2


class Flight(NamedTuple):
    """What a run left behind.

    block: all agents of all lanes. positions: float32 [lane, tick + 1, agent, 2], metres. last_tick: [lane].
    """

    block: Block
    positions: NDArray[np.float32]
    last_tick: NDArray[np.int64]

    def truth(self, lane: NDArray, agent: NDArray, tick: NDArray | int, horizon: int) -> NDArray[np.float32]:
        """Where agents were from ``tick`` on, float32 [n, horizon + 1, 2]; to be asked of lanes that lasted so long."""
        ticks = np.broadcast_to(np.asarray(tick)[..., None] + np.arange(horizon + 1), (len(lane), horizon + 1))
        return self.positions[lane[:, None], ticks, agent[:, None]]


def fly(
    variant: Variant, scenario: str, agents: int, link: str, seed: int, episodes: int, code: PlanCode | None = None,
    heard: Callable[[Packets, Setup], None] | None = None, **options: Any,
) -> Flight:  # fmt: skip
    """Run lanes until everybody rests at home, with no goal still to change, or time is up.

    Args:
        heard: told of all packets of each round. options: more parameters of the scenario.
    """
    world = SCENARIOS.create(scenario, agents=agents, **options).build(seed, list(range(episodes)))
    setup = Setup.of(world, prior="edge-prior", rounds=ROUNDS, seed=seed, code=code)
    fleet = LocalFleet(variant, setup, None, "cpu")
    medium = Medium(link, seed, world.episodes, agents, world.dt / ROUNDS, world.obstacles)
    arena, near = Arena(world), np.full(world.starts.shape[:2], np.inf, np.float32)
    positions, active = [arena.position.copy()], np.ones(world.lanes, bool)
    last = np.full(world.lanes, world.max_ticks)
    goals = arena.goals
    for tick in range(world.max_ticks):
        if arena.goals is not goals:
            goals = arena.goals
            fleet.retarget(goals, tick)
        for number in range(ROUNDS):
            clock = ROUNDS * tick + number
            packets = fleet.round(medium.deliver(clock), clock, deciding=number == 0)
            medium.transmit(packets, clock, arena.position)
            if heard is not None and len(packets.bits):
                heard(packets, setup)
        step = arena.step(fleet.act(arena.position, arena.velocity, near, tick))
        near = nearest(arena.position)
        positions.append(arena.position.copy())
        still = (arena.velocity**2).sum(-1) < (0.02 * world.v_max) ** 2
        done = active & (step.at_goal & still).all(1) & arena.story.settled
        if done.any():
            last[done] = tick + 1
            active &= ~done
            fleet.retire(active)
            medium.retire(active)
        if not active.any():
            break
    return Flight(fleet.block, np.stack(positions, 1), np.minimum(last, len(positions) - 1))
