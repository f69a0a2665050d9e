"""A fleet whose machines run at hubs: hubs, vehicles and, where they fall back, the vehicles' own machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agentsc.actors.fleet import Fleet, join_packets
from agentsc.hosting.checks import edge_priors
from agentsc.hosting.hub import CHUNK, MOST_CHUNKS, Hubs, Pace
from agentsc.hosting.lanes import Clocks, LaneVariant
from agentsc.hosting.ledger import Order
from agentsc.hosting.vehicles import ALONE, LEAVES, Vehicles
from agentsc.hosting.words import ORDERS, REPORT, REST, kinds, read_orders, read_reports, read_rests
from agentsc.links.framing import intact
from agentsc.links.medium import Deliveries, Packets
from agentsc.protocol import Beliefs, Counters, Setup, Trace, Variant
from agentsc.protocol.architectures import Hosted
from agentsc.protocol.architectures.hybrid import Hybrid
from envs.errors import ConfigError
from envs.world import World

if TYPE_CHECKING:
    from agentsc.mapping.service import MapView

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

MakeFleet = Callable[[LaneVariant, Setup], Fleet]
"""Makes a fleet of blocks, in this process or on Ray."""
LEGS, ORDER, REST_OF_MARGIN = 0.2, 0.5, 0.45
"""Of the margin that protocols keep: what legs may be off on either side, what the order of steps leaves of it, and
what machines keep that begin where vehicles have come to rest by that order, rounded to lattice points."""
MARGIN = 0.1
"""Radii, for protocols that have no margin."""


def pace(architecture: Hosted, world: World, rounds: int) -> Pace:
    """How often hubs decide, and how much at a time."""
    if not isinstance(architecture, Hybrid):
        return Pace(1, 4, 0, 0)
    every = max(round(architecture.region_s / world.dt), 1)
    wire_s = architecture.backhaul_ms / 1000
    chunk_s = CHUNK * rounds * wire_s
    most = MOST_CHUNKS if chunk_s == 0 else int(np.clip(every * world.dt / chunk_s, 1, MOST_CHUNKS))
    lag = int(wire_s / (world.dt / rounds))
    return Pace(every, most, lag, architecture.cloud_every)


class HostedFleet:
    """See the module's docstring; radios of hubs have the numbers behind those of agents.

    Args:
        make: makes the fleet of hosted machines, and the one of vehicles that have fallen back.
    """

    def __init__(self, variant: Variant, setup: Setup, make: MakeFleet) -> None:
        architecture = variant.hosting
        assert isinstance(architecture, Hosted)
        world = setup.world
        self.variant, self.architecture, self.setup, self._make = variant, architecture, setup, make
        margin = getattr(variant, "margin", MARGIN) * world.radius
        distance, tolerance = world.separation + ORDER * margin, LEGS * margin
        minds = make(LaneVariant(variant, architecture.minds), setup)
        order = Order(distance, tolerance, by_clock=not variant.negotiates)
        self.hubs = Hubs(architecture, setup, minds, pace(architecture, world, setup.rounds), order)
        round_s = world.dt / setup.rounds
        patience = int(architecture.patience_s / round_s) if isinstance(architecture, Hybrid) else None
        self.vehicles = Vehicles(world, setup.spec, setup.rounds, patience)
        self._edge = edge_priors(architecture)
        failure = architecture.hub_failure_s
        self._dies = np.inf if failure is None else np.ceil(failure / round_s - 1e-9)
        self._active = np.ones(world.lanes, bool)
        self._alive = np.ones(world.starts.shape[:2], bool)
        self._goal = world.goals
        self._alone: Fleet | None = None
        self._origin = np.full(world.lanes, -1, np.int64)
        self._brakes = np.zeros(world.lanes, np.int64)
        self._alarm = world.separation + 0.25 * margin
        self._refused = np.zeros(world.lanes, np.int64)
        self.sent_bits = {name: np.zeros(world.lanes, np.int64) for name in ("uplink", "downlink")}

    # -- a round ---------------------------------------------------------------------------------

    def round(self, inbox: Deliveries, clock: int, deciding: bool) -> Packets:
        """See `Fleet.round`."""
        tick, agents = clock // self.setup.rounds, self.setup.world.agents
        if clock >= self._dies:
            self.hubs.alive[0] = False
        self.vehicles.absent(~self._alive, clock)
        kind = kinds(inbox.payload)[inbox.packet] if len(inbox) else np.zeros(0, np.int64)
        self._hear(inbox, kind, clock, tick)
        self.vehicles.lose_patience(clock, self._active)
        if deciding:
            self.hubs.think(tick, self._active)
        may = self._active[:, None] & self._alive
        own = self.vehicles.speak(clock, may)
        self.sent_bits["uplink"] += _bits(own, self._active)
        alone = self._round_alone(inbox.take(np.flatnonzero((kind == 0) & (inbox.receiver < agents))), clock, deciding)
        # A radio sends one packet a round: what a vehicle tells about itself goes first.
        who = own.lane.astype(np.int64) * agents + own.sender
        alone = alone.take(~np.isin(alone.lane.astype(np.int64) * agents + alone.sender, who))
        down = self.hubs.speak(clock, self._active)
        self.sent_bits["downlink"] += _bits(down, self._active)
        return join_packets([own, alone, down])

    def _hear(self, inbox: Deliveries, kind: Ints, clock: int, tick: int) -> None:
        agents = self.setup.world.agents
        hub = inbox.receiver - agents
        listens = (kind == REPORT) & (hub >= 0)
        listens[listens] = self.hubs.alive[hub[listens]] & self._active[inbox.lane[listens]]
        rows = np.flatnonzero(listens)
        # What several hubs have received counts once.
        _, first = np.unique(inbox.packet[rows], return_index=True)
        part = inbox.take(rows[first]).compact()
        words, good = read_reports(part.payload, part.payload_bits)
        self._note(part.lane, good[part.packet])
        good &= words.sender < agents
        pick = np.flatnonzero(good[part.packet])
        at = part.packet[pick]
        self.hubs.hear(part.lane[pick].astype(np.int64), words.take(at), clock)

        part = inbox.take(np.flatnonzero((kind == ORDERS) & (hub < 0))).compact()
        sound = intact(part.payload, part.payload_bits)
        entries = [
            read_orders(part.payload[k], int(part.payload_bits[k])) if sound[k] else None for k in range(len(sound))
        ]
        fine = np.array([found is not None for found in entries], bool)[part.packet]
        self._note(part.lane, fine)
        part = part.take(np.flatnonzero(fine))
        lane, receiver = part.lane.astype(np.int64), part.receiver.astype(np.int64)
        self.vehicles.hears_hub(lane, receiver, clock)
        addressed: dict[tuple[int, int], list[Any]] = {}
        for number in np.unique(part.packet).tolist():
            for entry in entries[number] or ():
                addressed.setdefault((number, entry.vehicle), []).append(entry)
        for at_lane, vehicle, number in zip(lane.tolist(), receiver.tolist(), part.packet.tolist(), strict=True):
            for entry in addressed.get((number, vehicle), ()):
                self.vehicles.obey(at_lane, entry, tick)

        if self.vehicles.patience is None:
            return
        part = inbox.take(np.flatnonzero((kind == REST) & (hub < 0))).compact()
        rests, good = read_rests(part.payload, part.payload_bits)
        self._note(part.lane, good[part.packet])
        good &= rests.sender < agents
        pick = np.flatnonzero(good[part.packet])
        at = part.packet[pick]
        said = rests.take(at)
        other = said.sender != part.receiver[pick]
        pick, said = pick[other], said.take(other)
        self.vehicles.hear_rests(part.lane[pick].astype(np.int64), part.receiver[pick].astype(np.int64), said)

    def _note(self, lane: NDArray[np.integer], good: Flags) -> None:
        self._refused += np.bincount(lane[~good], minlength=len(self._refused))

    # -- vehicles that agree among themselves -----------------------------------------------------

    def _round_alone(self, inbox: Deliveries, clock: int, deciding: bool) -> Packets:
        """What machines on board do, once they know where everybody rests, and all do."""
        vehicles, tick = self.vehicles, clock // self.setup.rounds
        if deciding and (vehicles.phase == LEAVES).any():
            rest = vehicles.rest.max(1)
            starts = (vehicles.phase == LEAVES) & vehicles.complete & (rest <= tick)[:, None]
            fresh = starts.any(1) & (self._origin < 0)
            if fresh.any():
                self._begin(fresh, rest)
            if starts.any():
                vehicles.phase[starts] = ALONE
                self._muster(tick)
        none = np.zeros(0, np.int32)
        if self._alone is None:
            return Packets(none, none, np.zeros((0, 0), np.uint8), none)
        on = vehicles.phase == ALONE
        inbox = inbox.take(np.flatnonzero(on[inbox.lane, inbox.receiver]))
        clocks: Any = self._clocks(clock, self.setup.rounds)
        said = self._alone.round(inbox, clocks, deciding)
        return said.take(on[said.lane, said.sender])

    def _begin(self, lanes: Flags, rest: Ints) -> None:
        if self._alone is None:
            setup = replace(self.setup, prior=self._edge[0]) if self._edge else self.setup
            self._alone = self._make(LaneVariant(_nearer(self.variant)), setup)
        self._origin[lanes] = rest[lanes]
        places = self.setup.spec.point(self.vehicles.place)
        self._alone.begin(places, np.asarray(self._goal, np.float32), lanes)

    def _clocks(self, now: int, per_tick: int) -> Clocks:
        """Lanes count from when the last vehicle came to rest: all know when that was."""
        runs = (self._origin >= 0) & self._active
        return Clocks(np.where(runs, now - per_tick * self._origin, -1))

    def _muster(self, tick: int) -> None:
        if self._alone is not None:
            clocks: Any = self._clocks(tick, 1)
            self._alone.muster(self._alive & (self.vehicles.phase == ALONE), clocks)

    # -- the rest of a fleet ----------------------------------------------------------------------

    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: int) -> Floats:
        """See `Fleet.act`."""
        world = self.setup.world
        command = (self.vehicles.track[:, :, min(tick + 1, world.max_ticks + 1)] - position) / np.float32(world.dt)
        on = self.vehicles.phase == ALONE
        if self.variant.monitored:
            self._brakes += ((proximity < self._alarm) & self._active[:, None] & ~on).sum(1)
        if self._alone is not None:
            clocks: Any = self._clocks(tick, 1)
            own = self._alone.act(position, velocity, proximity, clocks)
            command = np.where(on[..., None], own, command)
        return np.asarray(command, np.float32)

    def retire(self, active: Flags) -> None:
        """See `Fleet.retire`."""
        self._active = active

    def retarget(self, goal: Floats, tick: int) -> None:
        """See `Fleet.retarget`: a vehicle tells its hub, or its own machine."""
        self._goal = goal
        self.vehicles.want(goal)
        if self._alone is not None:
            clocks: Any = self._clocks(tick, 1)
            self._alone.retarget(goal, clocks)

    def survey(self, view: MapView, tick: int) -> None:
        """Nothing: worlds with maps that nobody knows are refused before hubs are made (`agentsc.experiment.run`)."""

    def muster(self, alive: Flags, tick: int) -> None:
        """See `Fleet.muster`."""
        self._alive = alive
        self._muster(tick)

    def sense(self, boxes: Floats, tick: int) -> None:
        """See `Fleet.sense`: vehicles have no words for late boxes, so no machine at a hub knows of them."""

    def late(self, agents: Flags) -> None:
        """See `Fleet.late`: machines run at hubs, which die as `hub_failure_s` says and not otherwise."""
        raise ConfigError("scenario must let processes run where machines run at hubs (set restarts to 0)")

    def crash(self, died: Flags, started: Flags) -> None:
        """See `late`."""
        raise ConfigError("scenario must let processes run where machines run at hubs (set restarts to 0)")

    def begin(self, starts: Floats, goals: Floats, lanes: Flags) -> None:
        """All lanes have begun."""
        raise NotImplementedError("a hosted fleet begins when it is made")

    def trace(self, tick: int) -> Trace | None:
        """Where vehicles go, as far as they know."""
        plan = self.vehicles.ahead(tick, self.setup.spec.horizon_ticks)
        pending, proposal = np.zeros(plan.shape[:2], bool), np.full_like(plan, np.nan)
        if self._alone is not None:
            clocks: Any = self._clocks(tick, 1)
            shown = self._alone.trace(clocks)
            if shown is not None:
                on = (self.vehicles.phase == ALONE) & np.isfinite(shown.plan[:, :, 0, 0])
                plan = np.where(on[..., None, None], shown.plan, plan)
                pending, proposal = on & shown.pending, np.where(on[..., None, None], shown.proposal, proposal)
        return Trace(plan, pending, proposal)

    def beliefs(self) -> list[Beliefs]:
        """Those of vehicles that agree among themselves; what machines at hubs believe is about twins."""
        self.hubs.minds.beliefs()
        if self._alone is None:
            return []
        return [replace(b, tick=b.tick + int(self._origin[b.lane[0]])) for b in self._alone.beliefs() if len(b.lane)]

    def counters(self) -> Counters:
        """Commits are those of vehicles: a proposal is made when a hub first has something to tell one."""
        found = Counters.zeros(self.setup.world.lanes) if self._alone is None else self._alone.counters()
        hubs = self.hubs
        return replace(
            found,
            proposals=found.proposals + hubs.decisions,
            commits=found.commits + hubs.decisions,
            commit_rounds=found.commit_rounds + hubs.waited,
            brakes=found.brakes + self._brakes,
            invalid=found.invalid + self._refused + self.vehicles.refused,
        )

    def columns(self) -> dict[str, Ints]:
        """Per lane, what this architecture sent where: columns of ``episodes.parquet``."""
        stuck = [(ledger.together, ledger.touching) for ledger in self.hubs.ledgers]
        together, touching = np.array(stuck, np.int64).reshape(-1, 2).T
        return {
            **{f"{name}_bits": bits for name, bits in self.sent_bits.items()},
            "backhaul_bits": self.hubs.wire_bits,
            "fell_back": (self.vehicles.phase != 0).sum(1).astype(np.int64),
            "inseparable_steps": together,
            "touching_steps": touching,
        }

    def network(self) -> tuple[float, int]:
        """See `Fleet.network`."""
        parts = [fleet.network() for fleet in (self.hubs.minds, self._alone) if fleet is not None]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)

    def close(self) -> None:
        """See `Fleet.close`."""
        for fleet in (self._alone, self.hubs.minds):
            if fleet is not None:
                fleet.close()


def _nearer(variant: Variant) -> Variant:
    """The same protocol with less margin."""
    if not hasattr(variant, "margin"):
        return variant
    return variant.model_copy(update={"margin": REST_OF_MARGIN * variant.margin})


def _bits(packets: Packets, active: Flags) -> Ints:
    return np.bincount(packets.lane, weights=packets.bits, minlength=len(active)).astype(np.int64)
