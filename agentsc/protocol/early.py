"""Clocks that differ: a packet from the future waits until the receiver's clock has caught up with it.

Every packet carries the round in which it was sent, by its sender's clock. A receiver whose clock is behind may get it
before that round has come. It then looks at it in that round and not before, and that is all there is to clock skew as
far as messages go: by the clocks of those involved every packet takes at least no time, so each thing that can happen
with clocks that differ could also have happened, later, with clocks that agree. What remains is that vehicles follow
their plans by clocks that differ; distances between plans are widened for that (`widened`).
"""

from __future__ import annotations

import math

from agentsc.intent.codec import decode
from agentsc.intent.plan import PlanSpec
from agentsc.links.flight import NONE, Deliveries
from agentsc.protocol.reception import sending_rounds
from envs.errors import ConfigError

MOST_AHEAD = 127
"""Rounds; eight bits of a counter tell a packet from the future from one of the past that far."""


def rounds_ahead(skew_s: float, round_s: float) -> int:
    """Rounds by which a clock can be ahead of another, rounded up.

    Raises:
        ConfigError: so far ahead that a packet's round counter is ambiguous.
    """
    rounds = math.ceil(skew_s / round_s - 1e-9)
    if rounds > MOST_AHEAD:
        raise ConfigError(
            f"protocol.clock_skew_s must be at most {MOST_AHEAD * round_s:.3g} with rounds of {round_s:.3g} s, "
            f"got {skew_s:g} (seconds by which two clocks may differ; synchronise them better)"
        )
    return rounds


def widened(distance: float, skew_s: float, v_max: float) -> float:
    """Distance between plans, metres, that keeps ``distance`` between vehicles whose clocks differ by ``skew_s``.

    If every two plans are ``distance`` + v_max · skew apart at every one time, then two vehicles, one of which is
    where its plan was or will be up to ``skew`` seconds away, are ``distance`` apart: in that time it moves no more
    than v_max · skew. Plans may exceed v_max by a thousandth, as the exact checks let them.
    """
    return distance + 1.001 * v_max * skew_s


class Early:
    """What has arrived before its time.

    Args:
        ahead: rounds, at least 1; what claims to be sent further in the future is left for the gate to refuse.
    """

    def __init__(self, spec: PlanSpec, ahead: int) -> None:
        self.spec, self.ahead = spec, ahead
        self._waiting: Deliveries = NONE

    def due(self, inbox: Deliveries, clock: int) -> Deliveries:
        """What may be looked at in round ``clock`` of what has arrived now or waits since earlier."""
        inbox = self._waiting.joined(inbox)
        if not len(inbox):
            return inbox
        message, good = decode(inbox.payload, inbox.payload_bits, self.spec)
        early = good & (sending_rounds(message, clock + self.ahead) > clock)
        waits = early[inbox.packet]
        self._waiting = inbox.take(waits).compact()
        return inbox.take(~waits)
