"""Moving parts that links may add to a medium.

A `LinkModel` is a pure function of packets. What has to remember more than a state per pair is a part of its own,
made by the link for one medium: a `Stage` in front of the radios, a `Relay` and a `Seal` behind them, a `Station`
beside them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links.flight import Deliveries
from agentsc.links.packets import Doubles, Held, Ints

if TYPE_CHECKING:
    from agentsc.links.hop import Surroundings


class Site(NamedTuple):
    """Where a link works.

    lanes: L. agents: A, who receive. nodes: N ≥ A, whose radios send: hostile stations are numbered from A on.
    seeds: uint64 [L], the link's key in every lane. round_s: seconds per message round.
    sealed_bits: behind every packet's own bits, as seals of all links add them.
    """

    lanes: int
    agents: int
    nodes: int
    seeds: NDArray[np.uint64]
    round_s: float
    sealed_bits: int = 0


class Air(NamedTuple):
    """Transmissions on a shared medium, sorted by (lane, start).

    lane, sender: int32 [T]. start_s, end_s: float64 [T]. channel: int32 [T]; only transmissions on one channel
    disturb each other.
    """

    lane: Ints
    sender: Ints
    start_s: Doubles
    end_s: Doubles
    channel: Ints


class Overlaps(NamedTuple):
    """Which other transmissions were on the air, on the same channel, during each of K packets.

    begin: int64 [K + 1]; packet k has the rows begin[k] : begin[k + 1] of the others.
    sender: int32 [M]. share: float64 [M], part of the packet's time, in (0, 1].
    """

    begin: NDArray[np.int64]
    sender: Ints
    share: Doubles


class Stage(ABC):
    """Holds packets until they are out; one for all senders of all lanes.

    Attributes:
        shares: whether it says who is on the air with whom; it then comes behind all queues.
        air: what has been on the air lately; None where packets do not disturb each other.
    """

    shares: ClassVar[bool] = False
    air: Air | None = None

    @abstractmethod
    def offer(self, packets: Held) -> tuple[list[Held], Held | None]:
        """Take packets in, each at its ``at_s``, after `advance` up to now.

        Args:
            packets: at most one per sender, not before now; no sender may come before its own earlier ones.

        Returns:
            Packets that are out or on their way, as by `advance`, and packets that were dropped.
        """

    @abstractmethod
    def advance(self, now_s: float) -> list[Held]:
        """Packets that are out by ``now_s``, in parts with at most one per sender.

        ``start_s`` and ``at_s`` are when their first and last bit went out; at_s may lie ahead only if nothing
        that happens later can disturb them.
        """

    def airtime(self, packets: Held) -> Doubles:
        """Seconds for which radios send each of K packets that are out."""
        return packets.at_s - packets.start_s

    @property
    @abstractmethod
    def waiting(self) -> Held | None:
        """Packets that have not been returned yet."""

    def see(self, around: Surroundings) -> None:  # noqa: B027 - most stages need not look
        """Told before every round's offers where nodes and obstacles are."""


class Relay(ABC):
    """Sends on what agents have received, so that it goes farther than one radio reaches."""

    @abstractmethod
    def forward(self, found: Deliveries, clock: int) -> Held:
        """What receivers send on in round ``clock``: `Deliveries.onward` makes the packets.

        Args:
            found: what they have received just now and not before. A link with a relay declares the reason
                ``repeat``, for which what was received before is lost.
        """


class Seal(ABC):
    """Adds bits behind every packet, by which receivers know whether it is what it claims to be.

    A link with a seal declares the reasons for which `open` refuses packets, and ``repeat``.
    """

    @abstractmethod
    def close(self, packets: Held) -> Held:
        """Packets with their seal: data and bits change. Only agents have the key."""

    @abstractmethod
    def open(self, found: Deliveries, clock: int) -> tuple[Deliveries, dict[str, NDArray[np.bool_]]]:
        """Deliveries without seals, all M of them, and reason → bool [M], which are to be refused."""


class Station(ABC):
    """A hostile radio beside the agents. It hears everything that is sent, wherever it stands.

    Attributes:
        place: float [L, 2], metres.
    """

    place: NDArray[np.floating]

    @abstractmethod
    def send(self, sent: Held, clock: int) -> Held | None:
        """What it sends in round ``clock``: ``sender`` is its own number, ``forged`` is true.

        Args:
            sent: what agents send in that round, sealed if they seal.
        """
