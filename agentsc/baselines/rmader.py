"""Robust MADER: an optimised trajectory is published first, and committed if nothing speaks against it in time.

*Check*: a new plan that collides with anything heard of, committed or optimised, is thrown away.
Otherwise it is published as *optimised*, while the committed one is followed. *Delay check*: for a fixed
time, any trajectory heard of that collides with it makes the agent give it up, and publish the committed
one again. Who gets through commits, and publishes the plan once more, as committed.

If every packet arrives within the delay check, committed plans never cross: of two conflicting plans
the one published first reaches the other's owner before that one's delay check has ended. A packet that is
later than that, or lost, breaks the argument.

Reference: K. Kondo, R. Figueroa, J. Rached, J. Tordesillas, P. C. Lusk and J. P. How, "Robust MADER:
Decentralized multiagent trajectory planner robust to communication delay in dynamic environments",
IEEE Robotics and Automation Letters, 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from agentsc.baselines._deconfliction import Deconflicting, DeconflictingBlock
from agentsc.baselines._unasked import Flags, Ints
from agentsc.protocol import PROTOCOLS, Setup

WINDOW_TICKS = 2
"""Default length of the delay check."""


@PROTOCOLS.register("rmader")
class Rmader(Deconflicting):
    """Robust MADER: publish the optimised trajectory, wait for conflicts, then commit."""

    delay_check_s: float | None = Field(
        None,
        gt=0.0,
        le=10.0,
        description="length of the delay check, seconds: the longest delay that is safe; null: two ticks",
    )

    def rounds(self, setup: Setup) -> int:
        """Length of the delay check in message rounds, at least the one that a packet takes."""
        if self.delay_check_s is None:
            return WINDOW_TICKS * setup.rounds
        # A whole number of rounds must not be rounded up for its last floating-point digit.
        return max(int(np.ceil(self.delay_check_s / setup.world.dt * setup.rounds - 1e-9)), 1)

    def block(self, setup: Setup, ids: Sequence[int]) -> RmaderBlock:
        return RmaderBlock(self, setup, ids)


class RmaderBlock(DeconflictingBlock):
    """Peers must stay clear of both trajectories they have heard of, and so must this block's agents."""

    variant: Rmader

    def __init__(self, variant: Rmader, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids, span=variant.rounds(setup))

    def passes(self, rows: Ints, age: Ints, news: Flags) -> Flags:
        """The check at age 0, after which the plan is published; from then on the delay check."""
        good = self.clear_of_peers(rows, self.pending.path[rows], self.pending.start[rows])
        offer = rows[good & (age == 0)]
        self.offer_due[offer] = self.out[offer] = True
        return good
