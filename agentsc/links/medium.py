"""The medium: broadcasts go in, and come out at each receiver, lost or late as the links decide.

Time is counted in message rounds. A packet sent in round k is handed over at the start of the
first round that begins no earlier than its arrival, and never before round k + 1.

A packet passes the stages that links have, a queue or access to a shared medium, and then hops to all receivers at
once (`passage`): links that restrict who can hear whom name the pairs in play, and every link in turn says which of
those packets are lost, how late the others are and which come twice. What arrives is checked for its seal, dropped
if it came before, sent on by relays, and handed over. Every draw is keyed by (seed, link, episode, round, sender,
receiver), so a lane's packets fare the same whatever other lanes run beside it. Cost grows with pairs in play, not
with time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentsc.links import LinkModel, parse_link
from agentsc.links.books import Books, Counts
from agentsc.links.flight import Deliveries, Flights
from agentsc.links.hop import Surroundings
from agentsc.links.packets import Doubles, Held, Packets, join, turns
from agentsc.links.parts import Air, Relay, Seal, Site, Station
from agentsc.links.passage import Carried, Passage
from agentsc.links.seen import Seen
from agentsc.links.shown import Transmissions, of_dropped, of_hop, together
from envs.geometry import Obstacles
from envs.keyed import hash_words, stream_id

Positions = NDArray[np.floating]


class Medium:
    """Broadcast among the agents of every lane.

    Args:
        link: a link spec such as ``erasure:p=0.2+delay:ms=150``, or parsed links.
        seed: of the run. episodes: int64 [L], global number of each lane's episode.
        agents: A. round_s: seconds per message round. obstacles: of all lanes, for links that look at them.

    Attributes:
        packets, bits: int64 [L, A], offered so far by each agent.
        relayed_bits: int64 [L, A], sent by each agent for others.
        books: what became of them, packet × receiver.
        airtime_s: float64 [L, A], spent sending by each agent; None without a link that has a rate.
        delay_sum_s: float64 [L], over delivered packets, from sending to hand-over.

    Raises:
        ConfigError: a link that is not known, or does not fit so many agents.
    """

    def __init__(
        self,
        link: str | Sequence[LinkModel],
        seed: int,
        episodes: NDArray[np.integer] | Sequence[int],
        agents: int,
        round_s: float,
        obstacles: Obstacles | None = None,
    ) -> None:
        self.links = parse_link(link) if isinstance(link, str) else list(link)
        for model in self.links:
            model.check(agents, self.links)
        self.agents, self.round_s = agents, round_s
        episodes = np.asarray(episodes, np.int64)
        lanes, nodes = len(episodes), agents + sum(model.stations for model in self.links)
        sealed = sum(model.sealed_bits for model in self.links)
        sites = [
            Site(lanes, agents, nodes, hash_words(seed, stream_id(f"link.{i}"), episodes), round_s, sealed)
            for i in range(len(self.links))
        ]
        placed = list(enumerate(zip(self.links, sites, strict=True)))
        stages = [(i, model.stage(site)) for i, (model, site) in placed]
        self._stages = [(i, stage) for i, stage in stages if stage is not None]
        self._stages.sort(key=lambda placed: placed[1].shares)
        relays = [(i, model.relay(site)) for i, (model, site) in placed]
        self._relays: list[tuple[int, Relay]] = [(i, relay) for i, relay in relays if relay is not None]
        seals = [(i, model.seal(site)) for i, (model, site) in placed]
        self._seals: list[tuple[int, Seal]] = [(i, seal) for i, seal in seals if seal is not None]
        self._stations = _stations(self.links, sites, agents)
        self._seen = Seen(lanes, agents) if self._relays or self._seals else None
        self._onward: list[Held] = []
        self._flights = Flights(lanes, agents, round_s)
        weighed = any(model.weighs_interference for model in self.links)
        self._around = Surroundings(nodes, None, obstacles, None, weighed, nodes - agents)
        self._carried: list[Carried] = []
        self._dropped: list[Held] = []
        self._ended = True
        self._live, self._stranded = np.ones(lanes, bool), np.zeros(lanes, np.int64)
        self.books = Books(self.links, lanes)
        self._passage = Passage(self.links, sites, self.books)
        self.packets = np.zeros((lanes, agents), np.int64)
        self.bits = np.zeros((lanes, agents), np.int64)
        self.relayed_bits = np.zeros((lanes, agents), np.int64)
        self.airtime_s = np.zeros((lanes, agents)) if self._stages else None
        self.delay_sum_s = np.zeros(lanes)

    @property
    def decisions(self) -> Counts:
        """int64 [L], packet × receiver: offered."""
        return self.books.offered

    @property
    def lost(self) -> Counts:
        """int64 [L], packet × receiver: lost."""
        return self.books.lost

    @property
    def delivered(self) -> Counts:
        """int64 [L], packet × receiver: handed over, copies included."""
        return self.books.delivered

    @property
    def in_flight(self) -> Counts:
        """int64 [L], packet × receiver: in a stage, in the air, or waiting to be relayed."""
        found = self._flights.count()
        for held in (*(stage.waiting for _, stage in self._stages), *self._onward):
            found += 0 if held is None else self._receivers(held)
        return np.where(self._live, found, self._stranded)

    def columns(self) -> dict[str, Counts | Doubles]:
        """Name → [L]: the books as columns of a run's rows; ``docs/results.md`` says what they are."""
        books = self.books
        found: dict[str, Counts | Doubles] = {
            "delivered": books.delivered,
            "duplicated": books.duplicated,
            "in_flight": self.in_flight,
            **{f"lost_{reason}": count for reason, count in books.by_reason.items()},
        }
        if self._relays:
            found |= {"relayed": books.relayed, "relayed_bits": self.relayed_bits.sum(1)}
        if self._stations:
            found["injected"] = books.injected
        if "crc" in books.by_reason:
            found["undetected"] = books.undetected
        return found if self.airtime_s is None else found | {"airtime_s": self.airtime_s.sum(1)}

    def transmit(self, packets: Packets, clock: int, position: Positions | None = None) -> None:
        """Send to all other agents of each packet's lane in round ``clock``.

        Args:
            position: float [L, A, 2], metres, where agents are in that round; not to be changed afterwards.
                Only links that look at distances need it.

        Raises:
            ValueError: an agent sends twice in one round, or a link needs positions.
        """
        self._begin(ends=True)
        if self._stages:  # what happened up to now, happened where everybody was then
            self._advance([], clock)
        self._look(position)
        lane, sender = (column.astype(np.int32, copy=False) for column in (packets.lane, packets.sender))
        count = len(lane)
        held = Held.new(
            lane,
            sender,
            np.full(count, clock, np.int32),
            packets.data,
            packets.bits,
            np.full(count, clock * self.round_s),
        )
        for _, seal in self._seals:
            held = seal.close(held)
        self._count(held)
        parts = [held] if count else []
        others = [*self._hostile(held, clock), *map(self._of_live, self._onward)]
        self._onward = []
        if others:
            parts = turns(join([*parts, *others]))
        parts = [self._passage.modes(part) for part in parts]
        if self._stages:
            self._advance(parts, clock)
        else:
            for part in parts:
                self._send(part, (part.at_s - part.clock * self.round_s) if others else 0.0, clock)

    def deliver(self, clock: int) -> Deliveries:
        """Everything that has arrived by the start of round ``clock`` and was not handed over before."""
        if self._stages:
            self._begin(ends=False)
            self._advance([], clock)
        found = self._flights.land(clock)
        if not self._live.all():
            found = found.take(self._live[found.lane])
        if self._seen is not None and len(found):
            found = self._receive(found, clock)
        if len(found):
            lanes = len(self.books.delivered)
            self.books.delivered += np.bincount(found.lane, minlength=lanes)
            rounds = np.bincount(found.lane, weights=clock - found.sent_clock, minlength=lanes)
            self.delay_sum_s += rounds * self.round_s
        return found

    @property
    def parts_agents(self) -> bool:
        """Whether some link decides who is in touch with whom; otherwise everybody always is."""
        return any(
            model.restricts or type(model).in_touch is not LinkModel.in_touch for model in self.links
        )

    def in_touch(self, clock: int) -> NDArray[np.bool_]:
        """bool [L, A, A], from row to column: who hears whom most of the time, where they were last."""
        return self._passage.in_touch(self._around, clock * self.round_s)

    def retire(self, active: NDArray[np.bool_]) -> None:
        """Lanes [L] that are not active have ended: what is in flight there stays so, and their books are closed."""
        self._stranded = self.in_flight
        self._live &= active

    def transmissions(self, lane: int) -> Transmissions:
        """What has become of a lane's packets since the `transmit` before the last one, for recordings."""
        parts = [of_hop(carried, lane, self.agents, self.round_s) for carried in self._carried]
        return together(parts + [of_dropped(held, lane, self.agents, self.round_s) for held in self._dropped])

    def _begin(self, ends: bool) -> None:
        """Forget what was decided before the last `transmit` ended; ``ends``: this one is a `transmit`."""
        if self._ended:
            self._carried, self._dropped = [], []
        self._ended = ends

    def _look(self, position: Positions | None) -> None:
        """Where nodes are from now on."""
        if position is not None and self._stations:
            places = np.stack([station.place for station in self._stations], 1)
            position = np.concatenate([position, places.astype(position.dtype)], 1)
        self._around = self._around._replace(position=position, air=None)
        for _, stage in self._stages:
            stage.see(self._around)

    def _count(self, held: Held) -> None:
        """Packets of agents into the books."""
        lanes, agents = self.packets.shape
        sent = np.bincount(held.lane * agents + held.sender, minlength=lanes * agents).reshape(lanes, agents)
        if sent.max(initial=0) > 1:
            raise ValueError("an agent may send one packet per round, got several (join their sections)")
        self.packets += sent
        self.bits[held.lane, held.sender] += held.bits
        self.books.offered += sent.sum(1) * (agents - 1)

    def _hostile(self, held: Held, clock: int) -> list[Held]:
        """What hostile stations send beside them."""
        found = (station.send(held, clock) for station in self._stations)
        sent = [self._of_live(packets) for packets in found if packets is not None]
        for packets in sent:
            self.books.injected += self._receivers(packets)
        return sent

    def _receive(self, found: Deliveries, clock: int) -> Deliveries:
        """Seals, repetitions, and what relays send on."""
        assert self._seen is not None
        sealed = found
        keep = np.ones(len(found), bool)
        for link, seal in reversed(self._seals):
            found, refused = seal.open(found, clock)
            for reason, rows in refused.items():
                self._lose(link, reason, found.lane[rows & keep])
                keep &= ~rows
        if not keep.all():
            found, sealed = found.take(keep), sealed.take(keep)
        fresh = self._seen.first(found)
        first = (self._relays or self._seals)[0][0]
        self._lose(first, "repeat", found.lane[~fresh])
        if not fresh.all():
            found, sealed = found.take(fresh), sealed.take(fresh)
        for _, relay in self._relays:
            held = relay.forward(sealed, clock)
            self.books.relayed += self._receivers(held)
            np.add.at(self.relayed_bits, (held.lane, held.sender), held.bits)
            self._onward.append(held)
        return found

    def _of_live(self, held: Held) -> Held:
        """Those packets whose lanes have not ended."""
        return held if self._live.all() else held.take(self._live[held.lane])

    def _receivers(self, held: Held) -> Counts:
        """int64 [L]: packet × receiver; only agents receive, and nobody hears itself."""
        each = np.where(held.sender < self.agents, self.agents - 1, self.agents)
        return np.bincount(held.lane, weights=each, minlength=len(self.packets)).astype(np.int64)

    def _lose(self, link: int, reason: str, lane: NDArray[np.integer]) -> None:
        self.books.lose(link, reason, np.bincount(lane, minlength=len(self.packets)))

    def _advance(self, parts: list[Held], clock: int) -> None:
        """Packets on their way through the stages up to the start of round ``clock``; what leaves them is sent."""
        air: Air | None = None
        for link, stage in self._stages:
            left: list[Held] = []
            for held in parts:
                out, dropped = stage.offer(held)
                left += out
                if dropped is not None:
                    self.books.lose(link, self.links[link].reasons[0], self._receivers(dropped))
                    self._dropped.append(dropped)
            parts = left + stage.advance(clock * self.round_s)
            if not self._live.all():
                parts = [held for held in map(self._of_live, parts) if len(held.lane)]
            air = air if stage.air is None else stage.air
        assert self.airtime_s is not None
        for held in parts:
            mine = held.sender < self.agents
            np.add.at(self.airtime_s, (held.lane[mine], held.sender[mine]), stage.airtime(held)[mine])
        self._around = self._around._replace(air=air)
        for held in parts:
            self._send(held, held.at_s - held.clock * self.round_s, clock)

    def _send(self, held: Held, waited_s: Doubles | float, clock: int) -> None:
        """One hop, and into the air. ``waited_s``: since packets were first sent."""
        carried = self._passage.send(held, self._around, waited_s)
        self._carried.append(carried)
        packet, receiver, delay = carried.packet, carried.hop.receiver, carried.delay_s
        if carried.alive is not None:
            rows = np.flatnonzero(carried.alive)
            packet, receiver = packet[rows], receiver[rows]
            delay = delay if isinstance(delay, float) else delay[rows]
        self._flights.launch(carried.packets, packet, receiver, delay, clock)


def _stations(links: Sequence[LinkModel], sites: Sequence[Site], agents: int) -> list[Station]:
    """All hostile stations, in the order of their numbers."""
    found: list[Station] = []
    for link, site in zip(links, sites, strict=True):
        found += [link.station(site, agents + len(found) + each) for each in range(link.stations)]
    return found
