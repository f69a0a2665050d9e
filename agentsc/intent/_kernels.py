"""Quantising plans, compiled: every increment starts where the integers before it have led."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, kernel, result


@kernel(
    array("float64", 3), array("int32", 2), array("float64", 1), array("float64", 1), types.float64,
    result("int32", 2),
)  # fmt: skip
def quantise(target: Any, begin: Any, scale: Any, reach: Any, top: Any, codes: Any) -> None:
    """``codes`` [n, 2 + 2(P − 2)] of `agentsc.intent.plan.PlanSpec.quantise`.

    Args:
        target: [n, P, 2], lattice steps. begin: [n, 2]. scale: [P − 2], lattice steps per unit of a code.
        reach: [P − 2], longest length of each code. top: greatest code.
    """
    for n in range(target.shape[0]):
        codes[n, 0], codes[n, 1] = begin[n, 0], begin[n, 1]
        at_x, at_y = float(begin[n, 0]), float(begin[n, 1])
        for i in range(len(scale)):
            x, y = (target[n, i + 1, 0] - at_x) / scale[i], (target[n, i + 1, 1] - at_y) / scale[i]
            share = min(1.0, reach[i] / max(np.sqrt(x * x + y * y), 1e-12))
            x, y = min(max(x * share, -top), top), min(max(y * share, -top), top)
            code_x, code_y = np.rint(x), np.rint(y)
            if np.sqrt(code_x * code_x + code_y * code_y) > reach[i]:
                # Of the four codes around, the nearest that is not too long; cut towards zero, one always is.
                least = np.inf
                for corner in range(4):
                    cx, cy = np.floor(x) + corner // 2, np.floor(y) + corner % 2
                    miss = np.sqrt((cx - x) * (cx - x) + (cy - y) * (cy - y))
                    if np.sqrt(cx * cx + cy * cy) <= reach[i] * (1.0 + 1e-9) and miss < least:
                        least, code_x, code_y = miss, cx, cy
            codes[n, 2 * i + 2], codes[n, 2 * i + 3] = int(code_x), int(code_y)
            at_x += code_x * scale[i]
            at_y += code_y * scale[i]
