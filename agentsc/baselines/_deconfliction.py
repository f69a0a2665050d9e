"""What MADER and RMADER share: plan against what was heard, look again, then commit or give up.

An agent's optimisation takes some rounds, in which trajectories that it knows nothing of may arrive.
So the new plan is checked once more when it is ready, and only then, after a period that the subclass
fills, committed and published. Nobody is asked, and nobody says no: an agent that hears of a conflict
gives its own plan up, and one that hears of none in time commits.

How long an optimisation takes is drawn for each (one round up to one tick), as computers do not finish
in step; agents that start in the same tick would otherwise commit in the same round for ever.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from agentsc.baselines._trajectories import Heard, TrajectoryBlock
from agentsc.baselines._unasked import Flags, Ints
from agentsc.intent.fields import OPTIMISED, TRAJECTORY
from agentsc.protocol import Deliveries, Packets, SampleReply, Setup
from agentsc.protocol.situation import PlanningVariant
from envs import keyed


class Deconflicting(PlanningVariant):
    """Parameters that both share."""

    repeat_s: float = Field(
        0.5, gt=0.0, description="an agent that has published nothing for so long repeats its committed trajectory"
    )

    @property
    def deliberates(self) -> bool:
        """A plan may fail its checks."""
        return True


class DeconflictingBlock(TrajectoryBlock):
    """The cycle optimisation → check → (the subclass's period) → commit.

    Of a peer two trajectories are held: the committed one, and the next, which is either committed and
    has not started yet, or merely optimised.

    Args:
        span: rounds from the end of the optimisation to the commit.
    """

    variant: Deconflicting

    def __init__(self, variant: Deconflicting, setup: Setup, ids: Sequence[int], span: int) -> None:
        super().__init__(variant, setup, ids)
        rows = len(self.rows)
        self.span = span
        # A plan starts in the tick in which it is committed at the latest.
        self.lead[:] = (setup.rounds + span) // setup.rounds
        self.repeat_rounds = int(np.ceil(variant.repeat_s / setup.world.dt * setup.rounds))
        # Rounds: when the pending plan's optimisation began and ends; when the row last spoke.
        self.began = np.zeros(rows, np.int64)
        self.ready = np.zeros(rows, np.int64)
        self.last_sent = np.zeros(rows, np.int64)
        # Due to be published: the committed plan, the optimised one. Out: peers hold the optimised one.
        self.commit_due = np.zeros(rows, bool)
        self.offer_due = np.zeros(rows, bool)
        self.out = np.zeros(rows, bool)
        # Round of sending of the newest optimised trajectory of each peer.
        self.offered = np.full((rows, self.agents), -1, np.int64)

    @abstractmethod
    def passes(self, rows: Ints, age: Ints, news: Flags) -> Flags:
        """Whether the pending plans of ``rows`` [n] may go on.

        Args:
            age: int64 [n], rounds since their optimisation ended, 0 … span.
            news: bool [n], a trajectory that was not known before has arrived in this round.
        """

    # -- what came in ---------------------------------------------------------------------------

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """Take in trajectories; then check, commit or give up what is pending."""
        self.advance(self.tick(clock))
        news = np.zeros(len(self.rows), bool)
        if len(inbox):
            heard = self.heard(inbox, clock)
            news[self._note_committed(heard.take(~heard.optimised).newest())] = True
            self._note_optimised(heard.take(heard.optimised).newest())
        rows = np.flatnonzero(self.pending.valid & (self.ready <= clock) & self.active[self.lane])
        age = clock - self.ready[rows]
        good = self.passes(rows, age, news[rows])
        self._give_up(rows[~good])
        done = rows[good & (age == self.span)]
        np.add.at(self.counters.commit_rounds, self.lane[done], clock - self.began[done])
        self.commit(done)
        self.commit_due[done], self.out[done] = True, False

    def _note_committed(self, heard: Heard) -> Ints:
        """Committed trajectories replace everything older of their senders.

        Returns:
            The rows that learnt of one they did not know.
        """
        known, plans = self.knowledge, self.knowledge.plans
        row, peer, sent, start, _, path = heard.take(heard.sent > known.clock[heard.row, heard.peer])
        known.clock[row, peer] = known.heard[row, peer] = sent
        # What the sender had offered before is now committed, or given up.
        over = ~known.confirmed[row, peer] & (self.offered[row, peer] < sent)
        plans.valid[row[over], peer[over], 1] = False
        newest = np.where(known.confirmed[row, peer], plans.start[row, peer, 1], plans.start[row, peer, 0])
        new = start > newest
        row, peer, start, path = row[new], peer[new], start[new], path[new]
        later = start > self.now
        plans.put((row, peer, later.astype(np.int64)), start, start, path)
        known.confirmed[row, peer] = later
        return row

    def _note_optimised(self, heard: Heard) -> None:
        """An optimised trajectory may be followed next: it stands until a committed one is heard."""
        newest = np.maximum(self.knowledge.clock[heard.row, heard.peer], self.offered[heard.row, heard.peer])
        row, peer, sent, start, _, path = heard.take(heard.sent > newest)
        self.offered[row, peer] = sent
        self.knowledge.heard[row, peer] = sent
        self.knowledge.plans.put((row, peer, np.ones_like(row)), start, start, path)
        # Who optimises anew follows its last committed plan already.
        self.knowledge.confirmed[row, peer] = False

    def _give_up(self, rows: Ints) -> None:
        """Drop pending plans; peers that may hold one are told that the committed plan stands."""
        self.pending.valid[rows] = False
        self.retry[rows] = self.now + 1
        self.commit_due[rows] = self.out[rows]
        self.out[rows] = False

    # -- what goes out --------------------------------------------------------------------------

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Begin to optimise; publish what is due, and now and then what has been committed for long."""
        rows = self.consider(sampled)
        draw = keyed.uniform(
            self.setup.seed, keyed.stream_id("optimisation"), self._episode[rows], self.id[rows], self.now
        )
        self.began[rows] = clock
        self.ready[rows] = clock + 1 + (draw * self.setup.rounds).astype(np.int64)
        # To repeat the committed plan while an offer is out would take the offer back.
        repeat = (clock - self.last_sent >= self.repeat_rounds) & ~self.out
        offer, self.offer_due = self.offer_due, np.zeros_like(self.offer_due)
        says = np.flatnonzero((self.commit_due | repeat | offer) & self.active[self.lane])
        self.commit_due[:] = False
        self.last_sent[says] = clock
        offer = offer[says]
        kind = np.where(offer, OPTIMISED, TRAJECTORY)
        start = np.where(offer, self.pending.start[says], self.own.start[says, 1])
        path = np.where(offer[:, None, None], self.pending.path[says], self.own.path[says, 1])
        return self.packets(says, kind, start, path, clock)
