"""The two ends of a feed: the station that sees the arena, and the screen that knows what packets told it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agentsc.semantic.feed.bits import Damaged
from agentsc.semantic.feed.tokens import (
    FARTHEST,
    HEADINGS,
    HEARD,
    Bytes,
    Facts,
    Flags,
    Floats,
    Ints,
    Lattice,
    News,
    Objects,
    decode,
    encode,
    heard,
    number_of,
    sealed,
    whole,
)

Stale = Literal["extrapolate", "hold"]
AHEAD_S = 1.0
"""Objects are moved on for so long after their last packet; then they stay."""
FADE_S, LEAST = 3.0, 0.3
"""From `AHEAD_S` to this age objects fade, down to this opacity."""


class Station:
    """The sender: sees everything, knows of the screen what it has acknowledged.

    Args:
        lattice: shared with the screen. facts: at the start; the screen is told all of them.
    """

    def __init__(self, lattice: Lattice, facts: Facts) -> None:
        self.lattice, self.facts = lattice, facts
        self._sent: dict[int, tuple[Objects, News]] = {}
        self._newest = -1
        # What the screen is known to know; NaN-like −1 for nothing.
        self._goals = np.full_like(facts.goals, -1)
        self._there: Flags | None = None
        self._boxes = np.zeros_like(facts.boxes)

    def hear(self, data: Bytes, bits: int) -> None:
        """Take in an acknowledgement; anything else is ignored."""
        try:
            kind, number, _ = number_of(data, bits)
        except Damaged:
            return
        if kind != HEARD or number not in self._sent:
            return
        _, news = self._sent[number]
        # An older packet's facts hold only where they are still the ones to be told.
        same = (self.facts.goals[news.goal_of] == news.goals).all(1)
        self._goals[news.goal_of[same]] = news.goals[same]
        if news.there is not None and (news.there == self.facts.there).all():
            self._there = news.there
        same = (self.facts.boxes[news.box_of] == news.boxes).all(1)
        self._boxes[news.box_of[same]] = news.boxes[same]
        if number > self._newest:
            self._newest = number
            self._sent = {k: v for k, v in self._sent.items() if k >= number}

    def speak(self, number: int, objects: Objects, facts: Facts) -> tuple[Bytes, int]:
        """The packet of a frame: bytes and bits."""
        self.facts = facts
        goal_of = np.flatnonzero((facts.goals != self._goals).any(1))
        box_of = np.flatnonzero((facts.boxes != self._boxes).any(1))
        there = None if self._there is not None and (self._there == facts.there).all() else facts.there
        news = News(goal_of, facts.goals[goal_of], there, box_of, facts.boxes[box_of])
        back = number - self._newest if self._newest >= 0 else 0
        if back > FARTHEST:
            back = 0
        packet = encode(number, objects, back, self._sent[self._newest][0] if back else None, news, self.lattice)
        if back:  # where a difference costs more than the whole, the whole is sent
            absolute = encode(number, objects, 0, None, news, self.lattice)
            packet = absolute if absolute.count < packet.count else packet
        self._sent[number] = objects, news
        return sealed(packet)


@dataclass(frozen=True)
class Shown:
    """What a screen shows at one moment.

    Attributes:
        at: float32 [A, 2], metres. heading: float [A], radians. opacity: of objects, in [0, 1]; 0 before any packet.
        goals: float32 [A, 2]; NaN where not known. there: bool [A]. boxes: int64 [B, 5] by number, as in `Facts`.
        age_s: since what is shown was seen; NaN before any packet.
    """

    at: Floats
    heading: NDArray[np.floating]
    opacity: float
    goals: Floats
    there: Flags
    boxes: Mapping[int, Ints]
    age_s: float


class Screen:
    """The receiver: knows the lattice and how many agents there are, and else what packets told it.

    Args:
        stale: what is done with objects between packets: moved on as they moved for at most `AHEAD_S`, or held.
    """

    def __init__(self, lattice: Lattice, agents: int, stale: Stale = "extrapolate") -> None:
        self.lattice, self.agents, self.stale = lattice, agents, stale
        self._said: dict[int, Objects] = {}
        self._newest = -1
        self._goals = np.full((agents, 2), -1, np.int64)
        self._there = np.ones(agents, bool)
        self._boxes: dict[int, Ints] = {}
        # Frame of the packet that each fact comes from: an older packet does not undo a newer one.
        self._goal_of, self._there_of = np.full(agents, -1), -1
        self._box_of: dict[int, int] = {}
        self.refused = 0

    def hear(self, data: Bytes, bits: int) -> tuple[Bytes, int] | None:
        """Take in a packet; the acknowledgement to send, or None for what cannot be read."""
        try:
            if not whole(data, bits):
                raise Damaged("a packet's checksum must hold")
            kind, number, back = number_of(data, bits)
            if kind == HEARD:
                return None
            if back and number - back not in self._said:
                raise Damaged("a packet's reference must have been heard")
            said = decode(data, bits, self.agents, self._said[number - back] if back else None, self.lattice)
        except Damaged:
            self.refused += 1
            return None
        self._said[number] = said.objects
        self._newest = max(self._newest, number)
        news = said.news
        fresh = self._goal_of[news.goal_of] < number
        self._goals[news.goal_of[fresh]] = news.goals[fresh]
        self._goal_of[news.goal_of[fresh]] = number
        if news.there is not None and self._there_of < number:
            self._there, self._there_of = news.there, number
        for which, box in zip(news.box_of.tolist(), news.boxes, strict=True):
            if self._box_of.get(which, -1) < number:
                self._boxes[which], self._box_of[which] = box, number
        self._said = {k: v for k, v in self._said.items() if k >= self._newest - FARTHEST}
        return sealed(heard(number))

    def show(self, time_s: float) -> Shown:
        """What it shows at a time, seconds since frame 0."""
        goals = np.where(self._goals < 0, np.nan, self.lattice.place(self._goals)).astype(np.float32)
        if self._newest < 0:
            nowhere = np.zeros((self.agents, 2), np.float32)
            return Shown(nowhere, np.zeros(self.agents), 0.0, goals, self._there, self._boxes, np.nan)
        objects = self._said[self._newest]
        age = max(time_s - self._newest * self.lattice.frame_s, 0.0)
        at = self.lattice.place(objects.at)
        if self.stale == "extrapolate":
            at = at + objects.velocity(self.lattice) * np.float32(min(age, AHEAD_S))
        fade = np.clip((age - AHEAD_S) / (FADE_S - AHEAD_S), 0.0, 1.0)
        heading = objects.heading * (2 * np.pi / HEADINGS)
        return Shown(at, heading, float(1.0 - (1.0 - LEAST) * fade), goals, self._there, self._boxes, float(age))
