"""The auction on the air: who tells its table when, over any radio.

In plain CBBA every agent tells its table in every round. Event-driven, an agent speaks only of what can matter to
somebody who hears it:

1. its own news: a site it has bid for, or no longer bids for, or whose winner it has forgotten;
2. what it has taken over from a sender whom some neighbour is known not to hear: packets tell whom their senders hear;
3. what a neighbour should have known when it spoke, and did not: a packet was lost;
4. anything, when it has said nothing for long (a loss that nobody notices is made good by this alone).

And it waits: great bids are told first, lesser ones the later the less they are, as on a falling price clock. Who hears
that it is outbid while it waits never tells a bid in vain. The outcome of the auction does not depend on when packets
are sent, only how many there are, and how soon it is over.

Every packet holds the whole table, so one that is lost, late or repeated is made good by any later one.

Reference: "Event driven CBBA with reduced communication", arXiv 2509.06481, 2025 (the idea of telling changes only);
W. Vickrey, "Counterspeculation, auctions, and competitive sealed tenders", 1961 (the falling clock). The rules here are
ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import AUCTION, MAX_BID, MAX_RECORDS, WORD_BITS
from agentsc.intent.plan import PlanSpec
from agentsc.links.flight import Deliveries
from agentsc.links.packets import Packets
from agentsc.protocol.auction import LEAVE, NOBODY, UPDATE, Auction, Flags, Ints, Score, Table, actions
from agentsc.protocol.reception import Received, receive
from envs.errors import ConfigError

MAX_NUMBER = (1 << WORD_BITS[2]) - 1
"""Packets that an agent can number; after so many it says no more about the auction."""
NEVER = 1 << 40
MEMORY_ROUNDS = 64
"""A sender that was heard so lately is a neighbour."""


class Exchange:
    """Bidders ``ids`` of every lane; rows are lanes × ids, flattened.

    Args:
        lanes: L. ids: agents of the block, ascending. agents: of the fleet. sites: S. bundle: sites of a bundle.
        spec, rounds: as of `agentsc.protocol.Setup`. event_driven: False for plain CBBA.
        heartbeat_rounds: see rule 4. pace: codes of bids by which the clock falls in a
            round; 16 halve the price.

    Attributes:
        auction: the bidders. heard: int64 [row, agent], round in which the newest packet of each was sent.
        told: int64 [row], packets sent.

    Raises:
        ConfigError: more agents or sites than a packet can name.
    """

    def __init__(
        self, lanes: int, ids: Sequence[int] | Ints, agents: int, sites: int, bundle: int, spec: PlanSpec, rounds: int,
        *, event_driven: bool = True, heartbeat_rounds: int = 26, pace: int = 4,
    ) -> None:  # fmt: skip
        for name, count in (("agents", agents), ("sites", sites)):
            if not 1 <= count <= MAX_RECORDS:
                raise ConfigError(f"market.{name} must be 1 to {MAX_RECORDS}, got {count} (a packet has to count them)")
        self.ids = np.asarray(ids, np.int64)
        self.lane = np.repeat(np.arange(lanes), len(self.ids))
        self.id = np.tile(self.ids, lanes)
        self.agents, self.sites, self.spec, self.rounds = agents, sites, spec, rounds
        self.event_driven, self.heartbeat_rounds, self.pace = event_driven, heartbeat_rounds, pace
        self.auction = Auction.open(self.id, agents, sites, bundle)
        rows = len(self.id)
        self.heard = np.full((rows, agents), -1, np.int64)
        self.told = np.zeros(rows, np.int64)
        # Of each public entry: who told it, in which round, and since when it has been as it is; whether a neighbour
        # is known to have missed it. Of each own entry: since when it has been as it is.
        self._source = np.repeat(self.id[:, None], sites, axis=1)
        self._aired = np.full((rows, sites), NEVER, np.int64)
        self._public_since, self._since = np.zeros((rows, sites), np.int64), np.zeros((rows, sites), np.int64)
        self._passed_on = np.ones((rows, sites), bool)
        self._missed = np.zeros((rows, sites), bool)
        self._seen = self.auction.winner.copy(), self.auction.bid.copy()
        self._last = np.full(rows, -1, np.int64)
        self._first = np.full((rows, agents), NEVER, np.int64)
        self._deaf = np.zeros((rows, agents, agents), bool)
        self._stale = np.ones(rows, bool)

    # -- what comes in --------------------------------------------------------------------------

    def listen(self, inbox: Deliveries, clock: int) -> Flags:
        """Take in the tables that arrived.

        Returns:
            bool [M], deliveries that were refused: no agent of this fleet can have said that.
        """
        got, refused = receive(inbox, clock, self.spec, self.ids, self.agents, self.rounds, 0, self._credible)
        message, packet = got.message, got.packet
        if len(packet):
            self._take_in(got, self._tables(message, np.unique(packet)), clock)
        return refused

    def _credible(self, message: Message) -> Flags:
        """Of an auction, among agents and sites that there are, each named once."""
        good = message.kind == AUCTION
        for records, count, most in (
            (message.awards[..., :2], message.award_count, (self.sites, self.agents)),
            (message.words[..., :1], message.word_count, (self.agents,)),
        ):
            there = np.arange(records.shape[1]) < count[:, None]
            good &= ((records < most).all(-1) | ~there).all(1)
            first = np.where(there, records[..., 0], -1 - np.arange(records.shape[1]))
            ordered = np.sort(first, axis=1)
            good &= (ordered[:, 1:] != ordered[:, :-1]).all(1)
        there = np.arange(message.awards.shape[1]) < message.award_count[:, None]
        good &= ((message.awards[..., 2] > 0) | ~there).all(1)
        # Whoever says something has numbered it.
        own = (message.words[..., 0] == message.id[:, None]) & (message.words[..., 2] > 0)
        return np.asarray(good & (own & (np.arange(own.shape[1]) < message.word_count[:, None])).any(1))

    def _tables(self, message: Message, some: Ints) -> tuple[Table, Flags]:
        """Tables of all packets, and whom their senders hear, bool [K, A]; only ``some`` are filled in."""
        count = len(message)
        winner, bid = np.full((count, self.sites), NOBODY, np.int64), np.zeros((count, self.sites), np.int64)
        stamp, hears = np.zeros((count, self.agents), np.int64), np.zeros((count, self.agents), bool)
        packet, entry = np.nonzero(np.arange(message.awards.shape[1]) < message.award_count[some, None])
        site, who, code = message.awards[some[packet], entry].T
        winner[some[packet], site], bid[some[packet], site] = who, code
        packet, entry = np.nonzero(np.arange(message.words.shape[1]) < message.word_count[some, None])
        agent, itself, number = message.words[some[packet], entry].T
        stamp[some[packet], agent], hears[some[packet], agent] = number, itself == 1
        return Table(winner, bid, stamp), hears

    def _take_in(self, got: Received, tables: tuple[Table, Flags], clock: int) -> None:
        """Packet by packet of each receiver, in the order of sending."""
        row = got.lane * len(self.ids) + got.place
        order = np.lexsort((got.sender, got.sent, row))
        row, sender, sent, packet = row[order], got.sender[order], got.sent[order], got.packet[order]
        turn = np.arange(len(row)) - np.searchsorted(row, row)
        for wave in range(int(turn.max()) + 1):
            now = turn == wave
            told = tables[0].take(packet[now])
            self._take_in_one(row[now], sender[now], sent[now], told, tables[1][packet[now]], clock)
        heard = np.unique(row)
        self.auction.release(heard)
        self._stale[heard] = True

    def _take_in_one(self, row: Ints, sender: Ints, sent: Ints, told: Table, hears: Flags, clock: int) -> None:
        """At most one packet per row."""
        one = np.arange(len(row))
        fresh = told.stamp[one, sender] >= self.auction.public.stamp[row, sender]
        row, sender, sent, told, hears = row[fresh], sender[fresh], sent[fresh], told.take(fresh), hears[fresh]
        self.heard[row, sender] = np.maximum(self.heard[row, sender], sent)
        self._first[row, sender] = np.minimum(self._first[row, sender], sent)
        # Whom it does not hear, although that one has spoken in time; packets to it are taken to be as late as its own.
        early = self._first[row] + (clock - sent)[:, None] <= sent[:, None]
        self._deaf[row, sender] = ~hears & early
        public = self.auction.public
        self._missed[row] |= self._misses(row, sender, sent, told, clock)
        before = public.take(row)
        done = self.auction.hear(row, sender, told)
        changed = (before.winner != public.winner[row]) | (before.bid != public.bid[row])
        n, site = np.nonzero(changed)
        at = row[n], site
        taken = (done == UPDATE)[n, site]
        self._source[at] = np.where(taken, sender[n], self.id[row[n]])
        self._aired[at] = np.where(taken, sent[n], NEVER)
        self._public_since[at], self._passed_on[at], self._missed[at] = clock, False, False

    def _misses(self, row: Ints, sender: Ints, sent: Ints, told: Table, clock: int) -> Flags:
        """Rule 3: bool [n, S], what senders do not know although it was on the air before they spoke."""
        own = self.auction.public.take(row)
        own.stamp[np.arange(len(row)), self.id[row]] += 1  # as it would be told now
        would = actions(sender, self.id[row], told, own)
        other = (told.winner != own.winner) | (told.bid != own.bid)
        early = self._aired[row] + (clock - sent)[:, None] <= sent[:, None]
        return np.asarray((would != LEAVE) & other & early)

    def _look(self, rows: Ints, clock: int) -> None:
        """Since when own entries are as they are."""
        auction, (winner, bid) = self.auction, self._seen
        changed = (winner[rows] != auction.winner[rows]) | (bid[rows] != auction.bid[rows])
        self._since[rows] = np.where(changed, clock, self._since[rows])
        winner[rows], bid[rows] = auction.winner[rows], auction.bid[rows]

    def _near(self, row: Ints, clock: int) -> Flags:
        """bool [n, A]: neighbours of rows [n]."""
        heard = self.heard[row]
        return (heard >= 0) & (heard >= clock - MEMORY_ROUNDS)

    # -- bidding --------------------------------------------------------------------------------

    def bid(self, score: Score, clock: int) -> None:
        """Gather sites, for those whose table has changed since they last did."""
        rows = np.flatnonzero(self._stale)
        self.auction.gather(rows, score)
        self._stale[rows] = False
        self._look(rows, clock)

    def touch(self, rows: Ints) -> None:
        """Something besides packets has changed for these rows: they bid again."""
        self._stale[rows] = True

    # -- what goes out --------------------------------------------------------------------------

    def due(self, clock: int) -> Flags:
        """bool [row]: who has something to tell."""
        auction, public = self.auction, self.auction.public
        may = public.stamp[np.arange(len(self.id)), self.id] < MAX_NUMBER
        if not self.event_driven:
            return may
        tells = auction.news & self._waited(np.maximum(auction.bid, public.bid), self._since, clock)
        passes = (~self._passed_on | self._missed) & self._waited(public.bid, self._public_since, clock)
        open_ = passes & ~self._missed
        rows = np.flatnonzero(open_.any(1))
        if len(rows):
            unheard = np.take_along_axis(self._unheard(rows, clock), self._source[rows], 1)
            forgot = self._source[rows] == self.id[rows, None]
            passes[rows] &= self._missed[rows] | unheard | forgot
        return may & ((tells | passes).any(1) | (clock - self._last >= self.heartbeat_rounds))

    def _waited(self, bid: Ints, since: Ints, clock: int) -> Flags:
        """Whether the clock has fallen to these bids."""
        return (clock - since) * self.pace >= MAX_BID - np.minimum(bid, MAX_BID)

    def _unheard(self, rows: Ints, clock: int) -> Flags:
        """bool [n, A]: senders whom some neighbour of rows [n] is known not to hear (rule 2)."""
        near = self._near(rows, clock)
        agents = np.arange(self.agents)
        other = (agents[:, None] != agents) & (agents[:, None] != self.id[rows, None, None])
        return np.asarray((near[:, :, None] & self._deaf[rows] & other).any(1))

    def speak(self, rows: Ints, clock: int) -> Packets:
        """Tables of some rows, a packet each."""
        own = self.auction.news[rows]
        table = self.auction.tell(rows)
        self.told[rows] += 1
        self._last[rows] = clock
        self._source[rows] = np.where(own, self.id[rows, None], self._source[rows])
        self._aired[rows] = np.where(own, clock, self._aired[rows])
        self._public_since[rows] = np.where(own, clock, self._public_since[rows])
        self._passed_on[rows], self._missed[rows] = True, False
        message = Message.blank(len(rows), self.spec, awards=self.sites, words=self.agents)
        message.kind[:], message.id[:], message.clock[:] = AUCTION, self.id[rows], clock & 0xFF
        sold, known = table.bid > 0, table.stamp > 0
        near = self._near(rows, clock)
        message.award_count[:], message.word_count[:] = sold.sum(1), known.sum(1)
        for there, records, columns in (
            (sold, message.awards, (table.winner, table.bid)),
            (known, message.words, (near, table.stamp)),
        ):
            row, which = np.nonzero(there)
            entry = np.arange(len(row)) - np.searchsorted(row, row)
            records[row, entry] = np.stack([which, *(column[row, which] for column in columns)], -1)
        data, bits = encode(message, self.spec)
        return Packets(self.lane[rows].astype(np.int32), self.id[rows].astype(np.int32), data, bits)


