"""Auctions without vehicles: instances, and their rounds over any link; also for ``experiments/market_messages.py``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.plan import PlanSpec
from agentsc.links.medium import Medium
from agentsc.protocol.auction import NOBODY, Score
from agentsc.protocol.exchange import Exchange
from agentsc.protocol.tour import Tours
from envs import keyed

SPEC = PlanSpec((-1.0, -1.0, 1.0, 1.0), 0.64, 5 / 64)
ROUND_S = 5 / 128
SPEED = 0.6
PATIENCE_S = 5.0

Ints = NDArray[np.int64]


def tours(seed: int, lanes: int, agents: int, sites: int) -> tuple[Tours, NDArray[np.float32]]:
    """Agents and sites anywhere in the unit world, values between a half and one; and where agents are [lane, A, 2]."""
    lane = np.arange(lanes)[:, None, None]

    def places(what: str, count: int) -> NDArray[np.float64]:
        draw = keyed.uniform(seed, keyed.stream_id(what), lane, np.arange(count)[:, None], np.arange(2))
        return 2.0 * draw - 1.0

    spot, site = places("bazaar.agent", agents), places("bazaar.site", sites)
    value = 0.5 + 0.5 * keyed.uniform(seed, keyed.stream_id("bazaar.value"), lane[:, 0], np.arange(sites))
    reach = np.linalg.norm(spot[:, :, None] - site[:, None], axis=-1).reshape(-1, sites) / SPEED
    between = np.linalg.norm(site[:, :, None] - site[:, None], axis=-1) / SPEED
    score = Tours(reach, between, value, np.repeat(np.arange(lanes), agents), PATIENCE_S, 1.0)
    return score, spot.astype(np.float32)


def one_map(score: Tours, lane: int) -> Tours:
    """The tours of one lane alone."""
    rows = np.flatnonzero(score.map == lane)
    at = slice(lane, lane + 1)
    alone = np.zeros(len(rows), np.int64)
    return Tours(score.reach[rows], score.between[at], score.value[at], alone, score.patience_s, score.top)


@dataclass(frozen=True)
class Sale:
    """What became of an auction.

    exchange: at its end. settled: int64 [lane], round in which the last bidder's table or bundle changed last.
    packets, bits: int64 [round, lane], sent.
    """

    exchange: Exchange
    settled: Ints
    packets: Ints
    bits: Ints

    @property
    def winner(self) -> Ints:
        """int64 [lane, agent, site], whom each believes to have won."""
        lanes = self.packets.shape[1]
        return self.exchange.auction.winner.reshape(lanes, -1, self.exchange.sites)

    @property
    def agreed(self) -> NDArray[np.bool_]:
        """bool [lane]: all believe the same, and it is what they act on."""
        auction = self.exchange.auction
        same = (self.winner == self.winner[:, :1]).all((1, 2))
        held = np.zeros_like(auction.mine)
        row, place = np.nonzero(auction.bundle != NOBODY)
        held[row, auction.bundle[row, place]] = True
        return np.asarray(same & (held == auction.mine).reshape(len(same), -1).all(1))

    def until_settled(self, what: Ints) -> Ints:
        """int64 [lane]: how much of ``what`` [round, lane] was sent before the round in which all was settled."""
        before = np.arange(len(what))[:, None] < self.settled
        return np.asarray((what * before).sum(0))


def sell(
    score: Score, lanes: int, agents: int, sites: int, bundle: int, rounds: int, *, link: str = "perfect",
    seed: int = 0, position: NDArray[np.float32] | None = None, quiet: int | None = None, **how: int | bool,
) -> Sale:  # fmt: skip
    """Hold an auction in every lane, for so many rounds, or until nothing has changed in ``quiet`` of them.

    ``how`` are options of `Exchange`.
    """
    exchange = Exchange(lanes, np.arange(agents), agents, sites, bundle, SPEC, 2, **how)  # type: ignore[arg-type]
    medium = Medium(link, seed, np.arange(lanes), agents, ROUND_S)
    settled = np.zeros(lanes, np.int64)
    packets, bits = np.zeros((2, rounds, lanes), np.int64)
    auction = exchange.auction
    for clock in range(rounds):
        before = auction.winner.copy(), auction.bid.copy(), auction.bundle.copy()
        refused = exchange.listen(medium.deliver(clock), clock)
        assert not refused.any()
        exchange.bid(score, clock)
        now = auction.winner, auction.bid, auction.bundle
        changed = np.any([(a != b).any(1) for a, b in zip(before, now, strict=True)], axis=0)
        settled[exchange.lane[changed]] = clock
        sent = exchange.speak(np.flatnonzero(exchange.due(clock)), clock)
        packets[clock] = np.bincount(sent.lane, minlength=lanes)
        bits[clock] = np.bincount(sent.lane, weights=sent.bits, minlength=lanes)
        medium.transmit(sent, clock, position)
        if quiet is not None and clock >= settled.max() + quiet:
            packets, bits = packets[: clock + 1], bits[: clock + 1]
            break
    return Sale(exchange, settled, packets, bits)
