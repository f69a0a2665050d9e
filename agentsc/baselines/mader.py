"""MADER's asynchronous deconfliction: check what arrived while optimising, recheck, commit.

*Optimisation* plans against every trajectory received. *Check*: a trajectory received meanwhile that
collides with the new one makes the agent throw it away. *Recheck*: so does any trajectory, colliding or
not, that arrives during the check. Otherwise the plan is committed and published. What this cannot see
is a trajectory that is still on its way: with packets that are late or lost, committed plans may cross.

A check on a computer takes far less than a message round: with ``check_rounds`` 0 nothing arrives during it, and the
recheck has nothing to say. The default of 1 is what the published suites were run with; the longer the check, the
more good plans are thrown away.

Reference: J. Tordesillas and J. P. How, "MADER: Trajectory planner in multiagent and dynamic
environments", IEEE Transactions on Robotics 38(1), 2022.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from agentsc.baselines._deconfliction import Deconflicting, DeconflictingBlock
from agentsc.baselines._unasked import Flags, Ints
from agentsc.protocol import PROTOCOLS, Setup


@PROTOCOLS.register("mader")
class Mader(Deconflicting):
    """MADER: whole trajectories; check and recheck against what arrived while optimising, then commit."""

    check_rounds: int = Field(
        1, ge=0, le=16, description="message rounds that the check takes; 0: less than one, nothing arrives meanwhile"
    )

    def block(self, setup: Setup, ids: Sequence[int]) -> MaderBlock:
        return MaderBlock(self, setup, ids)


class MaderBlock(DeconflictingBlock):
    """Commits at the end of the check."""

    variant: Mader

    def __init__(self, variant: Mader, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids, span=variant.check_rounds)

    def passes(self, rows: Ints, age: Ints, news: Flags) -> Flags:
        """Check at age 0, recheck at every later one."""
        good = (age == 0) | ~news
        check = rows[age == 0]
        good[age == 0] = self.clear_of_peers(check, self.pending.path[check], self.pending.start[check])
        return good
