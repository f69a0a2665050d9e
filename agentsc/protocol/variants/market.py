"""Who goes where is sold: agents bid for the sites of a world, and drive to what they have won.

`negotiated` as it is moves the fleet; the auction (`agentsc.protocol.auction`, `agentsc.protocol.exchange`) only says
where to. Its packets take rounds in which an agent has nothing else to say. A bid is what a site adds to a tour from
where the agent was when it last had reason to reckon: at the start, when it has been at a site, when a site that it was
heading for is lost, and when somebody has gone silent, whose bids then count no more. Who has been at a site says so,
and the site is never sold again. It goes on to another one only while more sites are unsold than agents have none:
otherwise it holds the site that it is at, and leaves the rest to those who have nowhere to be. Who goes on in vain
comes back.

In a world without sites there is nothing to sell, and this is `negotiated`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.intent.fields import AUCTION, MAX_BID
from agentsc.links.packets import widen
from agentsc.protocol import PROTOCOLS, Deliveries, Packets, SampleReply, Setup
from agentsc.protocol.auction import NOBODY
from agentsc.protocol.exchange import Exchange
from agentsc.protocol.situation import Flags, Ints
from agentsc.protocol.tour import Tours
from agentsc.protocol.variants.negotiated import Negotiated, NegotiatedBlock
from envs.tasks import Sites
from envs.world import World

STOP_TICKS = 6
"""What a stop at a site is taken to cost, in ticks: slowing down, being there, and planning on."""
WAIT_TICKS = 8
"""Who has been at a site waits so long for word of others before it goes on to the next one."""
PATIENCE_S = 1e4
"""Time in which values fall to 1/e, where they do not fall at all: of two equal sites the nearer one is bid for."""


@PROTOCOLS.register("market")
class Market(Negotiated):
    """Agents bid for the world's sites, agree who has won which, and drive there as intent does."""

    bundle: int = Field(1, ge=1, le=16, description="sites that an agent bids for at once, in the order of a tour")
    event_driven: bool = Field(True, description="agents tell their bids when that matters; false: in every round")
    pace: int = Field(4, ge=1, le=254, description="codes of bids by which the price clock falls in a round")
    silence_s: float = Field(4.0, gt=0.0, description="bids of an agent that was not heard for so long do not count")

    @property
    def restarts(self) -> bool:
        """No: what a process knows of the auction would have to outlive it."""
        return False

    def block(self, setup: Setup, ids: Sequence[int]) -> NegotiatedBlock:
        return NegotiatedBlock(self, setup, ids) if setup.world.sites is None else MarketBlock(self, setup, ids)


class MarketBlock(NegotiatedBlock):
    """The round of `negotiated`, and an auction beside it; ``target`` [row] is the site each drives to, −1 for none."""

    variant: Market

    def __init__(self, variant: Market, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        world = setup.world
        assert world.sites is not None
        self.sites: Sites = world.sites
        count = self.sites.position.shape[1]
        self.exchange = Exchange(
            world.lanes, ids, world.agents, count, variant.bundle, setup.spec, setup.rounds,
            event_driven=variant.event_driven, pace=variant.pace,
            heartbeat_rounds=int(np.ceil(variant.heartbeat_s / world.dt * setup.rounds)),
        )  # fmt: skip
        self.target = np.full(len(self.rows), NOBODY)
        self.silence = int(np.ceil(variant.silence_s / world.dt * setup.rounds))
        # The site where each has been last, and since when.
        self.base, self.since = np.full(len(self.rows), NOBODY), np.zeros(len(self.rows), np.int64)
        self._silent = np.zeros((len(self.rows), world.agents), bool)
        places = self.sites.position.reshape(-1, 2)
        self._place = self.guide.goal_index(places).reshape(world.lanes, count)
        self.score = self._tours(world)
        # An agent drives nowhere before it has won something.
        self._go(self.executed(self.rows, np.zeros((len(self.rows), 1), np.int64))[:, 0], 0)

    def _tours(self, world: World) -> Tours:
        """Ways among the sites; those from agents to sites are reckoned when somebody needs them."""
        lanes, count = self._place.shape
        each = np.repeat(self.sites.position[:, :, None], count, axis=2).reshape(-1, 2)
        goal = np.repeat(self._place[:, None], count, axis=1).ravel()
        between = self._seconds(each, goal).reshape(lanes, count, count) + STOP_TICKS * world.dt
        discount = self.sites.discount
        return Tours(
            np.full((len(self.rows), count), np.inf), between, np.asarray(self.sites.value, np.float64), self.lane,
            min(1.0 / discount, PATIENCE_S) if discount > 0 else PATIENCE_S, float(self.sites.value.max()),
        )  # fmt: skip

    def _seconds(self, points: NDArray[np.float32], goal: Ints) -> NDArray[np.float64]:
        """Time [n] from points [n, 2] to goals (rows of the guide) at cruise speed; inf for no way."""
        if self.exact:
            metres = np.linalg.norm(points - self.guide.goals[goal], axis=-1)
        else:
            metres = self.guide.cost_to_go(points, goal)
        return np.asarray(metres / self.speed, np.float64)

    # -- what came in ---------------------------------------------------------------------------

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """Tables of the auction go to the auction, everything else to the protocol; then bid, and set out."""
        tables = np.zeros(len(inbox), bool)
        if len(inbox):
            bare = inbox.payload[:, 0] >> 4 == 0
            tables = (bare & (inbox.payload[:, 2:3] & 15 == AUCTION).all(1))[inbox.packet]
        super().listen(inbox.take(np.flatnonzero(~tables)) if tables.any() else inbox, clock)
        if tables.any():
            mine = inbox.take(np.flatnonzero(tables & self.active[inbox.lane]))
            refused = self.exchange.listen(mine, clock)
            np.add.at(self.counters.invalid, mine.lane[refused], 1)
        self._visit()
        self._miss(clock)
        self._reckon()
        self.exchange.bid(self.score, clock)
        self._set_out()

    def _visit(self) -> None:
        """Who rests at its site has done it."""
        rows = np.flatnonzero((self.target != NOBODY) & self._takes_part)
        spots = self.executed(rows, self.now + np.broadcast_to(np.array([0, 1]), (len(rows), 2)))
        rests = np.linalg.norm(spots[:, 1] - spots[:, 0], axis=-1) < 1e-3 * self.speed * self.setup.world.dt
        away = np.linalg.norm(spots[:, 0] - self.goal[rows], axis=-1)
        there = rows[rests & (away <= self.setup.world.goal_tolerance)]
        self.exchange.auction.finish(there, self.target[there])
        self.base[there], self.since[there], self.target[there] = self.target[there], self.now, NOBODY
        self.score.reach[there] = np.inf
        self.exchange.touch(there)

    def _miss(self, clock: int) -> None:
        """Bids of those who have gone silent count no more; the sites are free again."""
        newest = np.maximum(np.maximum(self.exchange.heard, self.knowledge.heard), 0)
        newest[self.rows, self.id] = clock
        silent = newest < clock - self.silence
        row, agent = np.nonzero(silent & ~self._silent)
        self._silent = silent
        if len(row):
            self.exchange.auction.void(row, agent)
            self.score.reach[row] = np.inf
            self.exchange.touch(np.unique(row))

    def _reckon(self) -> None:
        """Ways to the sites from where agents are now, for those who have none (any more)."""
        lost = (self.target != NOBODY) & ~self._holds(self.target)
        self.score.reach[lost] = np.inf
        fresh = np.flatnonzero(np.isinf(self.score.reach).all(1) & self._takes_part & self._wants)
        if not len(fresh):
            return
        count = self._place.shape[1]
        here = self.executed(fresh, np.full((len(fresh), 1), self.now))[:, 0]
        goal = self._place[self.lane[fresh]]
        reach = self._seconds(np.repeat(here, count, axis=0), goal.ravel()).reshape(-1, count)
        # Bids made at different times are for the same value: that of a visit then.
        reach += self.now * self.setup.world.dt
        reach[reach > self.sites.deadline_s[self.lane[fresh]]] = np.inf
        self.score.reach[fresh] = reach
        self.exchange.touch(fresh)

    @property
    def _wants(self) -> Flags:
        """bool [row]: who has not been anywhere yet, or may go on."""
        auction = self.exchange.auction
        unsold = (auction.winner == NOBODY).sum(1)
        ordered = np.sort(auction.winner, axis=1)
        first = np.diff(ordered, axis=1, prepend=NOBODY) != 0
        idle = self.agents - (first & (ordered != NOBODY)).sum(1)
        waited = self.now - self.since >= WAIT_TICKS
        return np.asarray((self.base == NOBODY) | ((unsold > idle) & waited))

    def _holds(self, site: Ints) -> Flags:
        """bool [row]: whether each still believes that it has won that site."""
        return np.asarray(self.exchange.auction.mine[self.rows, np.maximum(site, 0)] & (site != NOBODY))

    @property
    def _takes_part(self) -> Flags:
        """bool [row]."""
        return self.active[self.lane] & self.alive.ravel()

    def _set_out(self) -> None:
        """The first stop of the tour is the goal; who has none holds the site where it has been, or stays as it is."""
        target = self.exchange.auction.path[:, 0]
        target = np.where(self._takes_part, target, self.target)
        changed = np.flatnonzero(target != self.target)
        if not len(changed):
            return
        goal = self.goal.copy()
        site = np.where(target[changed] == NOBODY, self.base[changed], target[changed])
        off = changed[site != NOBODY]
        goal[off] = self.sites.position[self.lane[off], site[site != NOBODY]]
        stay = changed[site == NOBODY]
        if len(stay):
            goal[stay] = self.executed(stay, np.full((len(stay), self.horizon), self.now + self.horizon))[:, 0]
        self.target[changed] = target[changed]
        self._go(goal, self.now)

    def prices(self, rows: Ints) -> NDArray[np.float32] | None:
        """See `ReconcilingBlock.prices`: what sites have gone for, to others."""
        auction = self.exchange.auction
        winner, bid = auction.winner[rows], auction.bid[rows]
        mine = (winner == NOBODY) | (winner == self.id[rows, None])
        return np.where(mine, 0.0, np.minimum(bid, MAX_BID) / MAX_BID).astype(np.float32)

    def _go(self, goal: NDArray[np.float32], tick: int) -> None:
        self.retarget(goal.reshape(self.lanes, len(self.ids), 2), tick)

    # -- what goes out --------------------------------------------------------------------------

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """What the protocol has to say goes first; tables go with the first round that is left."""
        packets = super().speak(sampled, clock)
        due = self.exchange.due(clock) & self._takes_part
        row = packets.lane.astype(np.int64) * len(self.ids) + np.searchsorted(self.ids, packets.sender)
        due[row] = False
        rows = np.flatnonzero(due)
        return packets if not len(rows) else _joined(packets, self.exchange.speak(rows, clock))


def _joined(first: Packets, second: Packets) -> Packets:
    """Two lots of packets as one, in the order of lanes and senders."""
    width = max(first.data.shape[1], second.data.shape[1])
    lane, sender = (np.concatenate([getattr(p, name) for p in (first, second)]) for name in ("lane", "sender"))
    order = np.lexsort((sender, lane))
    data = np.concatenate([widen(first.data, width), widen(second.data, width)])
    return Packets(lane[order], sender[order], data[order], np.concatenate([first.bits, second.bits])[order])
