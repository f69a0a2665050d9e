"""Every registered protocol keeps the house rules: finite motion, and lanes and hosts that do not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import agentsc
import agentsc.experiment.runner as runner
from agentsc.actors.fleet import LocalFleet, inbox_of, join_packets, split
from agentsc.links.medium import Deliveries, Packets
from agentsc.protocol import PROTOCOLS, Beliefs, Counters, SampleReply, SampleRequest, Setup, Trace, Variant

Floats = NDArray[np.float32]

EVERY = list(PROTOCOLS)
SMALL: dict[str, Any] = {
    "scenario": "weave", "agents": 5, "seed": 5, "ticks": 24,
    "link": "erasure:p=0.3+delay:ms=50,jitter_ms=60",
}  # fmt: skip


class TwoBlocks(LocalFleet):
    """A fleet whose agents live in two blocks, as on two hosts, without any actor."""

    def __init__(self, variant: Variant, setup: Setup, weights: str | None, device: str) -> None:
        super().__init__(variant, setup, weights, device)
        self.ids = split(setup.world.agents, 2)
        self.blocks = [variant.block(setup, ids.tolist()) for ids in self.ids]

    def round(self, inbox: Deliveries, clock: int, deciding: bool) -> Packets:
        for block, ids in zip(self.blocks, self.ids, strict=True):
            block.listen(inbox_of(inbox, ids), clock)
        sampled: list[SampleReply | None] = [None, None]
        if deciding:
            imagined = self._each([block.imagine(clock) for block in self.blocks])
            pairs = zip(self.blocks, imagined, strict=True)
            sampled = self._each([block.propose(reply, clock) for block, reply in pairs])
        spoken = zip(self.blocks, sampled, strict=True)
        return join_packets([block.speak(reply, clock) for block, reply in spoken])

    def _each(self, requests: list[SampleRequest | None]) -> list[SampleReply | None]:
        asked = [request for request in requests if request is not None]
        replies = iter(self.core.sample_many(asked) if self.core else [])
        return [None if request is None else next(replies) for request in requests]

    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: int) -> Floats:
        parts = zip(self.blocks, self.ids, strict=True)
        commands = [b.act(position[:, i], velocity[:, i], proximity[:, i], tick) for b, i in parts]
        return np.concatenate(commands, axis=1)

    def sense(self, boxes: Floats, tick: int) -> None:
        for block, ids in zip(self.blocks, self.ids, strict=True):
            block.sense(boxes[:, ids], tick)

    def retire(self, active: NDArray[np.bool_]) -> None:
        for block in self.blocks:
            block.active = active

    def trace(self, tick: int) -> Trace | None:
        return Trace.join([block.trace(tick) for block in self.blocks])

    def beliefs(self) -> list[Beliefs]:
        return [belief for block in self.blocks for belief in block.formed]

    def counters(self) -> Counters:
        first, second = (vars(block.counters) for block in self.blocks)
        return Counters(**{name: first[name] + second[name] for name in first})


def run(out: Path, protocol: str, *settings: str, **options: Any) -> agentsc.RunResult:
    folder = out / str(len(list(out.iterdir())))
    keys = ["record.episodes=[]", *settings]
    return agentsc.run(**(SMALL | options), protocol=protocol, set=keys, out=folder)


@pytest.mark.parametrize("protocol", EVERY)
def test_a_lane_alone_is_the_lane_beside_others(protocol: str, tmp_path: Path) -> None:
    both = run(tmp_path, protocol, episodes=2)
    alone = run(tmp_path, protocol, "first_episode=1", episodes=1)
    assert np.isfinite(both.log.positions).all()
    assert (both.log.positions[:, -1] != both.log.positions[:, 0]).any()
    assert both.log.lane_digest(1) == alone.log.lane_digest(0)
    spec = PROTOCOLS.create(protocol)
    for counts in ("bits", "packets", "decisions", "lost", "commits", "brakes"):
        theirs, mine = getattr(both.log, counts), getattr(alone.log, counts)
        # What a protocol does not measure is None, never zero.
        measured = {"commits": spec.deliberates, "brakes": spec.monitored}.get(counts, True)
        assert (theirs is not None) == (mine is not None) == measured, counts
        if measured:
            np.testing.assert_array_equal(theirs[1], mine[0])


@pytest.mark.parametrize("protocol", EVERY)
def test_two_blocks_do_as_one(protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = run(tmp_path, protocol, episodes=1)

    def two_blocks(config: Any, variant: Variant, setup: Setup) -> TwoBlocks:
        return TwoBlocks(variant, setup, config.prior.weights, config.device)

    monkeypatch.setattr(runner, "make_fleet", two_blocks)
    two = run(tmp_path, protocol, episodes=1)
    assert two.data["digest"] == one.data["digest"]
    for counts in ("bits", "packets", "lost", "commits", "brakes"):
        np.testing.assert_array_equal(getattr(two.log, counts), getattr(one.log, counts))


@pytest.mark.parametrize("protocol", EVERY)
def test_a_single_agent_gets_home_on_a_map(protocol: str, tmp_path: Path) -> None:
    log = run(tmp_path, protocol, scenario="highways", agents=1, episodes=1, ticks=256, link="perfect").log
    assert log.success.all()
