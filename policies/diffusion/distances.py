"""Distances between sample sets, for checking samplers against exact distributions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from envs import keyed


def energy_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """2 E‖X − Y‖ − E‖X − X'‖ − E‖Y − Y'‖ (unbiased U-statistic; may be slightly negative).

    Args:
        x: [n, …]. y: [m, …]; rows are samples.

    Reference: Székely and Rizzo, "Energy statistics", 2013, eq. 2.
    """
    x, y = x.flatten(1).double(), y.flatten(1).double()
    n, m = len(x), len(y)
    cross = torch.cdist(x, y).mean()
    within_x = torch.cdist(x, x).sum() / (n * (n - 1))
    within_y = torch.cdist(y, y).sum() / (m * (m - 1))
    return float(2.0 * cross - within_x - within_y)


def sliced_wasserstein(x: torch.Tensor, y: torch.Tensor, directions: int = 128, seed: int = 0) -> float:
    """Root mean over random directions of the squared 2-Wasserstein distance of the projections.

    Args:
        x, y: [n, …], the same number of samples.

    Reference: Rabin et al., "Wasserstein barycenter and its application to texture mixing", 2012.
    """
    x, y = x.flatten(1).double(), y.flatten(1).double()
    keys: NDArray[np.uint64] = keyed.hash_words(seed, keyed.stream_id("directions"), np.arange(directions))
    axes = torch.as_tensor(keyed.normal(keys, (x.shape[1],)), dtype=torch.float64, device=x.device)
    axes = axes / axes.norm(dim=1, keepdim=True)
    gaps = (x @ axes.T).sort(0).values - (y @ axes.T).sort(0).values
    return float(gaps.square().mean().sqrt())


def gaussian_wasserstein(
    mean: torch.Tensor, covariance: torch.Tensor, other_mean: torch.Tensor, other_covariance: torch.Tensor
) -> float:
    """2-Wasserstein distance between two Gaussians.

    Reference: Dowson and Landau, 1982: ‖μ−ν‖² + tr(Σ + Γ − 2 (Σ^½ Γ Σ^½)^½).
    """
    root = _square_root(covariance)
    cross = _square_root(root @ other_covariance @ root)
    squared = (mean - other_mean).square().sum() + torch.trace(covariance + other_covariance - 2.0 * cross)
    return float(squared.clamp_min(0.0).sqrt())


def _square_root(matrix: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(0.5 * (matrix + matrix.mT))
    return (vectors * values.clamp_min(0.0).sqrt()) @ vectors.mT
