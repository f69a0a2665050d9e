"""The market's mathematics: agents bid for sites, and agree who has won which by telling each other their tables.

The consensus-based bundle algorithm (CBBA). Each agent greedily gathers a bundle of sites that it can win, bidding for
each what it adds to the bundle; each tells its table of winning bids; and rules, one for every case of who believes
whom to be the winner, decide what a receiver takes over. Whoever is outbid for a site gives up the sites gathered
after it as well, because their bids counted on it. If every agent's bids diminish as its bundle grows, agents on a
connected lossless graph agree after at most (sites won) × (diameter) rounds, on what a central greedy auction would
have sold, which is worth at least half of the optimum.

Bids are whole numbers, as on the air; of equal ones the lower agent's wins, and an agent prefers the lower site. That
is one strict order of (bid, agent, site), so nothing depends on how bids are rounded. Time stamps are the numbers of
agents' packets.

A site may well be worth more to an agent that has gathered others, if it lies on the way between them. Such a rise is
not bid: a bid for one more site is at most what was bid for it with fewer sites in the bundle, so bids always diminish.

Beyond the paper, a bundle is mended: where a site has become free that its owner would now gather earlier, it drops the
rest and gathers anew. Without that, agents that gathered something worse while somebody bid wrongly for the better site
stay with it, what is agreed depends on the order of messages, and in some instances it is not what a greedy auction
sells, whatever theorem 1 says.

Reference: H.-L. Choi, L. Brunet and J. P. How, "Consensus-based decentralized auctions for robust task allocation",
IEEE Transactions on Robotics 25(4), 2009: algorithms 3 and 4, table I, theorem 1. Bids held down to diminish: L.
Johnson, H.-L. Choi, S. Ponda and J. P. How, "Allowing non-submodular score functions in distributed task allocation",
CDC 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.fields import DONE, MAX_BID

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NOBODY = -1
LEAVE, UPDATE, RESET = 0, 1, 2
"""What a receiver does about a site: keep its own entry, take over the sender's, or forget who won."""


class Score(Protocol):
    """What sites are worth to agents, given what they have gathered already."""

    def gains(self, rows: Ints, path: Ints) -> tuple[Ints, Ints]:
        """Bids for one more site.

        Args:
            rows: [n], agents. path: [n, L], the sites each has gathered, in the order of visiting, −1 behind them.

        Returns:
            int64 [n, S], the bid for each site, 0 for none; int64 [n, S], the place in the path to put it at.
        """
        ...


class Table(NamedTuple):
    """What an agent believes, as it tells it: arrays [n, …].

    winner: int64 [n, S], −1 for nobody. bid: int64 [n, S], 0 for none. stamp: int64 [n, A], number of the newest
    packet of each agent that the sender has word of, its own included; 0 before the first.
    """

    winner: Ints
    bid: Ints
    stamp: Ints

    def take(self, index: Ints | Flags) -> Table:
        """Some rows."""
        return Table._make(column[index] for column in self)


@dataclass
class Auction:
    """The state of n bidders, an agent each.

    Each has two tables: the public one, which is what it has told and been told, and its own, in which it has changed
    what it is about to tell. What it changes and takes back before it has told anybody leaves no trace.

    Attributes:
        me: int64 [n], agents. winner, bid: int64 [n, S], the own table.
        public: the public table; its stamps are the only ones.
        bundle: int64 [n, L], sites in the order in which they were gathered, −1 behind them.
        path: int64 [n, L], the same sites in the order of visiting.
    """

    me: Ints
    winner: Ints
    bid: Ints
    public: Table
    bundle: Ints
    path: Ints

    @classmethod
    def open(cls, me: Ints, agents: int, sites: int, bundle: int) -> Auction:
        """Nothing is sold yet.

        Args:
            me: [n], the bidders. bundle: L, sites that one of them may gather.
        """
        rows = len(me)
        nobody, nothing = np.full((rows, sites), NOBODY, np.int64), np.zeros((rows, sites), np.int64)
        empty = np.full((rows, bundle), NOBODY, np.int64)
        public = Table(nobody.copy(), nothing.copy(), np.zeros((rows, agents), np.int64))
        return cls(np.asarray(me, np.int64), nobody, nothing, public, empty, empty.copy())

    @property
    def news(self) -> Flags:
        """bool [n, S]: what each has changed and not told."""
        return np.asarray((self.winner != self.public.winner) | (self.bid != self.public.bid))

    def tell(self, rows: Ints) -> Table:
        """The tables that rows tell now: everything becomes public, under the next number."""
        self.public.winner[rows], self.public.bid[rows] = self.winner[rows], self.bid[rows]
        self.public.stamp[rows, self.me[rows]] += 1
        return self.public.take(rows)

    @property
    def mine(self) -> Flags:
        """bool [n, S]: sites that each believes it has won, done ones included."""
        return np.asarray(self.winner == self.me[:, None])

    # -- bundles --------------------------------------------------------------------------------

    def gather(self, rows: Ints, score: Score) -> None:
        """Fill the bundles of some rows, the greatest winning bid first (algorithm 3), and mend them."""
        rows = np.asarray(rows, np.int64)
        ceiling = np.full((len(rows), self.bid.shape[1]), MAX_BID, np.int64)
        for size in range(self.bundle.shape[1]):
            one = np.arange(len(rows))
            # Bids for one more site than the first ``size`` of the bundle; never more than for one more than fewer.
            first = self.path_of(rows, size)
            bids, places = score.gains(rows, first)
            ceiling = np.minimum(ceiling, bids)
            me = self.me[rows][:, None]
            gathered = (self.bundle[rows, :size, None] == np.arange(ceiling.shape[1])).any(1)
            own = self.mine[rows] & (self.bid[rows] != DONE)
            free = own | beats(ceiling, me, self.bid[rows], self.winner[rows])
            offer = np.where(free & ~gathered, ceiling, 0)
            site = offer.argmax(1)
            best = offer[one, site]
            # What was gathered from here on stays only as long as nothing better is to be had in its place.
            held = self.bundle[rows, size]
            same = (held == site) & (self.bid[rows, site] == best) & (best > 0)
            anew = np.flatnonzero(~same)
            dropped, tail = np.nonzero(self.bundle[rows[anew], size:] != NOBODY)
            self._forget(rows[anew][dropped], self.bundle[rows[anew][dropped], size + tail])
            self.bundle[rows[anew], size:] = NOBODY
            self.path[rows[anew]] = first[anew]
            add = anew[best[anew] > 0]
            to, which = rows[add], site[add]
            self.bundle[to, size] = which
            self.path[to] = inserted(first[add], which, places[add, which])
            self.winner[to, which], self.bid[to, which] = self.me[to], best[add]
            going = best > 0
            rows, ceiling = rows[going], ceiling[going]

    def path_of(self, rows: Ints, size: int) -> Ints:
        """Paths [n, L] through the first ``size`` sites of the bundles of some rows."""
        path = self.path[rows]
        stays = (path[:, :, None] == self.bundle[rows, None, :size]).any(2) & (path != NOBODY)
        return compacted(path, stays)

    def release(self, rows: Ints) -> None:
        """Drop what was lost, and what was gathered after it (equation 10)."""
        bundle = self.bundle[rows]
        held = np.take_along_axis(self.mine[rows], np.maximum(bundle, 0), 1) & (bundle != NOBODY)
        kept = np.logical_and.accumulate(held, axis=1)
        row, place = np.nonzero(~kept & held)
        self._forget(rows[row], bundle[row, place])
        self._keep(rows, kept)

    def finish(self, rows: Ints, sites: Ints) -> None:
        """Mark sites [n], one of each row, as done: won for ever by that row's agent."""
        self.winner[rows, sites], self.bid[rows, sites] = self.me[rows], DONE
        self._keep(rows, self.bundle[rows] != sites[:, None])

    def void(self, rows: Ints, agents: Ints) -> None:
        """Forget the bids of other agents [n] that are believed to have failed; what they have done stays done."""
        stale = (self.public.winner[rows] == agents[:, None]) & (self.public.bid[rows] != DONE)
        row, site = np.nonzero(stale)
        self.public.winner[rows[row], site], self.public.bid[rows[row], site] = NOBODY, 0
        stale &= self.winner[rows] == agents[:, None]
        row, site = np.nonzero(stale)
        self._forget(rows[row], site)

    def _forget(self, rows: Ints, sites: Ints) -> None:
        """Own bids are taken back: it is again as public, or nobody's if that is this agent's bid."""
        winner, bid = self.public.winner[rows, sites], self.public.bid[rows, sites]
        own = winner == self.me[rows]
        self.winner[rows, sites], self.bid[rows, sites] = np.where(own, NOBODY, winner), np.where(own, 0, bid)

    def _keep(self, rows: Ints, kept: Flags) -> None:
        """Only those entries of the bundles stay, in order; paths follow."""
        self.bundle[rows] = compacted(self.bundle[rows], kept)
        self.path[rows] = self.path_of(rows, self.bundle.shape[1])

    # -- consensus ------------------------------------------------------------------------------

    def hear(self, rows: Ints, sender: Ints, told: Table) -> NDArray[np.int8]:
        """Take in one table per row.

        Args:
            rows: [n], each once. sender: [n], agents. told: their tables.

        Returns:
            int8 [n, S], what was done about each site.
        """
        public, me = self.public, self.me[rows]
        news = self.news[rows]
        done = actions(me, sender, public.take(rows), told)
        take, forget = done == UPDATE, done == RESET
        winner = np.where(take, told.winner, np.where(forget, NOBODY, public.winner[rows]))
        bid = np.where(take, told.bid, np.where(forget, 0, public.bid[rows]))
        public.winner[rows], public.bid[rows] = winner, bid
        # Of itself an agent knows best: a packet from before it failed must not come back to it as news.
        known = np.maximum(public.stamp[rows], told.stamp)
        known[np.arange(len(rows)), me] = public.stamp[rows, me]
        public.stamp[rows] = known
        # What it was about to tell stands where it still says something: a bid that wins, or one taken back.
        mine = self.winner[rows] == me[:, None]
        stands = news & np.where(mine, beats(self.bid[rows], me[:, None], bid, winner), winner == me[:, None])
        self.winner[rows] = np.where(stands, self.winner[rows], winner)
        self.bid[rows] = np.where(stands, self.bid[rows], bid)
        return done


def beats(bid: Ints, agent: Ints, other_bid: Ints, other: Ints) -> Flags:
    """Whether an agent's bid wins over another's for the same site; nobody's bid is 0."""
    return np.asarray((bid > other_bid) | ((bid == other_bid) & (agent < other)))


def actions(me: Ints, sender: Ints, mine: Table, told: Table) -> NDArray[np.int8]:
    """What receivers do about each site when they hear a table (table I of the paper).

    Args:
        me, sender: [n], agents. mine, told: tables of receivers and senders.

    Returns:
        int8 [n, S] of `LEAVE`, `UPDATE` and `RESET`.
    """
    theirs, ours = told.winner, mine.winner
    i, k = me[:, None], sender[:, None]
    row = np.arange(len(me))[:, None]
    # s_km > s_im for the agent that the sender (the receiver) believes to have won, and the reverse.
    about_theirs = told.stamp[row, theirs] - mine.stamp[row, theirs]
    newer_theirs, older_theirs = about_theirs > 0, about_theirs < 0
    newer_ours = told.stamp[row, ours] > mine.stamp[row, ours]
    higher = beats(told.bid, theirs, mine.bid, ours)

    ours_me, ours_k, ours_none = ours == i, ours == k, ours == NOBODY
    other = ~(ours_me | ours_k | ours_none)
    update, reset = np.zeros(ours.shape, bool), np.zeros(ours.shape, bool)
    # The sender believes that it has won.
    case = theirs == k
    update |= case & ((ours_me & higher) | ours_k | ours_none | (other & (newer_ours | higher)))
    # … that the receiver has won.
    case = theirs == i
    reset |= case & (ours_k | (other & newer_ours))
    # … that nobody has won.
    case = theirs == NOBODY
    update |= case & (ours_k | (other & newer_ours))
    # … that a third one, m, has won.
    case = ~((theirs == k) | (theirs == i) | (theirs == NOBODY))
    same = case & (ours == theirs)
    fourth = case & other & ~same
    update |= case & ours_me & newer_theirs & higher
    update |= (case & (ours_k | ours_none) | same) & newer_theirs
    reset |= case & ours_k & ~newer_theirs
    update |= fourth & newer_theirs & (newer_ours | higher)
    reset |= fourth & newer_ours & older_theirs
    # What is done is done, whoever says so; of two that say they have done it, the lower agent has.
    finished = (told.bid == DONE) & higher
    update |= finished
    keep = (mine.bid == DONE) & ~finished
    return np.where(keep, LEAVE, np.where(update, UPDATE, np.where(reset, RESET, LEAVE))).astype(np.int8)


def compacted(entries: Ints, kept: Flags) -> Ints:
    """Entries [n, L] that are kept, in their order, −1 behind them."""
    order = np.argsort(~kept, axis=1, kind="stable")
    return np.where(np.take_along_axis(kept, order, 1), np.take_along_axis(entries, order, 1), NOBODY)


def inserted(path: Ints, site: Ints, place: Ints) -> Ints:
    """Paths [n, L] with a site [n] each at those places [n]; what is behind moves back by one."""
    column = np.arange(path.shape[1])
    moved = np.concatenate([np.full((len(path), 1), NOBODY), path[:, :-1]], axis=1)
    at = place[:, None]
    return np.where(column < at, path, np.where(column == at, site[:, None], moved))


def greedy(score: Score, me: Ints, agents: int, sites: int, bundle: int) -> Auction:
    """What a central auction sells: the greatest bid of all for any site, then the next, as every bidder's bids fall.

    The sequential greedy algorithm, which CBBA's outcome equals (theorem 1 of the paper); rows are one fleet.

    Args:
        score: of rows 0 … n − 1. me: [n], their agents. agents, sites, bundle: as for `Auction.open`.
    """
    found = Auction.open(me, agents, sites, bundle)
    everyone = np.arange(len(me))
    ceiling = np.full((len(me), sites), MAX_BID, np.int64)
    for _ in range(sites):
        size = (found.bundle != NOBODY).sum(1)
        bids, places = score.gains(everyone, found.path)
        ceiling = np.minimum(ceiling, bids)
        sold = (found.winner != NOBODY).any(0)
        offer = np.where(sold | (size == bundle)[:, None], 0, ceiling)
        if not offer.any():
            break
        # Of equal bids the lower agent's first, then the lower site; rows are in the order of agents.
        row, site = np.unravel_index(int(offer.argmax()), offer.shape)
        found.bundle[row, size[row]] = site
        found.path[row] = inserted(found.path[[row]], np.array([site]), places[[row], site])[0]
        found.winner[row, site], found.bid[row, site] = found.me[row], offer[row, site]
    return found
