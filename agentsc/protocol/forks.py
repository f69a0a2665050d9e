"""Which of two agents asks the other: a fork per pair, handed over by a handshake that any radio may spoil.

The *holder* of a pair's fork is its grantor. Each of the two keeps a version number v for the pair, from 0 on; an even
one means that the lower id holds the fork, an odd one the higher. Only the holder by its own version may count on
(`give`), and the other follows when it hears of that (`hear`). An agent asks the other of a pair unless it holds the
fork by its own version.

*Never does neither ask.* Let the versions be v and w. One that counts on was known to be followed (`known`), so
|v − w| ≤ 1 at all times. If they are equal, exactly one holds the fork, the other asks. If v = w + 1, its owner has
given the fork away and the other has not heard of it: by v the other holds it, by w the first does, so *both ask*.

*Two bits are enough on the air.* Packets count in the order in which they were sent, older ones are ignored. So of the
other's version w is heard at least what was known of it, v − 1 or v, and at most v + 1: three numbers in a row.

A version is written to storage that outlives the process before it is told (two bits per peer), so a restarted agent
does not forget whom it asks. The idea of a fork per pair: K. M. Chandy and J. Misra, "The drinking philosophers
problem", ACM Transactions on Programming Languages and Systems 6(4), 1984. What the new holder has to know of the old
one before it may stop asking is in docs/safety.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.notes import FORKS

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Index = Ints | slice
ALL = slice(None)


@dataclass
class Forks:
    """The forks that each row shares with each peer (arrays [row, peer]).

    Attributes:
        version: int64, as this side has it. known: bool, the other side is known to have the same.
        above: bool, this side has the higher id. other: bool, the peer is not the row itself.
    """

    version: Ints
    known: Flags
    above: Flags
    other: Flags

    @classmethod
    def at_the_start(cls, ids: Ints, late: Flags) -> Forks:
        """Lower ids hold the forks, but who comes late holds none that it shares with those who are there.

        Args:
            ids: [row], the agents that rows are. late: bool [row, agent], who is not there at the start.
        """
        peers = np.arange(late.shape[1])
        above = ids[:, None] > peers
        own = np.take_along_axis(late, ids[:, None], 1)
        lower_late, higher_late = np.where(above, late, own), np.where(above, own, late)
        version = (lower_late & ~higher_late).astype(np.int64)
        return cls(version, np.ones_like(above), above, ids[:, None] != peers)

    def holds(self, row: Index, peer: Index = ALL) -> Flags:
        """Whether rows hold forks by their own versions, and so need not ask (their own ones they do)."""
        return np.asarray((self.version[row, peer] + self.above[row, peer]) % 2 == 0)

    def guards(self, row: Index, peer: Index = ALL) -> Flags:
        """Whether peers may be asking rows: those hold the fork, or their gift is not known to be taken."""
        return (self.holds(row, peer) | ~self.known[row, peer]) & self.other[row, peer]

    def give(self, row: Ints, peer: Ints) -> None:
        """Hand forks [n] over that are held and known to be; from now on the row asks."""
        self.version[row, peer] += 1
        self.known[row, peer] = False

    def offered(self, row: Ints, peer: Ints, word: Ints) -> Flags:
        """Whether words heard of peers [n] are new: the peer gives the fork away, and the row has not taken it yet."""
        return np.asarray((self.version[row, peer] + 1) % FORKS == word)

    def take(self, row: Ints, peer: Ints) -> None:
        """Take forks [n] that are offered."""
        self.version[row, peer] += 1
        self.known[row, peer] = True

    def hear(self, row: Ints, peer: Ints, word: Ints) -> Flags:
        """Learn where the other sides are; bool [n], those that are where the row is."""
        same = np.asarray(self.version[row, peer] % FORKS == word)
        self.known[row[same], peer[same]] = True
        return same
