"""The medium's books: what became of every packet at every receiver.

In every lane, at any time: offered + duplicated + relayed + injected = delivered + lost + in flight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentsc.links import LinkModel

Counts = NDArray[np.int64]


class Books:
    """Counts of packet × receiver, per lane.

    Attributes:
        offered: int64 [L], every packet to every other agent of its lane. duplicated: copies made on the way.
        relayed: sent on by relays. injected: sent by hostile stations. delivered: handed over.
        undetected: arrive with wrong bits and a checksum that holds, part of what is in flight and delivered.
        losses: (number of the link, reason) → int64 [L].
    """

    def __init__(self, links: Sequence[LinkModel], lanes: int) -> None:
        self._links = len(links)
        self.offered = np.zeros(lanes, np.int64)
        self.duplicated = np.zeros(lanes, np.int64)
        self.relayed, self.injected = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
        self.delivered = np.zeros(lanes, np.int64)
        self.undetected = np.zeros(lanes, np.int64)
        self.losses: dict[tuple[int, str], Counts] = {
            (i, reason): np.zeros(lanes, np.int64) for i, link in enumerate(links) for reason in link.reasons
        }

    @property
    def whole(self) -> Counts:
        """int64 [L], everything that ever was on its way."""
        return self.offered + self.duplicated + self.relayed + self.injected

    @property
    def lost(self) -> Counts:
        """int64 [L], for whatever reason."""
        return sum(self.losses.values(), np.zeros_like(self.offered))

    @property
    def by_reason(self) -> dict[str, Counts]:
        """Reason → int64 [L], over all links."""
        found: dict[str, Counts] = {}
        for (_, reason), count in self.losses.items():
            found[reason] = found[reason] + count if reason in found else count.copy()
        return found

    @property
    def by_link(self) -> list[dict[str, int]]:
        """Reason → count over all lanes, for every link in its turn."""
        found: list[dict[str, int]] = [{} for _ in range(self._links)]
        for (link, reason), count in self.losses.items():
            found[link][reason] = int(count.sum())
        return found

    def lose(self, link: int, reason: str, count: Counts) -> None:
        """``count`` [L] are lost.

        Raises:
            ValueError: a reason that the link does not declare.
        """
        if (link, reason) not in self.losses:
            raise ValueError(
                f"link number {link} must declare {reason!r} in its reasons to lose packets for it"
            )
        self.losses[link, reason] += count
