"""Any protocol with a clock of its own in every lane.

Blocks advance all lanes together. A hub begins to decide for a lane when it has heard its goals, and goes on when its
vehicles have got on: at other times in every lane. So here each lane has a block of its own, begun when it is asked
for. Where a fleet is told the time, it is told `Clocks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsc.actors.fleet import join_packets
from agentsc.links.medium import Deliveries, Packets
from agentsc.protocol import Block, Counters, SampleReply, SampleRequest, Setup, Trace, Variant
from envs.world import World
from policies import rows

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Clocks:
    """What time it is in every lane.

    Attributes:
        now: int64 [lane], a message round or a tick, as the call wants; −1 where time stands still.
        prior: trajectory prior that plans are sampled from; None for the setup's own.
    """

    now: Ints
    prior: str | None = None


@dataclass(frozen=True)
class LaneVariant:
    """A protocol, made into blocks with one clock per lane. ``priors``: loaded besides the setup's own."""

    variant: Variant
    priors: tuple[str, ...] = ()

    def block(self, setup: Setup, ids: Sequence[int]) -> LaneBlocks:
        """See `Variant.block`."""
        return LaneBlocks(self.variant, setup, ids)

    @property
    def needs_network(self) -> bool:
        """See `Variant.needs_network`."""
        return self.variant.needs_network


class LaneBlocks(Block):
    """A block per lane, which knows of that lane only. Every time is a `Clocks`."""

    def __init__(self, variant: Variant, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(setup, ids)
        self.variant = variant
        self.blocks: list[Block | None] = [None] * setup.world.lanes
        self._asked: list[tuple[int, int]] = []

    def begin(self, starts: Floats, goals: Floats, lanes: Flags) -> None:
        """In those lanes agents rest at starts and want to goals [lane, agent, 2] from now on."""
        for lane in np.flatnonzero(lanes).tolist():
            world = bare(self.setup.world.select([lane]), starts[[lane]], goals[[lane]])
            self.blocks[lane] = self.variant.block(replace(self.setup, world=world), self.ids.tolist())

    def _running(self, clocks: Any) -> list[tuple[int, Block, int]]:
        """Lane, block and time of all that go on; for a bare number nothing does."""
        if not isinstance(clocks, Clocks):
            return []
        blocks = ((int(lane), self.blocks[lane]) for lane in np.flatnonzero(clocks.now >= 0))
        return [(lane, block, int(clocks.now[lane])) for lane, block in blocks if block is not None]

    def listen(self, inbox: Deliveries, clock: Any) -> None:
        """See `Block.listen`."""
        for lane, block, now in self._running(clock):
            part = inbox.take(np.flatnonzero(inbox.lane == lane)).compact()
            block.listen(replace(part, lane=np.zeros_like(part.lane)), now)

    def imagine(self, clock: Any) -> SampleRequest | None:
        """See `Block.imagine`."""
        return self._together({lane: block.imagine(now) for lane, block, now in self._running(clock)}, clock)

    def propose(self, imagined: SampleReply | None, clock: Any) -> SampleRequest | None:
        """See `Block.propose`."""
        replies = self._apart(imagined)
        asked = {lane: block.propose(replies.get(lane), now) for lane, block, now in self._running(clock)}
        return self._together(asked, clock)

    def _together(self, asked: dict[int, SampleRequest | None], clocks: Clocks) -> SampleRequest | None:
        """All lanes' requests as one."""
        some = {lane: request for lane, request in asked.items() if request is not None}
        self._asked = [(lane, len(request.keys)) for lane, request in some.items()]
        if not some:
            return None
        each = [
            r if np.ndim(r.temperature) else replace(r, temperature=np.full(len(r.keys), r.temperature, np.float32))
            for r in some.values()
        ]
        whole = rows.stack(each)
        return whole if clocks.prior is None else replace(whole, prior=clocks.prior)

    def _apart(self, reply: SampleReply | None) -> dict[int, SampleReply]:
        """The reply to `_together`, by lane."""
        if reply is None:
            return {}
        edges = np.cumsum([0, *(size for _, size in self._asked)])
        plain = replace(reply, report=None)
        return {
            lane: rows.take(plain, slice(begin, end))
            for (lane, _), begin, end in zip(self._asked, edges, edges[1:], strict=False)
        }

    def speak(self, sampled: SampleReply | None, clock: Any) -> Packets:
        """See `Block.speak`."""
        replies = self._apart(sampled)
        self._asked = []
        none = np.zeros(0, np.int32)
        parts = [Packets(none, none, np.zeros((0, 0), np.uint8), none)]
        for lane, block, now in self._running(clock):
            said = block.speak(replies.get(lane), now)
            parts.append(said._replace(lane=np.full(len(said.lane), lane, np.int32)))
        return join_packets(parts)

    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: Any) -> Floats:
        """See `Block.act`; zeros where time stands still."""
        command = np.zeros(position.shape, np.float32)
        for lane, block, now in self._running(tick):
            pick = slice(lane, lane + 1)
            command[pick] = block.act(position[pick], velocity[pick], proximity[pick], now)
            for part in fields(Counters):
                getattr(self.counters, part.name)[lane] = getattr(block.counters, part.name)[0]
            self.formed += [replace(b, lane=np.full_like(b.lane, lane)) for b in block.formed]
            block.formed = []
        return command

    def retarget(self, goal: Floats, tick: Any) -> None:
        """See `Block.retarget`."""
        for lane, block, now in self._running(tick):
            block.retarget(goal[lane : lane + 1], now)

    def muster(self, alive: Flags, tick: Any) -> None:
        """See `Block.muster`."""
        super().muster(alive, tick)
        for lane, block, now in self._running(tick):
            block.muster(alive[lane : lane + 1], now)

    def trace(self, tick: Any) -> Trace | None:
        """See `Block.trace`; NaN where time stands still."""
        shape = self.setup.world.lanes, len(self.ids), self.setup.spec.horizon_ticks + 1, 2
        plan, pending = np.full(shape, np.nan, np.float32), np.zeros(shape[:2], bool)
        proposal = plan.copy()
        for lane, block, now in self._running(tick):
            shown = block.trace(now)
            if shown is not None:
                plan[lane], pending[lane], proposal[lane] = shown.plan[0], shown.pending[0], shown.proposal[0]
        return Trace(plan, pending, proposal)


def most_ticks(world: World) -> int:
    """Ticks that blocks may count: twins are ahead of vehicles, and may move one by one what vehicles do at once."""
    return 2 * world.max_ticks + 256


def bare(world: World, starts: Floats, goals: Floats) -> World:
    """The same map and limits, with other places, time to run ahead, and nothing that only the simulator may know."""
    return replace(
        world, max_ticks=most_ticks(world), starts=starts.astype(np.float32), goals=goals.astype(np.float32),
        start_delay_s=None, via=None, adherence=None, queue=None, sites=None, shape=None, events=None,
    )  # fmt: skip
