"""What a site adds to a tour: its value, less with every second until somebody is there.

A tour's worth is Σ_j value_j · exp(−t_j / patience), t_j the time of arrival at its j-th site. Putting one more site
between two others makes all later ones wait longer by the same time δ, so with tail_p the worth of the tour from place
p on the gain is

    value · exp(−t / patience) + tail_p · (exp(−δ / patience) − 1),

for all sites and places at once. Rewards of this kind are the ones that CBBA was published with (H.-L. Choi, L. Brunet
and J. P. How, 2009, equation 12).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.fields import bid_code

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Tours:
    """Tours of n agents among sites of several maps.

    Attributes:
        reach: float [n, S], seconds from where each agent is to each site; inf where it cannot get.
        between: float [map, S, S], seconds from site to site, those of a stay at the first included.
        value: float [map, S], worth of each site at once; 0 for one that nobody need visit.
        map: int [n], which map each agent is on.
        patience_s: seconds in which a value falls to 1/e. top: the greatest value, what bids are relative to.
    """

    reach: Doubles
    between: Doubles
    value: Doubles
    map: Ints
    patience_s: float
    top: float

    def gains(self, rows: Ints, path: Ints) -> tuple[Ints, Ints]:
        """See `agentsc.protocol.auction.Score`; of equally good places the first."""
        worth, place = self.worth(rows, path)
        return bid_code(worth, self.top).astype(np.int64), place

    def worth(self, rows: Ints, path: Ints) -> tuple[Doubles, Ints]:
        """Gain [n, S] of each site at its best place [n, S] in paths [n, L]; not above 0 for sites in the path."""
        n, length = path.shape
        sites = self.value.shape[1]
        row, there, on = np.arange(n), path >= 0, self.map[rows]
        between, value = self.between[on], self.value[on]
        stop = np.maximum(path, 0)
        arrival = self.arrivals(rows, path)
        worth = np.where(there, np.take_along_axis(value, stop, 1) * np.exp(-arrival / self.patience_s), 0.0)
        tail = np.concatenate([np.cumsum(worth[:, ::-1], axis=1)[:, ::-1], np.zeros((n, 1))], axis=1)
        # Place p is between stop p − 1 (for p = 0 the agent itself) and stop p (behind the last: nothing).
        leg = np.empty((n, length + 1, sites))
        leg[:, 0] = self.reach[rows]
        leg[:, 1:] = between[row[:, None], stop]
        since = np.concatenate([np.zeros((n, 1)), arrival], axis=1)
        onward = np.zeros((n, length + 1, sites))
        onward[:, :-1] = between[row[:, None], :, stop]
        before = np.zeros((n, length + 1))
        before[:, :-1] = np.diff(arrival, axis=1, prepend=0.0)
        delay = leg + onward - before[..., None]
        arrives = since[..., None] + leg
        gain = value[:, None] * np.exp(-arrives / self.patience_s)
        gain += tail[..., None] * np.expm1(-np.maximum(delay, 0.0) / self.patience_s)
        # There is no place behind one that is empty.
        gain[:, 1:][~there] = -np.inf
        place = gain.argmax(1)
        best = np.take_along_axis(gain, place[:, None], 1)[:, 0]
        inside, stop_at = np.nonzero(there)
        best[inside, path[inside, stop_at]] = -np.inf
        return best, place

    def arrivals(self, rows: Ints, path: Ints) -> Doubles:
        """Seconds [n, L] until each stop of paths [n, L] is reached; behind the last one as at the last."""
        on, stop = self.map[rows], np.maximum(path, 0)
        legs = np.empty(path.shape)
        legs[:, 0] = np.take_along_axis(self.reach[rows], stop[:, :1], 1)[:, 0]
        legs[:, 1:] = self.between[on[:, None], stop[:, :-1], stop[:, 1:]]
        return np.cumsum(np.where(path >= 0, legs, 0.0), axis=1)

    def total(self, path: Ints) -> Doubles:
        """Worth [n] of a path [n, L] of every agent."""
        value = np.take_along_axis(self.value[self.map], np.maximum(path, 0), 1)
        worth = value * np.exp(-self.arrivals(np.arange(len(path)), path) / self.patience_s)
        return np.asarray(np.where(path >= 0, worth, 0.0).sum(1))


@dataclass(frozen=True)
class Fixed:
    """Sites that are worth the same to an agent whatever else it has: bids int [n, S]."""

    bids: Ints

    def gains(self, rows: Ints, path: Ints) -> tuple[Ints, Ints]:
        """See `agentsc.protocol.auction.Score`; sites are visited in the order in which they were gathered."""
        bids = np.array(self.bids[rows], np.int64)
        row, place = np.nonzero(path >= 0)
        bids[row, path[row, place]] = 0
        return bids, np.repeat((path >= 0).sum(1)[:, None], bids.shape[1], axis=1)
