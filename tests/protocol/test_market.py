"""The market: sites are sold over the air, held by one agent each, and sold again when somebody fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agentsc.experiment.config import resolve
from agentsc.experiment.log import RunLog
from agentsc.experiment.run import prepare
from agentsc.experiment.runner import run_lanes
from agentsc.links.medium import Medium
from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.variants.market import MarketBlock
from envs.scenarios import SCENARIOS


def run(protocol: str = "market", link: str = "perfect", episodes: int = 2, **scenario: Any) -> RunLog:
    tree = {"scenario": {"name": "coverage", **scenario}, "episodes": episodes, "seed": 3, "device": "cpu"}
    job = prepare(resolve(None, {**tree, "protocol": {"name": protocol}, "link": link}))
    return run_lanes(job.config, job.world)


def collected(log: RunLog) -> float:
    return float(np.sum(log.outcome["coverage_collected"]))


def test_sold_sites_are_worth_more_than_drawn_ones_and_everybody_has_one() -> None:
    sold, drawn = run(agents=5, sites=5, episodes=4), run("negotiated", agents=5, sites=5, episodes=4)
    assert sold.success.all()
    assert collected(sold) > collected(drawn)


def test_without_sites_it_is_intent_to_the_bit() -> None:
    tree = {"scenario": {"name": "weave", "agents": 4}, "episodes": 2, "seed": 3, "device": "cpu", "ticks": 30}
    digests = []
    for name in ("negotiated", "market"):
        job = prepare(resolve(None, {**tree, "protocol": {"name": name}}))
        digests.append(run_lanes(job.config, job.world).digest())
    assert digests[0] == digests[1]


class Talk:
    """Blocks of one agent each that only hold their auction: nobody plans, everybody rests."""

    def __init__(self, agents: int, sites: int, **parameters: Any) -> None:
        world = SCENARIOS.create("coverage", agents=agents, sites=sites).build(1, [0])
        setup = Setup.of(world, prior="edge-prior", rounds=2, seed=1)
        variant = PROTOCOLS.create("market", **parameters)
        self.blocks: list[MarketBlock] = [variant.block(setup, [agent]) for agent in range(agents)]
        self.medium = Medium("perfect", 1, world.episodes, agents, world.dt / 2)
        self.world, self.clock = world, 0

    def go(self, rounds: int, silent: int | None = None) -> None:
        for _ in range(rounds):
            inbox = self.medium.deliver(self.clock)
            for agent, block in enumerate(self.blocks):
                block.listen(inbox.take(np.flatnonzero(inbox.receiver == agent)), self.clock)
                packets = block.speak(None, self.clock)
                if agent != silent:
                    self.medium.transmit(packets, self.clock)
            self.clock += 1

    @property
    def targets(self) -> list[int]:
        return [int(block.target[0]) for block in self.blocks]


def test_each_drives_to_the_site_it_has_won_and_one_that_goes_silent_loses_its_own() -> None:
    talk = Talk(3, 3, silence_s=2.0)
    talk.go(60)
    first = talk.targets
    assert sorted(first) == [0, 1, 2]
    for block, site in zip(talk.blocks, first, strict=True):
        np.testing.assert_array_equal(block.goal[0], talk.world.sites.position[0, site])
    talk.go(60, silent=0)  # 2.3 s
    for block in talk.blocks[1:]:
        assert block.exchange.auction.winner[0, first[0]] != 0
    talk.go(80)  # it is back, and says again what it has won
    assert sorted(talk.targets) == [0, 1, 2]


def test_fewer_sites_than_agents_leave_some_where_they_are() -> None:
    talk = Talk(4, 2)
    talk.go(60)
    assert sorted(talk.targets) == [-1, -1, 0, 1]
    for block, target in zip(talk.blocks, talk.targets, strict=True):
        if target == -1:
            np.testing.assert_array_equal(block.goal[0], talk.world.starts[0, block.id[0]])


def test_what_is_done_is_never_sold_again() -> None:
    talk = Talk(2, 2)
    talk.go(60)
    first = talk.targets
    block = talk.blocks[0]
    # It is where it wanted to be.
    block.own.path[:] = block.goal[0]
    talk.go(60)
    assert block.base[0] == first[0]
    assert [int(b.exchange.auction.bid[0, first[0]]) for b in talk.blocks] == [255, 255]
    assert talk.targets[1] == first[1] and talk.targets[0] == -1


@pytest.mark.parametrize("link", ["erasure:p=0.3", "delay:ms=150"])
def test_bad_links_make_it_slower_but_no_pair_touches(link: str) -> None:
    log = run(link=link, agents=5, sites=5)
    assert log.collision_free.all() and log.at_goal.all()
