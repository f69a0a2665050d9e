"""A fleet: all blocks of agents and the core that serves them, behind one interface.

Per message round the driver gathers what every block wants sampled, asks the core once, and
scatters the samples: gather → infer → scatter. The core joins requests as it likes: every row's
result depends on that row alone, so it does not matter how agents are spread over hosts.
"""

from __future__ import annotations

import os

# A library that spins on every core makes a small matrix product a hundred times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agentsc.links.medium import Deliveries, Packets
from agentsc.protocol import Beliefs, Block, Counters, Setup, Trace
from policies.requests import SampleReply, SampleRequest

if TYPE_CHECKING:
    from agentsc.mapping.service import MapView
    from policies.core import DiffusionCore

Floats = NDArray[np.float32]


class Fleet(Protocol):
    """All agents of all lanes."""

    def round(self, inbox: Deliveries, clock: int, deciding: bool) -> Packets:
        """One message round: listen, and when ``deciding`` imagine and propose; then speak."""

    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: int) -> Floats:
        """Commands [lane, agent, 2]."""

    def retire(self, active: NDArray[np.bool_]) -> None:
        """Only lanes marked in ``active`` [lane] go on."""

    def retarget(self, goal: Floats, tick: int) -> None:
        """Goals float32 [lane, agent, 2] that hold from ``tick`` on; called when one has changed."""

    def sense(self, boxes: Floats, tick: int) -> None:
        """Late boxes that agents have seen, float32 [lane, agent, box, 5], NaN for others; called when one is new."""

    def survey(self, view: MapView, tick: int) -> None:
        """What agents know of a map that nobody was told; called when that has changed for some."""

    def muster(self, alive: NDArray[np.bool_], tick: int) -> None:
        """Who takes part from ``tick`` on, bool [lane, agent]; called when that has changed."""

    def begin(self, starts: Floats, goals: Floats, lanes: NDArray[np.bool_]) -> None:
        """Those lanes begin with agents at starts, wanting to goals [lane, agent, 2]; see `agentsc.hosting.lanes`."""

    def late(self, agents: NDArray[np.bool_]) -> None:
        """Before the start: whose processes come later, bool [lane, agent]."""

    def crash(self, died: NDArray[np.bool_], started: NDArray[np.bool_]) -> None:
        """Whose processes die now, and whose start, bool [lane, agent] each; nobody's do both."""

    def trace(self, tick: int) -> Trace | None:
        """What to show of all agents."""

    def beliefs(self) -> list[Beliefs]:
        """Beliefs formed since the last call."""

    def counters(self) -> Counters:
        """Sums over blocks."""

    def network(self) -> tuple[float, int]:
        """Seconds in network forward passes and number of calls so far."""

    def close(self) -> None:
        """Release what was started."""


def split(agents: int, hosts: int) -> list[NDArray[np.int64]]:
    """Agent ids of each host: contiguous, as even as can be."""
    return [part for part in np.array_split(np.arange(agents), hosts) if len(part)]


class Maker(Protocol):
    """What blocks are made by: a `Variant`, or one that is hosted."""

    @property
    def needs_network(self) -> bool:
        """See `Variant.needs_network`."""

    def block(self, setup: Setup, ids: Sequence[int]) -> Block:
        """See `Variant.block`."""


def make_core(
    setup: Setup, weights: str | None, device: str, more: tuple[str, ...] = (), **options: Any
) -> DiffusionCore:
    """The core of a run; on the CPU it computes on one thread, where results are reproducible.

    Args:
        weights: safetensors file, None for the shipped one. more: names of shipped priors beside the setup's own.
        options: of the `TrajectoryModel`.
    """
    import torch

    from policies.trajectory.planning import load_core

    torch.set_num_threads(1)
    names = dict.fromkeys(more) | {setup.prior: weights}
    return load_core(setup.vehicle, setup.world.obstacles, names, device, **options)


class LocalFleet:
    """Everything in this process; one block holds all agents."""

    def __init__(
        self, variant: Maker, setup: Setup, weights: str | None, device: str, more: tuple[str, ...] = (), **options: Any
    ) -> None:
        self.core = make_core(setup, weights, device, more, **options) if variant.needs_network else None
        self.block: Block = variant.block(setup, range(setup.world.agents))
        if self.core is not None:
            self.block.sample = self.core.sample

    def round(self, inbox: Deliveries, clock: int, deciding: bool) -> Packets:
        self.block.listen(inbox, clock)
        sampled = None
        if deciding:
            asked = self.block.imagine(clock)
            sampled = self._sample(self.block.propose(self._sample(asked), clock))
        return self.block.speak(sampled, clock)

    def _sample(self, request: SampleRequest | None) -> SampleReply | None:
        if request is None:
            return None
        assert self.core is not None
        reply: SampleReply = self.core.sample(request)
        return reply

    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: int) -> Floats:
        return self.block.act(position, velocity, proximity, tick)

    def retire(self, active: NDArray[np.bool_]) -> None:
        self.block.active = active

    def retarget(self, goal: Floats, tick: int) -> None:
        self.block.retarget(goal, tick)

    def sense(self, boxes: Floats, tick: int) -> None:
        self.block.sense(boxes, tick)

    def survey(self, view: MapView, tick: int) -> None:
        self.block.survey(view, tick)

    def muster(self, alive: NDArray[np.bool_], tick: int) -> None:
        self.block.muster(alive, tick)

    def begin(self, starts: Floats, goals: Floats, lanes: NDArray[np.bool_]) -> None:
        self.block.begin(starts, goals, lanes)

    def late(self, agents: NDArray[np.bool_]) -> None:
        self.block.late(agents)

    def crash(self, died: NDArray[np.bool_], started: NDArray[np.bool_]) -> None:
        crash(self.block, died, started)

    def trace(self, tick: int) -> Trace | None:
        return self.block.trace(tick)

    def beliefs(self) -> list[Beliefs]:
        formed, self.block.formed = self.block.formed, []
        return formed

    def counters(self) -> Counters:
        return self.block.counters

    def network(self) -> tuple[float, int]:
        return spent(self.core.statistics()) if self.core else (0.0, 0)

    def close(self) -> None:
        pass


def crash(block: Block, died: NDArray[np.bool_], started: NDArray[np.bool_]) -> None:
    """Stop and restart processes of one block: bool [lane, agent of the block] each."""
    if died.any():
        block.stop(np.flatnonzero(died))
    if started.any():
        block.restart(np.flatnonzero(started))


def spent(statistics: Mapping[str, Any]) -> tuple[float, int]:
    """Network seconds and network calls of a core."""
    return statistics["network_s"], statistics["network_calls"]


def inbox_of(inbox: Deliveries, ids: NDArray[np.int64]) -> Deliveries:
    """What the radios of agents ``ids`` (contiguous) received."""
    mine = (inbox.receiver >= ids[0]) & (inbox.receiver <= ids[-1])
    packet = inbox.packet[mine]
    kept, renumbered = np.unique(packet, return_inverse=True)
    return Deliveries(
        inbox.lane[mine], inbox.sender[mine], inbox.receiver[mine], inbox.sent_clock[mine],
        inbox.arrival_s[mine],
        renumbered.astype(np.int32), inbox.payload[kept], inbox.payload_bits[kept],
        inbox.hops[kept], inbox.forged[kept],
    )  # fmt: skip


def join_packets(parts: Sequence[Packets]) -> Packets:
    """All hosts' packets in the order (lane, sender), as one block would have sent them."""
    some = [p for p in parts if len(p.lane)]
    if not some:
        return parts[0]
    width = max(p.data.shape[1] for p in some)
    lane, sender = np.concatenate([p.lane for p in some]), np.concatenate([p.sender for p in some])
    data = np.concatenate([np.pad(p.data, ((0, 0), (0, width - p.data.shape[1]))) for p in some])
    order = np.lexsort((sender, lane))
    return Packets(lane[order], sender[order], data[order], np.concatenate([p.bits for p in some])[order])
