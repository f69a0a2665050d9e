"""Who is there, and who has to ask whom: forks, restarts and late arrivals, and the notes about them.

The base of blocks that ask before they move. `agentsc.protocol.forks` and `agentsc.protocol.restart` hold the state and
say why it is safe; here is when it changes, and what of it goes on the air. An agent that is asked to show its plan, or
that gives a fork away, plans nothing until it has sent a packet that shows what it executes, with nothing pending.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentsc.intent.codec import Message
from agentsc.intent.fields import PLAN, T0_PAST
from agentsc.protocol import Deliveries, Setup
from agentsc.protocol.forks import Forks
from agentsc.protocol.notes import FORKS, NO_ENTRIES, SHOW, Notes, entries
from agentsc.protocol.planner import PlanningBlock
from agentsc.protocol.restart import Processes
from agentsc.protocol.situation import Flags, Floats, Intents, Ints, PlanningVariant

MAX_LEAD = 24
"""Ticks ahead that a plan may start."""


class StandingBlock(PlanningBlock):
    """Forks and processes of the block's rows; see the module's docstring."""

    def __init__(self, variant: PlanningVariant, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        rows = len(self.rows)
        self.forks = Forks.at_the_start(self.id, np.zeros((rows, self.agents), bool))
        self.processes = Processes.all_there(rows)
        self.show_due = np.zeros(rows, bool)
        # Round in which each row last sent notes of its own accord, and which peers it owes one.
        self.noted = np.full(rows, -1, np.int64)
        self._reply = np.zeros((rows, self.agents), bool)
        self.clock = -1

    @property
    def negotiating(self) -> Flags:
        """See `SituatedBlock.negotiating`: whose process does not run does not."""
        return super().negotiating & self.processes.running

    # -- processes ------------------------------------------------------------------------------

    def late(self, agents: Flags) -> None:
        """Before the start: these agents [lane, agent] rest at their places, and their processes come later.

        Every block has to be told of all of them (it is part of the roster); `restart` starts them.
        """
        self.forks = Forks.at_the_start(self.id, agents[self.lane])
        self.processes.stop(np.flatnonzero(agents[self.lane, self.id]))

    def stop(self, rows: Ints) -> None:
        """The processes of ``rows`` die: they hear and say nothing; their vehicles go on along committed plans."""
        self.processes.stop(rows)
        self.pending.valid[rows] = False

    def restart(self, rows: Ints) -> None:
        """The processes of ``rows`` start anew and know nothing but what `agentsc.protocol.restart` lists."""
        self.processes.start(rows, self.tick(self.clock + 1) + MAX_LEAD)
        self.pending.valid[rows] = self.show_due[rows] = self._reply[rows] = False
        self.noted[rows] = -1
        starts = self.setup.world.starts[self.lane[rows]]
        known, never = self.knowledge, np.full(starts.shape[:2], -1, np.int64)
        rest = np.broadcast_to(starts[:, :, None, None], (*starts.shape[:2], 2, self.horizon + 1, 2))
        known.plans.put((rows,), never[..., None], 0 * never[..., None], rest)
        known.plans.valid[rows] = known.confirmed[rows] = False
        # Only what is sent from now on counts.
        known.clock[rows], known.heard[rows] = self.clock, -1
        for name, value in vars(Intents.unknown(starts)).items():
            getattr(self.intents, name)[rows] = value
        self.lead[rows] = self.own_priority[rows] = 1
        self.retry[rows] = self.role[rows] = 0
        self.aim[rows], self.sureness[rows] = self.goal[rows], 8
        self.home[rows] = self.arrived[rows] = False
        self.best_to_go[rows], self.progress_tick[rows] = np.inf, self.tick(self.clock + 1)

    def awake(self, inbox: Deliveries) -> Deliveries:
        """Those deliveries that a running process gets."""
        running = self.processes.running
        if running.all():
            return inbox
        row = inbox.lane * len(self.ids) + np.searchsorted(self.ids, inbox.receiver)
        return inbox.take(running[row])

    def missing(self) -> Flags:
        """What restarted rows still have to learn of which peers: bool [row, peer]."""
        return self.processes.missing(self.forks.guards(self.rows), self.knowledge.plans.valid[:, :, 0])

    # -- forks ----------------------------------------------------------------------------------

    def must_ask(self, rows: Ints) -> Flags:
        """Whose grants new proposals of ``rows`` need: bool [n, peer]. Rule 1."""
        return ~self.forks.holds(rows)

    def guards(self, row: Ints, peer: Ints) -> Flags:
        """Whether each row is a grantor of each peer, answers its proposals and locks them: bool [n]."""
        return self.forks.guards(row, peer)

    def gives(self) -> Flags:
        """Which forks rows would rather have their peers hold: bool [row, peer]; none, unless a subclass says so."""
        return np.zeros_like(self.forks.known)

    def hear_notes(self, notes: Notes, message: Message, packet: Ints, sent: Ints, path: Floats) -> None:
        """Take in what peers note, of packets [n] newer than all before; their statuses have been taken in.

        Args:
            packet, sent: int64 [n]. path: [K, H + 1, 2], plans that messages show.
        """
        self.show_due[notes.row[notes.word == SHOW]] = True
        row, peer, word, at = (column[notes.word < FORKS] for column in notes)
        # A fork is taken together with the giver's plan: one that it follows, with nothing pending.
        seq = message.committed_seq[packet[at]]
        tick = sent[at] // self.setup.rounds
        start = tick + message.t0_offset[packet[at]] - T0_PAST
        shown = ((message.sections[packet[at]] & PLAN) > 0) & (seq == message.pending_seq[packet[at]]) & (start <= tick)
        new = shown & self.forks.offered(row, peer, word)
        taker, giver = row[new], peer[new]
        self.knowledge.plans.put(
            (taker, giver, np.zeros_like(taker)), seq[new].astype(np.int64), start[new], path[packet[at[new]]]
        )
        self.knowledge.plans.valid[taker, giver, 1] = self.knowledge.confirmed[taker, giver] = False
        self.forks.take(taker, giver)
        same = self.forks.hear(row, peer, word)
        # A giver goes on noting until it is answered.
        self._reply[row[same], peer[same]] |= self.forks.holds(row[same], peer[same])

    def stand(self, clock: int, patience: Floats) -> None:
        """Once all is taken in: who has recovered, which forks are given, who has to show its plan.

        Args:
            patience: [row], rounds between notes of the same.
        """
        there = self.negotiating
        if self.processes.recovering.any():
            self.processes.ready(self.missing(), self.now)
        settled = there & ~self.pending.valid & (self.own.start[:, 1] <= self.now) & ~self.processes.recovering
        row, peer = np.nonzero(self.gives() & settled[:, None])
        may = self.forks.holds(row, peer) & self.forks.known[row, peer] & self.forks.other[row, peer]
        self.forks.give(row[may], peer[may])
        self.noted[row[may]] = -1
        open_gift = ~self.forks.known.all(1) & (clock - self.noted >= patience)
        self.show_due |= open_gift & there

    def notes(self, clock: int, showing: Flags, patience: Floats) -> Ints:
        """What is noted this round, as entries [n, 4] of GRANTS sections (row, peer, seq, verdict).

        Args:
            showing: bool [row], whose packets show a plan with nothing pending. patience: as for `stand`.
        """
        there = self.negotiating
        gift = showing[:, None] & ~self.forks.known
        if not (gift.any() or self._reply.any() or self.processes.recovering.any()):
            return NO_ENTRIES
        forks = (gift | self._reply) & there[:, None]
        unknown = self.missing() & (there & (clock - self.noted >= patience))[:, None]
        self._reply[there] = False
        self.noted[gift.any(1) | unknown.any(1)] = clock
        row, peer = np.nonzero(forks)
        who, whom = np.nonzero(unknown)
        word = np.concatenate([self.forks.version[row, peer] % FORKS, np.full_like(who, SHOW)])
        return entries(np.append(row, who), np.append(peer, whom), word, self.id)

    def _whose_turn(self, tick: int) -> Ints:
        due = super()._whose_turn(tick)
        held = self.show_due | self.processes.recovering
        return due[~held[due]]
