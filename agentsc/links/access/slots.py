"""Time in slots."""

from __future__ import annotations

import numpy as np

from agentsc.links.packets import Doubles

_SAME_S = 1e-9
"""Times no further apart are the same, computed along two ways."""


def next_slot(time_s: Doubles, slot_s: float) -> Doubles:
    """Number of the first slot that begins no earlier."""
    return np.asarray(np.ceil((time_s - _SAME_S) / slot_s))
