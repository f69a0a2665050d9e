"""The protocol `intent` with one rule of going on without somebody left out: what each rule is there for, measured.

As `agentsc.baselines.weakened` for `negotiated`: every class differs from
`agentsc.protocol.variants.intent.IntentBlock` in the one method (of `agentsc.protocol.courses.rallies`) that holds the
rule it breaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.joint.shadows import Corners
from agentsc.protocol.rally import Rally
from agentsc.protocol.situation import Ints
from agentsc.protocol.variants.intent import Intent, IntentBlock

Rule = Literal["no-majority", "short-shadows", "no-shadows", "forgetful-votes", "hasty-rally", "turncoats"]


@PROTOCOLS.register("weakened-courses")
class WeakenedCourses(Intent):
    """The protocol `intent` with one rule of its rallies left out: it collides, which shows what the rule is for."""

    rule: Rule = Field("no-majority", description="what is left out; docs/courses.md says what each one breaks")

    def block(self, setup: Setup, ids: Sequence[int]) -> IntentBlock:
        return BLOCKS[self.rule](self, setup, ids)


class NoMajority(IntentBlock):
    """Those who go on without others are a majority: they need not be."""

    def enough(self, count: int) -> bool:
        return count > 0


class ShortShadows(IntentBlock):
    """Who is left out may make steps that nobody can keep it from: it is taken to rest where it was last known."""

    def _whereabouts(self, row: int, rally: Rally) -> Corners:
        whole = super()._whereabouts(row, rally)
        return tuple(next(corner for corner in whole if corner[0] == agent) for agent in rally.out)


class NoShadows(IntentBlock):
    """Courses keep clear of where those left out may be: they rest at the roster's places, as far as anybody cares."""

    def _whereabouts(self, row: int, rally: Rally) -> Corners:
        starts, spec = self.setup.world.starts[self.lane[row]], self.setup.spec
        return tuple((agent, *spec.lattice(starts[agent]).tolist()) for agent in rally.out)


class ForgetfulVotes(IntentBlock):
    """A restarted process does not count towards the majority: it forgets that it has forgotten."""

    def restart(self, rows: Ints) -> None:
        super().restart(rows)
        self.forgetful[rows] = False


class HastyRally(IntentBlock):
    """A member sets out when all have agreed: it sets out when it has agreed itself."""

    def _advance(self, row: int) -> None:
        rally = self.rally[row]
        super()._advance(row)
        if self.rally.get(row) is rally and rally.course is not None:
            self._set_out_anew(row)


class Turncoats(IntentBlock):
    """Who has agreed to a rally's course waits until all have, or a majority has left: it leaves all the same."""

    def _may_leave(self, row: int) -> bool:
        return True


BLOCKS: dict[Rule, type[IntentBlock]] = {
    "no-majority": NoMajority,
    "short-shadows": ShortShadows,
    "no-shadows": NoShadows,
    "forgetful-votes": ForgetfulVotes,
    "hasty-rally": HastyRally,
    "turncoats": Turncoats,
}
