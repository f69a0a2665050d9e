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

from envs.keyed import hash_words

Ints = NDArray[np.int32]
Keys = NDArray[np.uint64]
Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]


class Pairs(NamedTuple):
    """Who may hear what: int32 [N] each, sorted by packet, then receiver; nobody hears itself."""

    packet: Ints
    receiver: Ints


class Hop:
    """K packets, each on its way to some receivers: N rows.

    Attributes:
        lane, sender, clock: int32 [K]; clock is the message round of sending.
        bits: int32 [K], on the air. sent_s: float64 [K], seconds since the start.
        packet: int32 [N], the row of the packet. receiver: int32 [N].
        copy: int64 [N], 0 for the packet itself, another number for every copy that a link made of it;
            None without copies. Copies stand behind all originals.
        originals: how many rows are no copies.
    """

    def __init__(
        self,
        lane: Ints,
        sender: Ints,
        clock: Ints,
        bits: Ints,
        sent_s: Doubles,
        pairs: Pairs,
        agents: int,
        position: NDArray[np.floating] | None = None,
        copy: NDArray[np.int64] | None = None,
    ) -> None:
        self.lane, self.sender, self.clock, self.bits, self.sent_s = lane, sender, clock, bits, sent_s
        self.packet, self.receiver = pairs
        self.agents, self._position, self.copy = agents, position, copy

    def __len__(self) -> int:
        return len(self.packet)

    @property
    def originals(self) -> int:
        return len(self) if self.copy is None else int((self.copy == 0).sum())

    @cached_property
    def pair(self) -> NDArray[np.int64]:
        """int64 [N]: (lane · A + sender) · A + receiver, the place of a pair's state."""
        row = (self.lane.astype(np.int64) * self.agents + self.sender) * self.agents
        return row[self.packet] + self.receiver

    @cached_property
    def distance_m(self) -> Doubles:
        """float64 [N]: from sender to receiver, metres.

        Raises:
            ValueError: the medium was not told where agents are.
        """
        spot = known(self._position).astype(np.float64)
        lane = self.lane[self.packet]
        gap = spot[lane, self.sender[self.packet]] - spot[lane, self.receiver]
        return np.hypot(gap[:, 0], gap[:, 1])

    def with_copies(self, rows: NDArray[np.integer], maker: int) -> Hop:
        """The same list with copies of ``rows`` [M] behind it, made by the link of that number."""
        old = np.zeros(len(self), np.int64) if self.copy is None else self.copy
        # A copy of a copy by another link gets a number of its own, and so its own keys.
        copy = np.concatenate([old, old[rows] * 256 + maker + 1])
        pairs = Pairs(
            np.concatenate([self.packet, self.packet[rows]]),
            np.concatenate([self.receiver, self.receiver[rows]]),
        )
        return Hop(
            self.lane,
            self.sender,
            self.clock,
            self.bits,
            self.sent_s,
            pairs,
            self.agents,
            self._position,
            copy,
        )


class Draw:
    """One link's random bits for a hop, made when they are looked at.

    Args:
        hop: of which. seeds: uint64 [L], the link's key in every lane.
    """

    def __init__(self, hop: Hop, seeds: Keys) -> None:
        self._hop, self._seeds = hop, seeds

    @cached_property
    def packet(self) -> Keys:
        """uint64 [N], well-mixed and never repeated: of (seed, link, episode, round, sender, receiver, copy)."""
        hop = self._hop
        key = self._mixed(hash_words(self._seeds[hop.lane], hop.clock))
        if hop.copy is not None:
            first = hop.originals
            key[first:] = hash_words(key[first:], hop.copy[first:])
        return key

    @cached_property
    def pair(self) -> Keys:
        """uint64 [N], the same for all packets of an ordered pair: of (seed, link, episode, sender, receiver)."""
        return self._mixed(hash_words(self._seeds[self._hop.lane], -1))

    @cached_property
    def lane(self) -> Keys:
        """uint64 [N], the same for all packets of an episode: of (seed, link, episode)."""
        return hash_words(self._seeds[self._hop.lane], -2)[self._hop.packet]

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
