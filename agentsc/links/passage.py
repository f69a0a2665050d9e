"""One hop: packets leave their senders' radios, and every link has its say at every receiver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links import LinkModel
from agentsc.links.books import Books, Counts
from agentsc.links.corruption import corrupt
from agentsc.links.framing import intact
from agentsc.links.hop import Draw, Hop, Mask, Pairs, Surroundings
from agentsc.links.packets import Doubles, Held, Ints, join
from agentsc.links.parts import Site
from agentsc.links.reach import both, everyone
from envs.keyed import hash_words


class Carried(NamedTuple):
    """A hop and what became of it.

    alive: None where nothing was lost. delay_s: from first sending to arrival, [N] or one number for all.
    packets: the hop's, with those behind them that arrived with wrong bits. packet: int32 [N], the row there that
    each receiver gets.
    """

    hop: Hop
    alive: Mask | None
    delay_s: Doubles | float
    packets: Held
    packet: Ints


class Passage:
    """The links of a medium, in their order, with what they remember of every pair.

    Args:
        links: models. sites: of each. books: where losses are entered.

    Attributes:
        heard_db: float32 [L, A, N], signal-to-noise ratio of the newest packet that each agent received of each
            node; None if no link adapts to it.
    """

    def __init__(self, links: Sequence[LinkModel], sites: Sequence[Site], books: Books) -> None:
        self.links, self.books = list(links), books
        lanes, self.agents, self.nodes = sites[0].lanes, sites[0].agents, sites[0].nodes
        self.lanes, self.sealed_bits = lanes, sites[0].sealed_bits
        self._seeds = [site.seeds for site in sites]
        self._states: list[NDArray | None] = [None] * len(self.links)
        if any(type(link).initial is not LinkModel.initial for link in links):
            every = _every_pair(lanes, self.nodes)
            self._states = [link.initial(Draw(every, seeds)) for link, seeds in zip(links, self._seeds, strict=True)]
        adapts = any(link.adapts for link in links)
        self.heard_db = np.full((lanes, self.agents, self.nodes), np.nan, np.float32) if adapts else None

    def modes(self, packets: Held) -> Held:
        """Packets with mode and rate of the radio that will send them."""
        for link in self.links:
            chosen = link.mode(packets, self.heard_db)
            if chosen is not None:
                packets = packets._replace(mode=chosen[0], rate_bps=chosen[1])
        return packets

    def send(self, packets: Held, around: Surroundings, waited_s: Doubles | float) -> Carried:
        """Through all links.

        Args:
            packets: at most one per sender. waited_s: since each was first sent, [K] or one number for all.
        """
        hop = Hop(packets, self.reach(packets, around), around)
        delay = waited_s if isinstance(waited_s, float) else waited_s[hop.packet]
        alive: Mask | None = None
        wrong: tuple[int, Doubles] | None = None
        for i, link in enumerate(self.links):
            state = self._states[i]
            effect = link.carry(hop, Draw(hop, self._seeds[i]), None if state is None else state[hop.pair])
            if state is not None and effect.state is not None:
                first = hop.originals
                state[hop.pair[:first]] = effect.state[:first]
            for reason, lost in effect.lost.items():
                fresh = lost if alive is None else lost & alive
                self.books.lose(i, reason, self._per_lane(hop, np.flatnonzero(fresh)))
                alive = ~fresh if alive is None else alive & ~fresh
            if effect.interference_mw is not None:
                before = hop.interference_mw
                hop.interference_mw = effect.interference_mw + (0.0 if before is None else before)
            if effect.snr_db is not None and self.heard_db is not None:
                self._note(hop, alive, effect.snr_db)
            if effect.error_rate is not None:
                wrong = i, effect.error_rate if wrong is None else _odd(wrong[1], effect.error_rate)
            delay = delay + effect.delay_s
            if effect.copied is not None and len(effect.copied):
                hop, alive, delay, rows = self._copy(i, hop, alive, delay, effect.copied, effect.copy_delay_s)
                wrong = None if wrong is None else (wrong[0], np.append(wrong[1], wrong[1][rows]))
        if packets.forged.any():
            alive = self._without_checksum(hop, alive)
        if wrong is None:
            return Carried(hop, alive, delay, packets, hop.packet)
        return self._with_errors(hop, alive, delay, *wrong)

    def in_touch(self, around: Surroundings, now_s: float) -> NDArray[np.bool_]:
        """bool [L, A, A], from row to column: who hears whom most of the time, if everybody spoke."""
        lane, sender = (part.ravel().astype(np.int32) for part in np.indices((self.lanes, self.agents)))
        count = len(lane)
        packets = Held.new(
            lane, sender, np.zeros(count, np.int32), np.zeros((count, 1), np.uint8), np.zeros(count, np.int32),
            np.full(count, now_s),
        )  # fmt: skip
        pairs: Pairs | None = None
        for link in self.links:
            if link.restricts:
                heard = link.audience(packets, self.agents, around)
                pairs = heard if pairs is None else both(pairs, heard, self.agents)
        hop = Hop(packets, everyone(sender, self.agents) if pairs is None else pairs, around)
        near = np.ones(len(hop), bool)
        for link, seeds in zip(self.links, self._seeds, strict=True):
            found = link.in_touch(hop, Draw(hop, seeds))
            near &= True if found is None else found
        graph = np.zeros((self.lanes, self.agents, self.agents), bool)
        graph[lane[hop.packet], sender[hop.packet], hop.receiver] = near
        return graph

    def reach(self, packets: Held, around: Surroundings) -> Pairs:
        """The pairs in play; those out of reach are lost."""
        pairs: Pairs | None = None
        for i, link in enumerate(self.links):
            if not link.restricts:
                continue
            heard = link.audience(packets, self.agents, around)
            if pairs is None:
                each = np.where(packets.sender < self.agents, self.agents - 1, self.agents)
                before = np.bincount(packets.lane, weights=each, minlength=self.lanes).astype(np.int64)
                pairs = heard
            else:
                before = np.bincount(packets.lane[pairs.packet], minlength=self.lanes)
                pairs = both(pairs, heard, self.agents)
            after = np.bincount(packets.lane[pairs.packet], minlength=self.lanes)
            self.books.lose(i, link.reasons[0], before - after)
        return everyone(packets.sender, self.agents) if pairs is None else pairs

    def _copy(
        self,
        link: int,
        hop: Hop,
        alive: Mask | None,
        delay: Doubles | float,
        rows: NDArray[np.integer],
        later_s: Doubles | float,
    ) -> tuple[Hop, Mask | None, Doubles, NDArray[np.integer]]:
        """Copies of what is still alive go on beside their packets; their rows are returned, too."""
        later = np.broadcast_to(later_s, len(rows))
        if alive is not None:
            rows, later = rows[alive[rows]], later[alive[rows]]
        self.books.duplicated += self._per_lane(hop, rows)
        each = np.broadcast_to(delay, len(hop))
        alive = None if alive is None else np.concatenate([alive, np.ones(len(rows), bool)])
        return hop.with_copies(rows, link), alive, np.concatenate([each, each[rows] + later]), rows

    def _note(self, hop: Hop, alive: Mask | None, snr_db: Doubles) -> None:
        """Receivers remember how well they heard."""
        assert self.heard_db is not None
        rows = np.arange(len(hop)) if alive is None else np.flatnonzero(alive)
        packet = hop.packet[rows]
        self.heard_db[hop.lane[packet], hop.receiver[rows], hop.sender[packet]] = snr_db[rows]

    def _with_errors(
        self, hop: Hop, alive: Mask | None, delay: Doubles | float, link: int, rate: Doubles
    ) -> Carried:
        """Bits arrive wrong; the checksum decides which packets are delivered all the same."""
        packets = hop.packets
        rows = np.flatnonzero(rate > 0.0 if alive is None else alive & (rate > 0.0))
        keys = hash_words(Draw(hop, self._seeds[link]).packet[rows], -3)
        origin = hop.packet[rows]
        changed, data = corrupt(keys, rate[rows], packets.data, origin, packets.bits)
        rows, origin = rows[changed], origin[changed]
        passes = intact(data, packets.bits[origin] - self.sealed_bits)
        alive = np.ones(len(hop), bool) if alive is None else alive
        alive[rows[~passes]] = False
        self.books.lose(link, "crc", self._per_lane(hop, rows[~passes]))
        self.books.undetected += self._per_lane(hop, rows[passes])
        packet = hop.packet.copy()
        if passes.any():
            packet[rows[passes]] = len(packets.lane) + np.arange(passes.sum(), dtype=np.int32)
            wrong = packets.take(origin[passes])._replace(data=data[passes])
            packets = join([packets, wrong])
        return Carried(hop, alive, delay, packets, packet)

    def _without_checksum(self, hop: Hop, alive: Mask | None) -> Mask | None:
        """What hostile stations send may be no packet at all."""
        packets = hop.packets
        bad = packets.forged & ~intact(packets.data, packets.bits - self.sealed_bits)
        if not bad.any():
            return alive
        lost = bad[hop.packet] if alive is None else alive & bad[hop.packet]
        link = next(i for i, link in enumerate(self.links) if link.stations and "crc" in link.reasons)
        self.books.lose(link, "crc", self._per_lane(hop, np.flatnonzero(lost)))
        return ~lost if alive is None else alive & ~lost

    def _per_lane(self, hop: Hop, rows: NDArray[np.integer]) -> Counts:
        """int64 [L], how many of those rows each lane has."""
        each = np.bincount(hop.packet[rows], minlength=len(hop.lane))
        return np.bincount(hop.lane, weights=each, minlength=self.lanes).astype(np.int64)


def _odd(one: Doubles, other: Doubles) -> Doubles:
    """Probability that just one of two independent things happens: a bit that is wrong twice is right again."""
    return one + other - 2.0 * one * other


def _every_pair(lanes: int, nodes: int) -> Hop:
    """All ordered pairs of all lanes, a node and itself among them, in the order of `Hop.pair`."""
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((lanes, nodes)))
    packet, receiver = (part.ravel().astype(np.int32) for part in np.indices((lanes * nodes, nodes)))
    none = np.zeros(lanes * nodes, np.int32)
    packets = Held.new(
        lane, sender, none, np.zeros((lanes * nodes, 1), np.uint8), none, np.zeros(lanes * nodes)
    )
    return Hop(packets, Pairs(packet, receiver), Surroundings(nodes))
