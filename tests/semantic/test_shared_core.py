"""One core for plans and pictures gives both what cores of their own would."""

from __future__ import annotations

import numpy as np

from agentsc.actors.fleet import LocalFleet
from agentsc.links.medium import Medium
from agentsc.protocol import PROTOCOLS, Setup
from agentsc.semantic import DECODERS
from agentsc.semantic.feed.operator import Pictures
from agentsc.semantic.feed.shared import shared_core
from agentsc.semantic.source import of_scenes
from envs.arena import Arena
from envs.scenarios import SCENARIOS
from envs.world import World
from policies.core import DiffusionCore
from policies.scene.shipped import scene_core

AGENTS = 4
DECODER = "variance-aware:start=refined,steps=2"
LOOK = of_scenes(0, 1, 32, "birds-eye").rgb[0]


def flown(world: World, setup: Setup, core: DiffusionCore | None, pictures: Pictures | None) -> tuple[np.ndarray, list]:
    """Where agents are after three ticks, and the pictures that were sent meanwhile."""
    fleet = LocalFleet(PROTOCOLS.create("negotiated", replan_ticks=1), setup, None, "cpu")
    fleet.core = core or fleet.core
    medium, arena, shown = Medium("erasure:p=0.1", 1, world.episodes, AGENTS, world.dt / 2), Arena(world), []
    for tick in range(3):
        for number in range(2):
            clock = 2 * tick + number
            packets = fleet.round(medium.deliver(clock), clock, deciding=number == 0)
            medium.transmit(packets, clock)
            if pictures is not None:
                shown.append(pictures.send(LOOK))
        near = np.full((1, AGENTS), np.inf, np.float32)
        arena.step(fleet.act(arena.position, arena.velocity, near, tick))
    return arena.position.copy(), shown


def test_plans_and_pictures_are_those_of_cores_of_their_own() -> None:
    world = SCENARIOS.create("circle", agents=AGENTS).build(1, [0])
    setup = Setup.of(world, prior="edge-prior", rounds=2, seed=1)
    also = DECODERS.parse(DECODER).models
    apart, codec = scene_core(also=also)
    both = shared_core(setup, also=also)

    def pictures(core: DiffusionCore) -> Pictures:
        return Pictures(core, codec, "awgn:snr_db=10", 1 / 12, DECODER, 0)

    alone, _ = flown(world, setup, None, None)
    together, shown = flown(world, setup, both, pictures(both))
    assert np.abs(alone - world.starts).max() > 0.0 and np.array_equal(alone, together)
    again = pictures(apart)
    assert len(shown) == 6
    for image, bits, uses in shown:
        expected = again.send(LOOK)
        assert np.array_equal(image, expected[0]) and (bits, uses) == expected[1:]
