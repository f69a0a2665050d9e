"""MADER's asynchronous deconfliction: check what arrived while optimising, recheck, commit.

*Optimisation* plans against every trajectory received. *Check*: a trajectory received meanwhile that
collides with the new one makes the agent throw it away. *Recheck*: so does any trajectory, colliding or
not, that arrives during the check. Otherwise the plan is committed and published. What this cannot see
is a trajectory that is still on its way: with packets that are late or lost, committed plans may cross.

Reference: J. Tordesillas and J. P. How, "MADER: Trajectory planner in multiagent and dynamic
environments", IEEE Transactions on Robotics 38(1), 2022.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentsc.baselines._deconfliction import Deconflicting, DeconflictingBlock
from agentsc.baselines._unasked import Flags, Ints
from agentsc.protocol import PROTOCOLS, Setup


@PROTOCOLS.register("mader")
class Mader(Deconflicting):
    """MADER: whole trajectories; check and recheck against what arrived while optimising, then commit."""

    def block(self, setup: Setup, ids: Sequence[int]) -> MaderBlock:
        return MaderBlock(self, setup, ids)


class MaderBlock(DeconflictingBlock):
    """The check takes one round, the shortest time in which a packet can arrive."""

    variant: Mader

    def __init__(self, variant: Mader, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids, span=1)

    def passes(self, rows: Ints, age: Ints, news: Flags) -> Flags:
        """Check at age 0, recheck at age 1."""
        good = (age == 0) | ~news
        check = rows[age == 0]
        good[age == 0] = self.clear_of_peers(check, self.pending.path[check], self.pending.start[check])
        return good
