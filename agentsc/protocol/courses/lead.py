"""What everybody still does of one course before the next one begins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint.order import Course
from agentsc.protocol.joint.search import Lead

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def led_by(before: Course, cuts: Ints) -> tuple[int, Floats, Lead]:
    """What everybody still does of a course before the next one.

    Args:
        cuts: int64 [agent, 3]: steps that each agent makes of it, the tick by which it rests after them, and how many
            ticks before that tick it said so. What was done before it said so concerns nobody any more.

    Returns:
        The tick from which on the next course counts, where everybody rests [agent, 2], and how they come there: as
        late as they may.
    """
    steps, ready, lag = cuts.T
    steps = np.minimum(steps, before.steps)
    tick = int((ready - lag).min())
    until = ready - tick
    at = tick + np.arange(int(until.max()) + 1)
    made = np.clip(steps - np.maximum(ready - at[:, None], 0), 0, None)
    agents = np.arange(len(steps))
    path = before.route[made, agents]
    return tick, before.route[steps, agents], Lead(np.asarray(path, np.float32), until)
