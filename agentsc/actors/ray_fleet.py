"""The fleet on Ray: blocks of agents in host actors, one core actor that serves them all.

Host actors hold only arrays and protocol state; torch is imported by the core actor alone.
Calls carry the round's number and the driver waits for each stage, so actors never see rounds
out of order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsc.actors.fleet import Maker, crash, inbox_of, join_packets, make_core, spent, split
from agentsc.actors.ray_core import CoreActor
from agentsc.actors.session import load, open_session
from agentsc.links.medium import Deliveries, Packets
from agentsc.mapping.service import MapView
from agentsc.protocol import Beliefs, Counters, Setup, Trace
from envs.errors import ConfigError, RunError
from policies.requests import SampleReply, SampleRequest

Floats = NDArray[np.float32]

ray: Any = load()


@ray.remote(num_cpus=0)
class HostActor:
    """A block of agents; a thin shell around the protocol's state machine."""

    def __init__(self, variant: Maker, setup: Setup, ids: NDArray[np.int64], core: Any) -> None:
        self.block = variant.block(setup, ids.tolist())
        if core is not None:
            self.block.sample = lambda request: fetch(core.sample.remote(request))

    def listen(self, inbox: Deliveries, clock: int, deciding: bool) -> SampleRequest | None:
        """Take packets in; when deciding, say what to sample about peers."""
        self.block.listen(inbox, clock)
        return self.block.imagine(clock) if deciding else None

    def propose(self, imagined: SampleReply | None, clock: int) -> SampleRequest | None:
        """Say what to sample for the block's own plans."""
        return self.block.propose(imagined, clock)

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Decide and say what has to be said."""
        return self.block.speak(sampled, clock)

    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: int) -> Floats:
        """Commands of this block."""
        return self.block.act(position, velocity, proximity, tick)

    def retire(self, active: NDArray[np.bool_]) -> None:
        """Only these lanes go on."""
        self.block.active = active

    def retarget(self, goal: Floats, tick: int) -> None:
        """Goals of this block that hold from now on."""
        self.block.retarget(goal, tick)

    def sense(self, boxes: Floats, tick: int) -> None:
        """Late boxes that agents of this block have seen."""
        self.block.sense(boxes, tick)

    def survey(self, view: MapView, tick: int) -> None:
        """What agents of this block know of the map."""
        self.block.survey(view, tick)

    def muster(self, alive: NDArray[np.bool_], tick: int) -> None:
        """Who of this block takes part from now on."""
        self.block.muster(alive, tick)

    def begin(self, starts: Floats, goals: Floats, lanes: NDArray[np.bool_]) -> None:
        """Those lanes begin."""
        self.block.begin(starts, goals, lanes)

    def late(self, agents: NDArray[np.bool_]) -> None:
        """Whose processes come later, of all blocks."""
        self.block.late(agents)

    def crash(self, died: NDArray[np.bool_], started: NDArray[np.bool_]) -> None:
        """Whose processes die and start now, of this block."""
        crash(self.block, died, started)

    def report(self, tick: int) -> tuple[Trace | None, list[Beliefs], Counters]:
        """For recorders and metrics."""
        formed, self.block.formed = self.block.formed, []
        return self.block.trace(tick), formed, self.block.counters


class RayFleet:
    """Agents spread over ``hosts`` actors."""

    def __init__(
        self, variant: Maker, setup: Setup, weights: str | None, device: str, hosts: int,
        more: tuple[str, ...] = (), **options: Any,
    ) -> None:  # fmt: skip
        self._started_ray = open_session()
        self.ids = split(setup.world.agents, hosts)
        shared = ray.put(setup)
        gpus = 1 if device == "cuda" else 0
        self.core: Any = None
        if variant.needs_network:
            actor: Any = CoreActor
            self.core = actor.options(num_gpus=gpus).remote(make_core, shared, weights, device, more, **options)
        self.hosts: list[Any] = [HostActor.remote(variant, shared, ids, self.core) for ids in self.ids]  # type: ignore[attr-defined]
        self._formed: list[Beliefs] = []

    def _sample(self, requests: list[Any]) -> list[Any]:
        """References to the hosts' replies, from references to their requests: arrays go from actor to actor."""
        if self.core is None:
            return [None] * len(requests)
        replies = self.core.sample.options(num_returns=len(requests)).remote(*requests)
        return replies if len(requests) > 1 else [replies]

    def round(self, inbox: Deliveries, clock: int, deciding: bool) -> Packets:
        parts = [inbox_of(inbox, ids) for ids in self.ids]
        asked = [h.listen.remote(part, clock, deciding) for h, part in zip(self.hosts, parts, strict=True)]
        sampled: list[Any] = [None] * len(self.hosts)
        if deciding:
            imagined = self._sample(asked)
            wanted = [h.propose.remote(reply, clock) for h, reply in zip(self.hosts, imagined, strict=True)]
            sampled = self._sample(wanted)
        return join_packets(
            fetch([h.speak.remote(reply, clock) for h, reply in zip(self.hosts, sampled, strict=True)])
        )

    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: int) -> Floats:
        calls = [
            host.act.remote(position[:, ids], velocity[:, ids], proximity[:, ids], tick)
            for host, ids in zip(self.hosts, self.ids, strict=True)
        ]
        return np.concatenate(fetch(calls), axis=1)

    def retire(self, active: NDArray[np.bool_]) -> None:
        fetch([host.retire.remote(active) for host in self.hosts])

    def retarget(self, goal: Floats, tick: int) -> None:
        fetch([host.retarget.remote(goal[:, ids], tick) for host, ids in zip(self.hosts, self.ids, strict=True)])

    def sense(self, boxes: Floats, tick: int) -> None:
        fetch([host.sense.remote(boxes[:, ids], tick) for host, ids in zip(self.hosts, self.ids, strict=True)])

    def survey(self, view: MapView, tick: int) -> None:
        fetch([host.survey.remote(view.of(ids), tick) for host, ids in zip(self.hosts, self.ids, strict=True)])

    def muster(self, alive: NDArray[np.bool_], tick: int) -> None:
        fetch([host.muster.remote(alive[:, ids], tick) for host, ids in zip(self.hosts, self.ids, strict=True)])

    def begin(self, starts: Floats, goals: Floats, lanes: NDArray[np.bool_]) -> None:
        fetch([host.begin.remote(starts, goals, lanes) for host in self.hosts])

    def late(self, agents: NDArray[np.bool_]) -> None:
        fetch([host.late.remote(agents) for host in self.hosts])

    def crash(self, died: NDArray[np.bool_], started: NDArray[np.bool_]) -> None:
        pairs = zip(self.hosts, self.ids, strict=True)
        fetch([host.crash.remote(died[:, ids], started[:, ids]) for host, ids in pairs])

    def trace(self, tick: int) -> Trace | None:
        reports = fetch([host.report.remote(tick) for host in self.hosts])
        for _, formed, _ in reports:
            self._formed += formed
        return Trace.join([trace for trace, _, _ in reports])

    def beliefs(self) -> list[Beliefs]:
        self._formed += [
            b for _, formed, _ in fetch([h.report.remote(0) for h in self.hosts]) for b in formed
        ]
        formed, self._formed = self._formed, []
        return _distinct(formed)

    def counters(self) -> Counters:
        every = [counters for _, _, counters in fetch([host.report.remote(0) for host in self.hosts])]
        return Counters(
            *(np.sum([getattr(c, name) for c in every], axis=0) for name in Counters.__annotations__)
        )

    def network(self) -> tuple[float, int]:
        return (0.0, 0) if self.core is None else spent(fetch(self.core.statistics.remote()))

    def close(self) -> None:
        if self._started_ray:
            ray.shutdown()
        else:
            for actor in [*self.hosts, *([self.core] if self.core else [])]:
                ray.kill(actor)


def fetch(references: Any) -> Any:
    """`ray.get`, with errors as the actors raised them."""
    try:
        return ray.get(references)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ConfigError | RunError):
            raise error.cause from None
        raise


def _distinct(formed: list[Beliefs]) -> list[Beliefs]:
    """Each belief once: hosts that heard the same packets regenerate the same samples."""
    seen: set[tuple[int, int, int, bytes]] = set()
    result = []
    for belief in formed:
        marks = [
            (int(lane), int(agent), belief.tick, samples.tobytes())
            for lane, agent, samples in zip(belief.lane, belief.agent, belief.samples, strict=True)
        ]
        fresh = np.array([mark not in seen for mark in marks], bool)
        seen.update(marks)
        if fresh.any():
            result.append(
                Beliefs(
                    belief.lane[fresh],
                    belief.agent[fresh],
                    belief.tick,
                    belief.samples[fresh],
                    belief.confidence[fresh],
                )
            )
    return result
