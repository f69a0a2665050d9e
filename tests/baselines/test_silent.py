"""Silence says nothing, and knows nothing of peers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import agentsc
from agentsc.actors.fleet import LocalFleet
from agentsc.links.medium import Medium
from agentsc.protocol import PROTOCOLS, Setup
from envs.scenarios import SCENARIOS
from envs.world import World


def driven(world: World, ticks: int) -> np.ndarray:
    """Where the plans of a silent fleet lead, [tick, agent, 2]."""
    setup = Setup.of(world, prior="edge-prior", rounds=2, seed=0)
    fleet = LocalFleet(PROTOCOLS.create("silent"), setup, None, "cpu")
    medium = Medium("perfect", 0, world.episodes, world.agents, world.dt / 2)
    far = np.full(world.starts.shape[:2], np.inf, np.float32)
    path = []
    for tick in range(ticks):
        for clock in (2 * tick, 2 * tick + 1):
            packets = fleet.round(medium.deliver(clock), clock, deciding=clock % 2 == 0)
            assert len(packets.lane) == 0
        trace = fleet.trace(tick)
        assert trace is not None
        path.append(trace.plan[0, :, 0])
        fleet.act(path[-1][None], np.zeros_like(path[-1])[None], far, tick)
    return np.array(path)


def test_silence_costs_no_bits_and_everybody_gets_home(tmp_path: Path) -> None:
    options = {"scenario": "weave", "agents": 4, "episodes": 1, "seed": 3, "protocol": "silent"}
    log = agentsc.run(**options, set=["record.episodes=[]"], out=tmp_path / "run").log
    assert log.bits is not None and log.bits.sum() == 0 and log.at_goal.all()


def test_an_agent_drives_as_if_it_were_alone() -> None:
    """A peer placed right in the way changes nothing."""
    world = SCENARIOS.create("circle", agents=2).build(0, [0])
    moved = world.starts.copy()
    moved[0, 1] = 0.5 * (world.starts[0, 0] + world.goals[0, 0])
    other = World(**{**vars(world), "starts": moved})
    np.testing.assert_array_equal(driven(world, 12)[:, 0], driven(other, 12)[:, 0])
