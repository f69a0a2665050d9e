"""Going on without those who are silent: who takes part, where the others may be, and what all have to agree on.

Whoever is held up by a silent peer, or has lost its course, calls a *rally*, which names those who are left out. The
members stop, and tell where they rest, what they want, and which course was the newest that they had agreed to. From
those words everybody works out the same new course, around the places where those left out may be, agrees to it by a
digest, and sets out when it knows that all members have agreed. Nothing that was known before is needed for that,
so processes that have lost everything can take part.

A rally is numbered by the round in which it is called and its caller, so no two have the same number, and a process
that is restarted calls a later one. Who has joined a rally takes part in no earlier one, and goes no farther along an
earlier course. Members that remember have to be a majority of the roster, or nobody may be left out.

*Where those left out may be.* Let K be the newest course that a member who remembers has agreed to. No agent is on a
newer one: that would take the agreement of a majority that remembers, hence of a member here. Who is left out here and
was left out of K is where K says. Who was a member of K has told its place before K, so it is on K or rests where K
begins for it; along K it makes no step that waits for one that a member here will not make; and it has made those that
members know of. That is its shadow, and whoever remembers K can work it out: the lowest of them tells it.

The proof is in ``docs/courses.md``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.codec import Message
from agentsc.intent.fields import MAX_RECORDS, RALLY
from agentsc.intent.plan import PlanSpec
from agentsc.protocol.joint.order import Course
from agentsc.protocol.joint.shadows import Corners

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Point = tuple[int, int]

CALLERS = 1 << 8
"""A rally's number is its round times this, plus its caller."""
NOTHING = (0, 0)
"""The roster: what agents have agreed to before the first course."""


class Word(NamedTuple):
    """What a member says in a rally.

    Attributes:
        wish, rest: lattice points; where it wants to be, and where it rests from tick ``done`` on.
        before: root and number + 1 of the newest course that it has agreed to, `NOTHING` for none; of its vehicle's
            course, if it is forgetful. steps: that it makes of that. forgetful: its process was restarted.
        lows: for each agent left out, steps of that course which it knows it to have made.
    """

    wish: Point
    rest: Point
    done: int
    before: tuple[int, int]
    steps: int
    forgetful: bool
    lows: tuple[int, ...]


@dataclass
class Rally:
    """One rally, as one member knows it.

    Attributes:
        root: its number. out: ids of those left out, ascending. since: round in which this member joined.
        words, digests, shadows: of members, as heard. course: what this member has agreed to.
    """

    root: int
    out: tuple[int, ...]
    agents: int
    since: int
    words: dict[int, Word] = field(default_factory=dict)
    digests: dict[int, int] = field(default_factory=dict)
    shadows: dict[int, Corners] = field(default_factory=dict)
    course: Course | None = None

    @property
    def members(self) -> list[int]:
        """Ids, ascending."""
        return [agent for agent in range(self.agents) if agent not in self.out]

    @property
    def missing(self) -> list[int]:
        """Members that have not said a word."""
        return [agent for agent in self.members if agent not in self.words]

    @property
    def remembering(self) -> int:
        """How many members have said a word and forgotten nothing."""
        return sum(not word.forgetful for word in self.words.values())

    @property
    def settled(self) -> bool:
        """Whether all members are known to have agreed to the same."""
        return self.course is not None and len({self.digests.get(agent, 0) for agent in self.members}) == 1

    @property
    def newest(self) -> tuple[int, int]:
        """The newest course that members who remember have agreed to."""
        return max((word.before for word in self.words.values() if not word.forgetful), default=NOTHING)

    @property
    def teller(self) -> int:
        """The member that says where those left out may be; −1 if nobody can."""
        known = [k for k, word in self.words.items() if not word.forgetful and word.before == self.newest]
        return min(known, default=-1)

    @property
    def done(self) -> int:
        """Tick from which on all members rest."""
        return max(word.done for word in self.words.values())

    def corners(self) -> Corners | None:
        """Where those left out may be; None while nobody has said so."""
        return self.shadows.get(self.teller) if self.out else ()

    def digest(self, course: Course) -> int:
        """24 bits of all that members have to agree on; 0 and the two highest stand for something else."""
        told = repr((self.root, self.out, sorted(self.words.items()), self.corners())).encode()
        whole = hashlib.blake2b(told + course.route.tobytes() + course.need.tobytes(), digest_size=3).digest()
        return 1 + int.from_bytes(whole, "big") % ((1 << 24) - 3)


def whereabouts(rally: Rally, course: Course | None, starts: Floats, spec: PlanSpec, tolerance: float) -> Corners:
    """The shadows of those left out of a rally in which all members have said a word.

    Args:
        course: the newest one that members have agreed to, None for the roster. starts: [agent, 2], the roster, metres.
        tolerance: metres by which a shadow may be off.
    """
    if course is None:
        return tuple((agent, *spec.lattice(starts[agent]).tolist()) for agent in rally.out)
    found: list[tuple[int, int, int]] = []
    for place, agent in enumerate(rally.out):
        if course.members is not None and not course.members[agent]:
            found += [corner for corner in course.corners if corner[0] == agent]
            continue
        first, last = span(rally, course, place)
        way = course.route[first : last + 1, agent]
        kept = way[corners_of(way.astype(np.float64), tolerance)]
        found += [(agent, *code) for code in spec.lattice(kept).tolist()]
    if len(found) > MAX_RECORDS:
        return whereabouts(rally, course, starts, spec, 2 * tolerance)
    return tuple(found)


def span(rally: Rally, course: Course, place: int) -> tuple[int, int]:
    """Steps of a course that one left out, a member of it, has made at least and at most.

    Args:
        place: in ``rally.out``.
    """
    agent, newest = rally.out[place], rally.newest
    first = last = int(course.covered[agent])
    under_way = True
    limit = course.steps
    for member, word in rally.words.items():
        if course.members is not None and not course.members[member]:
            continue
        on_it = word.before == newest
        # Who remembers and has not agreed to it never will: then nobody is on it.
        under_way &= on_it or word.forgetful
        made = word.steps if on_it else int(course.covered[member])
        if on_it and not word.forgetful:
            first = max(first, word.lows[place])
        first = max(first, int(course.need[member, agent, :made].max(initial=0)))
        waits = np.flatnonzero(course.need[agent, member] > made)
        limit = min(limit, int(waits[0]) if len(waits) else limit)
    return first, max(first, limit if under_way else last)


def corners_of(way: NDArray[np.float64], tolerance: float) -> Ints:
    """Indices of points that a polyline [n, 2] may be reduced to, so that no point is farther off than the tolerance.

    Reference: D. H. Douglas and T. K. Peucker, 1973.
    """
    kept, stack = {0, len(way) - 1}, [(0, len(way) - 1)]
    while stack:
        a, b = stack.pop()
        if b - a < 2:
            continue
        line, off = way[b] - way[a], way[a + 1 : b] - way[a]
        share = np.clip((off @ line) / max(float(line @ line), 1e-30), 0.0, 1.0)
        gap = np.linalg.norm(off - share[:, None] * line, axis=-1)
        worst = int(gap.argmax())
        if gap[worst] > tolerance:
            kept.add(a + 1 + worst)
            stack += [(a, a + 1 + worst), (a + 1 + worst, b)]
    return np.array(sorted(kept), np.int64)


# -- on the air ------------------------------------------------------------------------------------


def put(message: Message, row: int, rally: Rally, me: int) -> None:
    """Write a member's word into one packet."""
    word = rally.words[me]
    message.kind[row], message.root[row], message.done[row] = RALLY, rally.root, word.done
    message.position[row], message.rest[row] = word.wish, word.rest
    message.before[row], message.course[row], message.steps[row] = *word.before, word.steps
    message.forgetful[row], message.digest[row] = word.forgetful, rally.digests.get(me, 0)
    message.out_count[row] = len(rally.out)
    for k, (agent, low) in enumerate(zip(rally.out, word.lows, strict=True)):
        message.outs[row, k] = agent, 0, low
    shadows = rally.shadows.get(me, ())
    message.corner_count[row] = len(shadows)
    if shadows:
        message.corners[row, : len(shadows)] = shadows


def room(rallies: list[tuple[Rally, int]]) -> dict[str, int]:
    """Records that the words of these members need at most, for `Message.blank`."""
    return {
        "outs": max((len(rally.out) for rally, _ in rallies), default=0),
        "corners": max((len(rally.shadows.get(me, ())) for rally, me in rallies), default=0),
    }


def read(message: Message, packet: int) -> tuple[tuple[int, ...], Word, Corners]:
    """Who is left out, the sender's word, and the shadows that it tells."""
    outs = message.outs[packet, : message.out_count[packet]]
    out = tuple(outs[:, 0].tolist())
    corners = message.corners[packet, : message.corner_count[packet]].tolist()
    word = Word(
        (int(message.position[packet, 0]), int(message.position[packet, 1])),
        (int(message.rest[packet, 0]), int(message.rest[packet, 1])),
        int(message.done[packet]),
        (int(message.before[packet]), int(message.course[packet])),
        int(message.steps[packet]),
        bool(message.forgetful[packet]),
        tuple(outs[:, 2].tolist()),
    )
    return out, word, tuple((a, x, y) for a, x, y in corners)
