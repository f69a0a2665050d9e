"""The planner on a real map: what is committed can be driven, and is driven."""

from __future__ import annotations

import numpy as np
import pytest

from agentsc.actors.fleet import LocalFleet
from agentsc.experiment.config import resolve
from agentsc.experiment.run import prepare
from agentsc.experiment.runner import run_lanes
from agentsc.links.medium import Medium
from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.choice import shortened
from agentsc.protocol.planner import PlanningBlock
from agentsc.protocol.situation import homotopy
from envs.arena import Arena
from envs.scenarios import SCENARIOS


@pytest.mark.parametrize("dynamics", ["single", "double"])
def test_vehicles_are_where_their_committed_plans_say(dynamics: str) -> None:
    """Crowded enough for foresight, shortened plans and detours; every plan continues the one before it."""
    world = SCENARIOS.create("warehouse", agents=14, dynamics=dynamics).build(11, [0])
    setup = Setup.of(world, prior="edge-prior", rounds=2, seed=11)
    fleet = LocalFleet(PROTOCOLS.create("negotiated"), setup, None, "cpu")
    medium = Medium("erasure:p=0.1", 11, world.episodes, world.agents, world.dt / 2)
    arena, block = Arena(world), fleet.block
    assert isinstance(block, PlanningBlock)
    far = np.full((1, world.agents), np.inf, np.float32)
    for tick in range(100):
        for number in range(2):
            packets = fleet.round(medium.deliver(2 * tick + number), 2 * tick + number, deciding=number == 0)
            medium.transmit(packets, 2 * tick + number)
        arena.step(fleet.act(arena.position, arena.velocity, far, tick))
        planned = block.executed(block.rows, np.full((len(block.rows), 1), tick + 1))[:, 0]
        np.testing.assert_allclose(arena.position[0], planned, atol=0.05 * world.radius)
    assert block.counters.commits[0] > 2 * world.agents
    assert np.linalg.norm(arena.position - world.starts, axis=-1).mean() > 5.0


def test_a_shortened_plan_stops_at_its_last_kept_point() -> None:
    control = np.cumsum(np.ones((3, 12, 2), np.float32), axis=1)
    cut = shortened(control, 5)
    np.testing.assert_array_equal(cut[:, :5], control[:, :5])
    np.testing.assert_array_equal(cut[:, 5:], np.repeat(control[:, 4:5], 7, axis=1))


def test_homotopy_bits_tell_left_from_right() -> None:
    along = np.linspace(0.0, 1.0, 33, dtype=np.float32)
    left = np.stack([along, np.sin(np.pi * along)], axis=-1)
    right = left * np.float32([1.0, -1.0])
    assert homotopy(np.stack([left, right])).tolist() == [15, 0]


def test_who_cannot_be_at_full_speed_at_once_still_gets_under_way() -> None:
    """The prior's plans are at full speed from the start; as they are, not one of them could be driven."""
    config = {"scenario": {"name": "circle", "agents": 6, "a_max": 1.28}, "device": "cpu", "seed": 4}
    job = prepare(resolve(None, config))
    log = run_lanes(job.config, job.world)
    assert log.success.all()
    change = np.linalg.norm(np.diff(log.positions, 2, axis=1), axis=-1)[0, : log.finish_tick[0] - 1]
    assert change.max() <= job.world.a_max * job.world.dt**2 * 1.01


def test_planners_wait_for_their_time_and_are_where_they_say() -> None:
    config = {"scenario": {"name": "rmader-circle", "agents": 4, "v_max": 5.0}, "device": "cpu", "seed": 4}
    job = prepare(resolve(None, config))
    log = run_lanes(job.config, job.world)
    first = (np.abs(np.diff(log.positions[0], axis=0)).max(-1) > 0).argmax(0)
    assert (first >= job.world.release).all() and (first <= job.world.release + 6).all()
    assert log.success.all()
