"""Our protocol with one of its safety rules left out: what each rule is there for, measured.

Every class below differs from `agentsc.protocol.variants.negotiated.NegotiatedBlock` in one method, the one that holds
the rule it breaks. Most are what a sensible person would try first. The fuzz tests drive these very blocks and have to
find contacts, so a fuzzer that has gone blind is noticed; and anybody can run them like any other protocol:
``--protocol weakened --set protocol.rule=timed-locks``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from agentsc.intent.codec import Message
from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.grants import verdicts
from agentsc.protocol.notes import FORKS, Notes
from agentsc.protocol.variants.negotiated import Flags, Floats, Ints, Negotiated, NegotiatedBlock

Rule = Literal[
    "no-grants",
    "deaf-grants",
    "sticky-grants",
    "blind-grants",
    "timed-locks",
    "eager-release",
    "unchecked-locks",
    "narrow-checks",
    "amnesia",
    "hasty-restart",
    "hasty-forks",
    "blind-forks",
]


@PROTOCOLS.register("weakened")
class Weakened(Negotiated):
    """The protocol `negotiated` with one rule of its safety left out: it collides, which shows what the rule is for."""

    rule: Rule = Field("no-grants", description="what is left out; docs/safety.md says what each one breaks")

    def block(self, setup: Setup, ids: Sequence[int]) -> NegotiatedBlock:
        return BLOCKS[self.rule](self, setup, ids)


class NoGrants(NegotiatedBlock):
    """Rule 1, i may commit iff every grantor granted: nobody is asked; plans are told when they are executed."""

    def must_ask(self, rows: Ints) -> Flags:
        return np.zeros((len(rows), self.agents), bool)


class DeafGrants(NegotiatedBlock):
    """Rule 1, iff every grantor *granted*: any answer will do, a refusal too."""

    def count_verdict(self, row: Ints, sender: Ints, sent: Ints, seq: Ints, verdict: Ints) -> None:
        super().count_verdict(row, sender, sent, seq, np.ones_like(verdict))


class StickyGrants(NegotiatedBlock):
    """Rule 1, granted *that proposal*: a verdict is taken to be on whatever is proposed when it arrives."""

    def count_verdict(self, row: Ints, sender: Ints, sent: Ints, seq: Ints, verdict: Ints) -> None:
        now = np.maximum(sent, self.first_sent[row] + 1)
        super().count_verdict(row, sender, now, self.pending.seq[row] % 8, verdict)


class BlindGrants(NegotiatedBlock):
    """Rule 2, clear of committed *and pending* plans: a grantor forgets what it is itself about to commit."""

    def may_grant(self, row: Ints, path: Floats, start: Ints) -> Flags:
        nothing = self.pending.take((slice(None),))
        nothing.valid = np.zeros_like(nothing.valid)
        return verdicts(self.own, nothing, row, path, start, self.distance)


class TimedLocks(NegotiatedBlock):
    """Rule 3, released only by its owner's status: a lock also ends when its plan's start passes without news."""

    def advance(self, tick: int) -> None:
        super().advance(tick)
        known = self.knowledge
        known.plans.valid[:, :, 1] &= known.confirmed | (known.plans.start[:, :, 1] >= tick)


class EagerRelease(NegotiatedBlock):
    """Rule 3, by a status that shows *that plan* to be over: any newer status releases a granted proposal."""

    def release(self, row: Ints, peer: Ints, sent: Ints, committed: Ints, pending: Ints) -> None:
        super().release(row, peer, sent, committed, pending)
        self.knowledge.plans.valid[row, peer, 1] = False


class UncheckedLocks(NegotiatedBlock):
    """Rule 4, every own plan keeps clear of all locks: leaders trust that those they rank above will make room."""

    def clear_of_peers(self, rows: Ints, points: Floats, start: Ints) -> Flags:
        return np.ones(len(rows), bool)


class NarrowChecks(NegotiatedBlock):
    """Plans of vehicles whose clocks differ keep v_max · skew farther apart: they do not."""

    def __init__(self, variant: Negotiated, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        self.distance = setup.world.separation + variant.margin * setup.world.radius


class Amnesia(NegotiatedBlock):
    """A restarted process learns what it locked before it proposes: it goes by the roster, and proposes at once."""

    def restart(self, rows: Ints) -> None:
        super().restart(rows)
        self.processes.recovering[rows] = False
        self.knowledge.plans.valid[rows, :, 0] = True


class HastyRestart(NegotiatedBlock):
    """It waits until nobody answers proposals of its earlier life: it does not."""

    def restart(self, rows: Ints) -> None:
        super().restart(rows)
        self.processes.until[rows] = -1


class HastyForks(NegotiatedBlock):
    """While a fork's gift is not known to be taken both ask each other: the giver asks only once it knows."""

    def must_ask(self, rows: Ints) -> Flags:
        return super().must_ask(rows) & self.forks.known[rows]


class BlindForks(NegotiatedBlock):
    """A fork is given and taken with the giver's plan: it goes with any packet, and hearsay serves for the lock."""

    def stand(self, clock: int, patience: Floats) -> None:
        super().stand(clock, patience)
        self.show_due &= False

    def notes(self, clock: int, showing: Flags, patience: Floats) -> Ints:
        return super().notes(clock, (clock - self.noted >= patience) & self.processes.running, patience)

    def hear_notes(self, notes: Notes, message: Message, packet: Ints, sent: Ints, path: Floats) -> None:
        row, peer, word, _ = (column[notes.word < FORKS] for column in notes)
        new = self.forks.offered(row, peer, word)
        self.forks.take(row[new], peer[new])
        super().hear_notes(notes, message, packet, sent, path)


BLOCKS: dict[Rule, type[NegotiatedBlock]] = {
    "no-grants": NoGrants,
    "deaf-grants": DeafGrants,
    "sticky-grants": StickyGrants,
    "blind-grants": BlindGrants,
    "timed-locks": TimedLocks,
    "eager-release": EagerRelease,
    "unchecked-locks": UncheckedLocks,
    "narrow-checks": NarrowChecks,
    "amnesia": Amnesia,
    "hasty-restart": HastyRestart,
    "hasty-forks": HastyForks,
    "blind-forks": BlindForks,
}
