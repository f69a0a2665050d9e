"""What a link sees: packets on their way from their sender to each of their receivers, in one flat list.

A list has a row per packet and receiver *in play*, so its length, and the cost of everything done to it, is
what can be heard at all, not the square of the fleet. Whatever a link may or may not look at, keys and distances
above all, is worked out when it does.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links.packets import Doubles, Held, Ints
from agentsc.links.parts import Air, Overlaps
from envs.geometry import Obstacles
from envs.keyed import hash_words

Keys = NDArray[np.uint64]
Mask = NDArray[np.bool_]


class Pairs(NamedTuple):
    """Who may hear what: int32 [N] each, sorted by packet, then receiver; nobody hears itself."""

    packet: Ints
    receiver: Ints


class Surroundings(NamedTuple):
    """What is around the radios.

    nodes: N. position: float [L, N, 2], metres, where they are; None if nobody told. obstacles: of all lanes.
    air: transmissions on a shared medium. weighed: a radio link decides what overlapping ones do to a packet.
    stations: how many of the nodes, the last ones, are hostile.
    """

    nodes: int
    position: NDArray[np.floating] | None = None
    obstacles: Obstacles | None = None
    air: Air | None = None
    weighed: bool = False
    stations: int = 0

    @property
    def agents(self) -> int:
        """A; the others are hostile."""
        return self.nodes - self.stations


class Hop:
    """K packets, each on its way to some receivers: N rows.

    Attributes:
        packets: the K packets. lane, sender, clock, bits, origin: int32 [K] of them; clock is the message round
            of sending. sent_s: float64 [K], when the last bit has left; start_s: when the first one has.
        packet: int32 [N], the row of the packet. receiver: int32 [N].
        copy: int64 [N], 0 for the packet itself, another number for every copy that a link made of it;
            None without copies. Copies stand behind all originals.
        interference_mw: float64 [N], power that reaches the receiver from elsewhere, said by links before;
            None if there is none.
    """

    def __init__(
        self, packets: Held, pairs: Pairs, around: Surroundings, copy: NDArray[np.int64] | None = None
    ) -> None:
        self.packets, self.around, self.copy = packets, around, copy
        self.lane, self.sender, self.clock, self.bits = packets.lane, packets.sender, packets.clock, packets.bits
        self.origin, self.sent_s, self.start_s = packets.origin, packets.at_s, packets.start_s
        self.packet, self.receiver = pairs
        self.interference_mw: Doubles | None = None

    def __len__(self) -> int:
        return len(self.packet)

    @property
    def originals(self) -> int:
        return len(self) if self.copy is None else int((self.copy == 0).sum())

    @cached_property
    def pair(self) -> NDArray[np.int64]:
        """int64 [N]: (lane · nodes + sender) · nodes + receiver, the place of a pair's state."""
        nodes = self.around.nodes
        row = (self.lane.astype(np.int64) * nodes + self.sender) * nodes
        return row[self.packet] + self.receiver

    @cached_property
    def ends_m(self) -> tuple[Doubles, Doubles]:
        """Where sender and receiver are: float64 [N, 2] each, metres.

        Raises:
            ValueError: the medium was not told where agents are.
        """
        spot = known(self.around.position)
        lane = self.lane[self.packet]
        ends = spot[lane, self.sender[self.packet]], spot[lane, self.receiver]
        return ends[0].astype(np.float64), ends[1].astype(np.float64)

    @cached_property
    def distance_m(self) -> Doubles:
        """float64 [N]: from sender to receiver, metres.

        Raises:
            ValueError: the medium was not told where agents are.
        """
        begin, end = self.ends_m
        gap = begin - end
        return np.hypot(gap[:, 0], gap[:, 1])

    @cached_property
    def overlaps(self) -> Overlaps | None:
        """Who else was on the air during each packet; None where no link shares the medium."""
        if self.around.air is None:
            return None
        from agentsc.links.access import overlaps

        return overlaps(self.packets, self.around.air)

    def with_copies(self, rows: NDArray[np.integer], maker: int) -> Hop:
        """The same list with copies of ``rows`` [M] behind it, made by the link of that number."""
        old = np.zeros(len(self), np.int64) if self.copy is None else self.copy
        # A copy of a copy by another link gets a number of its own, and so its own keys.
        copy = np.concatenate([old, old[rows] * 256 + maker + 1])
        pairs = Pairs(
            np.concatenate([self.packet, self.packet[rows]]),
            np.concatenate([self.receiver, self.receiver[rows]]),
        )
        longer = Hop(self.packets, pairs, self.around, copy)
        if self.interference_mw is not None:
            longer.interference_mw = np.concatenate([self.interference_mw, self.interference_mw[rows]])
        return longer


class Draw:
    """One link's random bits for a hop, made when they are looked at.

    Args:
        hop: of which. seeds: uint64 [L], the link's key in every lane.
    """

    def __init__(self, hop: Hop, seeds: Keys) -> None:
        self._hop, self.seeds = hop, seeds

    @cached_property
    def packet(self) -> Keys:
        """uint64 [N], well-mixed and never repeated.

        Of (seed, link, episode, round, sender, receiver); for what is relayed or forged also of its author and hops,
        for copies of their number.
        """
        hop = self._hop
        prefix = hash_words(self.seeds[hop.lane], hop.clock)
        relayed = hop.origin != hop.sender
        if relayed.any():  # a relay may send packets of several origins in one round
            prefix[relayed] = hash_words(prefix[relayed], hop.origin[relayed], hop.packets.hops[relayed])
        key = self._mixed(prefix)
        if hop.copy is not None:
            first = hop.originals
            key[first:] = hash_words(key[first:], hop.copy[first:])
        return key

    @cached_property
    def pair(self) -> Keys:
        """uint64 [N], the same for all packets of an ordered pair: of (seed, link, episode, sender, receiver)."""
        return self._mixed(hash_words(self.seeds[self._hop.lane], -1))

    @cached_property
    def lane(self) -> Keys:
        """uint64 [N], the same for all packets of an episode: of (seed, link, episode)."""
        return hash_words(self.seeds[self._hop.lane], -2)[self._hop.packet]

    def _mixed(self, prefix: Keys) -> Keys:
        from agentsc.links import _kernels

        # Agents are numbered on 16 bits in the key, so it does not depend on the fleet's size.
        key = np.empty(len(self._hop), np.uint64)
        _kernels.pair_keys(prefix, self._hop.sender, self._hop.packet, self._hop.receiver, key)
        return key


def known(position: NDArray[np.floating] | None) -> NDArray[np.floating]:
    """Positions [L, A, 2], metres.

    Raises:
        ValueError: there are none.
    """
    if position is None:
        raise ValueError("this link needs to know where agents are: transmit(packets, clock, position)")
    return position


def happens(key: Keys, probability: float) -> Mask:
    """True with that probability: ``keyed.uniform < probability`` on the same bits, without the floats."""
    if probability <= 0.0:
        return np.zeros(key.shape, bool)
    if probability >= 1.0:
        return np.ones(key.shape, bool)
    return np.asarray((key >> np.uint64(11)) < np.uint64(int(probability * (1 << 53))))


def uniform(key: Keys) -> Doubles:
    """Uniform in [0, 1) from well-mixed bits."""
    return np.asarray((key >> np.uint64(11)).astype(np.float64) * 2.0**-53)
