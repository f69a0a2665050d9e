"""Hubs: they hear goals, let the machines that they host decide, and tell vehicles how far they may go.

All hubs of an architecture act as one: what one has heard or decided the others know over the wire between them, which
loses nothing. Each tells the vehicles whose last known place is nearest to it, one packet a round at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsc.actors.fleet import Fleet, join_packets
from agentsc.hosting.lanes import Clocks, most_ticks
from agentsc.hosting.ledger import Ledger, Order, Outlook, Room
from agentsc.hosting.vehicles import REPEAT
from agentsc.hosting.words import LEG_BITS, MOST_ENTRIES, ORDERS_BITS, WISHES, Entry, Reports, orders
from agentsc.intent.fields import MAX_ROUNDS
from agentsc.links.flight import Deliveries
from agentsc.links.medium import Packets
from agentsc.protocol import Setup
from agentsc.protocol.architectures import Hosted
from envs.world import World

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

CHUNK = 8
"""Ticks that the hosted machines go on at a time."""
MOST_CHUNKS = 8
"""Of these in one tick of the vehicles."""
ENOUGH = 8
"""New steps that are worth a packet by themselves."""
SOON = 4
"""Ticks before a vehicle comes to rest in which any new step is worth one."""


@dataclass(frozen=True)
class Pace:
    """When hubs decide, in ticks of the vehicles.

    every: between decisions. most: chunks at a time. lag: rounds until all hubs know what one has heard.
    strategic: every so many decisions are made with the last prior; 0: none.
    """

    every: int
    most: int
    lag: int
    strategic: int


class Hubs:
    """The hubs of all lanes, and what they know. Bits between them are counted in ``wire_bits`` [lane]."""

    def __init__(
        self, architecture: Hosted, setup: Setup, minds: Fleet, pace: Pace, order: Order
    ) -> None:
        world, spec = setup.world, setup.spec
        self.architecture, self.setup, self.minds, self.pace = architecture, setup, minds, pace
        self.places = architecture.places(world)
        lanes, agents = world.starts.shape[:2]
        stride = world.v_max * world.dt * 1.01 + 2 * spec.step
        room = None
        if len(world.obstacles.boxes):
            # Around obstacles legs follow the twins as closely as lattice points can.
            order = order._replace(tolerance=min(order.tolerance, spec.step))
            room = _room(world)
        self.ledgers = [Ledger(spec, start, order, stride, room) for start in world.starts]
        self.alive = np.ones(architecture.hubs, bool)
        self.began = np.zeros(lanes, bool)
        self._known = np.zeros((lanes, agents), bool)
        self._goal = world.starts.copy()
        self._wish = np.zeros((lanes, agents), np.int64)
        self._changed = np.zeros((lanes, agents), bool)
        self._owes = np.zeros((lanes, agents), bool)
        self._told = np.zeros((lanes, agents), np.int64)
        self._told_at = np.full((lanes, agents), -REPEAT, np.int64)
        self._said_at = np.zeros((lanes, architecture.hubs), np.int64)
        self._delayed: list[tuple[int, Ints, Reports]] = []
        # The twins: where the hosted machines have moved them, what time it is for them, and what they told last.
        self._position, self._velocity = world.starts.copy(), np.zeros_like(world.starts)
        self._ticks = np.zeros(lanes, np.int64)
        self._rests_until = np.zeros(lanes, np.int64)
        self._most_ticks = min(most_ticks(world), (MAX_ROUNDS - 1) // setup.rounds)
        none = np.zeros(0, np.int32)
        self._words = Packets(none, none, np.zeros((0, 0), np.uint8), none)
        self.wire_bits = np.zeros(lanes, np.int64)
        self.decisions, self.waited = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
        self._since = np.full((lanes, agents), -1, np.int64)

    # -- what comes in ---------------------------------------------------------------------------

    def hear(self, lane: Ints, reports: Reports, clock: int) -> None:
        """Reports [n] that some living hub has received; others know ``lag`` rounds later, and nobody acts before."""
        self._delayed.append((clock + self.pace.lag, lane, reports))
        due = [part for part in self._delayed if part[0] <= clock]
        self._delayed = [part for part in self._delayed if part[0] > clock]
        for _, lanes, part in due:
            self._take_in(lanes, part, clock)

    def _take_in(self, lane: Ints, reports: Reports, clock: int) -> None:
        for number in range(len(lane)):
            at = int(lane[number]), int(reports.sender[number])
            ledger, steps = self.ledgers[at[0]], int(reports.steps[number])
            if ledger.hear(at[1], steps, int(reports.done[number])):
                self.wire_bits[at[0]] += (self.architecture.hubs - 1) * 56
                if self._since[at] >= 0:
                    self.decisions[at[0]] += 1
                    self.waited[at[0]] += clock - self._since[at]
                    self._since[at] = -1
            goal = reports.goal[number]
            if goal[0] < 0:
                continue
            self._owes[at] = True
            newer = (int(reports.wish[number]) - int(self._wish[at])) % WISHES
            if not self._known[at] or 0 < newer <= WISHES // 2:
                self._goal[at] = self.setup.spec.point(goal)
                self._wish[at] = reports.wish[number]
                self._known[at] = self._changed[at] = True
                self.wire_bits[at[0]] += (self.architecture.hubs - 1) * 44

    # -- deciding --------------------------------------------------------------------------------

    def think(self, tick: int, active: Flags) -> None:
        """Let the hosted machines go on where that is due."""
        if not self.alive.all():
            return  # some of them are gone, and the others would only wait for them
        late = tick * self.setup.world.dt >= self.architecture.wait_s
        ready = active & ~self.began & (self._known.all(1) | (self._known.any(1) & late))
        if ready.any():
            self.minds.begin(self.setup.world.starts, self._goal, ready)
            self.began |= ready
            self._changed[ready] = False
            self._muster(ready)
        if tick % self.pace.every and not ready.any():
            return
        due = active & self.began & (ready | (tick % self.pace.every == 0))
        changed = due & self._changed.any(1)
        if changed.any():
            self._muster(changed)
            self.minds.retarget(self._goal, self._clocks(changed, 1))  # type: ignore[arg-type]
            self._changed[changed] = False
            self._rests_until[changed] = 0
        prior = self._prior(tick)
        for _ in range(self.pace.most):
            go = due & self._short(tick)
            if not go.any():
                break
            self._advance(go, prior, tick)

    def _prior(self, tick: int) -> str | None:
        minds = self.architecture.minds
        if not minds:
            return None
        return minds[-1] if tick // self.pace.every % self.pace.strategic == 0 else minds[0]

    def _muster(self, lanes: Flags) -> None:
        self.minds.muster(self._known, self._clocks(lanes, 1))  # type: ignore[arg-type]

    def _clocks(self, lanes: Flags, per_tick: int, number: int = 0, prior: str | None = None) -> Clocks:
        return Clocks(np.where(lanes, self._ticks * per_tick + number, -1), prior)

    def _short(self, tick: int) -> Flags:
        """bool [lane]: where half of those that still have a way to go have less than enough of it before them."""
        short = np.zeros(len(self.ledgers), bool)
        enough = self.architecture.ahead_ticks + self.pace.every - 1
        for lane in np.flatnonzero(self.began).tolist():
            ledger = self.ledgers[lane]
            left = ledger.ahead(tick)
            left = left[left > 0]
            room = self._ticks[lane] + CHUNK <= self._most_ticks
            awake = tick >= self._rests_until[lane]
            short[lane] = awake and room and (len(left) == 0 or np.median(left) < enough)
        return short

    def _advance(self, lanes: Flags, prior: str | None, tick: int) -> None:
        """A chunk of the twins' time, and what it adds to the ledgers."""
        world, rounds = self.setup.world, self.setup.rounds
        path = [self._position.copy()]
        for _ in range(CHUNK):
            for number in range(rounds):
                inbox = self._exchange(lanes)
                clocks: Any = self._clocks(lanes, rounds, number, prior)
                said = self.minds.round(inbox, clocks, number == 0)
                self._words = join_packets([self._words, said]) if len(self._words.lane) else said
                if self.architecture.hubs > 1:
                    bits = np.bincount(said.lane, weights=said.bits, minlength=len(lanes)).astype(np.int64)
                    self.wire_bits += (self.architecture.hubs - 1) * bits
            now: Any = self._clocks(lanes, 1)
            command = self.minds.act(self._position, self._velocity, _far(self._position), now)
            self._velocity = np.where(lanes[:, None, None], _limited(command, world.v_max), np.float32(0))
            self._position = self._position + self._velocity * np.float32(world.dt)
            self._ticks[lanes] += 1
            path.append(self._position.copy())
        whole = np.stack(path, 1)
        for lane in np.flatnonzero(lanes).tolist():
            moved = (np.diff(whole[lane], axis=0) != 0).any((1, 2))
            # Where nobody has anything to do, time goes by no faster than for the vehicles.
            self._rests_until[lane] = 0 if moved.any() else tick + CHUNK
            if moved.any():
                ledger = self.ledgers[lane]
                before = ledger.legs
                ledger.extend(whole[lane][np.append(True, moved)], tick)
                self.wire_bits[lane] += (self.architecture.hubs - 1) * (ledger.legs - before) * LEG_BITS

    def _exchange(self, lanes: Flags) -> Deliveries:
        """What hosted machines of those lanes told each other in their round before: nothing is lost between them."""
        words = self._words
        now = lanes[words.lane]
        self._words, words = words.take(~now), words.take(now)
        agents = self.setup.world.agents
        packet, receiver = (index.ravel() for index in np.indices((len(words.lane), agents)))
        other = words.sender[packet] != receiver
        packet, receiver = packet[other], receiver[other]
        order = np.lexsort((words.sender[packet], receiver, words.lane[packet]))
        packet, receiver = packet[order].astype(np.int32), receiver[order].astype(np.int32)
        none = np.zeros(len(words.lane), np.int32)
        return Deliveries(
            words.lane[packet], words.sender[packet], receiver, np.zeros_like(packet), np.zeros(len(packet)), packet,
            words.data, words.bits, none, none > 0,
        )  # fmt: skip

    # -- what goes out ---------------------------------------------------------------------------

    def speak(self, clock: int, active: Flags) -> Packets:
        """Orders of all hubs, at most a packet each; radios of hubs are numbered behind the agents'.

        Hubs that have lost one of them say nothing any more: then vehicles soon know.
        """
        tick, agents = clock // self.setup.rounds, self.setup.world.agents
        beat = self.architecture.heartbeat_s / self.setup.world.dt * self.setup.rounds
        who: list[tuple[int, int]] = []
        told: list[list[Entry]] = []
        for lane in np.flatnonzero(active & self.alive.all()).tolist():
            due = self._due(lane, clock, tick)
            for hub in range(len(self.places)):
                entries = self._entries(lane, due[hub], clock) if due is not None else []
                if entries or clock - self._said_at[lane, hub] >= beat:
                    self._said_at[lane, hub] = clock
                    who.append((lane, hub))
                    told.append(entries)
        lanes, hubs = np.array(who, np.int64).reshape(-1, 2).T
        return orders(lanes, agents + hubs, hubs, told, clock)

    def _due(self, lane: int, clock: int, tick: int) -> list[list[tuple[int, Outlook]]] | None:
        """Per hub, the vehicles that something is to be told, the most urgent first; None if there are none at all."""
        ledger = self.ledgers[lane]
        outlook = ledger.outlook(tick)
        known, told = ledger.known, self._told[lane]
        idle = clock - self._told_at[lane] >= REPEAT
        agents = np.arange(len(known))
        news = ledger.motion(np.maximum(told, known), outlook.limit)
        due = (news >= ENOUGH) | ((news > 0) & (ledger.done - tick <= SOON)) | ((told > known) & idle)
        fresh = due & (self._since[lane] < 0)
        self._since[lane, fresh] = clock
        due |= self._owes[lane]
        if not due.any():
            return None
        at = ledger.route[known, agents]
        nearest = np.linalg.norm(at[:, None] - self.places, axis=-1).argmin(1)
        order = np.lexsort((agents, ledger.done))
        return [
            [(agent, outlook) for agent in order.tolist() if due[agent] and nearest[agent] == hub]
            for hub in range(len(self.places))
        ]

    def _entries(self, lane: int, due: list[tuple[int, Outlook]], clock: int) -> list[Entry]:
        """As many entries as fit a packet."""
        room = self.architecture.packet_bits - ORDERS_BITS
        found: list[Entry] = []
        for agent, outlook in due:
            first, limit, legs = self.ledgers[lane].piece(agent, int(outlook.limit[agent]))
            gate, until = int(outlook.gate[agent]), int(outlook.until[agent])
            # A vehicle whose goal is not known here must not think that it is.
            wish = (int(self._wish[lane, agent]) - (not self._known[lane, agent])) % WISHES
            entry = Entry(agent, wish, first, limit if legs else first, legs).gated(gate, until)
            while entry.bits > room and len(entry.legs) > 1:
                entry = entry.shorter()
            if entry.bits > room or len(found) == MOST_ENTRIES:
                break
            found.append(entry)
            room -= entry.bits
            self._owes[lane, agent] = False
            self._told_at[lane, agent] = clock
            self._told[lane, agent] = max(int(self._told[lane, agent]), entry.limit)
        return found


def _room(world: World) -> Room:
    """Metres between the rims of vehicles at places [n, 2] and what is nearest."""
    return lambda places: world.obstacles.signed_distance(places) - np.float32(world.radius)


def _limited(vectors: Floats, most: float) -> Floats:
    """Vectors [..., 2] shortened to length ``most`` where they are longer."""
    length = np.sqrt((vectors**2).sum(-1, keepdims=True))
    return np.asarray(vectors * np.minimum(1.0, most / np.maximum(length, 1e-12)), np.float32)


def _far(position: Floats) -> Floats:
    """Range readings of twins [lane, agent]: there is nothing to run into."""
    return np.full(position.shape[:2], np.inf, np.float32)
