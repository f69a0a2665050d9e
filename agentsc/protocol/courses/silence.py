"""Noticing that a peer is silent: how long each row has waited for whom without hearing anything.

Silence counts from when a peer is waited for: before, it may have had nothing to say. Who is held up for half of
``silence_s`` asks, by saying the same again, and is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agentsc.intent.codec import Message
from agentsc.protocol import Deliveries, Packets, SampleReply, Setup
from agentsc.protocol.courses.agreement import AgreementBlock
from agentsc.protocol.courses.phases import AGREED, GATHERING, UNDER_WAY
from agentsc.protocol.reception import Received, Wanted
from agentsc.protocol.situation import Flags, Ints

if TYPE_CHECKING:
    from agentsc.protocol.variants.intent import Intent

FOR_EVER = 1 << 40
"""Rounds."""
PINGS = 2
"""Rounds between words of one that is held up by a silent peer."""


class SilenceBlock(AgreementBlock):
    """Rows that know who is silent. They do nothing about it but ask, see `agentsc.protocol.courses.rallies`."""

    def __init__(self, variant: Intent, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        rows, rounds = len(self.rows), setup.rounds / setup.world.dt
        self.silence = FOR_EVER if variant.silence_s is None else max(round(variant.silence_s * rounds), 4)
        """Rounds after which one that is waited for counts as silent."""
        self.heard_at = np.zeros((rows, self.agents), np.int64)
        self.quiet = np.zeros((rows, self.agents), np.int64)
        """Rounds for which each row has waited for a peer without hearing anything of it; 0 if it does not wait."""
        self.asked_again = np.zeros(rows, bool)

    def receive(self, inbox: Deliveries, clock: int, lead: int, wanted: Wanted) -> Received:
        """See `Block.receive`: whatever a peer says, it is not silent."""
        received = super().receive(inbox, clock, lead, wanted)
        self.heard_at[received.lane * len(self.ids) + received.place, received.sender] = clock
        return received

    def _hear_progress(self, row: Ints, sender: Ints, packet: Ints, message: Message) -> None:
        """Who is held up, and hears nothing, says the same again: it is told that there is nothing new."""
        if self.silence < FOR_EVER:
            steps = message.steps[packet].astype(np.int64)
            for progress, here, place in self._on_courses(row):
                same = steps[here] <= progress.known[place, sender[here]]
                at = np.minimum(steps[here], progress.course.steps - 1)
                waits = progress.course.need[sender[here], self.ids[place], at] > progress.steps[place]
                quiet = 4 * (self.clock - self.last_sent[row[here]]) >= self.silence
                self.asked_again[row[here][same & waits & quiet]] = True
        super()._hear_progress(row, sender, packet, message)

    def _note_who_is_waited_for(self, running: Flags) -> None:
        """Count rounds in which a peer that is waited for says nothing; before, it may have had nothing to say."""
        waits = np.zeros_like(self.member)
        rows = np.flatnonzero(running & (self.phase == UNDER_WAY))
        for progress, here, place in self._on_courses(rows):
            waits[rows[here]] = progress.waits_for(place)
        gathering, agreed = running & (self.phase == GATHERING), running & (self.phase == AGREED)
        waits[gathering] = (self.wishes[gathering] < 0).any(2)
        waits[agreed] = self.digests[agreed] != self.digests[agreed, self.id[agreed], None]
        waits &= self.member & (self.heard_at < self.clock)
        waits[self.rows, self.id] = False
        self.quiet = np.where(waits, self.quiet + 1, 0)

    def _worth_telling(self, clock: int) -> Flags:
        """See `AlongBlock`; who is held up by a silent peer asks, and whoever was asked answers."""
        worth = super()._worth_telling(clock) | self.asked_again
        if self.silence < FOR_EVER:
            held_up = (2 * self.quiet >= self.silence).any(1) & (clock - self.last_sent >= PINGS)
            worth |= held_up & (self.phase == UNDER_WAY) & self.running
        return worth

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """See `AgreementBlock.speak`: all that were asked and are under way have answered then."""
        said = super().speak(sampled, clock)
        self.asked_again[self.running & (self.phase == UNDER_WAY)] = False
        return said
