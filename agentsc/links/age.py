"""Age of information: how old what agents know of each other is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.links.flight import Deliveries


class AgeOfInformation:
    """Mean age of the newest packet that each agent holds of each other, over time and pairs.

    The age of a pair is the time since its newest received packet was sent; everybody knows the
    start, so ages begin at zero. It grows linearly between deliveries, and its integral is kept
    exactly, in whole rounds, at the cost of one update per delivery.

    Args:
        lanes, agents: shape of the fleet. round_s: seconds per message round.

    Reference: S. Kaul, R. Yates and M. Gruteser, Real-time status: how often should one update?,
    IEEE INFOCOM 2012.
    """

    def __init__(self, lanes: int, agents: int, round_s: float) -> None:
        self.agents, self.round_s = agents, round_s
        self._newest = np.zeros(lanes * agents * agents, np.int64)
        """Round of sending of the newest packet held, by (lane, receiver, sender)."""
        self._since = np.zeros_like(self._newest)
        self._area = np.zeros(lanes, np.int64)
        """Twice the integral of age over time, in rounds², summed over pairs."""

    def update(self, found: Deliveries, clock: int) -> None:
        """Account for what was handed over in round ``clock``; rounds must not go back."""
        if found.forged.any():  # what no agent sent tells nothing about any
            found = found.take(~found.forged[found.packet])
        if len(found) == 0:
            return
        pair = (found.lane.astype(np.int64) * self.agents + found.receiver) * self.agents + found.sender
        lane, sent = found.lane, found.sent_clock.astype(np.int64)
        if (pair[1:] <= pair[:-1]).any():  # several packets of one pair: the newest counts
            order = np.lexsort((sent, pair))
            last = order[np.append(pair[order][1:] != pair[order][:-1], True)]
            pair, lane, sent = pair[last], lane[last], sent[last]
        newest, since = self._newest[pair], self._since[pair]
        area = (clock - since) * (clock + since - 2 * newest)
        self._area += np.bincount(lane, weights=area, minlength=len(self._area)).astype(np.int64)
        self._newest[pair] = np.maximum(newest, sent)
        self._since[pair] = clock

    def totals(self, clock: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """From the start to round ``clock``, per lane.

        Args:
            clock: not before the last `update`.

        Returns:
            float64 [L], integral of age summed over ordered pairs, s², and float64 [L], time summed over
            ordered pairs, s; their ratio is the mean age in seconds.
        """
        shape = (len(self._area), self.agents, self.agents)
        newest, since = self._newest.reshape(shape), self._since.reshape(shape)
        rest = (clock - since) * (clock + since - 2 * newest)
        rest[:, np.arange(self.agents), np.arange(self.agents)] = 0
        area = (self._area + rest.sum((1, 2))) * (0.5 * self.round_s**2)
        pairs = self.agents * (self.agents - 1)
        return area, np.full(len(area), pairs * clock * self.round_s)
