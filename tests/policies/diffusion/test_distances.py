"""Distances between sample sets where they are known."""

from __future__ import annotations

import math

import pytest
import torch

from policies.diffusion.distances import energy_distance, gaussian_wasserstein, sliced_wasserstein


def normal(count: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_energy_distance_of_shifted_normals_is_the_closed_form() -> None:
    """In one dimension 2 E|X − Y| − E|X − X'| − E|Y − Y'| with differences N(m, 2): a folded normal's mean."""
    shift = 0.7
    folded = 2.0 / math.sqrt(math.pi) * math.exp(-(shift**2) / 4.0) + shift * math.erf(shift / 2.0)
    wanted = 2.0 * folded - 2.0 * 2.0 / math.sqrt(math.pi)
    assert energy_distance(normal(4000, 1, 0), shift + normal(4000, 1, 1)) == pytest.approx(wanted, rel=0.1)


def test_energy_distance_has_no_bias_between_exact_sets() -> None:
    values = torch.tensor(
        [energy_distance(normal(60, 3, 2 * n), normal(50, 3, 2 * n + 1)) for n in range(400)]
    )
    assert values.mean().abs() < 4.0 * values.std() / 20.0 and float(values.min()) < 0.0


def test_sliced_distance_of_a_shift_and_of_a_scale() -> None:
    x = normal(2000, 4, 3)
    assert sliced_wasserstein(x, x) == 0.0
    shift = torch.tensor([3.0, 0.0, 4.0, 0.0])
    # Root mean square of a projection of a vector of length 5 on random directions in 4 dimensions.
    assert sliced_wasserstein(x, x + shift, directions=4000) == pytest.approx(5.0 / 2.0, rel=0.03)
    assert sliced_wasserstein(x, 3.0 * x) == pytest.approx(2.0, rel=0.05)
    assert sliced_wasserstein(x, x + shift) == sliced_wasserstein(x.flip(0), x + shift)


def test_wasserstein_distance_of_gaussians() -> None:
    """For commuting covariances: ‖μ − ν‖² + ‖Σ^½ − Γ^½‖²; and under any turn of both the same."""
    mean, other = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 2.0]).double()
    first, second = (
        torch.diag(torch.tensor([4.0, 1.0]).double()),
        torch.diag(torch.tensor([1.0, 9.0]).double()),
    )
    wanted = math.sqrt(5.0 + 1.0 + 4.0)
    assert gaussian_wasserstein(mean, first, other, second) == pytest.approx(wanted)
    turn, _ = torch.linalg.qr(normal(2, 2, 4))
    turned = (turn @ mean, turn @ first @ turn.T, turn @ other, turn @ second @ turn.T)
    assert gaussian_wasserstein(*turned) == pytest.approx(wanted)
    assert gaussian_wasserstein(mean, first, mean, first) == pytest.approx(0.0, abs=1e-7)
