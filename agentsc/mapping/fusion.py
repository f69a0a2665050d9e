"""Evidence about cells: log-odds of one's own looks, and of what others report.

Reference: H. Moravec and A. Elfes, "High resolution maps from wide angle sonar", ICRA 1985; A. Elfes, "Using occupancy
grids for mobile robot perception and navigation", 1989, eq. 9, in log-odds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Cells = NDArray[np.int8]
Flags = NDArray[np.bool_]

SURE = 4.0
"""Log-odds from which on a cell counts as free or filled: wrong once in 56."""
MOST = 12.0
"""Log-odds beyond which evidence does not pile up, so that it can be undone."""
CERTAIN = 8.0
"""Weight of a look that is never wrong."""
REPORT = 4.6
"""Weight of what one agent reports: it is taken to be right in 99 of 100."""


def weight_of(error: float) -> float:
    """Log-odds that one look is worth that is wrong with that chance."""
    return CERTAIN if error <= 0.0 else min(float(np.log((1.0 - error) / error)), CERTAIN)


def decided(log_odds: Floats) -> Cells:
    """int8 [...]: −1 not known, 0 free, 1 filled."""
    return np.where(log_odds >= SURE, 1, np.where(log_odds <= -SURE, 0, -1)).astype(np.int8)


def add_looks(log_odds: Floats, seen: Flags, filled: Flags, weight: float) -> None:
    """Add one look at the cells ``seen``, some of which looked ``filled``, to ``log_odds`` [...]."""
    log_odds += np.float32(weight) * (filled.astype(np.float32) - (seen & ~filled))
    np.clip(log_odds, -MOST, MOST, out=log_odds)


def fused(reports: Cells) -> Floats:
    """Log-odds [..., row, column] of what agents report, int8 [..., agent, row, column]; −1 is no report."""
    return np.float32(REPORT) * ((reports == 1).sum(-3) - (reports == 0).sum(-3)).astype(np.float32)
